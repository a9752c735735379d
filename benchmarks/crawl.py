"""A whole crawl of one shop with 400 listings, beside bare fetching of the same pages.

A crawl is everything that the crawl process does for it, without pauses between requests: the lease,
robots.txt, the pages through Scrapy, parsing, the unchanged-filter on Valkey, the append to the durable log,
the end of the crawl. Between two crawls an hour passes in the shop, so that some listings have changed. The
limit fetches the same addresses one after another with a plain HTTP client, and unpacks the bodies. A page
that has not changed since the crawl last read it, such as page 1 at the look back, comes to the crawl as a
304 without a body; the limit is sent every body.

    python -m benchmarks.crawl [--rounds 15] [--listings 400]
"""

import argparse
import asyncio
from collections.abc import Sequence
from datetime import timedelta
from statistics import median

import msgspec
from benchmarks.figures import Figure, make_report, publish
from benchmarks.replica_shops import ReplicaShops, open_replica_shops
from benchmarks.rounds import compare, measure_in_turns_async
from benchmarks.servers import Servers, open_servers

from skatestock.cli.crawling import CrawlWorker
from skatestock.cli.platform import open_platform
from skatestock.crawl.platforms.shopify import products_url
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.session import CrawlOutcome, crawling_reactor
from skatestock.replica.client import fetch
from skatestock.settings import Settings

WHAT = "a whole crawl of one shop, without pauses between requests"
SHOP = "labor"
_LIMIT = "bare fetching"
_STEP = timedelta(hours=1)


class Crawls:
    """Crawls of one shop and bare visits to it, in turns."""

    def __init__(self, worker: CrawlWorker, replica: ReplicaShops) -> None:
        self._worker = worker
        self._replica = replica
        self.changed: list[int] = []
        self.outcome: CrawlOutcome | None = None

    async def crawl(self) -> None:
        """Crawl the shop; it must be seen whole."""
        outcome = await self._worker.crawl_now(SHOP)
        if outcome is None or not outcome.complete:
            raise SystemExit(f"the crawl was not complete: {outcome}")
        self.changed.append(outcome.changed)
        self.outcome = outcome

    async def visit(self) -> None:
        """Fetch what a crawl fetches: robots.txt, all pages, the first page once more."""
        assert self.outcome is not None
        url, limit = self._worker.shops[SHOP].url, Politeness().page_limit
        pages = [products_url(url, number, limit) for number in (*range(1, self.outcome.pages), 1)]
        for address in (f"{url}/robots.txt", *pages):
            response = await fetch(address, headers={"Accept-Encoding": "gzip"})
            if response.status != 200 or not response.content():
                raise SystemExit(f"{address}: {response.status}")

    async def pass_time(self) -> None:
        """Let an hour pass in the shop."""
        await self._replica.control.advance(int(_STEP.total_seconds()))


async def measure(servers: Servers, replica: ReplicaShops, rounds: int) -> list[Figure]:
    """Crawl once to know the shop, then take the rounds."""
    settings = msgspec.structs.replace(
        Settings(),
        data=str(servers.folder),
        database_url=servers.postgres.dsn,
        redis_url=servers.valkey.url,
        log_level="warning",
    )
    async with open_platform(settings, "bench") as platform, crawling_reactor():
        worker = CrawlWorker(platform, [shop for shop in replica.shops if shop.slug == SHOP])
        await worker.prepare(only=True)
        crawls = Crawls(worker, replica)
        await crawls.crawl()
        works = {"time": crawls.pass_time, "crawl": crawls.crawl, "visit": crawls.visit}
        taken = await measure_in_turns_async(works, rounds)
    assert crawls.outcome is not None
    note = (
        f"{crawls.outcome.listings} listings, {crawls.outcome.requests} requests, "
        f"{median(crawls.changed[1:]):.0f} listings changed in the median"
    )
    return [compare("whole crawl", taken["crawl"], _LIMIT, taken["visit"], note)]


async def run(rounds: int, listings: int) -> list[Figure]:
    """Start everything and measure."""
    with open_replica_shops(listings) as replica:
        async with open_servers() as servers:
            return await measure(servers, replica, rounds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crawl", description=f"Time of {WHAT}.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--listings", type=int, default=400)
    options = parser.parse_args(arguments)
    return publish(make_report("crawl", WHAT, asyncio.run(run(options.rounds, options.listings))))


if __name__ == "__main__":
    raise SystemExit(main())
