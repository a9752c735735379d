"""Leases: one worker per job, late workers fenced, nothing due forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from skatestock.database.pool import Pool, create_pool
from skatestock.database.transactions import transaction
from skatestock.jobs.commands import (
    check_lease,
    claim_due_job,
    ensure_jobs,
    extend_lease,
    finish_job,
    give_back_job,
)
from skatestock.jobs.errors import LeaseLostError
from skatestock.jobs.heartbeat import run_with_heartbeat
from skatestock.jobs.model import Job, Lease
from skatestock.jobs.queries import fetch_now, find_jobs

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
CRAWLS = {"crawl:labor": 1800, "crawl:nj": 1800, "crawl:premier": 600}


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
async def pool(database_dsn: str) -> AsyncIterator[Pool]:
    pool = await create_pool(database_dsn, application_name="job tests")
    await pool.execute("TRUNCATE job_leases")
    async with pool.acquire() as connection:
        await ensure_jobs(connection, "crawl", CRAWLS, NOW)
    yield pool
    await pool.close()


async def claim(
    pool: Pool, now: datetime, *, holder: str = "worker", job: str | None = None, force: bool = False
) -> Lease | None:
    async with pool.acquire() as connection:
        return await claim_due_job(connection, "crawl", holder, now, 60, job and [job], force)


async def claim_labor(pool: Pool, now: datetime = NOW) -> Lease:
    lease = await claim(pool, now, job="crawl:labor")
    assert lease is not None
    return lease


async def finish(pool: Pool, lease: Lease, now: datetime, *, failed: bool = False) -> None:
    async with pool.acquire() as connection:
        await finish_job(
            connection,
            lease,
            now,
            "blocked" if failed else "complete",
            failed,
            {"page": 3},
            now + timedelta(hours=1),
        )


async def get_labor(pool: Pool) -> Job:
    async with pool.acquire() as connection:
        return next(job for job in await find_jobs(connection, "crawl") if job.job == "crawl:labor")


async def test_new_jobs_are_due_at_once_and_each_is_claimed_once(pool: Pool) -> None:
    leases = [await claim(pool, NOW) for _ in range(4)]
    assert [lease and lease.job for lease in leases] == [*CRAWLS, None]
    assert all(lease.leased_until == later(60) and lease.token == 1 for lease in leases if lease)


async def test_the_job_that_is_due_longest_comes_first(pool: Pool) -> None:
    await pool.execute("UPDATE job_leases SET due_at = $1 WHERE job = 'crawl:nj'", later(-5))
    lease = await claim(pool, NOW)
    assert lease is not None
    assert lease.job == "crawl:nj"


async def test_a_job_that_is_not_due_is_claimed_only_by_force(pool: Pool) -> None:
    assert await claim(pool, later(-1)) is None
    assert await claim(pool, later(-1), job="crawl:labor", force=True) is not None


async def test_a_held_job_is_not_even_claimed_by_force(pool: Pool) -> None:
    await claim_labor(pool)
    assert await claim(pool, later(59), job="crawl:labor", force=True) is None
    again = await claim(pool, later(60), job="crawl:labor")
    assert again is not None
    assert again.token == 2


async def test_many_workers_at_once_never_hold_one_job_together(pool: Pool) -> None:
    leases = await asyncio.gather(*(claim(pool, NOW, holder=f"worker-{n}") for n in range(30)))
    held = [lease.job for lease in leases if lease]
    assert sorted(held) == sorted(CRAWLS)


async def test_workers_in_a_race_for_one_job_take_turns(pool: Pool) -> None:
    running = 0
    turns = 0

    async def work() -> None:
        nonlocal running, turns
        while turns < 40:
            lease = await claim(pool, NOW, job="crawl:labor")
            if lease is None:
                continue
            running += 1
            assert running == 1
            await asyncio.sleep(0)
            running -= 1
            turns += 1
            async with pool.acquire() as connection:
                await give_back_job(connection, lease)

    await asyncio.gather(*(work() for _ in range(5)))
    assert (await get_labor(pool)).token == turns


async def test_a_holder_that_was_overtaken_can_neither_extend_nor_check_nor_finish(pool: Pool) -> None:
    late = await claim_labor(pool)
    current = await claim_labor(pool, later(61))
    async with pool.acquire() as connection:
        with pytest.raises(LeaseLostError, match="crawl:labor"):
            await extend_lease(connection, late, later(62), 60)
        with pytest.raises(LeaseLostError):
            await check_lease(connection, late)
        with pytest.raises(LeaseLostError):
            await give_back_job(connection, late)
    with pytest.raises(LeaseLostError):
        await finish(pool, late, later(62))
    job = await get_labor(pool)
    assert (job.token, job.leased_until, job.last_outcome) == (current.token, later(121), None)
    await finish(pool, current, later(63))


async def test_a_lease_that_ran_out_is_still_good_while_nobody_else_has_claimed(pool: Pool) -> None:
    lease = await claim_labor(pool)
    async with pool.acquire() as connection:
        extended = await extend_lease(connection, lease, later(100), 60)
    assert extended.leased_until == later(160)
    assert await claim(pool, later(159), job="crawl:labor") is None
    await finish(pool, extended, later(200))


async def test_finishing_leaves_the_outcome_the_state_and_the_next_due_moment(pool: Pool) -> None:
    lease = await claim_labor(pool)
    await finish(pool, lease, later(10), failed=True)
    job = await get_labor(pool)
    assert (job.holder, job.leased_until, job.last_outcome) == (None, None, "blocked")
    assert (job.last_started_at, job.last_finished_at) == (NOW, later(10))
    assert (job.consecutive_failures, job.due_at) == (1, later(3610))
    again = await claim_labor(pool, later(3610))
    assert (again.state, again.consecutive_failures, again.every_seconds) == ({"page": 3}, 1, 1800)
    await finish(pool, again, later(3620))
    assert (await get_labor(pool)).consecutive_failures == 0


async def test_a_job_is_finished_once(pool: Pool) -> None:
    lease = await claim_labor(pool)
    await finish(pool, lease, later(10))
    with pytest.raises(LeaseLostError):
        await finish(pool, lease, later(20), failed=True)
    assert (await get_labor(pool)).last_finished_at == later(10)


async def test_a_job_given_back_is_due_for_the_next_worker(pool: Pool) -> None:
    lease = await claim_labor(pool)
    async with pool.acquire() as connection:
        await give_back_job(connection, lease)
    assert (await claim_labor(pool)).token == lease.token + 1


async def test_a_checked_lease_cannot_be_taken_before_the_transaction_ends(pool: Pool) -> None:
    lease = await claim_labor(pool)
    async with transaction(pool) as connection:
        await check_lease(connection, lease)
        # the lease has run out by now, and yet what this transaction writes is not overtaken
        assert await claim(pool, later(1000), job="crawl:labor") is None
    assert await claim(pool, later(1000), job="crawl:labor") is not None


async def test_setting_jobs_up_again_keeps_their_beat_and_their_lease(pool: Pool) -> None:
    lease = await claim_labor(pool)
    async with pool.acquire() as connection:
        await ensure_jobs(connection, "crawl", CRAWLS | {"crawl:labor": 60}, later(500))
    job = await get_labor(pool)
    assert (job.every_seconds, job.due_at, job.token, job.leased_until) == (60, NOW, lease.token, later(60))


async def test_a_job_that_is_no_longer_named_is_disabled_and_comes_back_when_it_is(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await ensure_jobs(connection, "maintenance", {"maintenance:partitions": 3600}, NOW)
        await ensure_jobs(connection, "crawl", {"crawl:nj": 1800}, NOW, disable_others=True)
        assert {job.job for job in await find_jobs(connection) if job.enabled} == {
            "crawl:nj",
            "maintenance:partitions",
        }
        assert await claim(pool, NOW, job="crawl:labor", force=True) is None
        await ensure_jobs(connection, "crawl", CRAWLS, NOW)
    assert await claim(pool, NOW, job="crawl:labor") is not None


async def test_kinds_do_not_mix(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await ensure_jobs(connection, "maintenance", {"maintenance:partitions": 3600}, later(-100))
        assert {job.kind for job in await find_jobs(connection, "maintenance")} == {"maintenance"}
    lease = await claim(pool, NOW)
    assert lease is not None
    assert lease.job in CRAWLS


async def test_the_databases_clock_tells_whole_seconds_and_moves_within_a_transaction(pool: Pool) -> None:
    async with transaction(pool) as connection:
        before = await fetch_now(connection)
        await connection.execute("SELECT pg_sleep(1.05)")
        after = await fetch_now(connection)
    assert before.microsecond == after.microsecond == 0
    assert timedelta(seconds=1) <= after - before <= timedelta(seconds=20)


async def test_work_that_takes_long_keeps_its_lease(pool: Pool) -> None:
    async with pool.acquire() as connection:
        now = await fetch_now(connection)
        lease = await claim_due_job(connection, "crawl", "worker", now, 2)
    assert lease is not None

    async def work() -> str:
        await asyncio.sleep(3.5)
        async with pool.acquire() as connection:
            assert (
                await claim_due_job(connection, "crawl", "x", await fetch_now(connection), 2, [lease.job])
                is None
            )
        return "done"

    assert await run_with_heartbeat(pool, lease, 2, work) == "done"


async def test_work_whose_lease_is_lost_is_cancelled(pool: Pool) -> None:
    lease = await claim_labor(pool)
    await claim_labor(pool, later(61))
    cancelled = False

    async def work() -> None:
        nonlocal cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled = True
            raise

    with pytest.raises(LeaseLostError):
        await run_with_heartbeat(pool, lease, 0.3, work)
    assert cancelled


async def test_an_error_of_the_work_comes_through(pool: Pool) -> None:
    async def work() -> None:
        raise KeyError("the work's own")

    with pytest.raises(KeyError, match="the work's own"):
        await run_with_heartbeat(pool, await claim_labor(pool), 60, work)
