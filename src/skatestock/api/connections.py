"""The API's way to the database: opened when it is first needed, and found again when it was away."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from skatestock.api.errors import DatabaseAwayError, DatabaseSlowError, SchemaOutdatedError
from skatestock.database.errors import DatabaseUnavailableError
from skatestock.database.pool import Connection
from skatestock.database.transactions import is_transient

OpenPool = Callable[[], Awaitable[asyncpg.Pool]]

_ACQUIRE_SECONDS = 5.0


class Database:
    """Lends connections, and says in the API's own words why one cannot be had.

    Takes a pool that its owner closes, or a way to open one: then it is opened at the first request (so that
    the API starts without a database) and closed by `close`.
    """

    def __init__(self, pool: asyncpg.Pool | OpenPool) -> None:
        self._open = None if isinstance(pool, asyncpg.Pool) else pool
        self._pool = pool if isinstance(pool, asyncpg.Pool) else None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[Connection]:
        """Lend a connection.

        Raises DatabaseAwayError, DatabaseSlowError or SchemaOutdatedError, also for what the block itself
        does with the connection.
        """
        try:
            pool = await self._get_pool()
            # asyncpg's own timeout of acquiring runs a task for each loan
            async with asyncio.timeout(_ACQUIRE_SECONDS):
                connection = await pool.acquire()
            try:
                yield connection
            finally:
                await pool.release(connection)
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
            raise SchemaOutdatedError(
                "the database lacks a table or column: run `skatestock migrate`"
            ) from error
        except asyncpg.QueryCanceledError as error:
            raise DatabaseSlowError("the query took too long and was stopped") from error
        except (DatabaseUnavailableError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            # TimeoutError is an OSError: no connection was free in time
            if isinstance(error, OSError) or is_transient(error):
                raise DatabaseAwayError("the database does not answer; try again soon") from error
            raise

    async def close(self) -> None:
        """Close the pool if it was opened here."""
        if self._open is not None and self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    async def _get_pool(self) -> asyncpg.Pool:
        if self._pool is not None:
            return self._pool
        async with self._opening:
            if self._pool is None:
                assert self._open is not None
                self._pool = await self._open()
            return self._pool
