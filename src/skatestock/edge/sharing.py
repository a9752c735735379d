"""Which answers may be shared, and what of them: rules that are applied once to headers that come often."""

from collections.abc import Iterable
from functools import lru_cache

from skatestock.edge.entries import Kept
from skatestock.edge.headers import SECURITY, add_missing
from skatestock.edge.policies import HeaderLine

LARGEST_BODY = 1_048_576
"""Longer answers are not kept."""

SURROGATE_KEY = b"surrogate-key"
"""The header by which an application names an answer's tags; it never leaves the edge."""

# Of the answer to one request, or of the way to it: not kept for others.
_OF_ONE = frozenset({b"x-request-id", b"content-length", b"etag", b"date", b"server", b"age"})
_VARIES_BY = frozenset({b"", b"accept-encoding", b"origin"})
# Applications have few sets of headers, and each is some hundred bytes.
_MOST_REMEMBERED = 256


class ShareRules:
    """The rules of one process."""

    def __init__(self, *, varies_by_origin: bool, lines: Iterable[HeaderLine] = ()) -> None:
        self._vary = (b"vary", b"Accept-Encoding, Origin" if varies_by_origin else b"Accept-Encoding")
        self._lines = (*SECURITY, *lines)
        self.choose = lru_cache(maxsize=_MOST_REMEMBERED)(self._choose)
        """Choose which of an answer's headers every request for it is given; None: it must not be shared."""

    def read(self, status: int, headers: Iterable[HeaderLine]) -> tuple[tuple[str, ...], Kept | None]:
        """Read an answer's tags, and what is kept of its headers: None where it is for one alone."""
        tags, lines = b"", []
        for line in headers:
            name = line[0]
            if name == SURROGATE_KEY:
                tags = b"%s %s" % (tags, line[1]) if tags else line[1]
            elif name not in _OF_ONE:
                lines.append(line)
        if status != 200 or not tags.strip():
            return (), None
        return tuple(tags.decode("ascii", "replace").split()), self.choose(tuple(lines))

    def _choose(self, headers: tuple[HeaderLine, ...]) -> Kept | None:
        kept: list[HeaderLine] = []
        for name, value in headers:
            if name == b"set-cookie" or (name == b"vary" and not _varies_by_known(value)):
                return None
            if name == b"cache-control" and (b"private" in value or b"no-store" in value):
                return None
            if name not in _OF_ONE and name not in (b"vary", SURROGATE_KEY):
                kept.append((name, value))
        return Kept((*add_missing(kept, self._lines), self._vary))


def _varies_by_known(value: bytes) -> bool:
    return all(name.strip().lower() in _VARIES_BY for name in value.split(b","))
