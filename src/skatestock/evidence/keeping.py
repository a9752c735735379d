"""Keeps the pages of one crawl as they come; what cannot be kept is counted, and never stops the crawl."""

import asyncio
from collections.abc import Callable
from time import monotonic, perf_counter

from skatestock.evidence.errors import EvidenceError
from skatestock.evidence.model import KeptCrawl, PageSeen
from skatestock.evidence.store import EvidenceStore
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import EVIDENCE_PAGES, EVIDENCE_SECONDS

_PATIENCE_SECONDS = 15.0
# A storage that is away must not cost every page of a crawl that patience.
_PAUSE_SECONDS = 60.0

_log = get_logger(__name__)


class CrawlEvidence:
    """The evidence of one crawl."""

    def __init__(
        self,
        store: EvidenceStore,
        crawl: KeptCrawl,
        *,
        patience_seconds: float = _PATIENCE_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._crawl = crawl
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._place = 0
        self._paused_until: float | None = None

    async def keep(self, body: bytes, seen: PageSeen) -> str | None:
        """Keep a page's body and return its key; None where it could not be kept."""
        self._place += 1
        if self._paused_until is not None and self._clock() < self._paused_until:
            EVIDENCE_PAGES.labels("lost").inc()
            return None
        began = perf_counter()
        try:
            async with asyncio.timeout(self._patience_seconds):
                key = await self._store.put(body, self._crawl.day)
                await self._store.note(self._crawl, self._place, seen, key)
        except (EvidenceError, TimeoutError) as error:
            self._paused_until = self._clock() + _PAUSE_SECONDS
            EVIDENCE_PAGES.labels("lost").inc()
            detail = str(error) or f"{self._store.place} did not answer in {self._patience_seconds:.0f} s"
            _log.warning("evidence_not_kept", shop=self._crawl.shop, url=seen.url, error=detail)
            return None
        EVIDENCE_PAGES.labels("kept").inc()
        EVIDENCE_SECONDS.observe(perf_counter() - began)
        return key
