"""A shop that fails for long is left alone, given up with one alert, and taken back by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.e2e.platforms import open_test_platform
from tests.ingest_shop import add_shop

from skatestock.catalog.commands_shops import disable_shop, enable_shop
from skatestock.catalog.crawl_queries import fetch_shop_statuses
from skatestock.catalog.freshness import Freshness
from skatestock.cli.crawl_ends import finish_crawl
from skatestock.cli.crawling import KIND, job_of
from skatestock.cli.robots_memory import MAX_AGE, CatalogRobots
from skatestock.crawl.ports import KnownRobots
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.session import CrawlOutcome
from skatestock.database.pool import Pool
from skatestock.database.transactions import transaction
from skatestock.jobs.commands import claim_due_job, ensure_jobs, switch_job
from skatestock.jobs.model import Job
from skatestock.jobs.queries import fetch_now, find_jobs
from skatestock.telemetry.metrics import SHOPS_DISABLED, SHOPS_RECOVERED

SHOP = "labor"
HOUR = timedelta(hours=1)


@pytest.fixture
async def pool(database_dsn: str) -> AsyncIterator[Pool]:
    async with open_test_platform(database_dsn, None) as platform:
        await add_shop(platform.pool, SHOP)
        async with platform.pool.acquire() as connection:
            await ensure_jobs(connection, KIND, {job_of(SHOP): 1800}, await fetch_now(connection))
        yield platform.pool


def outcome(reason: CrawlReason, retry_not_before: datetime | None = None) -> CrawlOutcome:
    now = datetime.now().astimezone()
    return CrawlOutcome(
        shop=SHOP,
        crawl_id="one",
        complete=reason is CrawlReason.COMPLETE,
        reason=reason,
        detail="it answered 500",
        started_at=now,
        completed_at=now.replace(microsecond=0),
        pages=0,
        requests=1,
        listings=0,
        changed=0,
        rejected=0,
        retry_not_before=retry_not_before,
        filter_state=None,
    )


async def crawl(pool: Pool, reason: CrawlReason, retry_not_before: datetime | None = None) -> Job:
    """End a crawl so, and return its job as it stands then."""
    async with transaction(pool) as connection:
        now = await fetch_now(connection)
        lease = await claim_due_job(connection, KIND, "test", now, 60, force=True)
        assert lease is not None
        await finish_crawl(connection, lease, outcome(reason, retry_not_before))
        (job,) = await find_jobs(connection, KIND)
    return job


async def pretend(pool: Pool, failures: int, since: timedelta) -> None:
    """Make it so that the shop has failed so often, for so long."""
    await pool.execute(
        "UPDATE job_leases SET consecutive_failures = $1, state = jsonb_build_object('failing_since',"
        " to_char((now() - $2::interval) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))",
        failures,
        since,
    )


async def state_of(pool: Pool) -> tuple[Freshness, str | None]:
    async with pool.acquire() as connection:
        (status,) = await fetch_shop_statuses(connection)
        return status.freshness(await fetch_now(connection)), status.disabled_because


async def wait_of(pool: Pool, job: Job) -> timedelta:
    async with pool.acquire() as connection:
        return job.due_at - await fetch_now(connection)


def count(metric: Any) -> float:
    value: float = metric.labels(SHOP)._value.get()
    return value


async def test_each_failure_doubles_the_pause_and_a_success_ends_it(pool: Pool) -> None:
    waits = []
    for _ in range(4):
        job = await crawl(pool, CrawlReason.SERVER_ERROR)
        waits.append(round((await wait_of(pool, job)) / HOUR, 1))
    assert waits == [0.5, 1.0, 2.0, 4.0]
    assert job.consecutive_failures == 4
    job = await crawl(pool, CrawlReason.COMPLETE)
    assert job.consecutive_failures == 0
    assert "failing_since" not in job.state
    assert await wait_of(pool, job) <= 4 * HOUR


async def test_a_crawl_of_ours_that_was_stopped_counts_for_nothing(pool: Pool) -> None:
    await crawl(pool, CrawlReason.SERVER_ERROR)
    before = (await crawl(pool, CrawlReason.SERVER_ERROR)).state["failing_since"]
    job = await crawl(pool, CrawlReason.INTERRUPTED)
    assert (job.consecutive_failures, job.state["failing_since"]) == (2, before)


async def test_the_pause_that_a_shop_asks_for_counts_where_it_is_longer(pool: Pool) -> None:
    async with pool.acquire() as connection:
        until = await fetch_now(connection) + 9 * HOUR
    assert (await crawl(pool, CrawlReason.BLOCKED, until)).due_at == until


async def test_a_lost_shop_is_disabled_with_one_alert_and_tried_once_a_day(pool: Pool) -> None:
    alerts = count(SHOPS_DISABLED)
    await pretend(pool, 48, timedelta(days=15))
    await crawl(pool, CrawlReason.SERVER_ERROR)
    assert (await state_of(pool))[1] is None
    for _ in range(3):
        job = await crawl(pool, CrawlReason.SERVER_ERROR)
        assert await state_of(pool) == (Freshness.DISABLED, "failing")
        assert 23 * HOUR < await wait_of(pool, job) <= 24 * HOUR
        assert job.enabled
    assert count(SHOPS_DISABLED) == alerts + 1


async def test_a_probe_that_sees_the_shop_whole_wakes_it(pool: Pool) -> None:
    recovered = count(SHOPS_RECOVERED)
    await pretend(pool, 60, timedelta(days=20))
    await crawl(pool, CrawlReason.UNREACHABLE)
    assert await state_of(pool) == (Freshness.DISABLED, "failing")
    await crawl(pool, CrawlReason.COMPLETE)
    assert (await state_of(pool))[1] is None
    assert count(SHOPS_RECOVERED) == recovered + 1


async def test_what_an_operator_disabled_is_woken_by_nobody_else(pool: Pool) -> None:
    async with transaction(pool) as connection:
        now = await fetch_now(connection)
        assert await disable_shop(connection, SHOP, now, "operator")
        assert not await disable_shop(connection, SHOP, now, "failing")
    await crawl(pool, CrawlReason.COMPLETE)
    assert await state_of(pool) == (Freshness.DISABLED, "operator")
    async with transaction(pool) as connection:
        await switch_job(connection, job_of(SHOP), now, enabled=False)
        assert await claim_due_job(connection, KIND, "test", now, 60, force=True) is None
        assert await enable_shop(connection, SHOP)
        assert not await enable_shop(connection, SHOP)
        assert await switch_job(connection, job_of(SHOP), now, enabled=True)
        lease = await claim_due_job(connection, KIND, "test", now, 60)
    assert lease is not None
    assert lease.consecutive_failures == 0


async def test_a_robots_txt_is_remembered_for_a_day(pool: Pool) -> None:
    async with pool.acquire() as connection:
        now = await fetch_now(connection)
    memory = CatalogRobots(pool, lambda: now)
    assert await memory.find("shop.example") is None
    await memory.keep("shop.example", KnownRobots(b"User-agent: *\n"))
    await memory.keep("bare.example", KnownRobots(None))
    later = CatalogRobots(pool, lambda: now + MAX_AGE)
    assert await later.find("shop.example") == KnownRobots(b"User-agent: *\n")
    assert await later.find("bare.example") == KnownRobots(None)
    too_late = CatalogRobots(pool, lambda: now + MAX_AGE + timedelta(seconds=1))
    assert await too_late.find("shop.example") is None
