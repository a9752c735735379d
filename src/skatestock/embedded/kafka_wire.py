"""Asks a Kafka broker who it is, over a bare socket: whether it is up needs no client library."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

from skatestock.embedded.errors import EmbeddedError

# Metadata, version 4: the last kind without the compact encoding that says enough. No topics are asked about.
_CORRELATION = 1
_BODY = struct.pack(">hhih", 3, 4, _CORRELATION, -1) + struct.pack(">i?", 0, False)
_REQUEST = struct.pack(">i", len(_BODY)) + _BODY
_LONGEST_ANSWER = 1 << 20


@dataclass(frozen=True)
class Cluster:
    """A cluster as a broker of it tells: its id, and the ids of the brokers that serve."""

    cluster: str | None
    brokers: tuple[int, ...]


async def fetch_cluster(host: str, port: int) -> Cluster:
    """Ask a broker about its cluster; raises OSError, or EmbeddedError when no Kafka answers there."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_REQUEST)
        await writer.drain()
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        if not 0 < size <= _LONGEST_ANSWER:
            raise EmbeddedError(f"what listens on port {port} is no Kafka broker")
        return parse_cluster(await reader.readexactly(size))
    except asyncio.IncompleteReadError as error:
        raise EmbeddedError(f"port {port} ended the connection without an answer") from error
    finally:
        writer.close()


def parse_cluster(answer: bytes) -> Cluster:
    """Read the answer to the request above; raises EmbeddedError when it is none."""
    try:
        return _parse(answer)
    except (struct.error, UnicodeDecodeError) as error:
        raise EmbeddedError("the answer is no Kafka broker's") from error


def _parse(answer: bytes) -> Cluster:
    correlation, _, count = struct.unpack_from(">iii", answer)
    if correlation != _CORRELATION or not 0 <= count <= len(answer):
        raise EmbeddedError("the answer is no Kafka broker's")
    at = 12
    brokers: list[int] = []
    for _ in range(count):
        brokers.append(struct.unpack_from(">i", answer, at)[0])
        _, at = _parse_string(answer, at + 4)
        _, at = _parse_string(answer, at + 4)
    cluster, _ = _parse_string(answer, at)
    return Cluster(cluster, tuple(brokers))


def _parse_string(answer: bytes, at: int) -> tuple[str | None, int]:
    (length,) = struct.unpack_from(">h", answer, at)
    end = at + 2 + max(length, 0)
    if end > len(answer):
        raise EmbeddedError("the answer is cut off")
    return (None if length < 0 else answer[at + 2 : end].decode("utf-8")), end
