"""The API's way to the database: opened when it is first needed, and found again when it was away."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from skatestock.api.errors import DatabaseAwayError, DatabaseSlowError, RequestError, SchemaOutdatedError
from skatestock.database.errors import DatabaseUnavailableError
from skatestock.database.transactions import is_transient

OpenPool = Callable[[], Awaitable[asyncpg.Pool]]

_ACQUIRE_SECONDS = 5.0
_SWEEP_SECONDS = 60.0
_SETTLE_SECONDS = 2.0

_OUTDATED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)
_AWAY = (DatabaseUnavailableError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


class Database:
    """Lends connections, and says in the API's own words why one cannot be had.

    Takes a pool that its owner closes, or a way to open one: then it is opened at the first request (so that
    the API starts without a database) and closed by `close`.

    Of a pool of its own it keeps what comes back in order, and lends it again: asyncpg's pool runs a task for
    each loan that ends, which costs a third of what a short query does. What comes back after an error goes
    to the pool, which cleans up, and so does what nobody needed for a minute.
    """

    def __init__(self, pool: asyncpg.Pool | OpenPool) -> None:
        self._open = None if isinstance(pool, asyncpg.Pool) else pool
        self._pool = pool if isinstance(pool, asyncpg.Pool) else None
        self._opening = asyncio.Lock()
        self._kept: list[PoolConnectionProxy] = []
        self._fewest_kept = 0
        self._waiting = 0
        self._sweeping: asyncio.Task[None] | None = None
        self._settling: set[asyncio.Task[None]] = set()

    def connect(self) -> "Loan":
        """Lend a connection to an `async with` block.

        Raises DatabaseAwayError, DatabaseSlowError or SchemaOutdatedError, also for what the block itself
        does with the connection.
        """
        return Loan(self)

    async def close(self) -> None:
        """Close the pool if it was opened here."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        if self._open is not None and self._pool is not None:
            pool, self._pool = self._pool, None
            await self._give_back(pool, len(self._kept))
            await asyncio.gather(*self._settling)
            await pool.close()

    def find_kept(self) -> PoolConnectionProxy | None:
        """Take a connection that was kept from an earlier loan."""
        kept = self._kept
        if not kept or _is_lost(kept[-1]):
            return None
        connection = kept.pop()
        self._fewest_kept = min(self._fewest_kept, len(kept))
        return connection

    async def acquire(self) -> PoolConnectionProxy:
        """Take a connection from the pool; raises TimeoutError when none is free for a while."""
        pool = await self._get_pool()
        if self._kept:
            # the server has gone: what is closed makes room
            await self._give_back(pool, len(self._kept))
        self._waiting += 1
        try:
            # asyncpg's own timeout of acquiring runs a task for each loan
            async with asyncio.timeout(_ACQUIRE_SECONDS):
                return await pool.acquire()
        finally:
            self._waiting -= 1

    def keep(self, connection: PoolConnectionProxy) -> bool:
        """Keep a connection for the next loan; tells whether it was kept, or has to be released."""
        if self._open is None or self._pool is None or self._waiting:
            return False
        if _is_lost(connection) or connection.is_in_transaction():
            return False
        self._kept.append(connection)
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep(), name="database-sweep")
        return True

    async def release(self, connection: PoolConnectionProxy) -> None:
        """Give a connection back to the pool, which rolls back what is open."""
        if self._pool is None:
            await connection.close()
        else:
            await self._pool.release(connection)

    def release_later(self, connection: PoolConnectionProxy) -> None:
        """Give a connection back for somebody who must not wait for that.

        Whoever is cancelled has run out of time or gone, and a server that does not answer would keep them
        until it does. One that does not settle soon is cut off, which undoes what was under way.
        """
        if self._pool is None:
            connection.terminate()
            return
        task = asyncio.create_task(_settle(self._pool, connection), name="database-release")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _sweep(self) -> None:
        """Give back what nobody has needed since the last look, for as long as something is kept."""
        while self._pool is not None and self._kept:
            self._fewest_kept = len(self._kept)
            await asyncio.sleep(_SWEEP_SECONDS)
            await self._give_back(self._pool, self._fewest_kept)
        self._sweeping = None

    async def _give_back(self, pool: asyncpg.Pool, count: int) -> None:
        """Release the connections that were kept the longest."""
        surplus, self._kept = self._kept[:count], self._kept[count:]
        for connection in surplus:
            # of one that is lost there is nothing to clean up
            with contextlib.suppress(*_AWAY):
                await pool.release(connection)

    async def _get_pool(self) -> asyncpg.Pool:
        if self._pool is not None:
            return self._pool
        async with self._opening:
            if self._pool is None:
                assert self._open is not None
                self._pool = await self._open()
            return self._pool


async def _settle(pool: asyncpg.Pool, connection: PoolConnectionProxy) -> None:
    with contextlib.suppress(*_AWAY):
        await pool.release(connection, timeout=_SETTLE_SECONDS)


def _is_lost(connection: PoolConnectionProxy) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # the pool noticed, and has taken it back already
        return True


class Loan:
    """One loan of a connection, for an `async with` block."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: PoolConnectionProxy | None = None

    async def __aenter__(self) -> PoolConnectionProxy:
        """Take a connection."""
        connection = self._database.find_kept()
        if connection is None:
            try:
                connection = await self._database.acquire()
            except Exception as error:
                raise_told(error)
                raise
        self._connection = connection
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Give it back, and tell what went wrong in the API's own words."""
        connection, self._connection = self._connection, None
        assert connection is not None
        if error is None and self._database.keep(connection):
            return
        if isinstance(error, asyncio.CancelledError):
            self._database.release_later(connection)
            return
        try:
            await self._database.release(connection)
        except Exception as other:
            raise_told(other)
            raise
        finally:
            if error is not None:
                raise_told(error)


def raise_told(error: BaseException) -> None:
    """Raise an error of the database in the API's own words; every other one is left alone."""
    told = _tell(error)
    if told is not None:
        raise told from error


def _tell(error: BaseException) -> RequestError | None:
    if isinstance(error, _OUTDATED):
        return SchemaOutdatedError("the database lacks a table or column: run `skatestock migrate`")
    if isinstance(error, asyncpg.QueryCanceledError):
        return DatabaseSlowError("the query took too long and was stopped")
    # TimeoutError is an OSError: no connection was free in time
    if isinstance(error, _AWAY) and (isinstance(error, OSError) or is_transient(error)):
        return DatabaseAwayError("the database does not answer; try again soon")
    return None
