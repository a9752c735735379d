"""Transactions for somebody who waits for the answer: done, surely not done, or nobody knows."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

import asyncpg

from skatestock.database.errors import CommitUnknownError
from skatestock.database.pool import Connection

Isolation = Literal["read_committed", "repeatable_read"]

# Whatever else COMMIT says (a conflict, a constraint), nothing is stored.
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


@asynccontextmanager
async def committed(connection: Connection, isolation: Isolation = "read_committed") -> AsyncGenerator[None]:
    """Work inside a transaction, and tell work that is surely undone from work of which nobody knows.

    What fails before COMMIT is undone, by us or by the server that has lost us. Raises CommitUnknownError
    where the connection was lost during COMMIT.
    """
    transaction = connection.transaction(isolation=isolation)
    await transaction.start()
    try:
        yield
    except asyncio.CancelledError:
        # whoever gives the connection back rolls back, and whoever has run out of time need not wait for it
        raise
    except BaseException:
        with contextlib.suppress(*_LOST, asyncpg.PostgresError):
            await transaction.rollback()
        raise
    try:
        await transaction.commit()
    except _LOST as error:
        raise CommitUnknownError("the connection was lost while the change was being stored") from error
