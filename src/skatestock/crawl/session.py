"""Crawls of several shops at once, in a process whose event loop has a reactor (`crawling_reactor`)."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from skatestock.crawl.completeness import Judgement
from skatestock.crawl.errors import CrawlStoppedError, PageError
from skatestock.crawl.fetching import crawling_reactor, open_fetcher
from skatestock.crawl.filter import UnchangedFilter
from skatestock.crawl.middlewares import Manners
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.ports import (
    EvidenceKeeper,
    LastFingerprints,
    LeaseGuard,
    ListingCounts,
    Publisher,
    RobotsMemory,
    SpacingGate,
)
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.shops import Shop
from skatestock.crawl.walk import CrawlOutcome, Encode, ShopCrawl, judge_error
from skatestock.events.codec import encode
from skatestock.telemetry.logs import get_logger
from skatestock.vocabulary.time import Clock, utc_now

__all__ = [
    "CrawlOutcome",
    "CrawlPorts",
    "CrawlRequest",
    "connect_cache",
    "crawl_shop",
    "crawl_shops",
    "crawling_reactor",
]

_log = get_logger(__name__)


class CrawlRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One crawl to be made."""

    shop: Shop
    crawl_id: str
    """Never used before."""
    filter_state: Mapping[str, str] | None = None
    """What the outcome of the shop's last crawl said, or None: then the cache is not trusted."""
    after: datetime | None = None
    """The latest moment known of anything seen in the shop (the end of its last crawl, or what the catalogue
    knows if that one died): everything seen now is later, even if the system's clock was set back."""
    lease: LeaseGuard | None = None
    public_only: bool = False
    """Whether the shop may only be at a public address: one that a person did not put into the file."""
    unfinished_before: bool = False
    """Whether an earlier crawl of the shop appended something and never ended, with no complete crawl since.
    On Kafka what it appended last may arrive at any later time, so neither cache nor catalogue can say what
    the log will hold: this crawl says everything it sees, and whatever arrives late is older."""


class CrawlPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What crawls need of the other rooms."""

    publisher: Publisher
    last_fingerprints: LastFingerprints
    listing_counts: ListingCounts
    spacing_gate: SpacingGate
    cache: Redis | None = None
    """A client of Valkey that returns bytes, as `connect_cache` makes it; None where there is none."""
    evidence: EvidenceKeeper | None = None
    """Keeps the bodies of one crawl; None keeps none."""
    robots_memory: RobotsMemory | None = None
    """Without it, robots.txt must be had in every crawl."""
    encode: Encode = encode
    """Where a schema registry gives out the ids, its codec's."""


class _Ending(msgspec.Struct, frozen=True):
    judgement: Judgement
    requests: int
    retry_after_seconds: float | None = None


def connect_cache(url: str, timeout_seconds: float = 2.0) -> Redis:
    """Make a client of Valkey or Redis that gives up early: a crawl works without a cache, only slower."""
    client: Redis = Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 1),
        decode_responses=False,
    )
    return client


async def crawl_shops(
    requests: Sequence[CrawlRequest],
    ports: CrawlPorts,
    politeness: Politeness,
    clock: Clock = utc_now,
    stop: asyncio.Event | None = None,
) -> list[CrawlOutcome | BaseException]:
    """Crawl several shops at once and return how each ended, in the order of the requests.

    Where a crawl raised (see `crawl_shop`) its error stands in place of its outcome, and the others go on.
    """
    return await asyncio.gather(
        *(crawl_shop(request, ports, politeness, clock, stop) for request in requests),
        return_exceptions=True,
    )


async def crawl_shop(
    request: CrawlRequest,
    ports: CrawlPorts,
    politeness: Politeness,
    clock: Clock = utc_now,
    stop: asyncio.Event | None = None,
) -> CrawlOutcome:
    """Crawl one shop and say on the log what was seen and how it ended, whatever the shop did.

    When `stop` is set, or the task is cancelled, the crawl ends as `interrupted`. Raises what the publisher
    or the lease raised: then the crawl has no end on the log, and the next one trusts no cache.
    """
    crawl = await _begin(request, ports, clock)
    manners = Manners(
        politeness,
        ports.spacing_gate,
        request.shop.robots_agent,
        robots_memory=ports.robots_memory,
        public_only=request.public_only,
    )
    reading = asyncio.create_task(_read(crawl, request.shop, ports.listing_counts, manners))
    try:
        await _wait_for(reading, stop)
    except asyncio.CancelledError:
        if await _cancel(reading):
            await crawl.complete(
                Judgement(CrawlReason.INTERRUPTED, "the crawl was cancelled"), manners.requests
            )
        raise
    if await _cancel(reading):
        ending = _Ending(
            Judgement(CrawlReason.INTERRUPTED, "the process was asked to stop"), manners.requests
        )
    else:
        ending = reading.result()
    outcome = await crawl.complete(ending.judgement, ending.requests, ending.retry_after_seconds)
    _report(outcome)
    return outcome


async def _begin(request: CrawlRequest, ports: CrawlPorts, clock: Clock) -> ShopCrawl:
    unchanged = await UnchangedFilter.open(
        ports.cache,
        request.shop.slug,
        request.crawl_id,
        request.filter_state,
        ports.last_fingerprints,
        believe_nothing=request.unfinished_before,
        now=clock(),
    )
    return ShopCrawl(
        request.shop,
        request.crawl_id,
        unchanged=unchanged,
        publisher=ports.publisher,
        encode=ports.encode,
        evidence=ports.evidence,
        lease=request.lease,
        clock=clock,
        after=request.after,
    )


async def _read(crawl: ShopCrawl, shop: Shop, counts: ListingCounts, manners: Manners) -> _Ending:
    limit = _TimeLimit(manners)
    try:
        async with limit.timeout as deadline, open_fetcher(manners) as fetcher:
            judgement = await crawl.read_shop(
                fetcher.fetch, counts, manners.politeness, fetcher.fetch_once, limit.foresee
            )
    except (CrawlStoppedError, PageError) as error:
        judgement, pause = judge_error(error)
        return _Ending(judgement, manners.requests, pause)
    except TimeoutError:
        if not deadline.expired():
            raise
        return _Ending(Judgement(CrawlReason.TIMED_OUT, limit.describe()), manners.requests)
    return _Ending(judgement, manners.requests)


class _TimeLimit:
    """The deadline of one crawl; it moves with what the shop is found to hold and how slowly we may ask."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._started_at = asyncio.get_running_loop().time()
        self._seconds = manners.politeness.crawl_timeout_seconds
        self._foreseen = 0
        self.timeout = asyncio.timeout_at(self._started_at + self._seconds)

    def foresee(self, requests: int) -> None:
        """Give the crawl the time that so many requests take, as far as the limits allow."""
        self._foreseen = requests
        seconds = self._manners.politeness.limit_crawl(requests, self._manners.spacing_seconds)
        # What has run out already does not come back.
        if seconds != self._seconds and not self.timeout.expired():
            self._seconds = seconds
            self.timeout.reschedule(self._started_at + seconds)

    def describe(self) -> str:
        """Say what the crawl could not do in its time."""
        known = f", with {self._manners.requests} of some {self._foreseen} requests made"
        return f"the crawl took longer than {self._seconds:.0f} s{known if self._foreseen else ''}"


async def _wait_for(reading: "asyncio.Task[_Ending]", stop: asyncio.Event | None) -> None:
    if stop is None:
        await asyncio.wait([reading])
        return
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()


async def _cancel(reading: "asyncio.Task[_Ending]") -> bool:
    """Cancel what is not done and tell whether it had to be."""
    reading.cancel()
    await asyncio.wait([reading])
    return reading.cancelled()


def _report(outcome: CrawlOutcome) -> None:
    log = _log.info if outcome.complete else _log.warning
    log(
        "crawl_completed",
        shop=outcome.shop,
        crawl_id=outcome.crawl_id,
        reason=outcome.reason.value,
        detail=outcome.detail,
        pages=outcome.pages,
        requests=outcome.requests,
        listings=outcome.listings,
        changed=outcome.changed,
        rejected=outcome.rejected,
    )
