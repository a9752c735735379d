"""The headers of a request as a mapping, and those that every answer carries."""

import itertools
import re
import secrets
from collections.abc import Callable, Iterable, Iterator

from skatestock.edge.policies import HeaderLine

Headers = dict[bytes, bytes]
"""A request's headers: one that came several times is joined, as HTTP allows."""

MOST_HEADERS = 100
MOST_HEADER_BYTES = 16_384
MOST_ADDRESS_BYTES = 8192

SECURITY: tuple[HeaderLine, ...] = (
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""What every answer carries, unless the application says something else."""

STRICT_TRANSPORT: HeaderLine = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
"""What answers carry besides where TLS is certain."""

_LAST_LETTERS = tuple(b"%02x" % number for number in range(256))
_REQUEST_ID = re.compile(rb"[A-Za-z0-9-]{8,64}\Z")


def join_repeated(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Read headers of which some came several times: their values in one."""
    headers: Headers = {}
    for name, value in raw:
        headers[name] = b"%s, %s" % (headers[name], value) if name in headers else value
    return headers


def count_bytes(headers: Headers) -> int:
    """Return how many bytes names and values have."""
    # joining costs half of adding up lengths, and this is done for every request
    return len(b"".join((*headers, *headers.values())))


def build_request_ids() -> Callable[[bytes | None], bytes]:
    """Make what tells a request's id: the caller's, if it can stand in a log, or else a new one."""
    # ids are no secret, but must differ between processes and their restarts
    prefix = secrets.token_hex(5).encode()
    new_id = itertools.chain.from_iterable(_count_on(prefix)).__next__

    def tell_id(sent: bytes | None) -> bytes:
        if sent is not None and _REQUEST_ID.match(sent):
            return sent
        return new_id()

    return tell_id


def _count_on(prefix: bytes) -> Iterator[Iterator[bytes]]:
    """Give ids by blocks: within one, each costs no more than joining its last letters on."""
    for block in itertools.count():
        yield map((b"%s%04x" % (prefix, block)).__add__, _LAST_LETTERS)


def add_missing(headers: list[HeaderLine], lines: Iterable[HeaderLine]) -> list[HeaderLine]:
    """Add the headers that an answer does not have yet."""
    there = {name for name, _value in headers}
    return [*headers, *(line for line in lines if line[0] not in there)]
