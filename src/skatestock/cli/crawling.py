"""`skatestock crawl`: leased crawls, wired to the log, the catalogue and the cache."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
from rich.markup import escape

from skatestock.catalog.commands import ensure_shops
from skatestock.catalog.crawl_queries import fetch_last_fingerprints, fetch_listing_counts
from skatestock.cli.crawl_ends import finish_crawl
from skatestock.cli.errors import INCOMPLETE, INTERRUPTED, UsageError
from skatestock.cli.event_topics import PARTITIONS
from skatestock.cli.options import Data, flag, settings_from
from skatestock.cli.platform import Platform, may_have_database, open_platform
from skatestock.cli.processes import ingest_until_idle, stop_on_signals
from skatestock.cli.robots_memory import CatalogRobots
from skatestock.cli.shop_list import WatchedShops, fetch_watched_shops, shop_records
from skatestock.cli.terminal import Terminal
from skatestock.crawl.completeness import EarlierCounts
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.session import (
    CrawlOutcome,
    CrawlPorts,
    CrawlRequest,
    connect_cache,
    crawl_shop,
    crawling_reactor,
)
from skatestock.crawl.shops import Shop, get_shop, load_shops
from skatestock.crawl.spacing import LocalSpacingGate, ValkeySpacingGate
from skatestock.database.transactions import is_transient, retry_transient, transaction
from skatestock.eventlog.port import AppendsWithin, Message, partition_for
from skatestock.evidence.address import open_store
from skatestock.evidence.keeping import CrawlEvidence
from skatestock.evidence.model import KeptCrawl
from skatestock.ingest.consumer import GROUP, TOPIC
from skatestock.jobs.commands import claim_due_job, ensure_jobs, note_progress
from skatestock.jobs.errors import LeaseLostError
from skatestock.jobs.heartbeat import run_with_heartbeat
from skatestock.jobs.model import Lease
from skatestock.jobs.queries import fetch_now
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import RETRIES
from skatestock.telemetry.tracing import start_span
from skatestock.vocabulary.time import Clock, format_moment, parse_moment, utc_now

KIND = "crawl"
_LOOK_EVERY_SECONDS = 1.0
_LOOK_FOR_SHOPS_EVERY_SECONDS = 15.0

_log = get_logger(__name__)


async def crawl(
    *slugs: str,
    once: Annotated[bool, flag("Crawl every shop now, store what was seen, and stop.")] = False,
    data: Data = None,
) -> int:
    """Crawl the shops whenever they are due, until stopped; or some of them right now.

    With the slugs of shops, or with --once, these are crawled at once and the command ends: with exit code 4
    if one of them could not be seen whole. Never are there two crawls of one shop at a time, nor two requests
    to it within two seconds.

    Parameters
    ----------
    slugs
        Shops to crawl now, such as `labor nj`; `skatestock shops` lists them.
    """
    settings = settings_from(data)
    # A mistake in the file, or a slug that no database can know yet, is told before anything is started.
    from_file = load_shops(settings.shops_file)
    if not may_have_database(settings):
        for slug in slugs:
            get_shop(from_file, slug)
    now = once or bool(slugs)
    async with open_platform(settings, "crawl", interactive=now) as platform, crawling_reactor():
        watched = await retry_transient(lambda: _fetch_watched(platform))
        worker = CrawlWorker(platform, _choose(watched, slugs), watched=watched)
        await retry_transient(lambda: worker.prepare(only=not slugs))
        stop = stop_on_signals()
        if now:
            return await _crawl_now(worker, stop)
        await worker.run(stop)
    return 0


async def _fetch_watched(platform: Platform) -> WatchedShops:
    async with platform.pool.acquire() as connection:
        return await fetch_watched_shops(connection, platform.settings)


def _choose(watched: WatchedShops, slugs: Sequence[str]) -> list[Shop]:
    """Choose the shops to crawl; raises UsageError for one that an operator put to rest."""
    for slug in watched.resting.intersection(slugs):
        raise UsageError(f"the shop {slug!r} is disabled; `skatestock shops enable {slug}` wakes it")
    for slug in watched.shadowed:
        _log.warning("shop_shadowed", shop=slug, by="the file of shops, which names it or its address too")
    wanted = [get_shop(watched.shops, slug) for slug in slugs] or list(watched.shops)
    return [shop for shop in wanted if shop.slug not in watched.resting]


async def _crawl_now(worker: "CrawlWorker", stop: asyncio.Event) -> int:
    console = Terminal()
    slugs = ", ".join(worker.shops)
    with console.status(f"crawling {slugs} ..."):
        outcomes = await asyncio.gather(*(worker.crawl_now(slug, stop) for slug in worker.shops))
    for slug, outcome in zip(worker.shops, outcomes, strict=True):
        console.say(f"  {slug:<12} {_describe(outcome)}")
    if stop.is_set():
        return INTERRUPTED
    with console.status("storing what was seen ..."):
        if not await ingest_until_idle(worker.platform, stop):
            return INTERRUPTED
    return 0 if all(outcome is not None and outcome.complete for outcome in outcomes) else INCOMPLETE


def _describe(outcome: CrawlOutcome | None) -> str:
    if outcome is None:
        return "[yellow]not crawled[/]: another process is at it, or the crawl failed; see the log above"
    state = "[green]complete[/]"
    if not outcome.complete:
        why = f": {escape(outcome.detail)}" if outcome.detail else ""
        state = f"[yellow]incomplete[/], {outcome.reason}{why}"
    return (
        f"{state}; {outcome.listings} listings on {outcome.pages} pages, {outcome.changed} changed, "
        f"{outcome.rejected} rejected"
    )


class CrawlWorker:
    """Claims due crawls by lease and makes them, each as one task; never two of one shop."""

    def __init__(
        self,
        platform: Platform,
        shops: Sequence[Shop],
        clock: Clock = utc_now,
        limits: Politeness | None = None,
        watched: WatchedShops | None = None,
    ) -> None:
        self.platform = platform
        self._looks = watched is not None
        self._watched = watched or WatchedShops(shops=())
        self._next_look_at = time.monotonic() + _LOOK_FOR_SHOPS_EVERY_SECONDS
        self.shops: Mapping[str, Shop] = {shop.slug: shop for shop in shops}
        self.clock = clock
        self.limits = limits or Politeness()
        """The limits of its crawls, save spacing and contact, which follow from the settings."""
        self._holder = f"{socket.gethostname()}:{os.getpid()}"
        self._cache = None if platform.redis_url is None else connect_cache(platform.redis_url)
        settings = platform.settings
        keeps = settings.evidence_days > 0
        self._evidence = open_store(settings.evidence_url, settings.evidence_folder) if keeps else None
        self._gate = LocalSpacingGate() if self._cache is None else ValkeySpacingGate(self._cache)
        self._running: set[asyncio.Task[CrawlOutcome | None]] = set()

    async def prepare(self, *, only: bool) -> None:
        """Write the shops into the catalogue and set up their jobs; `only` disables all other shops.

        A shop that was added by command meanwhile is not disabled by that.
        """
        resting = self._watched.resting
        jobs = {
            job_of(shop.slug): shop.crawl_every_seconds
            for shop in self.shops.values()
            if shop.slug not in resting
        }
        async with transaction(self.platform.pool) as connection:
            await ensure_jobs(connection, KIND, jobs, await fetch_now(connection), disable_others=only)
            await ensure_shops(connection, shop_records(self.shops.values()), disable_others=only)

    async def run(self, stop: asyncio.Event) -> None:
        """Crawl whatever is due until `stop` is set; then end the crawls in hand as interrupted."""
        while not stop.is_set():
            await self._look_for_shops()
            lease = await self._claim_patiently()
            if lease is not None:
                self._start(lease, stop)
                continue
            try:
                async with asyncio.timeout(_LOOK_EVERY_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _look_for_shops(self) -> None:
        """Take up, now and then, the shops that were added by command since."""
        if not self._looks or time.monotonic() < self._next_look_at:
            return
        self._next_look_at = time.monotonic() + _LOOK_FOR_SHOPS_EVERY_SECONDS
        try:
            self._watched = watched = await _fetch_watched(self.platform)
            new = [shop for shop in watched.shops if shop.slug not in {*self.shops, *watched.resting}]
            self.shops = {**self.shops, **{shop.slug: shop for shop in new}}
            if new:
                await self.prepare(only=False)
        except Exception as error:
            if not is_transient(error):
                raise
            RETRIES.labels(part="crawl", kind=type(error).__name__).inc()

    async def crawl_now(self, slug: str, stop: asyncio.Event | None = None) -> CrawlOutcome | None:
        """Crawl one shop whether it is due or not; None when another process holds it or the crawl failed."""
        lease = await self._claim(slug)
        return None if lease is None else await self._crawl(lease, stop)

    def _start(self, lease: Lease, stop: asyncio.Event) -> None:
        task = asyncio.create_task(self._crawl(lease, stop), name=lease.job)
        self._running.add(task)
        task.add_done_callback(self._settle)

    def _settle(self, task: "asyncio.Task[CrawlOutcome | None]") -> None:
        """Let a crawl go; one that broke is reported, and due again when its lease runs out."""
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("crawl_broke", job=task.get_name(), exc_info=error)

    async def _claim_patiently(self) -> Lease | None:
        if len(self._running) >= self.platform.settings.crawl_concurrency:
            return None
        try:
            return await self._claim()
        except Exception as error:
            # PostgreSQL may restart under us: what is due stays due.
            if not is_transient(error):
                raise
            RETRIES.labels(part="crawl", kind=type(error).__name__).inc()
            _log.warning("claim_postponed", error=str(error))
            return None

    async def _claim(self, slug: str | None = None) -> Lease | None:
        # others may have set up jobs of shops that this process was never told of
        jobs = [job_of(known) for known in (self.shops if slug is None else [slug])]
        async with self.platform.pool.acquire() as connection:
            return await claim_due_job(
                connection,
                KIND,
                self._holder,
                await fetch_now(connection),
                self.platform.settings.lease_seconds,
                jobs=jobs,
                force=slug is not None,
            )

    async def _crawl(self, lease: Lease, stop: asyncio.Event | None) -> CrawlOutcome | None:
        shop = self.shops[lease.job.removeprefix(f"{KIND}:")]
        try:
            outcome = await run_with_heartbeat(
                self.platform.pool,
                lease,
                self.platform.settings.lease_seconds,
                lambda: self._visit(shop, lease, stop),
            )
            await retry_transient(lambda: self._finish(lease, outcome))
        except LeaseLostError as error:
            _log.warning("crawl_overtaken", shop=shop.slug, error=str(error))
            return None
        except Exception as error:
            # The lease runs out by itself, and the next crawl trusts no cache: nothing is lost but time.
            if not is_transient(error):
                raise
            _log.warning("crawl_failed", shop=shop.slug, error=f"{type(error).__name__}: {error}")
            return None
        return outcome

    async def _visit(self, shop: Shop, lease: Lease, stop: asyncio.Event | None) -> CrawlOutcome:
        after = _find_latest(lease)
        request = CrawlRequest(
            shop=shop,
            crawl_id=f"{shop.slug}-{uuid4().hex}",
            filter_state=lease.state.get("filter"),
            after=after,
            unfinished_before="appended_at" in lease.state,
            public_only=shop.slug in self._watched.public_only,
        )
        publisher = _LeasedPublisher(self.platform, lease, self.clock, after)
        with start_span("crawl", shop=shop.slug, crawl_id=request.crawl_id):
            ports = self._ports(publisher, KeptCrawl(self.clock().date(), shop.slug, request.crawl_id))
            return await crawl_shop(request, ports, self._politeness(shop), self.clock, stop)

    def _ports(self, publisher: "_LeasedPublisher", crawl: KeptCrawl) -> CrawlPorts:
        return CrawlPorts(
            publisher=publisher,
            evidence=None if self._evidence is None else CrawlEvidence(self._evidence, crawl),
            last_fingerprints=_CatalogFingerprints(self.platform),
            listing_counts=_CatalogCounts(self.platform),
            spacing_gate=self._gate,
            cache=self._cache,
            robots_memory=CatalogRobots(self.platform.pool, self.clock),
            encode=self.platform.codec.encode,
        )

    def _politeness(self, shop: Shop) -> Politeness:
        settings = self.platform.settings
        spacing = 0.0 if is_own_replica(shop) else settings.crawl_spacing_seconds
        return msgspec.structs.replace(
            self.limits,
            spacing_seconds=spacing,
            longest_crawl_seconds=settings.crawl_longest_seconds,
            contact=settings.crawl_contact,
        )

    async def _finish(self, lease: Lease, outcome: CrawlOutcome) -> None:
        async with transaction(self.platform.pool) as connection:
            await finish_crawl(connection, lease, outcome)


def job_of(slug: str) -> str:
    """Return the name of a shop's crawl job."""
    return f"{KIND}:{slug}"


def is_own_replica(shop: Shop) -> bool:
    """Tell whether a shop is a replica on this very machine, which needs no politeness."""
    host = urlsplit(shop.url).hostname or ""
    try:
        return shop.demo and ip_address(host).is_loopback
    except ValueError:
        return False


def _find_latest(lease: Lease) -> datetime | None:
    """Find the latest moment of which any crawl of this job has said anything, finished or not."""
    moments = [lease.state[key] for key in ("completed_at", "appended_at") if lease.state.get(key)]
    return max(map(parse_moment, moments), default=None)


@dataclass(frozen=True)
class _LeasedPublisher:
    """Appends under a lease: who lost it cannot say anything more.

    The moment up to which anything was said is kept with the lease first. Should this crawl die, the next one
    begins after it: its observations must not look late to ingest, whatever the clocks do. On tables both are
    one transaction. On a log elsewhere an append that is under way when the lease is lost may still arrive:
    then the next crawl finds that this one left no end, and says everything anew, so that what comes late is
    older than what follows it.
    """

    platform: Platform
    lease: Lease
    clock: Clock
    after: datetime | None

    async def publish(self, messages: Sequence[Message]) -> None:
        """Append all messages or none; raises LeaseLostError when the crawl is another's."""

        await retry_transient(lambda: self._append(messages))

    async def _append(self, messages: Sequence[Message]) -> None:
        log = self.platform.log
        async with transaction(self.platform.pool) as connection:
            await note_progress(connection, self.lease, {"appended_at": format_moment(self._tell_latest())})
            if isinstance(log, AppendsWithin):
                await log.append_within(connection, TOPIC, messages)
                return
        await log.append(TOPIC, messages)

    def _tell_latest(self) -> datetime:
        # The crawl's own moments are never later: those of its clock, or the second after its predecessor.
        return self.clock() if self.after is None else max(self.clock(), self.after + timedelta(seconds=1))


class _CatalogFingerprints:
    """What the catalogue knows for one crawl, if it knows all that the log said when it was first asked."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._vouched_from: int | None = None

    async def fetch(self, shop: str, listing_ids: Sequence[str] | None = None) -> Mapping[str, bytes] | None:
        """Return the last fingerprints, or None while ingest has not caught up with what was said by then."""
        try:
            lags = await self._platform.log.fetch_lag(GROUP, TOPIC)
            lag = lags[partition_for(shop, PARTITIONS)]
            if self._vouched_from is None:
                self._vouched_from = lag.end_offset
            if lag.next_offset < self._vouched_from:
                return None
            async with self._platform.pool.acquire() as connection:
                return await fetch_last_fingerprints(connection, shop, listing_ids)
        except Exception as error:
            if not is_transient(error):
                raise
            return None


@dataclass(frozen=True)
class _CatalogCounts:
    """How many listings the catalogue's crawls of a shop saw."""

    platform: Platform

    async def fetch(self, shop: str) -> EarlierCounts:
        """Return how many listings the shop's last complete crawl saw, and the implausible ones since."""

        async def ask() -> EarlierCounts:
            async with self.platform.pool.acquire() as connection:
                counts = await fetch_listing_counts(connection, shop)
            newest_last = tuple(reversed(counts.implausible_since))
            return EarlierCounts(last_complete=counts.last_complete, implausible_since=newest_last)

        return await retry_transient(ask)


def moments_between(start_at: datetime, end_at: datetime, step_seconds: int) -> list[datetime]:
    """List the moments from start to end at a fixed step, the end always among them."""
    count = max(0, int((end_at - start_at).total_seconds()) // step_seconds)
    moments = [start_at + index * (end_at - start_at) / max(1, count) for index in range(count)]
    return [moment.replace(microsecond=0) for moment in moments] + [end_at]
