"""The raw bodies behind observations, by the day of their crawl and the SHA-256 of the body.

A key is `2026-03-01/<64 hexadecimal digits>`. The day is part of it so that old evidence is deleted by whole
days: no deletion ever meets a body that a newer crawl has just put, or relies upon.
"""

import asyncio
import gzip
import re
import zlib
from datetime import date
from hashlib import sha256
from urllib.parse import quote, unquote

import msgspec

from skatestock.evidence.errors import EvidenceDamagedError, EvidenceMissingError
from skatestock.evidence.model import KeptCrawl, KeptPage, PageSeen, Pruned
from skatestock.evidence.port import ObjectStorage
from skatestock.telemetry.metrics import EVIDENCE_BYTES, EVIDENCE_PRUNED

# Four fifths of what level 6 saves, in half its time.
_LEVEL = 4
_GZIP = zlib.MAX_WBITS | 16
_MAX_BODY_BYTES = 256 * 2**20
_KEY = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)/(?P<digest>[0-9a-f]{64})\Z")
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")

_decode_page = msgspec.json.Decoder(KeptPage).decode


class EvidenceStore:
    """Puts, finds and deletes evidence in whatever storage it is given."""

    def __init__(self, storage: ObjectStorage) -> None:
        self._storage = storage

    @property
    def place(self) -> str:
        """Name the storage for a person, without any secret."""
        return self._storage.place

    async def put(self, body: bytes, day: date) -> str:
        """Keep a body under a day and return its key; the same body twice is kept once."""
        digest, packed = await asyncio.to_thread(_pack, body)
        key = f"{day.isoformat()}/{digest}"
        await self._storage.write(_body_name(key), packed)
        EVIDENCE_BYTES.inc(len(packed))
        return key

    async def get(self, key: str) -> bytes:
        """Return the body under a key; raises EvidenceMissingError and EvidenceDamagedError."""
        packed = await self._storage.read(_body_name(key))
        return await asyncio.to_thread(_unpack, key, packed)

    async def note(self, crawl: KeptCrawl, place: int, seen: PageSeen, key: str) -> None:
        """Note which page of a crawl a body is; `place` is its place among all that the crawl read."""
        page = msgspec.json.encode(KeptPage(key=key, seen=seen))
        await self._storage.write(f"{_crawl_name(crawl)}/{place:06}.json", page)

    async def find_crawls(self, shop: str | None = None, since: date | None = None) -> list[KeptCrawl]:
        """Name the crawls of which pages are kept, by day, shop and id.

        Some servers name one for a while after its last page was deleted.
        """
        found: list[KeptCrawl] = []
        for day in await self._find_days():
            if since is not None and day < since:
                continue
            prefix = f"{day.isoformat()}/pages"
            shops = await self._storage.list_folders(prefix)
            for known in shops if shop is None else [shop] if shop in shops else []:
                names = await self._storage.list_folders(f"{prefix}/{known}")
                found += [KeptCrawl(day, known, unquote(name)) for name in names]
        return found

    async def read_pages(self, crawl: KeptCrawl) -> list[KeptPage]:
        """Read what is noted of a crawl's pages, in the order in which they were read.

        Raises EvidenceDamagedError where a note is none.
        """
        names = [
            name
            async for part in self._storage.list_objects(_crawl_name(crawl))
            for name in part
            if name.endswith(".json")
        ]
        return [_parse_page(name, await self._storage.read(name)) for name in sorted(names)]

    async def prune(self, before: date, *, limit: int, pause_seconds: float = 0.0) -> Pruned:
        """Delete the days before a day, at most `limit` objects of them; idempotent."""
        count = 0
        for day in await self._find_days():
            if day >= before:
                continue
            async for names in self._storage.list_objects(day.isoformat()):
                taken = names[: limit - count]
                await self._storage.delete(taken)
                count += len(taken)
                EVIDENCE_PRUNED.inc(len(taken))
                if count >= limit:
                    return Pruned(count, is_done=False)
                await asyncio.sleep(pause_seconds)
        return Pruned(count, is_done=True)

    async def _find_days(self) -> list[date]:
        # Whatever else lies in the same folder or bucket is none of ours.
        return [_parse_day(name) for name in await self._storage.list_folders("") if _DAY.match(name)]


def _parse_day(name: str) -> date:
    return date.fromisoformat(name)


def _body_name(key: str) -> str:
    found = _KEY.match(key)
    if found is None:
        raise EvidenceMissingError(f"{key[:100]!r} is no key of evidence")
    # A folder of its own for each two digits: file systems and people dislike one of a hundred thousand.
    return f"{found['day']}/bodies/{found['digest'][:2]}/{found['digest']}.gz"


def _crawl_name(crawl: KeptCrawl) -> str:
    return f"{crawl.day.isoformat()}/pages/{crawl.shop}/{quote(crawl.crawl_id, safe='')}"


def _pack(body: bytes) -> tuple[str, bytes]:
    # Without a time in it, the same body always gives the same bytes.
    return sha256(body).hexdigest(), gzip.compress(body, _LEVEL, mtime=0)


def _unpack(key: str, packed: bytes) -> bytes:
    stream = zlib.decompressobj(_GZIP)
    try:
        body = stream.decompress(packed, _MAX_BODY_BYTES)
    except zlib.error as error:
        raise EvidenceDamagedError(f"the evidence {key} is damaged: {error}") from error
    if not stream.eof or sha256(body).hexdigest() != key.rpartition("/")[2]:
        raise EvidenceDamagedError(f"the evidence {key} is damaged: it is not what was put there")
    return body


def _parse_page(name: str, content: bytes) -> KeptPage:
    try:
        return _decode_page(content)
    except msgspec.DecodeError as error:
        raise EvidenceDamagedError(f"the note {name} is damaged: {error}") from error
