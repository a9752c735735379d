"""Maintenance: partitions ahead and retention, by one process at a time, and the truth about how it went."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.e2e.platforms import open_test_platform
from tests.e2e.processes import run_command

from skatestock.cli import processes
from skatestock.cli.errors import INCOMPLETE
from skatestock.cli.platform import Platform, ensure_partitions_ahead
from skatestock.database.partitions import drop_partition, find_partitions
from skatestock.database.pool import Pool
from skatestock.database.transactions import transaction
from skatestock.jobs.commands import claim_due_job, ensure_jobs
from skatestock.jobs.queries import fetch_now, find_jobs

JOB = "maintenance:partitions"


@pytest.fixture
async def platform(database_dsn: str) -> AsyncIterator[Platform]:
    async with open_test_platform(database_dsn, None) as platform:
        yield platform


def maintain_once(platform: Platform) -> int:
    ended = run_command("maintain", "--once", environ={"SKATESTOCK_DATABASE_URL": platform.database_url})
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode


async def claim(platform: Platform, seconds: float) -> None:
    async with platform.pool.acquire() as connection:
        now = await fetch_now(connection)
        await ensure_jobs(connection, processes.MAINTENANCE, {JOB: 3600}, now)
        assert await claim_due_job(connection, processes.MAINTENANCE, "another", now, seconds, force=True)


async def test_partitions_are_made_ahead_and_the_job_says_it_is_done(platform: Platform) -> None:
    assert await asyncio.to_thread(maintain_once, platform) == 0
    async with platform.pool.acquire() as connection:
        (job,) = await find_jobs(connection, processes.MAINTENANCE)
    assert (job.last_outcome, job.holder) == ("done", None)


async def test_maintaining_once_admits_that_another_is_at_it(platform: Platform) -> None:
    await claim(platform, 60)
    assert await asyncio.to_thread(maintain_once, platform) == INCOMPLETE


async def test_maintaining_once_admits_that_the_tables_were_busy_and_can_be_told_again(
    platform: Platform,
) -> None:
    async with transaction(platform.pool) as connection:
        *_, last = await find_partitions(connection, "price_points")
        await drop_partition(connection, "price_points", last.name)
    async with transaction(platform.pool) as connection:
        await connection.execute("LOCK TABLE price_points IN ROW EXCLUSIVE MODE")
        assert await asyncio.to_thread(maintain_once, platform) == INCOMPLETE
    assert await asyncio.to_thread(maintain_once, platform) == 0
    async with platform.pool.acquire() as connection:
        assert last in await find_partitions(connection, "price_points")


async def test_maintenance_that_another_took_over_meanwhile_is_left_to_the_other(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrange = ensure_partitions_ahead

    async def lose_the_lease(pool: Pool) -> list[str]:
        await pool.execute("UPDATE job_leases SET token = token + 1")
        return await arrange(pool)

    monkeypatch.setattr(processes, "ensure_partitions_ahead", lose_the_lease)
    monkeypatch.setenv("SKATESTOCK_DATABASE_URL", platform.database_url)
    assert await processes.maintain(once=True) == INCOMPLETE
