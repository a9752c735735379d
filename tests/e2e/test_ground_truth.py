"""A simulated month, crawled and ingested for real, against the world's own record."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from tests.e2e.history import expect_histories, fetch_histories, find_differences
from tests.e2e.platforms import RoundClock, open_test_platform

from skatestock.cli.crawling import CrawlWorker
from skatestock.cli.processes import ingest_until_idle
from skatestock.crawl.shops import derive_demo_shops, load_shops
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

START_AT = datetime(2026, 9, 15, 8, tzinfo=UTC)
ROUNDS = [START_AT + timedelta(hours=8 * number) for number in range(91)]


async def test_after_a_simulated_month_the_price_points_equal_the_worlds_own_record(
    database_dsn: str, valkey_url: str
) -> None:
    world = World(20260915, START_AT, listings_per_shop=60)
    async with ReplicaServers(world) as replica, open_test_platform(database_dsn, valkey_url) as platform:
        clock = RoundClock(START_AT)
        shops = derive_demo_shops(load_shops(), replica.addresses.shop_urls)
        worker = CrawlWorker(platform, shops, clock)
        await worker.prepare(only=True)
        for moment in ROUNDS:
            replica.clock.set_to(moment)
            clock.now = moment
            outcomes = await asyncio.gather(*(worker.crawl_now(slug) for slug in worker.shops))
            assert [outcome and outcome.reason.value for outcome in outcomes] == ["complete"] * 5
        await ingest_until_idle(platform, asyncio.Event())
        truth = world.truth()
    found = await fetch_histories(database_dsn)
    expected = expect_histories(truth, ROUNDS)
    differences = find_differences(found, expected)
    assert not differences, f"{len(differences)} histories differ:\n" + "\n".join(differences[:5])
    # The month must have been worth the test.
    kinds = Counter(record.kind for record in truth)
    assert min(kinds[kind] for kind in ("price", "stock", "vanished", "returned")) > 0, kinds
    assert sum(map(len, expected.values())) > len(expected) + 1000
