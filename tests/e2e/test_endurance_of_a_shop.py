"""A shop that fails for weeks, crawled for real: backed off, given up with one alert, and back by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.e2e.watched_shop import SHOP, WatchedShop, watch_shop

from skatestock.catalog.freshness import FAILING_AFTER, Freshness
from skatestock.cli.crawling import KIND
from skatestock.jobs.queries import fetch_now, find_jobs
from skatestock.replica.faults import Fault
from skatestock.telemetry.metrics import SHOPS_DISABLED, SHOPS_RECOVERED

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

HOUR = timedelta(hours=1)
_AGED = """
    UPDATE job_leases SET consecutive_failures = 49, state = state || jsonb_build_object('failing_since',
        to_char((now() - interval '15 days') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
"""


async def state_of(shop: WatchedShop) -> Freshness:
    return (await shop.fetch_status()).freshness(shop.now)


async def pause_of(shop: WatchedShop) -> float:
    """Tell in how many hours the shop is asked again."""
    async with shop.platform.pool.acquire() as connection:
        (job,) = await find_jobs(connection, KIND)
        assert job.enabled, "a shop that is given up is looked at now and then"
        return (job.due_at - await fetch_now(connection)) / HOUR


async def test_a_shop_that_fails_for_weeks_is_given_up_once_and_comes_back_by_itself(
    database_dsn: str, valkey_url: str
) -> None:
    alerts, recoveries = SHOPS_DISABLED.labels(SHOP), SHOPS_RECOVERED.labels(SHOP)
    before = alerts._value.get(), recoveries._value.get()
    async with watch_shop(database_dsn, valkey_url) as shop:
        assert (await shop.crawl()).complete
        seen_whole_at = (await shop.fetch_status()).last_complete_at
        shown = await shop.fetch_shown()
        shop.replica.set_fault(Fault(SHOP, "unavailable"))
        pauses = []
        for number in range(1, FAILING_AFTER + 2):
            assert (await shop.step()).reason == "server_error"
            assert await state_of(shop) is (Freshness.FAILING if number >= FAILING_AFTER else Freshness.STALE)
            pauses.append(await pause_of(shop))
        # After the second failure the pause doubles each time.
        assert pauses == sorted(pauses)
        assert [round(pause, 1) for pause in pauses[1:]] == [1.0, 2.0, 4.0]

        await shop.platform.pool.execute(_AGED)
        for _ in range(2):
            assert (await shop.step()).reason == "server_error"
            assert await state_of(shop) is Freshness.DISABLED
            assert 23 < await pause_of(shop) <= 24
        assert alerts._value.get() == before[0] + 1, "one alert, however often it fails from then on"
        assert (await shop.fetch_status()).last_complete_at == seen_whole_at
        assert await shop.fetch_shown() == shown, "what is known of the shop stays"

        shop.replica.board.clear()
        assert (await shop.step()).complete
        assert await state_of(shop) is Freshness.FRESH
        assert recoveries._value.get() == before[1] + 1
        await shop.check_caught_up()
