"""Reads of the jobs."""

from datetime import datetime

from skatestock.database.pool import Connection
from skatestock.jobs.model import Job

_FIND_JOBS = """
    SELECT job, kind, every_seconds, enabled, due_at, token, holder, leased_until, last_started_at,
        last_finished_at, last_outcome, consecutive_failures, state
    FROM job_leases WHERE $1::text IS NULL OR kind = $1 ORDER BY job
"""


async def fetch_now(connection: Connection) -> datetime:
    """Tell the database's own time in whole seconds: the one clock that all workers share."""
    now: datetime = await connection.fetchval("SELECT date_trunc('second', clock_timestamp())")
    return now


async def find_jobs(connection: Connection, kind: str | None = None) -> list[Job]:
    """Find the jobs of a kind, or all, in the order of their names."""
    return [Job(**row) for row in await connection.fetch(_FIND_JOBS, kind)]
