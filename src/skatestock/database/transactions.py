"""Transactions, and which errors are worth another try."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg

from skatestock.database.errors import DatabaseUnavailableError
from skatestock.database.pool import Connection
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import RETRIES

_Result = TypeVar("_Result")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0

_TRANSIENT = (
    ConnectionError,
    DatabaseUnavailableError,
    asyncpg.PostgresConnectionError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)

_CLOSED_UNDER_US = (
    "connection is closed",
    # the pool takes a dead connection back at once
    "connection has been released back to the pool",
    # the server's farewell is being read just when the next statement is sent
    "cannot switch to state",
    # the same, when the pool rolls back on a connection whose last statement has not learnt of its end yet
    "another operation is in progress",
)

_log = get_logger(__name__)


@asynccontextmanager
async def transaction(pool: asyncpg.Pool) -> AsyncGenerator[Connection]:
    """Lend a connection inside a transaction: committed at the end, rolled back on any error."""
    async with pool.acquire() as connection, connection.transaction():
        yield connection


def is_transient(error: BaseException) -> bool:
    """Tell whether the same work may succeed when it is done again: connections, locks, restarts."""
    if isinstance(error, _TRANSIENT):
        return True
    # asyncpg has no class of its own for the use of a connection that has closed under us
    return isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError) and any(
        words in str(error) for words in _CLOSED_UNDER_US
    )


async def retry_transient(
    operation: Callable[[], Awaitable[_Result]], *, give_up_after_seconds: float = 30.0
) -> _Result:
    """Do the operation again, with growing pauses, while it fails for a transient reason.

    A connection that is lost during COMMIT leaves unknown whether it happened: the operation must bear being
    done twice. Raises the last error once `give_up_after_seconds` have gone by.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + give_up_after_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await operation()
        except Exception as error:
            if not is_transient(error) or loop.time() + pause >= give_up_at:
                raise
            RETRIES.labels(part="database", kind=type(error).__name__).inc()
            _log.warning("database_retry", error=str(error), kind=type(error).__name__)
        # two workers that ran into each other must not meet again at the same moment
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
