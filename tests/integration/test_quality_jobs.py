"""Who checks data quality, and when: after a crawl, by one process at a time, beside an ingest at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from tests.e2e.platforms import open_test_platform
from tests.ingest_shop import SHOP, add_shop, ended, ingest, make_batch, offer, seen

from skatestock.catalog.commands_quality import check_shop_quality
from skatestock.cli.platform import Platform
from skatestock.cli.quality_checks import QUALITY, check_quality
from skatestock.database.transactions import transaction
from skatestock.ingest.consumer import IngestHandler
from skatestock.jobs.commands import claim_due_job
from skatestock.jobs.queries import fetch_now, find_jobs
from skatestock.vocabulary.normaliser import current_normaliser

PICTURE = "https://shop.example/deck.jpg"


@pytest.fixture
async def platform(database_dsn: str) -> AsyncIterator[Platform]:
    async with open_test_platform(database_dsn, None) as platform:
        await add_shop(platform.pool)
        # Time that goes by makes a shop of the tests stale, which is not what they are about.
        await platform.pool.execute("UPDATE shops SET enabled = false")
        yield platform


def sight(minute: int, image_url: str | None = None) -> Any:
    return seen(minute, offer(options={"Size": "8.25"}), image_url=image_url)


def gauge(kind: str, severity: str, shop: str = SHOP) -> float | None:
    words = {"shop": shop, "kind": kind, "severity": severity}
    return REGISTRY.get_sample_value("skatestock_quality_issues", words)


async def open_kinds(platform: Platform) -> list[str]:
    query = "SELECT kind FROM quality_issues WHERE resolved_at IS NULL ORDER BY 1"
    return [row[0] for row in await platform.pool.fetch(query)]


async def hold_job(platform: Platform, seconds: float) -> None:
    async with platform.pool.acquire() as connection:
        now = await fetch_now(connection)
        jobs = [f"{QUALITY}:{SHOP}"]
        assert await claim_due_job(connection, QUALITY, "another", now, seconds, jobs, force=True)


async def test_a_shop_is_checked_when_a_crawl_has_ended_and_not_before(platform: Platform) -> None:
    assert await check_quality(platform) == 1, "a new shop is due at once"
    assert await check_quality(platform) == 0
    await ingest(platform.pool, sight(0))
    assert await check_quality(platform) == 0, "what a crawl has not ended is half a shop"
    await ingest(platform.pool, ended(0, "1"))
    assert await check_quality(platform) == 1
    assert await open_kinds(platform) == ["missing_image"]
    assert await check_quality(platform) == 0
    assert await check_quality(platform, force=True) == 1


async def test_without_crawls_a_shop_is_checked_every_few_minutes(platform: Platform) -> None:
    await check_quality(platform)
    await platform.pool.execute("UPDATE job_leases SET due_at = due_at - $1::interval", timedelta(minutes=5))
    assert await check_quality(platform) == 1
    assert await check_quality(platform) == 0
    async with platform.pool.acquire() as connection:
        (job,) = await find_jobs(connection, QUALITY)
    assert (job.job, job.last_outcome, job.holder) == (f"quality:{SHOP}", "done", None)


async def test_the_gauges_count_open_issues_and_read_zero_when_they_are_resolved(platform: Platform) -> None:
    await ingest(platform.pool, sight(0), ended(0, "1"))
    await check_quality(platform)
    assert gauge("missing_image", "info") == 1
    assert gauge("price_zero", "error") == 0
    await ingest(platform.pool, sight(30, PICTURE), ended(30, "1"))
    await check_quality(platform)
    assert gauge("missing_image", "info") == 0


async def test_a_shop_that_another_process_checks_is_left_to_it(platform: Platform) -> None:
    await check_quality(platform)
    await ingest(platform.pool, sight(0), ended(0, "1"))
    await hold_job(platform, 60)
    assert await check_quality(platform, force=True) == 0
    assert await open_kinds(platform) == []
    await platform.pool.execute("UPDATE job_leases SET leased_until = now() - interval '1 second'")
    assert await check_quality(platform) == 1, "the other one has died"


async def test_a_check_whose_lease_was_lost_writes_nothing(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ingest(platform.pool, sight(0), ended(0, "1"))

    async def lose_the_lease(*arguments: Any, **options: Any) -> Any:
        check = await check_shop_quality(*arguments, **options)
        await arguments[0].execute("UPDATE job_leases SET token = token + 1")
        return check

    with monkeypatch.context() as patched:
        patched.setattr("skatestock.cli.quality_checks.check_shop_quality", lose_the_lease)
        assert await check_quality(platform) == 0
    assert await open_kinds(platform) == []


async def test_a_check_that_the_database_refuses_waits_and_keeps_no_other_shop_from_its_own(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_shop(platform.pool, "zoo")

    async def fail_for_one(connection: Any, shop: str, *rest: Any, **options: Any) -> Any:
        if shop == SHOP:
            await connection.execute("SET LOCAL statement_timeout = 1; SELECT pg_sleep(1)")
        return await check_shop_quality(connection, shop, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr("skatestock.cli.quality_checks.check_shop_quality", fail_for_one)
        assert await check_quality(platform) == 1
        assert await check_quality(platform) == 0, "not again before its next beat"
    async with platform.pool.acquire() as connection:
        failed, done = await find_jobs(connection, QUALITY)
    assert (failed.last_outcome, failed.consecutive_failures) == ("QueryCanceledError", 1)
    assert (done.last_outcome, done.consecutive_failures) == ("done", 0)


async def test_a_check_neither_waits_for_an_ingest_at_work_nor_sees_half_of_it(platform: Platform) -> None:
    await ingest(platform.pool, sight(0), ended(0, "1"))
    async with transaction(platform.pool) as connection:
        await IngestHandler()(connection, make_batch(sight(30, PICTURE), ended(30, "1")))
        assert await asyncio.wait_for(check_quality(platform), 10) == 1
        assert await open_kinds(platform) == ["missing_image"]
    assert await check_quality(platform) == 1, "the crawl that ended meanwhile is not missed"
    assert await open_kinds(platform) == []


async def test_ingest_does_not_wait_for_a_check(platform: Platform) -> None:
    await ingest(platform.pool, sight(0), ended(0, "1"))
    async with transaction(platform.pool) as connection:
        now = await fetch_now(connection)
        await check_shop_quality(connection, SHOP, now, current_normaliser())
        await asyncio.wait_for(ingest(platform.pool, sight(30, PICTURE), ended(30, "1")), 10)
    await check_quality(platform)
    assert await open_kinds(platform) == []


async def test_many_processes_check_beside_an_ingest_and_agree_in_the_end(platform: Platform) -> None:
    async def crawl() -> None:
        for minute in range(0, 300, 30):
            image_url = PICTURE if minute % 60 else None
            await ingest(platform.pool, sight(minute, image_url), ended(minute, "1"))

    async def keep_checking() -> None:
        for _ in range(10):
            await check_quality(platform, force=True)

    await asyncio.gather(crawl(), keep_checking(), keep_checking(), keep_checking())
    await check_quality(platform, force=True)
    assert await open_kinds(platform) == []
    rows = await platform.pool.fetch("SELECT first_seen_at, last_seen_at, resolved_at FROM quality_issues")
    assert all(row[0] <= row[1] <= row[2] for row in rows)
