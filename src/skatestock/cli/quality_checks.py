"""The checks of data quality as `maintain` runs them: one leased job per shop, due when a crawl has ended."""

from collections.abc import Mapping
from functools import partial
from time import perf_counter

import asyncpg

from skatestock.catalog.commands_quality import QualityCheck, check_shop_quality
from skatestock.catalog.quality import KINDS
from skatestock.catalog.quality_queries import QualityFilter, count_quality_issues, fetch_quality_marks
from skatestock.cli.platform import Platform
from skatestock.database.pool import Connection
from skatestock.database.transactions import is_transient, transaction
from skatestock.jobs.commands import check_lease, claim_due_job, ensure_jobs, finish_job
from skatestock.jobs.errors import LeaseLostError
from skatestock.jobs.heartbeat import run_with_heartbeat
from skatestock.jobs.model import Lease, next_due_at
from skatestock.jobs.queries import fetch_now, find_jobs
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import QUALITY_CHECK_SECONDS, QUALITY_ISSUES, RETRIES
from skatestock.vocabulary.normaliser import current_normaliser

QUALITY = "quality"
"""The kind of the jobs; `quality:labor` is that of one shop."""

# Without a crawl, only time and changed rules make a difference.
_EVERY_SECONDS = 300

_log = get_logger(__name__)


async def check_quality(platform: Platform, *, force: bool = False) -> int:
    """Check the shops whose data may have changed, or by force all; returns how many were checked.

    A shop that another process is checking is left to it. What fails for a reason that passes is due again.
    """
    checked = 0
    try:
        marks, due = await _find_due(platform, force=force)
        for shop in due:
            checked += await _check_shop(platform, shop, marks[shop])
        await _publish(platform, marks)
    except Exception as error:
        if not is_transient(error):
            raise
        _postpone(error)
    return checked


def _postpone(error: Exception) -> None:
    RETRIES.labels(part="quality", kind=type(error).__name__).inc()
    _log.warning("quality_check_postponed", error=str(error))


async def _find_due(platform: Platform, *, force: bool) -> tuple[dict[str, str | None], list[str]]:
    """Return the marks of all shops, and the shops of which a crawl has ended or the time has come."""
    async with platform.pool.acquire() as connection:
        now = await fetch_now(connection)
        marks = await fetch_quality_marks(connection)
        names = {_job_of(shop): _EVERY_SECONDS for shop in marks}
        await ensure_jobs(connection, QUALITY, names, now, disable_others=True)
        jobs = {job.job: job for job in await find_jobs(connection, QUALITY)}
    due = []
    for shop, mark in marks.items():
        job = jobs[_job_of(shop)]
        if force or job.due_at <= now or job.state.get("mark") != mark:
            due.append(shop)
    return marks, due


async def _check_shop(platform: Platform, shop: str, mark: str | None) -> bool:
    """Check one shop, unless another process is at it; one that PostgreSQL refuses waits a beat."""
    lease_seconds = platform.settings.lease_seconds
    async with platform.pool.acquire() as connection:
        now, jobs = await fetch_now(connection), [_job_of(shop)]
        lease = await claim_due_job(connection, QUALITY, "maintain", now, lease_seconds, jobs, force=True)
    if lease is None:
        return False
    began = perf_counter()
    try:
        work = partial(_settle, platform, lease, shop, mark)
        check = await run_with_heartbeat(platform.pool, lease, lease_seconds, work)
    except asyncpg.PostgresError as error:
        if is_transient(error):
            raise
        # Such as a statement that took too long: one shop must not keep the others from being checked.
        _log.error("quality_check_failed", shop=shop, error=str(error))
        async with platform.pool.acquire() as connection:
            await _finish(connection, lease, mark, type(error).__name__)
        return False
    except LeaseLostError as error:
        _postpone(error)
        return False
    seconds = perf_counter() - began
    QUALITY_CHECK_SECONDS.observe(seconds)
    tell = _log.info if check.opened or check.resolved else _log.debug
    tell("quality_checked", shop=shop, seconds=round(seconds, 3), **check._asdict())
    return True


async def _settle(platform: Platform, lease: Lease, shop: str, mark: str | None) -> QualityCheck:
    """Check and finish the job in one transaction: a check that came too late writes nothing.

    The mark was read before, so a crawl that ends meanwhile makes the job due again.
    """
    async with transaction(platform.pool) as connection:
        await check_lease(connection, lease)
        now = await fetch_now(connection)
        check = await check_shop_quality(connection, shop, now, current_normaliser())
        await _finish(connection, lease, mark)
    return check


async def _finish(connection: Connection, lease: Lease, mark: str | None, failure: str | None = None) -> None:
    now = await fetch_now(connection)
    due_at = next_due_at(lease.due_at, lease.every_seconds, now)
    failed = failure is not None
    await finish_job(connection, lease, now, failure or "done", failed, {"mark": mark}, due_at)


async def _publish(platform: Platform, shops: Mapping[str, str | None]) -> None:
    """Tell the metrics of every shop and kind, so that what was resolved reads zero."""
    async with platform.pool.acquire() as connection:
        counts = await count_quality_issues(connection, QualityFilter())
    opened = {(count.shop, count.kind): count.open for count in counts}
    for shop in shops:
        for kind, meaning in KINDS.items():
            gauge = QUALITY_ISSUES.labels(shop=shop, kind=kind.value, severity=meaning.severity.value)
            gauge.set(opened.get((shop, kind.value), 0))


def _job_of(shop: str) -> str:
    return f"{QUALITY}:{shop}"
