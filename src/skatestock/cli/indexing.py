"""`skatestock index`: keep the product index up to date, or build it anew."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated

import asyncpg
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from skatestock.catalog.commands_changes import CHANNEL
from skatestock.catalog.commands_discounts import read_out_next
from skatestock.catalog.commands_index import Building, begin_build, build_next, follow_changes
from skatestock.catalog.commands_trends import reckon_next_day
from skatestock.cli.errors import INTERRUPTED
from skatestock.cli.options import Data, flag, settings_from
from skatestock.cli.platform import Platform, open_platform
from skatestock.cli.processes import stop_on_signals
from skatestock.cli.terminal import Terminal
from skatestock.database.listening import LISTENING_LOSSES, listening
from skatestock.database.pool import Connection, Pool
from skatestock.database.transactions import is_transient, retry_transient
from skatestock.ingest.pacing import pause
from skatestock.jobs.commands import claim_due_job, ensure_jobs, give_back_job
from skatestock.jobs.errors import LeaseLostError
from skatestock.jobs.heartbeat import run_with_heartbeat
from skatestock.jobs.model import Lease
from skatestock.jobs.queries import fetch_now
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import INDEX_DELAY_SECONDS, INDEX_PRODUCTS, RETRIES

_KIND, _JOB = "index", "index:products"
# A process that was killed is replaced when its lease has run out and the next one looks: within eight
# seconds.
_LEASE_SECONDS = 6.0
_LOOK_EVERY_SECONDS = 2.0
# Changes are announced; an announcement may be lost on its way.
_POLL_SECONDS = 0.5
_READ_EVERY_SECONDS = 5.0

_log = get_logger(__name__)


async def index(
    *,
    rebuild: Annotated[bool, flag("Build the index anew from all products, and stop.")] = False,
    data: Data = None,
) -> int:
    """Keep the product index up to date with what commits change, until stopped.

    Lists of products are read from it. Several may run at once: one works, the others stand by and take over
    within ten seconds of its end. An index that was never built, or another way, is built first. With
    --rebuild lists go on reading the old index meanwhile.
    """
    settings = settings_from(data)
    async with open_platform(
        settings, "index", interactive=rebuild, needs_log=False, pool_size=3
    ) as platform:
        stop = stop_on_signals()
        if rebuild:
            return 0 if await _rebuild(platform.pool, stop) else INTERRUPTED
        await keep_index(platform, stop)
    return 0


async def keep_index(platform: Platform, stop: asyncio.Event) -> None:
    """Keep the index while no other process does, until stopped."""
    pool = platform.pool
    holder = f"{socket.gethostname()}:{os.getpid()}"
    await retry_transient(partial(_ensure_job, pool))
    while not stop.is_set():
        try:
            lease = await _claim(pool, holder)
            if lease is not None:
                await run_with_heartbeat(pool, lease, _LEASE_SECONDS, partial(_keep, pool, stop))
                async with pool.acquire() as connection:
                    await give_back_job(connection, lease)
        except (LeaseLostError, *LISTENING_LOSSES) as error:
            # PostgreSQL may restart under us, or another take over: nothing is lost, all can be done again.
            _note_failure("index", error, expected=isinstance(error, LeaseLostError))
        await pause(stop, _LOOK_EVERY_SECONDS)


async def _ensure_job(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await ensure_jobs(connection, _KIND, {_JOB: 1}, await fetch_now(connection))


async def _claim(pool: Pool, holder: str) -> Lease | None:
    async with pool.acquire() as connection:
        now = await fetch_now(connection)
        return await claim_due_job(connection, _KIND, holder, now, _LEASE_SECONDS, force=True)


async def _keep(pool: Pool, stop: asyncio.Event) -> None:
    """Follow the changes until stopped, and meanwhile read what of the history is kept for analytics."""
    following = asyncio.create_task(_follow(pool, stop))
    reading = asyncio.create_task(_keep_reading(pool, stop))
    try:
        await asyncio.wait((following, reading), return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            # of its own accord it ends only when stopped
            reading.result()
        await following
    finally:
        for task in (following, reading):
            task.cancel()
        await asyncio.gather(following, reading, return_exceptions=True)


async def _keep_reading(pool: Pool, stop: asyncio.Event) -> None:
    while not stop.is_set():
        more = [
            await _try_step(pool, part, step)
            for part, step in (("discounts", _read_discounts), ("trends", _reckon_day))
        ]
        if not any(more):
            await pause(stop, _READ_EVERY_SECONDS)


async def _try_step(pool: Pool, part: str, step: Callable[[Connection], Awaitable[bool]]) -> bool:
    """Do a step, and tell whether the next one may follow at once."""
    try:
        async with pool.acquire() as connection:
            return await step(connection)
    except LISTENING_LOSSES as error:
        # its history has changed meanwhile, or PostgreSQL is away: what is missing is so afterwards too
        _note_failure(part, error)
        return False


async def _read_discounts(connection: Connection) -> bool:
    done = await read_out_next(connection, await fetch_now(connection))
    if done is not None:
        _log.info("discounts_read_out", until=done.until.isoformat(), days_left=done.days_left)
    return done is not None


async def _reckon_day(connection: Connection) -> bool:
    day = await reckon_next_day(connection, await fetch_now(connection))
    if day is not None:
        _log.info("trend_day_reckoned", day=day.isoformat())
    return day is not None


def _note_failure(part: str, error: Exception, *, expected: bool = False) -> None:
    """Count what will be tried again, and tell where it is more than a connection lost or a crossing."""
    RETRIES.labels(part=part, kind=type(error).__name__).inc()
    if expected or is_transient(error) or isinstance(error, OSError):
        _log.warning(f"{part}_postponed", error=str(error) or type(error).__name__)
    else:
        _log.error(f"{part}_failed", exc_info=error)


async def _follow(pool: Pool, stop: asyncio.Event) -> None:
    """Follow the changes until stopped, on a connection of its own that hears of them."""
    moved = asyncio.Event()
    async with listening(
        pool.connect_apart, [CHANNEL], on_notification=lambda _position: moved.set(), on_lost=moved.set
    ) as connection:
        _log.info("index_followed")
        while not stop.is_set():
            moved.clear()
            if not await _catch_up(connection):
                await _wait_either(stop, moved)


async def _catch_up(connection: asyncpg.Connection) -> bool:
    """Do one step; tells whether the next one should follow at once."""
    followed = await follow_changes(connection)
    if followed.rebuild:
        _log.info("index_building")
        await begin_build(connection, anew=False)
        while not (building := await build_next(connection)).done:
            INDEX_PRODUCTS.inc(building.products)
        _log.info("index_built", products=building.built_to)
        return True
    INDEX_PRODUCTS.inc(followed.products)
    if followed.delay_seconds is not None:
        INDEX_DELAY_SECONDS.observe(max(0.0, followed.delay_seconds))
    return followed.more


async def _rebuild(pool: Pool, stop: asyncio.Event) -> bool:
    """Build the index anew, showing how far that is; False when it was stopped before the end."""
    columns = TextColumn("building"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    terminal = Terminal()
    async with pool.acquire() as connection:
        total = await connection.fetchval("SELECT count(*) FROM products")
        await begin_build(connection)
    with Progress(*columns, console=terminal, transient=True) as progress:
        task = progress.add_task("index", total=total)
        done = await _build(pool, stop, lambda step: progress.advance(task, step.products))
    if not done:
        terminal.say("Stopped before the end; `skatestock index` goes on from here.")
        return False
    async with pool.acquire() as connection:
        # counted, because a process that keeps the index may have built a part of it
        products = await connection.fetchval("SELECT count(*) FROM indexed_products")
    terminal.say(f"The product index was built: {products} products.")
    return True


async def _build(pool: Pool, stop: asyncio.Event, tell: Callable[[Building], None]) -> bool:
    while not stop.is_set():
        async with pool.acquire() as connection:
            step = await build_next(connection)
        if step.done:
            return True
        tell(step)
    return False


async def _wait_either(stop: asyncio.Event, moved: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(moved.wait())]
    try:
        await asyncio.wait(waiting, timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
