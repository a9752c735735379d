"""Kept answers: the bytes once, and each encoding's headers and bytes from when it is first asked for."""

import asyncio
from hashlib import sha256

import msgspec

from skatestock.edge.encodings import IDENTITY, compress, is_compressible
from skatestock.edge.policies import HeaderLine
from skatestock.edge.validity import Stamp

LONGEST_SECONDS = 60.0
"""How old an answer may get: it holds words that time alone makes wrong, such as `stale`."""

_FORMAT = 1
# Longer bodies are compressed in a thread, so that nobody else waits for it.
_COMPRESS_HERE_BYTES = 32_768
# Below this a compressed answer is hardly smaller than its headers.
_LEAST_COMPRESSED_BYTES = 256
# What an entry's objects take besides their bytes, about.
_OVERHEAD_BYTES = 4096
# 128 bits: two answers at one address never have the same tag by chance.
_TAG_LETTERS = 32
_SUFFIXES = {IDENTITY: b"", "gzip": b"-gz", "br": b"-br"}
# What belongs to one representation, and so not to "nothing has changed".
_OF_THE_BODY = frozenset({b"content-type", b"content-length", b"content-encoding", b"content-language"})
# What settings of ours may change says nothing about the answer.
_CHANGING = frozenset({b"cache-control", b"vary"})


class Kept:
    """The headers that every request for an answer is given; many answers have the same ones."""

    __slots__ = ("_digest", "is_compressible", "lines", "lines_unchanged")

    def __init__(self, lines: tuple[HeaderLine, ...]) -> None:
        self.lines = lines
        self.lines_unchanged = tuple(line for line in lines if line[0] not in _OF_THE_BODY)
        """What of them also goes with an answer that says that nothing has changed."""
        content_type = next((value for name, value in lines if name == b"content-type"), b"")
        self.is_compressible = is_compressible(content_type)
        self._digest = sha256(usedforsecurity=False)
        for name, value in lines:
            if name not in _CHANGING:
                self._digest.update(b"%s:%s\n" % (name, value))

    def digest(self, body: bytes) -> bytes:
        """Name what these headers and a body say; other processes name the same alike."""
        digest = self._digest.copy()
        digest.update(body)
        return digest.hexdigest()[:_TAG_LETTERS].encode()


class Variant:
    """An answer in one encoding, ready to be sent."""

    __slots__ = ("_kept", "body_message", "etag", "headers")

    def __init__(self, kept: Kept, etag: bytes, body: bytes, encoding: str) -> None:
        self._kept = kept
        self.etag = etag
        self.headers: list[HeaderLine] = [
            *kept.lines,
            (b"content-length", b"%d" % len(body)),
            (b"etag", etag),
        ]
        if encoding != IDENTITY:
            self.headers.append((b"content-encoding", encoding.encode()))
        self.body_message = {"type": "http.response.body", "body": body, "more_body": False}

    def list_unchanged(self) -> list[HeaderLine]:
        """List the headers of the answer that nothing has changed."""
        return [*self._kept.lines_unchanged, (b"etag", self.etag)]


class Entry:
    """One answer: valid as long as `stamp` and `tags` are, and no longer than until `ends_at`."""

    __slots__ = (
        "_compressing",
        "_digest",
        "address",
        "body",
        "ends_at",
        "generation",
        "kept",
        "size",
        "stamp",
        "tags",
        "variants",
    )

    def __init__(
        self,
        address: bytes,
        kept: Kept,
        body: bytes,
        tags: tuple[str, ...],
        stamp: Stamp,
        ends_at: float,
    ) -> None:
        self.address = address
        self.kept = kept
        self.body = body
        self.tags = tags
        self.stamp = stamp
        self.ends_at = ends_at
        self.generation = -1
        """The validity log's generation in which this answer was last found valid."""
        self.variants: dict[str, Variant] = {}
        """By the encoding that was asked for, which is not always the one that is given."""
        self.size = _OVERHEAD_BYTES + len(address) + len(body)
        self._digest = kept.digest(body)
        self._compressing: dict[str, asyncio.Task[bytes]] | None = None

    def find_variant(self, encoding: str) -> Variant | None:
        """Give the answer in an encoding at once; None where that takes so long that it must be awaited."""
        variant = self.variants.get(encoding)
        if variant is not None:
            return variant
        given = encoding if self._is_worth_compressing() else IDENTITY
        variant = self.variants.get(given)
        if variant is None:
            if given != IDENTITY and len(self.body) > _COMPRESS_HERE_BYTES:
                return None
            variant = self._add(given, compress(self.body, given))
        self.variants[encoding] = variant
        return variant

    async def make_variant(self, encoding: str) -> Variant:
        """Give the answer in an encoding; compresses it the first time, once for all who ask meanwhile."""
        variant = self.find_variant(encoding)
        if variant is None:
            body = await self._compress(encoding)
            # another one who waited may have been first
            variant = self.variants.get(encoding) or self._add(encoding, body)
        return variant

    def _is_worth_compressing(self) -> bool:
        return self.kept.is_compressible and len(self.body) >= _LEAST_COMPRESSED_BYTES

    def _add(self, encoding: str, body: bytes) -> Variant:
        """Keep the answer's bytes in an encoding, ready to be sent."""
        if encoding != IDENTITY:
            self.size += len(body)
        etag = b'"%s%s"' % (self._digest, _SUFFIXES[encoding])
        variant = self.variants[encoding] = Variant(self.kept, etag, body, encoding)
        return variant

    async def _compress(self, encoding: str) -> bytes:
        if self._compressing is None:
            self._compressing = {}
        task = self._compressing.get(encoding)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(compress, self.body, encoding))
            self._compressing[encoding] = task
        try:
            # whoever waits may leave; the others still want it
            return await asyncio.shield(task)
        finally:
            if task.done():
                self._compressing.pop(encoding, None)


class _Written(msgspec.Struct, array_like=True, frozen=True):
    """An entry as other processes read it."""

    format: int
    address: bytes
    epoch: str
    position: int
    indexed: int
    filled_at: float
    tags: tuple[str, ...]
    kept: tuple[tuple[bytes, bytes], ...]
    body: bytes


_decoder = msgspec.msgpack.Decoder(_Written)


def write_entry(entry: Entry, filled_at: float) -> bytes:
    """Write an entry for other processes; `filled_at` is the wall clock's seconds."""
    written = _Written(
        _FORMAT, entry.address, *entry.stamp, filled_at, entry.tags, entry.kept.lines, entry.body
    )
    return msgspec.msgpack.encode(written)


def read_entry(data: bytes, address: bytes, *, wall: float, now: float) -> Entry | None:
    """Read what another process wrote for this address; None for anything else, and for what is too old."""
    try:
        written = _decoder.decode(data)
    except msgspec.DecodeError:
        return None
    if written.format != _FORMAT or written.address != address:
        return None
    left = min(LONGEST_SECONDS, written.filled_at + LONGEST_SECONDS - wall)
    if left <= 0:
        return None
    stamp = Stamp(written.epoch, written.position, written.indexed)
    return Entry(address, Kept(written.kept), written.body, written.tags, stamp, now + left)


def is_match(condition: bytes, etag: bytes) -> bool:
    """Tell whether an `If-None-Match` names a tag, by weak comparison."""
    if condition == etag or condition.strip() == b"*":
        return True
    return any(part.strip().removeprefix(b"W/") == etag for part in condition.split(b","))
