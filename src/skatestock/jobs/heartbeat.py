"""Holding a lease for as long as the work takes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from skatestock.database.transactions import is_transient
from skatestock.jobs.commands import extend_lease
from skatestock.jobs.errors import LeaseLostError
from skatestock.jobs.model import Lease
from skatestock.jobs.queries import fetch_now
from skatestock.telemetry.logs import get_logger

_Result = TypeVar("_Result")

_log = get_logger(__name__)


async def run_with_heartbeat(
    pool: asyncpg.Pool,
    lease: Lease,
    lease_seconds: float,
    work: Callable[[], Awaitable[_Result]],
) -> _Result:
    """Do the work while extending the lease three times per `lease_seconds`, by the database's clock.

    The work is cancelled when the lease is lost, and LeaseLostError raised. A database that cannot be reached
    for a while is no loss yet: the token decides once it is back.
    """
    working = asyncio.ensure_future(work())
    beating = asyncio.ensure_future(_beat(pool, lease, lease_seconds))
    try:
        await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        beating.result()
        raise LeaseLostError(f"the heartbeat of {lease.job} ended by itself")
    finally:
        for task in (working, beating):
            task.cancel()
        await asyncio.gather(working, beating, return_exceptions=True)


async def _beat(pool: asyncpg.Pool, lease: Lease, lease_seconds: float) -> None:
    while True:
        await asyncio.sleep(lease_seconds / 3)
        try:
            async with pool.acquire() as connection:
                await extend_lease(connection, lease, await fetch_now(connection), lease_seconds)
        except Exception as error:
            if not is_transient(error):
                raise
            _log.warning("heartbeat_missed", job=lease.job, error=str(error))
