"""Time from a page's bytes to the price point that another connection can read.

Each sample is one whole crawl of a shop with one page of 250 listings, of which exactly one has a new price.
The clock starts when the page's bytes are handed over and stops when a connection of its own has read the new
price point: between them lie parsing, the unchanged-filter on Valkey, the append to the log under the crawl's
lease, and ingest in a process of its own. Every commit is on the disk before it is answered. Between the
samples, untimed, the crawl is completed, and ingest has nothing left to do.

The limit, measured after every sample: bare JSON decode of the same bytes, one bare INSERT with NOTIFY until
another connection has heard it, and one more bare INSERT and COMMIT: the least that two durable steps take.

    python -m benchmarks.latency [--samples 300]
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from statistics import median
from typing import Protocol

import asyncpg
import msgspec
from benchmarks.figures import Figure, make_report, publish
from benchmarks.rounds import percentile
from benchmarks.servers import Servers, open_servers
from redis.asyncio import Redis

from skatestock.catalog.commands import ensure_shops
from skatestock.cli.crawling import KIND, job_of
from skatestock.cli.event_topics import TOPICS
from skatestock.cli.shop_list import shop_records
from skatestock.crawl.completeness import EarlierCounts
from skatestock.crawl.conditional import Fetched
from skatestock.crawl.filter import FilterState, UnchangedFilter
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.session import connect_cache
from skatestock.crawl.shops import Shop, get_shop, load_shops
from skatestock.crawl.walk import ShopCrawl
from skatestock.database.pool import Pool, connect, create_pool
from skatestock.database.transactions import transaction
from skatestock.eventlog.measured import measure_log
from skatestock.eventlog.port import AppendsWithin, EventLog, Message
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.events.codec import Codec
from skatestock.ingest.consumer import GROUP, TOPIC
from skatestock.jobs.commands import claim_due_job, ensure_jobs, note_progress
from skatestock.jobs.model import Lease
from skatestock.replica.model import Listing
from skatestock.replica.shopify import render_page
from skatestock.replica.world import World
from skatestock.vocabulary.time import format_moment, to_whole_seconds, utc_now

WHAT = "byte received to price point visible, one changed listing on a page of 250"
PRODUCTS = 250
SHOP = "labor"
P50_REACH_MS = 50.0
P99_REACH_MS = 250.0
_WARM_UP = 20
# So that 250 products are less than a full page, and a crawl ends after it.
_ONE_PAGE = Politeness(page_limit=PRODUCTS + 1)
_GIVE_UP_SECONDS = 20.0
_POLL_SECONDS = 0.0005
_LIMIT = "decode, 2 bare commits, NOTIFY"
_FIND_POINT = "SELECT price_minor FROM price_points WHERE offer_id = $1 AND observed_at = $2"
_FIND_OFFERS = "SELECT offer_id, id FROM offers"


class Sample(msgspec.Struct, frozen=True):
    """The seconds of one sample, part by part, and of the limit beside it."""

    read: float
    """From the bytes to the filtered observation."""
    append: float
    ingest: float
    """From the acknowledged append to the price point in the reader's hands."""
    limit: float

    @property
    def total(self) -> float:
        """Return the seconds from bytes to price point."""
        return self.read + self.append + self.ingest


class TimedPublisher:
    """Appends under a lease, as the crawl process does, and notes when it was asked and when it was done."""

    def __init__(self, pool: Pool, log: EventLog, lease: Lease) -> None:
        self._pool = pool
        self._log = log
        self._lease = lease
        self.asked_at = 0.0
        self.done_at = 0.0

    async def publish(self, messages: Sequence[Message]) -> None:
        """Append the messages; see `Publisher`."""
        self.asked_at = time.perf_counter()
        await self._append(messages)
        self.done_at = time.perf_counter()

    async def _append(self, messages: Sequence[Message]) -> None:
        async with transaction(self._pool) as connection:
            await note_progress(connection, self._lease, {"appended_at": format_moment(utc_now())})
            if isinstance(self._log, AppendsWithin):
                await self._log.append_within(connection, TOPIC, messages)
                return
        await self._log.append(TOPIC, messages)


class NoPast:
    """What the catalogue would say of a shop that was never crawled."""

    async def fetch(self, shop: str, listing_ids: Sequence[str] | None = None) -> dict[str, bytes]:
        """Return no fingerprints."""
        return {}


class NoCounts:
    """The same of earlier crawls."""

    async def fetch(self, shop: str) -> EarlierCounts:
        """Return no counts."""
        return EarlierCounts()


class Page:
    """The shop's page, on which one price at a time is changed."""

    def __init__(self) -> None:
        self._at = to_whole_seconds(utc_now())
        shown = World(1, self._at, listings_per_shop=400).state_at(SHOP)[:PRODUCTS]
        self._listings = [listing for listing in shown if listing.present_offers()]

    @property
    def count(self) -> int:
        """Return how many listings it shows."""
        return len(self._listings)

    def render(self) -> bytes:
        """Return the page's bytes."""
        return render_page(self._listings, self._at)

    def change(self, number: int) -> tuple[str, int]:
        """Raise the price of one offer by a dollar; return its id and new price."""
        listing: Listing = self._listings[number * 7 % len(self._listings)]
        offer = listing.present_offers()[0]
        offer.price_minor += 100
        listing.version += 1
        return str(offer.offer_id), offer.price_minor


class Limit(Protocol):
    """What is measured after every sample."""

    async def measure(self, body: bytes, value: bytes) -> float:
        """Return the seconds of the least that has to be done for a page and one message of it."""


class Limits:
    """The bare server beside ours: its own table, its own channel, two connections."""

    def __init__(self, writer: asyncpg.Connection, listener: asyncpg.Connection) -> None:
        self._writer = writer
        self._listener = listener
        self._heard = asyncio.Event()

    async def prepare(self) -> None:
        """Make the table and begin to listen."""
        await self._writer.execute("CREATE TABLE bench_bare (id bigserial PRIMARY KEY, value bytea NOT NULL)")
        await self._listener.add_listener("bench_bare", lambda *_: self._heard.set())

    async def measure(self, body: bytes, value: bytes) -> float:
        """Return the seconds of the least that has to be done."""
        began = time.perf_counter()
        msgspec.json.decode(body)
        self._heard.clear()
        async with self._writer.transaction():
            await self._writer.execute("INSERT INTO bench_bare (value) VALUES ($1)", value)
            await self._writer.execute("NOTIFY bench_bare")
        await self._heard.wait()
        await self._writer.execute("INSERT INTO bench_bare (value) VALUES ($1)", value)
        return time.perf_counter() - began


class Bench:
    """Crawls of one shop, one after another, on running servers."""

    def __init__(
        self, shop: Shop, log: EventLog, codec: Codec, cache: Redis, publisher: TimedPublisher
    ) -> None:
        self._shop = shop
        self._log = log
        self._codec = codec
        self._cache = cache
        self.publisher = publisher
        self._filter_state: FilterState | None = None
        # Each crawl sees the shop a minute after the last: two states must not share a second.
        self._now = to_whole_seconds(utc_now()) - timedelta(hours=12)
        self._crawls = 0

    async def begin(self) -> ShopCrawl:
        """Open the shop's next crawl."""
        self._now += timedelta(minutes=1)
        self._crawls += 1
        crawl_id = f"bench-{self._crawls}"
        unchanged = await UnchangedFilter.open(
            self._cache, self._shop.slug, crawl_id, self._filter_state, NoPast()
        )
        if self._crawls > 1 and not unchanged.trusted:
            raise SystemExit("the filter does not work from Valkey: nothing was measured")
        return ShopCrawl(
            self._shop,
            crawl_id,
            unchanged=unchanged,
            publisher=self.publisher,
            encode=self._codec.encode,
            lease=None,
            clock=lambda: self._now,
            after=None,
        )

    async def read(self, crawl: ShopCrawl, body: bytes) -> tuple[float, datetime]:
        """Let a crawl read its page; return when it got the bytes, and the moment it gives them."""
        received_at = 0.0

        async def fetch(url: str, tag: str | None) -> Fetched:
            nonlocal received_at
            received_at = time.perf_counter()
            return Fetched(body=body)

        self._judgement = await crawl.read_shop(fetch, NoCounts(), _ONE_PAGE)
        return received_at, self._now

    async def finish(self, crawl: ShopCrawl, *, expected_changes: int) -> None:
        """Complete the crawl and wait until ingest has nothing left to do."""
        outcome = await crawl.complete(self._judgement, requests=1)
        if not outcome.complete or outcome.changed != expected_changes:
            raise SystemExit(f"{outcome.reason}, {outcome.changed} changed, not {expected_changes}")
        self._filter_state = outcome.filter_state
        give_up_at = time.monotonic() + _GIVE_UP_SECONDS
        while any(partition.lag for partition in await self._log.fetch_lag(GROUP, TOPIC)):
            if time.monotonic() > give_up_at:
                raise SystemExit("ingest does not catch up")
            await asyncio.sleep(0.005)


async def wait_visible(reader: asyncpg.Connection, offer: int, at: datetime, price_minor: int) -> float:
    """Ask until the price point is there; return when its price was in our hands."""
    give_up_at = time.perf_counter() + _GIVE_UP_SECONDS
    while True:
        found = await reader.fetchval(_FIND_POINT, offer, at)
        seen_at = time.perf_counter()
        if found == price_minor:
            return seen_at
        if seen_at > give_up_at:
            raise SystemExit(f"no price point of {price_minor} within {_GIVE_UP_SECONDS} s; found {found}")
        await asyncio.sleep(_POLL_SECONDS)


async def take_samples(bench: Bench, reader: asyncpg.Connection, limits: Limit, count: int) -> list[Sample]:
    """Crawl the shop for the first time, warm up, and take the samples."""
    page = Page()
    crawl = await bench.begin()
    await bench.read(crawl, page.render())
    await bench.finish(crawl, expected_changes=page.count)
    offers = {str(row["offer_id"]): int(row["id"]) for row in await reader.fetch(_FIND_OFFERS)}
    samples = []
    for number in range(_WARM_UP + count):
        offer_id, price_minor = page.change(number)
        body = page.render()
        crawl = await bench.begin()
        received_at, at = await bench.read(crawl, body)
        seen_at = await wait_visible(reader, offers[offer_id], at, price_minor)
        publisher = bench.publisher
        parts = (
            publisher.asked_at - received_at,
            publisher.done_at - publisher.asked_at,
            seen_at - publisher.done_at,
        )
        await bench.finish(crawl, expected_changes=1)
        samples.append(Sample(*parts, limit=await limits.measure(body, b"x" * 1000)))
    return samples[_WARM_UP:]


@asynccontextmanager
async def run_ingest_process(servers: Servers, more: Mapping[str, str] | None = None) -> AsyncGenerator[None]:
    """Run `skatestock ingest` beside us, as `skatestock up` does; `more` are further settings."""
    with (servers.folder / "ingest.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "skatestock", "ingest"],
            env={**os.environ, **servers.environ, **(more or {})},
            stdout=log,
            stderr=log,
        )
        try:
            yield
            if process.poll() is not None:
                raise SystemExit(f"ingest ended by itself with exit code {process.returncode}")
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 30)


OpenLog = Callable[[Pool], AbstractAsyncContextManager[tuple[EventLog, Codec]]]


@asynccontextmanager
async def open_tables(pool: Pool) -> AsyncGenerator[tuple[EventLog, Codec]]:
    """Open the log in PostgreSQL's tables."""
    log = measure_log(PostgresEventLog(pool, topics=TOPICS))
    try:
        yield log, Codec()
    finally:
        await log.close()


@asynccontextmanager
async def open_bench(servers: Servers, open_log: OpenLog = open_tables) -> AsyncGenerator[Bench]:
    """Connect to the servers with a lease on the shop's crawl."""
    shop = get_shop(load_shops(), SHOP)
    pool = await create_pool(servers.postgres.dsn, application_name="bench crawl", max_size=4)
    cache = connect_cache(servers.valkey.url)
    try:
        async with transaction(pool) as connection:
            await ensure_shops(connection, shop_records([shop]))
            await ensure_jobs(connection, KIND, {job_of(SHOP): 1800}, utc_now())
            lease = await claim_due_job(connection, KIND, "bench", utc_now(), 3600, force=True)
        assert lease is not None, "the folder is new, and so is the job"
        async with open_log(pool) as (log, codec):
            yield Bench(shop, log, codec, cache, TimedPublisher(pool, log, lease))
    finally:
        await cache.aclose()
        await pool.close()


async def run(count: int) -> list[Figure]:
    """Start everything, take the samples, and make figures of them."""
    async with open_servers() as servers, run_ingest_process(servers), open_bench(servers) as bench:
        names = ("reader", "bare writer", "bare listener")
        others = [await connect(servers.postgres.dsn, application_name=f"bench {name}") for name in names]
        try:
            limits = Limits(others[1], others[2])
            await limits.prepare()
            samples = await take_samples(bench, others[0], limits, count)
        finally:
            for connection in others:
                await connection.close()
    return make_figures(samples)


def make_figures(samples: Sequence[Sample]) -> list[Figure]:
    """Turn the samples into the two figures that have a reach, with their parts as notes."""
    figures = []
    for percent, reach in ((50, P50_REACH_MS), (99, P99_REACH_MS)):
        ours = percentile([sample.total for sample in samples], percent)
        limit = percentile([sample.limit for sample in samples], percent)
        figures.append(
            Figure(
                name=f"bytes to visible price point, p{percent}",
                unit="ms",
                value=ours * 1000,
                limit_name=_LIMIT,
                limit=limit * 1000,
                ratio=ours / limit,
                reach=reach,
                samples=len(samples),
                note=_describe_parts(samples) if percent == 50 else "",
            )
        )
    return figures


def _describe_parts(samples: Sequence[Sample]) -> str:
    parts = ("read", "append", "ingest")
    medians = {part: median(getattr(sample, part) for sample in samples) * 1000 for part in parts}
    return "medians: parse and filter {read:.1f} ms, append {append:.1f} ms, ingest {ingest:.1f} ms".format(
        **medians
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=f"Time from {WHAT}.")
    parser.add_argument("--samples", type=int, default=300)
    options = parser.parse_args(arguments)
    return publish(make_report("latency", WHAT, asyncio.run(run(options.samples))))


if __name__ == "__main__":
    raise SystemExit(main())
