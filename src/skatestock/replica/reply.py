"""Replies: what a request is answered with, and how well or badly it is put on the wire."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
XML = "application/xml; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


class Request(NamedTuple):
    """A request as a shop or the control API sees it; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """Give the path without the query, percent-decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def parameters(self) -> dict[str, str]:
        """Give the query's parameters; the last of a repeated one counts."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


@dataclass(slots=True)
class Reply:
    """An answer, with the ways in which sending it goes wrong.

    `stream` replaces the body by pieces without a length. `cut_after` closes the connection after so many
    bytes of the body. `bytes_per_second` lets it drip. `hold_seconds` says nothing for so long, then closes.
    `reset` breaks the connection without an answer.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = TEXT
    headers: list[tuple[str, str]] = field(default_factory=list)
    stream: Iterator[bytes] | None = None
    cut_after: int | None = None
    bytes_per_second: int | None = None
    hold_seconds: float | None = None
    reset: bool = False
    played: tuple[str, ...] = ()

    @property
    def is_answered(self) -> bool:
        """Tell whether the client gets a status line at all."""
        return not self.reset and self.hold_seconds is None


def json_reply(value: object, status: int = 200) -> Reply:
    """Reply with a value as JSON."""
    return Reply(status, msgspec.json.encode(value), JSON)


def compress(body: bytes) -> bytes:
    """Compress with gzip, as fast as it goes; the same body gives the same bytes."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def pack_for(reply: Reply, accept_encoding: str, least_bytes: int = 512) -> Reply:
    """Compress the body if the client accepts gzip and nothing else has encoded it."""
    encoded = any(name == "Content-Encoding" for name, _ in reply.headers)
    if (
        "gzip" in accept_encoding.lower()
        and not encoded
        and reply.stream is None
        and len(reply.body) >= least_bytes
    ):
        whole = len(reply.body)
        reply.body = compress(reply.body)
        reply.headers.append(("Content-Encoding", "gzip"))
        if reply.cut_after is not None:
            reply.cut_after = len(reply.body) * reply.cut_after // whole
    return reply
