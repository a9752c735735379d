"""A simulated week of ten shops over all platforms, crawled for real, against the world's own record."""

import asyncio
import os
from collections import Counter
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest
from tests.e2e.history import (
    Histories,
    expect_held,
    expect_histories,
    fetch_held,
    fetch_histories,
    find_differences,
)
from tests.e2e.platforms import RoundClock, open_test_platform
from tests.e2e.told_truth import tell_truth
from tests.e2e.watched_shop import LIVELY, QUICK

from skatestock.cli.crawling import CrawlWorker
from skatestock.cli.mixed_world import derive_mixed_shops
from skatestock.cli.processes import ingest_until_idle
from skatestock.replica.model import MIXED_SHOP_SLUGS
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

LISTINGS = int(os.environ.get("SKATESTOCK_TEST_MIXED", "28"))
START_AT = datetime(2026, 9, 14, 6, tzinfo=UTC)
ROUNDS = [START_AT + timedelta(hours=7 * number) for number in range(25)]
# As lively as can be, and now and then a price is mistyped: it waits until a second crawl says it too.
RATES = msgspec.structs.replace(LIVELY, episodes={**LIVELY.episodes, "mistake": 2.0})
LIMITS = msgspec.structs.replace(QUICK, request_timeout_seconds=60, crawl_timeout_seconds=600)


async def test_after_a_simulated_week_the_histories_of_ten_shops_equal_the_truth(
    database_dsn: str, valkey_url: str
) -> None:
    world = World(20260914, START_AT, LISTINGS, RATES, MIXED_SHOP_SLUGS)
    async with ReplicaServers(world) as replica, open_test_platform(database_dsn, valkey_url) as platform:
        clock = RoundClock(START_AT)
        shops = derive_mixed_shops(replica.addresses.shop_urls)
        worker = CrawlWorker(platform, shops, clock, LIMITS)
        await worker.prepare(only=True)
        for moment in ROUNDS:
            replica.clock.set_to(moment)
            clock.now = moment
            outcomes = await asyncio.gather(*(worker.crawl_now(slug) for slug in worker.shops))
            ends = {outcome and (outcome.reason.value, outcome.rejected) for outcome in outcomes}
            assert ends == {("complete", 0)}
        await ingest_until_idle(platform, asyncio.Event())
        truth = [
            record for slug, shop in worker.shops.items() for record in tell_truth(world, slug, shop.platform)
        ]
    truth.sort(key=lambda record: record.at)
    found, expected = await fetch_histories(database_dsn), expect_histories(truth, ROUNDS)
    differences = find_differences(found, expected)
    assert not differences, f"{len(differences)} histories differ:\n" + "\n".join(differences[:5])
    assert await fetch_held(database_dsn) == expect_held(truth, ROUNDS)
    assert any(record.why == "mistake" for record in truth), "no price was doubtful"
    assert await _count_dead_letters(database_dsn) == 0
    _check_worth(found, Counter((record.shop, record.kind) for record in truth))


def _check_worth(found: Histories, happened: Counter[tuple[str, str]]) -> None:
    """The week must have been worth the test in every shop."""
    for shop in MIXED_SHOP_SLUGS:
        points = [len(points) for key, points in found.items() if key.shop == shop]
        assert len(points) > LISTINGS, shop
        assert sum(points) > len(points) + 30, shop
        for kind in ("price", "stock", "vanished", "returned"):
            assert happened[shop, kind], f"nothing {kind} in {shop}"


async def _count_dead_letters(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM dead_letters"))
    finally:
        await connection.close()
