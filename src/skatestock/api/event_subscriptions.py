"""One stream of events as the process sees it: what it is asked for, and what waits to be sent."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from skatestock.api.event_answers import WrittenEvent, is_wanted
from skatestock.api.event_ids import Place
from skatestock.api.event_schemas import EventsQuestion

_SENT_AT_ONCE = 100


class StreamLimits(NamedTuple):
    """How many streams a process serves, and how long it bears with one."""

    most_streams: int = 500
    most_per_client: int = 10
    most_waiting: int = 5000
    """How many events a stream may fall behind before it is ended. Streams that wait share the events."""
    heartbeat_seconds: float = 15.0
    """After how long without an event a sign of life is sent."""
    send_seconds: float = 30.0
    """A client that does not read for so long is gone, or as good as."""


class Subscription:
    """One stream: what it is asked for, and what waits to be sent."""

    def __init__(
        self, question: EventsQuestion, client: str, place: Place, known: int, most_waiting: int
    ) -> None:
        self.question = question
        self.client = client
        self.place = place
        """After which everything is still to be sent or queued."""
        self.known = known
        """The last change that the stream has to read for itself."""
        self.ended: str | None = None
        """Why the stream has to end, once it has."""
        self.has_ended = asyncio.Event()
        self.resync: str | None = None
        """Why what comes next does not follow on what came before, until that is told."""
        self._most_waiting = most_waiting
        self._waiting: deque[WrittenEvent] = deque()
        self._news = asyncio.Event()

    def choose(self, events: Iterable[WrittenEvent]) -> list[WrittenEvent]:
        """Choose what is still to be sent of these events, and asked for."""
        return [event for event in events if event.place > self.place and is_wanted(event, self.question)]

    def offer(self, events: Iterable[WrittenEvent]) -> None:
        """Queue what of these events is asked for."""
        wanted = self.choose(events)
        if not wanted or self.ended:
            return
        self._waiting += wanted
        if len(self._waiting) > self._most_waiting:
            self._waiting.clear()
            self.end("slow")
        self._news.set()

    def end(self, reason: str) -> None:
        """Let the stream end after what is queued; idempotent."""
        self.ended = self.ended or reason
        self.has_ended.set()
        self._news.set()

    def begin_anew(self, place: Place, reason: str) -> None:
        """Let the stream go on at another place, and say that it does not follow on the last."""
        self._waiting.clear()
        self.place, self.resync = place, reason
        self._news.set()

    def take(self) -> list[WrittenEvent]:
        """Take some of what is queued."""
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), _SENT_AT_ONCE))]

    @property
    def is_idle(self) -> bool:
        """Tell whether there is nothing to send."""
        return not self._waiting and self.resync is None and self.ended is None

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something to do; False if there is nothing after so long."""
        self._news.clear()
        if not self.is_idle:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True
