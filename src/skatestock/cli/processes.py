"""One command per process: `migrate`, `ingest`, `maintain` and `api`."""

import asyncio
import signal
from functools import partial
from typing import Annotated

import asyncpg
from cyclopts import Parameter
from cyclopts.validators import Number

import skatestock
from skatestock.accounts.commands import prune_accounts
from skatestock.catalog.commands_changes import prune_changes
from skatestock.catalog.commands_quality import prune_quality_issues
from skatestock.cli.errors import INCOMPLETE, INTERRUPTED, AddressTakenError
from skatestock.cli.event_log import relaying_dead_letters
from skatestock.cli.evidence_pruning import prune_evidence
from skatestock.cli.options import Data, Json, Port, flag, settings_from
from skatestock.cli.platform import (
    Platform,
    complete_settings,
    ensure_partitions_ahead,
    fetch_today,
    open_platform,
    prepare_database,
)
from skatestock.cli.quality_checks import check_quality
from skatestock.cli.terminal import Terminal, print_json
from skatestock.database.transactions import is_transient, retry_transient
from skatestock.embedded.ports import find_obstacle
from skatestock.eventlog.retention import Retained, enforce_retention
from skatestock.ingest.consumer import run_ingest
from skatestock.jobs.commands import claim_due_job, ensure_jobs, finish_job, give_back_job
from skatestock.jobs.errors import LeaseLostError
from skatestock.jobs.heartbeat import run_with_heartbeat
from skatestock.jobs.model import Lease, next_due_at
from skatestock.jobs.queries import fetch_now
from skatestock.settings import Settings
from skatestock.telemetry.logs import configure_logging, get_logger
from skatestock.telemetry.metrics import RETRIES, start_metrics_server
from skatestock.telemetry.tracing import configure_tracing

MAINTENANCE = "maintenance"
_MAINTENANCE_JOB = "maintenance:partitions"
_MAINTENANCE_EVERY_SECONDS = 3600
_LOOK_EVERY_SECONDS = 30.0

_log = get_logger(__name__)


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set, so that work in hand is finished before the end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def migrate(*, as_json: Json = False, data: Data = None) -> int:
    """Bring the database up to date: schema, topics, partitions. Safe at any time, also twice at once."""
    settings = settings_from(data)
    async with open_platform(settings, "migrate", interactive=True, needs_log=False, pool_size=2) as platform:
        revision = await prepare_database(platform.database_url)
    if as_json:
        print_json({"revision": revision})
    else:
        Terminal().say(f"The database is at revision {revision}, with its topics and partitions.")
    return 0


async def ingest(
    *,
    until_idle: Annotated[bool, flag("Stop once everything that was appended is stored.")] = False,
    data: Data = None,
) -> int:
    """Store what the event log says, exactly once, until stopped.

    Several may run at once: each batch is claimed by one of them. On Kafka, dead letters also go to the topic
    of dead letters from here.
    """
    settings = settings_from(data)
    async with open_platform(settings, "ingest", interactive=until_idle, pool_size=4) as platform:
        stop = stop_on_signals()
        if until_idle:
            return 0 if await ingest_until_idle(platform, stop) else INTERRUPTED
        async with relaying_dead_letters(platform.settings, platform.pool, stop):
            await run_ingest(platform.log, stop, codec=platform.codec, max_records=settings.ingest_batch)
    return 0


async def ingest_until_idle(platform: Platform, stop: asyncio.Event) -> bool:
    """Store what waits in the log, beside any ingest that runs; False when stopped before all was stored."""
    ingesting = run_ingest(
        platform.log, stop, codec=platform.codec, max_records=platform.settings.ingest_batch
    )
    working = asyncio.create_task(ingesting)
    try:
        while lag := await platform.fetch_lag():
            if stop.is_set() or working.done():
                break
            await asyncio.wait({working}, timeout=0.1)
    finally:
        stop.set()
        await working
    return not lag


async def maintain(
    *,
    once: Annotated[bool, flag("Do it now and stop.")] = False,
    data: Data = None,
) -> int:
    """Make partitions ahead, drop what retention allows, delete old evidence: every hour until stopped.

    Also checks the data quality of each shop within a minute of a crawl's end.
    Several may run at once: a lease lets one of them work. With --once, exit code 4 says that another is at
    it or that the tables were too busy.
    """
    async with open_platform(settings_from(data), "maintain", needs_log=False, pool_size=2) as platform:
        stop = stop_on_signals()
        await retry_transient(lambda: _ensure_maintenance(platform))
        while not stop.is_set():
            done = await _maintain_if_due(platform, force=once)
            await check_quality(platform, force=once)
            if once:
                return 0 if done else INCOMPLETE
            try:
                async with asyncio.timeout(_LOOK_EVERY_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue
    return 0


async def _ensure_maintenance(platform: Platform) -> None:
    async with platform.pool.acquire() as connection:
        now = await fetch_now(connection)
        await ensure_jobs(connection, MAINTENANCE, {_MAINTENANCE_JOB: _MAINTENANCE_EVERY_SECONDS}, now)


async def _maintain_if_due(platform: Platform, *, force: bool) -> bool:
    """Do the work if it is due, or by force at once; tells whether it was done."""
    lease_seconds = platform.settings.lease_seconds
    try:
        async with platform.pool.acquire() as connection:
            now = await fetch_now(connection)
            lease = await claim_due_job(connection, MAINTENANCE, "maintain", now, lease_seconds, force=force)
        if lease is None:
            return False
        await run_with_heartbeat(platform.pool, lease, lease_seconds, partial(_maintain, platform, lease))
    except Exception as error:
        # PostgreSQL may restart under us, or another take over: the work is due again.
        if not is_transient(error) and not isinstance(error, LeaseLostError):
            raise
        RETRIES.labels(part="maintain", kind=type(error).__name__).inc()
        _log.warning("maintenance_postponed", error=str(error))
        return False
    return True


async def _maintain(platform: Platform, lease: Lease) -> None:
    try:
        made, retained = await _arrange_partitions(platform)
    except asyncpg.LockNotAvailableError:
        # The tables are too busy now. Whoever looks next may try, without waiting for this lease to end.
        async with platform.pool.acquire() as connection:
            await give_back_job(connection, lease)
        raise
    deleted_evidence = await prune_evidence(platform)
    async with platform.pool.acquire() as connection:
        now = await fetch_now(connection)
        pruned = await prune_quality_issues(connection, now)
        audit_days = platform.settings.audit_days
        pruned_accounts = await prune_accounts(connection, now, audit_days=audit_days)
        pruned_changes = await prune_changes(connection, now)
        due_at = next_due_at(lease.due_at, lease.every_seconds, now)
        await finish_job(connection, lease, now, "done", False, {}, due_at)
    _log.info(
        "maintained",
        made=made,
        dropped=retained.dropped,
        deleted_records=retained.deleted_records,
        pruned_issues=pruned,
        pruned_of_accounts=pruned_accounts,
        pruned_changes=pruned_changes,
        deleted_evidence=deleted_evidence,
    )


async def _arrange_partitions(platform: Platform) -> tuple[list[str], Retained]:
    made = await ensure_partitions_ahead(platform.pool)
    async with platform.pool.acquire() as connection:
        today = await fetch_today(connection)
    days = platform.settings.log_retention_days
    return made, await enforce_retention(platform.pool, days=days, today=today)


def api(
    *,
    port: Port = None,
    host: Annotated[str | None, Parameter(help="Address to listen on (setting SKATESTOCK_API_HOST).")] = None,
    demo: Annotated[bool, flag("Label everything as demo data.")] = False,
    workers: Annotated[int, Parameter(help="Processes that answer.", validator=Number(gte=1, lte=256))] = 1,
    data: Data = None,
) -> int:
    """Serve the REST API and its documentation until stopped."""
    # The web framework is only loaded in the process that serves it.
    from skatestock.cli.web import serve_web
    from skatestock.cli.web_app import check_web

    settings = complete_settings(settings_from(data, api_port=port, api_host=host))
    check_web(settings)
    _check_address(settings.api_host, settings.api_port)
    serve_web(
        settings,
        demo=demo,
        workers=workers,
        prepare=partial(_prepare_worker, settings, workers),
    )
    return 0


def _prepare_worker(settings: Settings, workers: int) -> None:
    """Set up what each worker process of the API tells of itself."""
    configure_logging("api", json=settings.log_json, level=settings.log_level)
    configure_tracing("api", skatestock.__version__)
    if settings.metrics_port is not None:
        start_metrics_server(settings.metrics_port, settings.metrics_host, ports=workers)


def _check_address(host: str, port: int) -> None:
    """Try whether the API can listen there; raises AddressTakenError, where the server would crash."""
    obstacle = find_obstacle(host, port)
    if obstacle is not None:
        raise AddressTakenError(
            f"the API cannot listen on {host}:{port}: {obstacle}; choose another --port or --host"
        )
