"""Wakes consumers as soon as something is appended, over one listening connection per process."""

import asyncio
from collections import defaultdict

from skatestock.database.pool import Connection, Pool
from skatestock.database.transactions import LISTENING_LOSSES
from skatestock.telemetry.logs import get_logger

_CHANNEL = "skatestock_eventlog"
_RECONNECT_SECONDS = 1.0

_log = get_logger(__name__)


class WakeUps:
    """Sets the events of those who wait for a topic.

    A wake-up is a hint, never the truth: while the connection is lost none arrive, and waiters look for
    themselves now and then. Each return of the connection wakes everybody once.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._events: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, topic: str) -> asyncio.Event:
        """Return an event that is set on every append to the topic; the waiter clears it before it looks."""
        event = asyncio.Event()
        self._events[topic].add(event)
        if self._task is None:
            self._task = asyncio.create_task(self._keep_listening(), name="eventlog-wakeups")
        return event

    def unsubscribe(self, topic: str, event: asyncio.Event) -> None:
        """Forget the event; idempotent."""
        self._events[topic].discard(event)

    async def close(self) -> None:
        """Stop listening; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_listening(self) -> None:
        while True:
            try:
                await self._listen_until_lost()
            except LISTENING_LOSSES as error:
                _log.warning("eventlog_wakeups_lost", error=str(error), retry_in_seconds=_RECONNECT_SECONDS)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen_until_lost(self) -> None:
        connection = await self._pool.connect_apart()
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _connection: lost.set())
        try:
            await connection.add_listener(_CHANNEL, self._on_notification)
            # whatever was appended while nobody listened
            for topic in list(self._events):
                self._wake(topic)
            await lost.wait()
        finally:
            # nothing of value is in flight, so there is no farewell to wait for
            connection.terminate()

    def _on_notification(self, _connection: Connection, _pid: int, _channel: str, topic: object) -> None:
        self._wake(str(topic))

    def _wake(self, topic: str) -> None:
        for event in self._events[topic]:
            event.set()


async def notify_append(connection: Connection, topic: str) -> None:
    """Wake all who wait for the topic once the transaction commits."""
    await connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, topic)
