"""One stream of events as the process sees it: what it is asked for, and what waits to be sent."""

import asyncio
from collections import deque
from collections.abc import Iterable

from skatestock.api.event_answers import WrittenEvent, is_wanted
from skatestock.api.event_ids import Place
from skatestock.api.event_schemas import EventsQuestion

# How far a stream may fall behind before it is ended. Streams that wait share the events themselves.
_MOST_WAITING = 5000
_SENT_AT_ONCE = 100


class Subscription:
    """One stream: what it is asked for, and what waits to be sent."""

    def __init__(self, question: EventsQuestion, client: str, place: Place, known: int) -> None:
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
        if len(self._waiting) > _MOST_WAITING:
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
