"""Wakes consumers as soon as something is appended, over one listening connection per process."""

import asyncio
from collections import defaultdict

from skatestock.database.listening import LISTENING_LOSSES, listening
from skatestock.database.pool import Connection, Pool
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
        lost = asyncio.Event()
        async with listening(
            self._pool.connect_apart, [_CHANNEL], on_notification=self._wake, on_lost=lost.set
        ):
            # whatever was appended while nobody listened
            for topic in list(self._events):
                self._wake(topic)
            await lost.wait()

    def _wake(self, topic: str) -> None:
        for event in self._events[topic]:
            event.set()


async def notify_append(connection: Connection, topic: str) -> None:
    """Wake all who wait for the topic once the transaction commits."""
    await connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, topic)
