"""Connections to PostgreSQL: how they are opened, configured, pooled and given back."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import asyncpg
import msgspec

from skatestock.database.errors import DatabaseUnavailableError
from skatestock.telemetry.logs import get_logger

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
"""A connection, whether it is pooled or not."""

_Opened = TypeVar("_Opened")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_IDLE_IN_TRANSACTION_SECONDS = 300

# What a server says or does while it starts, restarts, recovers or is full: worth another try.
_NOT_YET = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)

_log = get_logger(__name__)


class PooledConnection(asyncpg.Connection):
    """A connection that is given back to its pool without a round trip.

    asyncpg sends four statements on every release to undo session state. Nothing of ours leaves any: settings
    are `SET LOCAL`, advisory locks end with their transaction, listening happens on connections of its own.
    An open transaction is still rolled back on release.
    """

    def get_reset_query(self) -> str:
        """Return no query at all."""
        return ""


class Pool(asyncpg.Pool):
    """A pool that can also open a connection apart, for what must live longer than a loan (LISTEN)."""

    def __init__(self, connect_apart: Callable[[], Awaitable[asyncpg.Connection]], **options: Any) -> None:
        super().__init__(**options)
        self._connect_apart = connect_apart

    async def connect_apart(self) -> asyncpg.Connection:
        """Open a connection to the same server that the caller owns and closes.

        Raises DatabaseUnavailableError like any connection of the pool.
        """
        return await self._connect_apart()


async def create_pool(
    dsn: str,
    *,
    application_name: str,
    min_size: int = 1,
    max_size: int = 10,
    statement_timeout_seconds: float = 30.0,
    connect_timeout_seconds: float = 30.0,
) -> Pool:
    """Open a pool, waiting for a server that is starting; later connections wait for a restart as long.

    `statement_timeout_seconds` ends a statement that runs longer; 0 sets no limit. Raises
    DatabaseUnavailableError when there is no connection within `connect_timeout_seconds`.
    """
    apart = partial(
        connect,
        dsn,
        application_name=f"{application_name} apart",
        connect_timeout_seconds=connect_timeout_seconds,
    )
    pool = Pool(
        apart,
        dsn=dsn,
        min_size=min_size,
        max_size=max_size,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        connect=partial(_connect_patiently, connect_timeout_seconds),
        init=_teach_jsonb,
        loop=None,
        connection_class=PooledConnection,
        record_class=asyncpg.Record,
        server_settings=_server_settings(application_name, statement_timeout_seconds),
    )
    await pool
    return pool


async def close_pool(pool: asyncpg.Pool, *, within_seconds: float = 5.0) -> None:
    """Close a pool; connections that are still at work after a while are cut off, their work rolled back."""
    try:
        # Not wait_for, here and elsewhere: before Python 3.12 it may lose a cancellation.
        async with asyncio.timeout(within_seconds):
            await pool.close()
    except TimeoutError:
        # asyncpg has cut them off when its waiting was cancelled
        _log.warning("database_connections_cut_off", after_seconds=within_seconds)


async def connect(
    dsn: str,
    *,
    application_name: str,
    statement_timeout_seconds: float = 0.0,
    connect_timeout_seconds: float = 30.0,
) -> asyncpg.Connection:
    """Open one connection outside any pool, configured like the pooled ones but without a statement timeout.

    Raises DatabaseUnavailableError when there is none within `connect_timeout_seconds`.
    """
    connection: asyncpg.Connection = await _connect_patiently(
        connect_timeout_seconds,
        dsn=dsn,
        server_settings=_server_settings(application_name, statement_timeout_seconds),
    )
    await _teach_jsonb(connection)
    return connection


def _server_settings(application_name: str, statement_timeout_seconds: float) -> dict[str, str]:
    return {
        "application_name": application_name,
        "timezone": "UTC",
        # the bounds of partitions are read as the server writes them
        "datestyle": "ISO",
        "statement_timeout": str(round(statement_timeout_seconds * 1000)),
        # a process that hangs must not hold a partition's or a job's row lock for ever
        "idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION_SECONDS * 1000),
        # our statements take milliseconds: compiling them takes longer
        "jit": "off",
    }


async def _teach_jsonb(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=_decode_jsonb, format="binary"
    )


def _encode_jsonb(value: object) -> bytes:
    # the binary form of jsonb is its text behind a version byte
    return b"\x01" + msgspec.json.encode(value)


def _decode_jsonb(value: bytes) -> Any:
    return msgspec.json.decode(memoryview(value)[1:])


async def _connect_patiently(timeout_seconds: float, *args: Any, **options: Any) -> Any:
    async def attempt(left_seconds: float) -> asyncpg.Connection:
        return await asyncpg.connect(*args, timeout=max(left_seconds, 1.0), **options)

    return await wait_for_server(attempt, timeout_seconds)


async def wait_for_server(attempt: Callable[[float], Awaitable[_Opened]], timeout_seconds: float) -> _Opened:
    """Try to connect until it works, with growing pauses; `attempt` is told how many seconds are left.

    Raises DatabaseUnavailableError once `timeout_seconds` have gone by, and at once for a certificate that is
    not trusted. Other errors that waiting cannot mend (a wrong password, no such database) come through.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + timeout_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await attempt(give_up_at - loop.time())
        except ssl.SSLCertVerificationError as error:
            raise DatabaseUnavailableError(
                f"the certificate of PostgreSQL is not trusted ({error.verify_message.rstrip('.')}); check "
                "host and sslrootcert in the database URL"
            ) from error
        except _NOT_YET as error:
            if loop.time() + pause >= give_up_at:
                raise DatabaseUnavailableError(
                    f"PostgreSQL did not answer within {timeout_seconds:g} s "
                    f"({str(error) or type(error).__name__}); check that it runs and that the "
                    "database URL is right"
                ) from error
            _log.debug("database_not_ready", error=str(error), retry_in_seconds=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
