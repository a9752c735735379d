"""Which pages of other origins may read the answers: none, listed ones, or any without credentials."""

import re
from collections.abc import Sequence

from skatestock.edge.errors import OriginError
from skatestock.edge.headers import Headers
from skatestock.edge.policies import HeaderLine

ANY = "*"

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+\Z")
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_READS = b"GET, HEAD"
_PLAIN_HEADERS = b"Accept, Content-Type, If-None-Match, Last-Event-ID, X-Request-Id"
_OUR_HEADERS = _PLAIN_HEADERS + b", Authorization, X-API-Key"
_EXPOSED: HeaderLine = (
    b"access-control-expose-headers",
    b"ETag, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, X-SkateStock-Data",
)
_CREDENTIALS = (b"authorization", b"cookie", b"x-api-key")
_PREFLIGHT_SECONDS = b"600"


class Cors:
    """The rules of one process; cookies are never let in."""

    def __init__(self, origins: Sequence[str]) -> None:
        for origin in origins:
            if origin != ANY and not _ORIGIN.match(origin):
                raise OriginError(f"an origin is like https://example.com, or *: not {origin!r}")
        self._any = ANY in origins
        self._origins = frozenset(origin.encode() for origin in origins)
        self.is_listed = not self._any
        """Whether answers differ by the origin, so that they have to say so."""

    def is_preflight(self, method: str, headers: Headers) -> bool:
        """Tell whether a browser asks what a page may ask."""
        return method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers

    def answer_preflight(self, headers: Headers) -> list[HeaderLine]:
        """Write the headers of the answer to a preflight; an origin that may nothing is told nothing."""
        allowed = self._allow(headers[b"origin"])
        if allowed is None:
            return [(b"vary", b"Origin")]
        return [
            (b"access-control-allow-origin", allowed),
            (b"access-control-allow-methods", _READS if self._any else _METHODS),
            (b"access-control-allow-headers", _PLAIN_HEADERS if self._any else _OUR_HEADERS),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
            (b"vary", b"Origin"),
        ]

    def find_lines(self, headers: Headers) -> list[HeaderLine]:
        """Write what the answer to a page's request carries; nothing where it must not be read."""
        origin = headers.get(b"origin")
        allowed = None if origin is None else self._allow(origin)
        if allowed is None or (self._any and any(name in headers for name in _CREDENTIALS)):
            return []
        return [(b"access-control-allow-origin", allowed), _EXPOSED]

    def _allow(self, origin: bytes) -> bytes | None:
        if self._any:
            return b"*"
        return origin if origin in self._origins else None
