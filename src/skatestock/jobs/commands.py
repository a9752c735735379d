"""Claiming, holding and finishing jobs.

Every moment is an argument, so that tests and simulated worlds move the time. In production it is the
database's (`queries.fetch_now`): the clocks of two machines never agree.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from skatestock.database.pool import Connection
from skatestock.jobs.errors import LeaseLostError
from skatestock.jobs.model import Lease

_ENSURE = """
    INSERT INTO job_leases (job, kind, every_seconds, due_at)
    SELECT j.job, $1, j.every_seconds, $4 FROM unnest($2::text[], $3::int[]) AS j (job, every_seconds)
    ORDER BY j.job
    ON CONFLICT (job) DO UPDATE
    SET every_seconds = excluded.every_seconds, kind = excluded.kind, enabled = true
    WHERE (job_leases.every_seconds, job_leases.kind, job_leases.enabled)
        IS DISTINCT FROM (excluded.every_seconds, excluded.kind, true)
"""
_DISABLE_OTHERS = """
    UPDATE job_leases SET enabled = false WHERE kind = $1 AND enabled AND NOT job = ANY($2::text[])
"""
_CLAIM = """
    WITH due AS MATERIALIZED (
        SELECT job FROM job_leases
        WHERE kind = $1 AND enabled AND (due_at <= $3 OR $6) AND (leased_until IS NULL OR leased_until <= $3)
            AND ($5::text[] IS NULL OR job = ANY ($5))
        ORDER BY due_at, job LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    UPDATE job_leases l
    SET token = token + 1, holder = $2, leased_until = $4, last_started_at = $3
    FROM due WHERE l.job = due.job
    RETURNING l.job, l.token, l.leased_until, l.state, l.due_at, l.every_seconds, l.consecutive_failures
"""
_SWITCH = """
    UPDATE job_leases SET enabled = $2, due_at = CASE WHEN $2 AND NOT enabled THEN $3 ELSE due_at END,
        consecutive_failures = CASE WHEN $2 THEN 0 ELSE consecutive_failures END,
        state = CASE WHEN $2 THEN state - 'failing_since' ELSE state END
    WHERE job = $1 RETURNING job
"""
# A lease that ran out is still its holder's as long as nobody else has claimed the job: the token decides.
_EXTEND = """
    UPDATE job_leases SET leased_until = $3 WHERE job = $1 AND token = $2 AND holder IS NOT NULL RETURNING job
"""
_CHECK = "SELECT job FROM job_leases WHERE job = $1 AND token = $2 AND holder IS NOT NULL FOR SHARE"
_NOTE = """
    UPDATE job_leases SET state = state || $3 WHERE job = $1 AND token = $2 AND holder IS NOT NULL
    RETURNING job
"""
_FINISH = """
    UPDATE job_leases
    SET holder = NULL, leased_until = NULL, last_finished_at = $3, last_outcome = $4, state = $6, due_at = $7,
        consecutive_failures = CASE WHEN $5::boolean IS NULL THEN consecutive_failures
            WHEN $5 THEN consecutive_failures + 1 ELSE 0 END
    WHERE job = $1 AND token = $2 AND holder IS NOT NULL
    RETURNING job
"""
_GIVE_BACK = """
    UPDATE job_leases SET holder = NULL, leased_until = NULL
    WHERE job = $1 AND token = $2 AND holder IS NOT NULL RETURNING job
"""


async def ensure_jobs(
    connection: Connection, kind: str, jobs: Mapping[str, int], now: datetime, *, disable_others: bool = False
) -> None:
    """Set up jobs by name, each every so many seconds; a new one is due at once, a known one keeps its beat.

    `disable_others` disables the jobs of this kind that are not named: a shop that was taken off the list.
    Idempotent.
    """
    async with connection.transaction():
        await connection.execute(_ENSURE, kind, list(jobs), list(jobs.values()), now)
        if disable_others:
            await connection.execute(_DISABLE_OTHERS, kind, list(jobs))


async def claim_due_job(
    connection: Connection,
    kind: str,
    holder: str,
    now: datetime,
    lease_seconds: float,
    jobs: Collection[str] | None = None,
    force: bool = False,
) -> Lease | None:
    """Claim the job of this kind that is due longest, or None; `jobs` names those to choose from.

    `force` claims one that is not due yet. A job whose lease has not run out is never claimed, forced or not;
    neither is a disabled one. Two workers never get the same job.
    """
    until = now + timedelta(seconds=lease_seconds)
    names = None if jobs is None else list(jobs)
    row = await connection.fetchrow(_CLAIM, kind, holder, now, until, names, force)
    return None if row is None else Lease(**row)


async def switch_job(connection: Connection, job: str, now: datetime, *, enabled: bool) -> bool:
    """Let a job be claimed, from now on and with no failures behind it, or not; tells whether there is one.

    Who holds its lease finishes in good order. Idempotent.
    """
    return await connection.fetchval(_SWITCH, job, enabled, now) is not None


async def extend_lease(connection: Connection, lease: Lease, now: datetime, lease_seconds: float) -> Lease:
    """Hold the job for `lease_seconds` from now on; raises LeaseLostError when it is another's."""
    until = now + timedelta(seconds=lease_seconds)
    _check_ours(lease, await connection.fetchval(_EXTEND, lease.job, lease.token, until))
    return msgspec.structs.replace(lease, leased_until=until)


async def check_lease(connection: Connection, lease: Lease) -> None:
    """Fence the current transaction: the job cannot be claimed by another before the transaction has ended.

    Raises LeaseLostError when it already was: then write nothing.
    """
    _check_ours(lease, await connection.fetchval(_CHECK, lease.job, lease.token))


async def note_progress(connection: Connection, lease: Lease, progress: Mapping[str, Any]) -> None:
    """Leave word for the next run, also for the case that this one never finishes; fences like `check_lease`.

    Known keys of the state are replaced, others stay. Raises LeaseLostError when the job is another's.
    """
    _check_ours(lease, await connection.fetchval(_NOTE, lease.job, lease.token, dict(progress)))


async def finish_job(
    connection: Connection,
    lease: Lease,
    now: datetime,
    outcome: str,
    failed: bool | None,
    state: dict[str, Any],
    next_due_at: datetime,
) -> None:
    """Say how the job went, leave `state` for the next run, and give the lease back.

    `failed` is None for an outcome that says nothing of the work itself: failures in a row stay as counted.
    Raises LeaseLostError when the job is another's, or was finished with this lease before; nothing is
    stored then.
    """
    row = await connection.fetchval(_FINISH, lease.job, lease.token, now, outcome, failed, state, next_due_at)
    _check_ours(lease, row)


async def give_back_job(connection: Connection, lease: Lease) -> None:
    """Give the lease back without an outcome: the job stays due, for a worker that is asked to stop.

    Raises LeaseLostError when the job is another's.
    """
    _check_ours(lease, await connection.fetchval(_GIVE_BACK, lease.job, lease.token))


def _check_ours(lease: Lease, job: str | None) -> None:
    if job is None:
        raise LeaseLostError(
            f"the lease of {lease.job} with token {lease.token} is lost: "
            "the job was claimed anew, finished or given back"
        )
