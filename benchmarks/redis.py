"""The unchanged-filter on its cache server: what a page check costs, and how much it keeps off the log.

A page check asks for the last fingerprints of a page's 250 listings, in a shop with 2,000; its limits are a
bare HMGET of the same fields and a bare PING, in turns. It is measured on the embedded Valkey and, where the
system has one, on Redis.

For the hit rate the five replica shops are crawled for a simulated week, every 30 minutes: real crawls over
HTTP, with the log in PostgreSQL. A hit is a listing that was seen and not said again. The first
crawl of each shop, to which everything is new, does not count. The most that any filter could keep back is
what did not change between two crawls, by the replica's own word.

    python -m benchmarks.redis [--samples 1000] [--rounds 336] [--listings 400]
"""

import argparse
import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, cast

import msgspec
from benchmarks.figures import Figure, make_report, publish
from benchmarks.page import make_page
from benchmarks.replica_shops import ReplicaShops, open_replica_shops
from benchmarks.rounds import Samples, percentile, time_in_turns
from benchmarks.servers import Servers, make_folder, open_servers
from redis.asyncio import Redis

from skatestock.cli.crawling import CrawlWorker
from skatestock.cli.platform import open_platform
from skatestock.crawl.filter import UnchangedFilter, fingerprints_key
from skatestock.crawl.observing import Sighting
from skatestock.crawl.platforms.shopify import parse_products_page
from skatestock.crawl.session import CrawlOutcome, connect_cache, crawling_reactor
from skatestock.crawl.shops import get_shop, load_shops
from skatestock.embedded.valkey import EmbeddedValkey
from skatestock.events.model import ListingObserved
from skatestock.settings import Settings

WHAT = "page checks of the unchanged-filter, and its hit rate over a simulated week"
SHOP = "labor"
STEP = timedelta(minutes=30)
_LISTINGS_IN_CACHE = 2000
_MILLISECONDS = 1000.0


class NoCatalogue:
    """Knows nothing: the cache is filled by the crawl itself."""

    async def fetch(self, shop: str, listing_ids: Sequence[str] | None = None) -> dict[str, bytes] | None:
        """Vouch for nothing."""
        return None


async def open_filter(client: Redis, page: Sequence[ListingObserved]) -> UnchangedFilter:
    """Fill the cache as a crawl of a large shop does, and open the filter of the crawl after it."""
    first = await UnchangedFilter.open(client, SHOP, "first", None, NoCatalogue())
    for copy in range(_LISTINGS_IN_CACHE // len(page)):
        events = page if not copy else [_renamed(event, copy) for event in page]
        await first.record(events, await first.find_changed(events))
    state = await first.close(complete=True)
    opened = await UnchangedFilter.open(client, SHOP, "second", state, NoCatalogue())
    if not opened.trusted or await opened.find_changed(page):
        raise SystemExit("the filter does not know the page: nothing was measured")
    return opened


def _renamed(event: ListingObserved, copy: int) -> ListingObserved:
    return msgspec.structs.replace(event, listing_id=f"{event.listing_id}{copy}")


async def measure_page_check(url: str, name: str, samples: int) -> list[Figure]:
    """Time page checks, bare reads and bare round trips in turns."""
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    sighting = Sighting(shop=get_shop(load_shops(), SHOP), crawl_id="bench", observed_at=at)
    page = parse_products_page(make_page(SHOP), sighting).observations
    fields = [event.listing_id for event in page]
    client = connect_cache(url)
    try:
        opened = await open_filter(client, page)
        works: dict[str, Callable[[], Awaitable[object]]] = {
            "check": lambda: opened.find_changed(page),
            "hmget": lambda: cast(Any, client.hmget(fingerprints_key(SHOP), fields)),
            "ping": lambda: cast(Awaitable[object], client.ping()),
        }
        taken = await time_in_turns(works, samples)
    finally:
        await client.aclose()
    return [
        figure
        for limit, called in (("hmget", "bare HMGET"), ("ping", "bare PING"))
        for figure in _compare(f"page check, {name}", taken, limit, called)
    ]


def _compare(name: str, taken: Samples, limit: str, called: str) -> list[Figure]:
    ratio = median(ours / theirs for ours, theirs in zip(taken["check"], taken[limit], strict=True))
    return [
        Figure(
            name=f"{name} p{percent}",
            unit="ms",
            value=percentile(taken["check"], percent) * _MILLISECONDS,
            limit_name=called,
            limit=percentile(taken[limit], percent) * _MILLISECONDS,
            ratio=ratio if percent == 50 else None,
            samples=len(taken["check"]),
        )
        for percent in (50, 99)
    ]


class Week:
    """Crawls of every replica shop at each beat of a simulated week."""

    def __init__(self, replica: ReplicaShops, began_at: datetime) -> None:
        self.now = began_at
        self._replica = replica
        self.outcomes: list[CrawlOutcome] = []

    async def crawl(self, worker: CrawlWorker, rounds: int) -> None:
        """Crawl, count, and let half an hour pass, so many times after a first crawl that does not count."""
        for number in range(rounds + 1):
            crawled = await asyncio.gather(*(worker.crawl_now(slug) for slug in worker.shops))
            for outcome in crawled:
                if outcome is None or not outcome.complete:
                    raise SystemExit(f"a crawl was not complete: {outcome}")
                if number:
                    self.outcomes.append(outcome)
            await self._replica.control.advance(int(STEP.total_seconds()))
            self.now += STEP

    def to_figure(self, differing: int) -> Figure:
        """Tell the share of listings that were seen and not said, beside the most that could have been."""
        seen = sum(outcome.listings for outcome in self.outcomes)
        said = sum(outcome.changed for outcome in self.outcomes)
        rate = 100 * (seen - said) / seen
        limit = 100 * (seen - differing) / seen
        return Figure(
            name="hit rate over a week",
            unit="%",
            value=rate,
            limit_name="unchanged in truth",
            limit=limit,
            ratio=rate / limit,
            samples=len(self.outcomes),
            note=f"{seen:,} listings seen, {said:,} of them said, {differing:,} differed",
        )


async def count_differing(replica: ReplicaShops, began_at: datetime) -> int:
    """Count, from the replica's own record, in how many half hours how many listings changed."""
    records = await replica.control.truth(since=began_at)
    return len({(record.shop, record.listing_id, (record.at - began_at) // STEP) for record in records})


async def measure_week(servers: Servers, replica: ReplicaShops, rounds: int) -> Figure:
    """Crawl the replica shops for a week of theirs."""
    settings = msgspec.structs.replace(
        Settings(),
        data=str(servers.folder),
        database_url=servers.postgres.dsn,
        redis_url=servers.valkey.url,
        log_level="warning",
    )
    began_at = (await replica.control.state()).now
    week = Week(replica, began_at)
    async with open_platform(settings, "bench") as platform, crawling_reactor():
        worker = CrawlWorker(platform, replica.shops, lambda: week.now)
        await worker.prepare(only=True)
        await week.crawl(worker, rounds)
    return week.to_figure(await count_differing(replica, began_at))


async def run(samples: int, rounds: int, listings: int) -> list[Figure]:
    """Start everything and measure."""
    figures: list[Figure] = []
    redis = shutil.which("redis-server")
    with open_replica_shops(listings) as replica:
        async with open_servers() as servers:
            figures += await measure_page_check(servers.valkey.url, "Valkey", samples)
            figures.append(await measure_week(servers, replica, rounds))
    if redis is not None:
        with make_folder() as folder:
            server = EmbeddedValkey(folder / "redis", program=Path(redis))
            await server.start()
            try:
                figures += await measure_page_check(server.url, "Redis", samples)
            finally:
                await server.stop()
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.redis", description=f"Measure {WHAT}.")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=336, help="crawls of each shop, 30 minutes apart")
    parser.add_argument("--listings", type=int, default=400)
    options = parser.parse_args(arguments)
    figures = asyncio.run(run(options.samples, options.rounds, options.listings))
    return publish(make_report("redis", WHAT, figures))


if __name__ == "__main__":
    raise SystemExit(main())
