"""Kept answers: the bytes once, and each encoding's headers and bytes from when it is first asked for."""

import asyncio
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from skatestock.edge.encodings import IDENTITY, compress, is_worth_compressing
from skatestock.edge.policies import HeaderLine
from skatestock.edge.validity import Stamp

LONGEST_SECONDS = 60.0
"""How old an answer may get: it holds words that time alone makes wrong, such as `stale`."""

_FORMAT = 1
# Longer bodies are compressed in a thread, so that nobody else waits for it.
_COMPRESS_HERE_BYTES = 32_768
# What an entry's objects take besides their bytes, about.
_OVERHEAD_BYTES = 4096
_SUFFIXES = {IDENTITY: b"", "gzip": b"-gz", "br": b"-br"}
# What belongs to one representation, and so not to "nothing has changed".
_OF_THE_BODY = frozenset({b"content-type", b"content-length", b"content-encoding", b"content-language"})

# What settings of ours may change says nothing about the answer.
_CHANGING = frozenset({b"cache-control", b"vary"})


class Variant:
    """An answer in one encoding, ready to be sent."""

    __slots__ = ("body_message", "etag", "headers", "headers_unchanged")

    def __init__(self, kept: Sequence[HeaderLine], etag: bytes, body: bytes, encoding: str) -> None:
        self.etag = etag
        coded = [] if encoding == IDENTITY else [(b"content-encoding", encoding.encode())]
        self.headers: list[HeaderLine] = [
            *kept,
            *coded,
            (b"content-length", b"%d" % len(body)),
            (b"etag", etag),
        ]
        self.headers_unchanged = [line for line in self.headers if line[0] not in _OF_THE_BODY]
        self.body_message = {"type": "http.response.body", "body": body, "more_body": False}


class Entry:
    """One answer: valid as long as `stamp` and `tags` are, and no longer than until `ends_at`."""

    __slots__ = (
        "_compressing",
        "_etag",
        "_is_compressible",
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
        kept: Sequence[HeaderLine],
        body: bytes,
        tags: tuple[str, ...],
        stamp: Stamp,
        ends_at: float,
    ) -> None:
        self.address = address
        self.kept = tuple(kept)
        self.body = body
        self.tags = tags
        self.stamp = stamp
        self.ends_at = ends_at
        self.generation = -1
        """The validity log's generation in which this answer was last found valid."""
        self.variants: dict[str, Variant] = {}
        self.size = _OVERHEAD_BYTES + len(address) + len(body)
        self._etag = _hash(self.kept, body)
        self._compressing: dict[str, asyncio.Task[bytes]] = {}
        content_type = next((value for name, value in self.kept if name == b"content-type"), b"")
        self._is_compressible = is_worth_compressing(body, content_type)

    async def make_variant(self, encoding: str) -> Variant:
        """Give the answer in an encoding; compresses it the first time, once for all who ask meanwhile."""
        wanted = encoding if self._is_compressible else IDENTITY
        variant = self.variants.get(wanted)
        if variant is None:
            body = self.body if wanted == IDENTITY else await self._compress(wanted)
            etag = b'"%s%s"' % (self._etag, _SUFFIXES[wanted])
            variant = self.variants.setdefault(wanted, Variant(self.kept, etag, body, wanted))
            if wanted != IDENTITY:
                self.size += len(body)
        self.variants[encoding] = variant
        return variant

    async def _compress(self, encoding: str) -> bytes:
        if len(self.body) <= _COMPRESS_HERE_BYTES:
            return compress(self.body, encoding)
        task = self._compressing.get(encoding)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(compress, self.body, encoding))
            self._compressing[encoding] = task
        body = await asyncio.shield(task)
        self._compressing.pop(encoding, None)
        return body


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
    written = _Written(_FORMAT, entry.address, *entry.stamp, filled_at, entry.tags, entry.kept, entry.body)
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
    return Entry(address, written.kept, written.body, written.tags, stamp, now + left)


def is_match(condition: bytes, etag: bytes) -> bool:
    """Tell whether an `If-None-Match` names a tag, by weak comparison."""
    if condition == etag or condition.strip() == b"*":
        return True
    return any(part.strip().removeprefix(b"W/") == etag for part in condition.split(b","))


def _hash(kept: Sequence[HeaderLine], body: bytes) -> bytes:
    digest = blake2b(body, digest_size=16)
    for name, value in kept:
        if name not in _CHANGING:
            digest.update(b"\n%s:%s" % (name, value))
    return digest.hexdigest().encode()
