"""One crawl of one shop: page after page, until the shop was seen whole or there is a reason to stop.

Knows nothing of Scrapy: it is handed a way to fetch, and the ports.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from skatestock.crawl.barcodes import BarcodeQuestions, FetchOnce
from skatestock.crawl.completeness import Judgement, judge_count
from skatestock.crawl.conditional import Fetched, KnownPage, describe_reading, to_known_page
from skatestock.crawl.errors import CrawlStoppedError, PageError
from skatestock.crawl.filter import UnchangedFilter
from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.crawl.platforms.port import BARCODES, BarcodeSource, Body, PageRequest, Walk
from skatestock.crawl.platforms.registry import find_barcode_source, open_platform
from skatestock.crawl.politeness import Politeness, retry_not_before
from skatestock.crawl.ports import EvidenceKeeper, LeaseGuard, ListingCounts, Publisher
from skatestock.crawl.reasons import CrawlReason, RejectReason
from skatestock.crawl.shops import Shop
from skatestock.eventlog.port import Message
from skatestock.events.codec import encode, event_name
from skatestock.events.identity import crawl_event_id
from skatestock.events.model import MAX_REJECTED, CrawlCompleted, Event, ListingObserved, RejectedObservation
from skatestock.events.size import MAX_LISTING_IDS_BYTES, choose_rejected, measure_text
from skatestock.evidence.model import PageSeen
from skatestock.telemetry.metrics import CRAWL_LISTINGS, CRAWL_PAGES, CRAWLS_COMPLETED
from skatestock.vocabulary.text import clean_text
from skatestock.vocabulary.time import Clock

Fetch = Callable[[str, str | None], Awaitable[Fetched]]
"""Fetches an address, with the entity tag of what is known of it or None."""
Encode = Callable[[Event], bytes]
"""Writes an event as the log carries it."""
Foresee = Callable[[int], None]
"""Is told how many requests a crawl takes in all, as far as it is known by then."""

_MAX_DETAIL = 500
_PASSES = 2


class CrawlOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one crawl of one shop ended, for whoever leased it."""

    shop: str
    crawl_id: str
    complete: bool
    reason: CrawlReason
    detail: str
    started_at: datetime
    completed_at: datetime
    """To be handed to the shop's next crawl as `after`."""
    pages: int
    requests: int
    listings: int
    changed: int
    rejected: int
    retry_not_before: datetime | None
    """The shop is to be left alone until then; None where nothing is known."""
    filter_state: Mapping[str, str] | None
    """To be recorded durably and handed to the shop's next crawl; None as well."""


class ShopCrawl:
    """The progress of one crawl."""

    def __init__(
        self,
        shop: Shop,
        crawl_id: str,
        *,
        unchanged: UnchangedFilter,
        publisher: Publisher,
        encode: Encode = encode,
        evidence: EvidenceKeeper | None = None,
        lease: LeaseGuard | None,
        clock: Clock,
        after: datetime | None,
    ) -> None:
        self._shop = shop
        self._crawl_id = crawl_id
        self._filter = unchanged
        self._publisher = publisher
        self._encode = encode
        self._evidence = evidence
        self._barcodes: BarcodeQuestions | None = None
        self._walks = 0
        self._lease = lease
        self._clock = clock
        # Two states of a listing must not share a second: consumers take the later one for a repetition.
        self._latest = clock() if after is None else max(clock(), after + timedelta(seconds=1))
        self._started_at = self._latest
        self._listing_ids: dict[str, None] = {}
        self._listing_ids_bytes = 0
        self._published_at: dict[str, datetime] = {}
        self._rejected: dict[str, RejectedObservation | None] = {}
        self._unidentified = 0
        self._disallowed = 0
        self._asked = 0
        self._pages = 0
        self._changed = 0
        # True while the log may hold events that the filter does not know of.
        self._unsettled = False

    async def read_shop(
        self,
        fetch: Fetch,
        counts: ListingCounts,
        politeness: Politeness,
        fetch_once: FetchOnce | None = None,
        foresee: Foresee = lambda requests: None,
    ) -> Judgement:
        """Read all pages, twice if they moved meanwhile; raises CrawlStoppedError and PageError.

        Without `fetch_once` nothing is asked for that a crawl can do without.
        """
        if fetch_once is not None:
            self._barcodes = self._open_barcodes(fetch_once, politeness)
        drift: str | None = None
        for _ in range(_PASSES):
            drift = await self._read_pages(fetch, politeness, foresee)
            if drift is None:
                return await self._judge(counts)
        return Judgement(CrawlReason.DRIFTED, drift or "")

    async def complete(
        self, judgement: Judgement, requests: int, retry_after_seconds: float | None = None
    ) -> CrawlOutcome:
        """Say on the log how the crawl ended, and leave the filter in good order."""
        event = self._make_completed(judgement, requests)
        await self._append([event])
        whole = event.complete
        filter_state = None if self._unsettled else await self._filter.close(complete=whole)
        CRAWLS_COMPLETED.labels(self._shop.slug, event.reason).inc()
        return CrawlOutcome(
            shop=self._shop.slug,
            crawl_id=self._crawl_id,
            complete=whole,
            reason=judgement.reason,
            detail=event.detail,
            started_at=event.started_at,
            completed_at=event.completed_at,
            pages=event.pages,
            requests=event.requests,
            listings=len(event.listing_ids),
            changed=event.changed,
            rejected=event.rejected_total,
            retry_not_before=retry_not_before(self._clock(), retry_after_seconds),
            filter_state=filter_state,
        )

    async def _judge(self, counts: ListingCounts) -> Judgement:
        if self._disallowed and self._disallowed == len(self._listing_ids):
            # Nothing is left to read: that is a shop which does not want us, whatever its sitemap says.
            detail = f"robots.txt disallows all {self._disallowed} product pages"
            return Judgement(CrawlReason.ROBOTS_DISALLOWED, detail)
        judgement = judge_count(len(self._listing_ids), await counts.fetch(self._shop.slug))
        if judgement.reason is CrawlReason.COMPLETE and self._unidentified:
            # One of them may be any listing that is missing, so nothing may be called gone.
            return Judgement(CrawlReason.UNIDENTIFIED, f"{self._unidentified} products without an id")
        if judgement.reason is CrawlReason.COMPLETE and self._disallowed:
            left_out = f"without {self._disallowed} pages that robots.txt disallows"
            return Judgement(judgement.reason, ", ".join(filter(None, (judgement.detail, left_out))))
        return judgement

    async def _read_pages(self, fetch: Fetch, politeness: Politeness, foresee: Foresee) -> str | None:
        """Walk through the shop once; return what shows that its pages moved, or None."""
        platform = open_platform(self._shop, politeness)
        walk = platform.open_walk()
        self._walks += 1
        pending = deque(walk.first_requests())
        self._unidentified = self._disallowed = 0
        while pending:
            foresee(self._asked + len(pending))
            request = pending.popleft()
            self._asked += 1
            if request.number > platform.limit_requests():
                detail = f"no end after {platform.limit_requests()} pages"
                raise CrawlStoppedError(CrawlReason.TOO_MANY_PAGES, detail)
            page = await self._find_page(fetch, walk, request, politeness)
            if page is not None:
                drift = walk.find_drift(request, page)
                if drift is not None:
                    return drift
                self._unidentified += 0 if request.again else page.unidentified
                pending.extend(walk.next_requests(request, page))
        return None

    async def _find_page(
        self, fetch: Fetch, walk: Walk, request: PageRequest, politeness: Politeness
    ) -> ParsedPage | None:
        """Read one page; None for one that is no more or not ours to read, where the walk expects such."""
        try:
            return await self._read_page(fetch, walk, request)
        except CrawlStoppedError as error:
            if request.may_be_gone and error.gone:
                return None
            if request.listing_id is not None and error.reason is CrawlReason.ROBOTS_DISALLOWED:
                self._note_disallowed(request, request.listing_id)
                return None
            raise
        except PageError as error:
            if error.reason is not CrawlReason.BLOCKED:
                raise
            # A wall in the page's place asks for the same pause as one that says so by its status.
            raise CrawlStoppedError(error.reason, error.detail, politeness.blocked_pause_seconds) from error

    async def _read_page(self, fetch: Fetch, walk: Walk, request: PageRequest) -> ParsedPage:
        reading = describe_reading(self._shop, request.url, walk.parser, walk.parser_version)
        known = await self._find_known(request, reading)
        answer = await fetch(request.url, None if known is None else known.tag)
        if known is not None and answer.unchanged:
            page = known.to_page()
            self._count_page(page)
            CRAWL_LISTINGS.labels(self._shop.slug, "unchanged").inc(len(page.listing_ids))
            return page
        now = self._tell_time()
        sighting = Sighting(
            shop=self._shop,
            crawl_id=self._crawl_id,
            observed_at=now,
            page=request.number,
            # Before it is read: of a page that cannot be read there must be something to look at.
            evidence=await self._keep(walk, request, answer, now),
        )
        page = walk.read_page(request, Body(body=answer.body, headers=answer.headers), sighting)
        self._count_page(page)
        to_keep = None if request.memory is None else to_known_page(page, answer.tag, reading, now)
        await self._publish_changed(page.observations, request.memory or 0, to_keep)
        return page

    def _open_barcodes(self, fetch_once: FetchOnce, politeness: Politeness) -> BarcodeQuestions | None:
        source = find_barcode_source(self._shop)
        if source is None:
            return None

        async def keep(url: str, answer: Fetched) -> None:
            request = PageRequest(url=url, number=1, kind=BARCODES)
            await self._keep(source, request, answer, self._tell_time())

        return BarcodeQuestions(
            source,
            fetch_once,
            keep,
            shop=self._shop.slug,
            most=self._shop.barcodes_per_crawl,
            # The pages come first: what is left of the crawl's time is for them.
            patience_seconds=politeness.crawl_timeout_seconds / 2,
        )

    async def _keep(
        self, reader: Walk | BarcodeSource, request: PageRequest, answer: Fetched, observed_at: datetime
    ) -> str | None:
        if self._evidence is None:
            return None
        seen = PageSeen(
            walk=self._walks,
            number=request.number,
            kind=request.kind,
            url=request.url,
            headers=answer.headers,
            observed_at=observed_at,
            parser=reader.parser,
            parser_version=reader.parser_version,
        )
        return await self._evidence.keep(answer.body, seen)

    async def _find_known(self, request: PageRequest, reading: str) -> KnownPage | None:
        if request.memory is None:
            return None
        return await self._filter.find_known_page(request.memory, reading, self._tell_time())

    def _note_disallowed(self, request: PageRequest, listing_id: str) -> None:
        """Count a listing whose page is not ours to read as there: the shop names it, and says no more."""
        self._disallowed += 1
        self._note_listings([listing_id])
        reject = RejectedObservation(
            listing_id=listing_id,
            reason=RejectReason.ROBOTS_DISALLOWED,
            detail=clean_text(f"robots.txt disallows {request.url}", _MAX_DETAIL),
            position=f"page {request.number}",
        )
        self._note_rejected([reject])

    def _count_page(self, page: ParsedPage) -> None:
        self._pages += 1
        CRAWL_PAGES.labels(self._shop.slug).inc()
        self._note_listings(page.listing_ids)
        self._note_rejected(page.rejected)

    async def _publish_changed(
        self, observations: Sequence[ListingObserved], number: int, known: KnownPage | None
    ) -> None:
        # Seen and published within this very second already: left for a later look.
        news = [
            event for event in observations if self._published_at.get(event.listing_id) != event.observed_at
        ]
        changed = await self._filter.find_changed(news)
        if self._barcodes is not None:
            changed = await self._barcodes.add_barcodes(changed)
        self._unsettled = True
        if changed:
            await self._append(changed)
        await self._filter.record(news, changed, number, known)
        self._unsettled = False
        self._changed += len(changed)
        self._published_at.update((event.listing_id, event.observed_at) for event in changed)
        CRAWL_LISTINGS.labels(self._shop.slug, "changed").inc(len(changed))
        CRAWL_LISTINGS.labels(self._shop.slug, "unchanged").inc(len(observations) - len(changed))
        if self._barcodes is not None and self._barcodes.refusal is not None:
            raise self._barcodes.refusal

    async def _append(self, events: Sequence[Event]) -> None:
        messages = [
            Message(key=self._shop.slug, value=self._encode(event), headers={"event": event_name(event)})
            for event in events
        ]
        if self._lease is not None:
            await self._lease.check()
        await self._publisher.publish(messages)

    def _note_listings(self, listing_ids: Sequence[str]) -> None:
        new = [listing_id for listing_id in listing_ids if listing_id not in self._listing_ids]
        size = self._listing_ids_bytes + sum(map(measure_text, new))
        if size > MAX_LISTING_IDS_BYTES:
            detail = f"the ids of over {len(self._listing_ids)} listings take more than one event holds"
            raise CrawlStoppedError(CrawlReason.TOO_LARGE, detail)
        self._listing_ids_bytes = size
        self._listing_ids.update(dict.fromkeys(new))

    def _note_rejected(self, rejected: Sequence[RejectedObservation]) -> None:
        for reject in rejected:
            # A page that is read again replaces what it said; beyond the limit only the number is kept.
            full = len(self._rejected) >= MAX_REJECTED and reject.position not in self._rejected
            self._rejected[reject.position] = None if full else reject
        CRAWL_LISTINGS.labels(self._shop.slug, "rejected").inc(len(rejected))

    def _make_completed(self, judgement: Judgement, requests: int) -> CrawlCompleted:
        rejected = choose_rejected(reject for reject in self._rejected.values() if reject is not None)
        return CrawlCompleted(
            event_id=crawl_event_id(self._crawl_id),
            shop=self._shop.slug,
            crawl_id=self._crawl_id,
            started_at=self._started_at,
            completed_at=self._tell_time(),
            complete=judgement.reason is CrawlReason.COMPLETE,
            reason=judgement.reason.value,
            detail=clean_text(judgement.detail, _MAX_DETAIL),
            pages=self._pages,
            requests=requests,
            listing_ids=tuple(self._listing_ids),
            changed=self._changed,
            rejected=rejected,
            rejected_total=len(self._rejected),
        )

    def _tell_time(self) -> datetime:
        # Never backwards within a crawl, whatever the system's clock does.
        self._latest = max(self._latest, self._clock())
        return self._latest


def judge_error(error: CrawlStoppedError | PageError) -> tuple[Judgement, float | None]:
    """Turn what ended a crawl into its judgement and the pause that the shop asks for."""
    pause = error.retry_after_seconds if isinstance(error, CrawlStoppedError) else None
    return Judgement(error.reason, error.detail), pause
