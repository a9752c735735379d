"""Listening for notifications on a connection that is kept for it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import asyncpg

from skatestock.database.errors import DatabaseError

LISTENING_LOSSES = (
    DatabaseError,
    # TimeoutError is one
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # what asyncpg says when the server's farewell comes just as a statement is sent
    asyncpg.InternalClientError,
)
"""How a connection that is kept open to listen on may be lost, or not be had; its owner opens another."""


@asynccontextmanager
async def listening(
    connect: Callable[[], Awaitable[asyncpg.Connection]],
    channels: Iterable[str],
    *,
    on_notification: Callable[[str], None],
    on_lost: Callable[[], None],
) -> AsyncGenerator[asyncpg.Connection]:
    """Lend a connection that hears of channels, and cut it off at the end.

    `on_notification` gets what was notified; `on_lost` hears when the connection ends before. A notification
    is a hint, never the truth: whoever waits for one looks now and then without it. Raises one of
    LISTENING_LOSSES.
    """
    connection = await connect()
    try:
        connection.add_termination_listener(lambda _connection: on_lost())
        for channel in channels:
            await connection.add_listener(
                channel, lambda _connection, _pid, _channel, payload: on_notification(str(payload))
            )
        yield connection
    finally:
        # nothing of value is in flight, so there is no farewell to wait for
        connection.terminate()
