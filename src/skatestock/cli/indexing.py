"""`skatestock index`: keep the product index up to date, or build it anew."""

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Annotated

import asyncpg
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from skatestock.catalog.commands_changes import CHANNEL
from skatestock.catalog.commands_index import Building, begin_build, build_next, follow_changes
from skatestock.catalog.commands_trends import reckon_next_day
from skatestock.cli.errors import INTERRUPTED
from skatestock.cli.options import Data, flag, settings_from
from skatestock.cli.platform import Platform, open_platform
from skatestock.cli.processes import stop_on_signals
from skatestock.cli.terminal import Terminal
from skatestock.database.pool import Pool
from skatestock.database.transactions import is_transient, retry_transient
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
_RECKON_EVERY_SECONDS = 5.0

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
        except Exception as error:
            # PostgreSQL may restart under us, or another take over: nothing is lost, all can be done again.
            if not is_transient(error) and not isinstance(error, LeaseLostError):
                raise
            RETRIES.labels(part="index", kind=type(error).__name__).inc()
            _log.warning("index_postponed", error=str(error))
        await _wait(stop, _LOOK_EVERY_SECONDS)


async def _ensure_job(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await ensure_jobs(connection, _KIND, {_JOB: 1}, await fetch_now(connection))


async def _claim(pool: Pool, holder: str) -> Lease | None:
    async with pool.acquire() as connection:
        now = await fetch_now(connection)
        return await claim_due_job(connection, _KIND, holder, now, _LEASE_SECONDS, force=True)


async def _keep(pool: Pool, stop: asyncio.Event) -> None:
    """Follow the changes until stopped, and meanwhile reckon the days that have ended."""
    reckoning = asyncio.create_task(_reckon_days(pool, stop))
    try:
        await _follow(pool, stop)
    finally:
        reckoning.cancel()
        await asyncio.gather(reckoning, return_exceptions=True)


async def _reckon_days(pool: Pool, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            async with pool.acquire() as connection:
                day = await reckon_next_day(connection, await fetch_now(connection))
        except Exception as error:
            # its history has changed meanwhile, or PostgreSQL is away: the day is still missing afterwards
            if not is_transient(error):
                _log.exception("trends_failed")
            RETRIES.labels(part="trends", kind=type(error).__name__).inc()
            day = None
        if day is None:
            await _wait(stop, _RECKON_EVERY_SECONDS)
        else:
            _log.info("trend_day_reckoned", day=day.isoformat())


async def _follow(pool: Pool, stop: asyncio.Event) -> None:
    """Follow the changes until stopped, on a connection of its own that hears of them."""
    connection = await pool.connect_apart()
    moved = asyncio.Event()
    try:
        await connection.add_listener(CHANNEL, lambda *_notification: moved.set())
        connection.add_termination_listener(lambda _connection: moved.set())
        _log.info("index_followed")
        while not stop.is_set():
            moved.clear()
            if not await _catch_up(connection):
                await _wait_either(stop, moved)
    finally:
        connection.terminate()


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


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


async def _wait_either(stop: asyncio.Event, moved: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(moved.wait())]
    try:
        await asyncio.wait(waiting, timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
