"""The streams of events: what commits change, told to everybody who watches, in order and exactly once.

Each change is read from the database once per process and handed to all streams. A stream that begins at an
earlier place first reads what it missed from the database; one that cannot keep up is ended, and its client
comes back with the id of the last event that it got.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator

from skatestock.api.connections import Database
from skatestock.api.errors import (
    DatabaseAwayError,
    RequestError,
    StreamsExhaustedError,
    TooManyStreamsError,
)
from skatestock.api.event_answers import WrittenEvent, write_block, write_event
from skatestock.api.event_ids import EventId, Place, after_change, name_catalogue, write_event_id
from skatestock.api.event_schemas import EventsQuestion
from skatestock.api.event_subscriptions import StreamLimits, Subscription
from skatestock.catalog.change_queries import (
    CatalogueChange,
    Clock,
    find_changes,
    find_clock,
    find_oldest_position,
)
from skatestock.catalog.event_queries import count_entries, fetch_events
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import API_EVENT_STREAMS, API_EVENT_STREAMS_ENDED

CHANGES = "changes"
"""The key of the application's state under which its Changes stand."""

_ENTRIES_AT_ONCE = 250
_CHANGES_AT_ONCE = 5
_RETRY_SECONDS = 0.5
# Where a client comes back to, in milliseconds; told once, as a stream begins.
_OPENING = b": SkateStock\nretry: 2000\n"

_log = get_logger(__name__)


class Changes:
    """Hands the catalogue's changes to all streams of this process."""

    def __init__(self, database: Database, limits: StreamLimits | None = None) -> None:
        self._database = database
        self.limits = limits or StreamLimits()
        self._subscriptions: set[Subscription] = set()
        self._clients: Counter[str] = Counter()
        self._clock: Clock | None = None
        self.is_followed = False
        """Whether there is somebody to say what commits change."""
        self.confirmed_at = float("-inf")
        """When the catalogue was last in sight, on the monotonic clock."""
        self._epoch: str | None = None
        self._catalogue = ""
        # The last change whose telling has begun, and the last that was told whole.
        self._begun = self._told = 0
        self._waiting: deque[CatalogueChange] = deque()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def streams(self) -> int:
        """Tell how many streams are open."""
        return len(self._subscriptions)

    @property
    def clock(self) -> Clock | None:
        """Return how far the catalogue was when it was last in sight; None if it never was."""
        return self._clock

    # ------------------------------------------------------------ what the follower says

    def on_change(self, change: CatalogueChange) -> None:
        """Take the next change."""
        self._waiting.append(change)
        self._news.set()
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._keep_telling(), name="event-streams")

    def on_confirmed(self, clock: Clock) -> None:
        """Take how far the catalogue is; another catalogue's streams begin anew."""
        self._clock, self.confirmed_at = clock, time.monotonic()
        if clock.epoch == self._epoch:
            return
        is_other = self._epoch is not None
        self._epoch, self._catalogue = clock.epoch, name_catalogue(clock.epoch)
        self._waiting.clear()
        self._begun = self._told = clock.position
        if is_other:
            self._begin_anew("another_catalogue")

    async def _keep_telling(self) -> None:
        while True:
            self._news.clear()
            while self._waiting:
                await self._tell(self._waiting.popleft())
            await self._news.wait()

    async def _tell(self, change: CatalogueChange) -> None:
        follows = change.position == self._begun + 1
        self._begun = change.position
        if not follows:
            self._told = change.position
            self._begin_anew("too_old")
            return
        # Whoever comes while this is told reads all of it from the database.
        audience = list(self._subscriptions)
        catalogue = self._catalogue
        for first in range(0, count_entries(change), _ENTRIES_AT_ONCE):
            if not audience:
                break
            events = await self._read_patiently(change, first)
            if catalogue != self._catalogue:
                return
            for subscription in audience:
                subscription.offer(events)
        self._told = change.position

    async def _read_patiently(self, change: CatalogueChange, first: int) -> list[WrittenEvent]:
        while True:
            try:
                return await self._read(change, first)
            except RequestError as error:
                _log.warning("events_wait_for_database", error=str(error))
            except Exception:
                # A mistake of ours must not end all streams for ever: they resume, and this part is left out.
                _log.exception("events_crashed", position=change.position)
                self._begin_anew("too_old")
                return []
            await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self, change: CatalogueChange, first: int) -> list[WrittenEvent]:
        async with self._database.connect() as connection:
            events = await fetch_events(connection, change, first, _ENTRIES_AT_ONCE)
        return [write_event(event, self._catalogue) for event in events]

    def _begin_anew(self, reason: str) -> None:
        for subscription in self._subscriptions:
            subscription.begin_anew(after_change(self._begun), reason)

    # ------------------------------------------------------------ what streams do

    async def subscribe(self, question: EventsQuestion, last: EventId | None, client: str) -> Subscription:
        """Open a stream after an event, or from now on; whoever sends it releases it in the end.

        Raises DatabaseAwayError while there is no sight of the catalogue, TooManyStreamsError and
        StreamsExhaustedError.
        """
        resync = None if last is None else await self._judge(last)
        if self._epoch is None or self._closed:
            raise DatabaseAwayError("the catalogue's changes are not in sight; try again soon")
        limits = self.limits
        if self._clients[client] >= limits.most_per_client:
            raise TooManyStreamsError(f"{limits.most_per_client} streams are open; end one first")
        if len(self._subscriptions) >= limits.most_streams:
            raise StreamsExhaustedError(f"{limits.most_streams} streams are open here; try again soon")
        place = after_change(self._begun) if last is None or resync is not None else last.place
        subscription = Subscription(question, client, place, self._begun, limits.most_waiting)
        subscription.resync = resync
        self._subscriptions.add(subscription)
        self._clients[client] += 1
        API_EVENT_STREAMS.set(len(self._subscriptions))
        return subscription

    def release(self, subscription: Subscription, reason: str) -> None:
        """Forget a stream that has ended."""
        self._subscriptions.discard(subscription)
        self._clients -= Counter([subscription.client])
        API_EVENT_STREAMS.set(len(self._subscriptions))
        API_EVENT_STREAMS_ENDED.labels(reason=subscription.ended or reason).inc()

    async def write(self, subscription: Subscription) -> AsyncIterator[bytes]:
        """Write a stream, piece by piece, until it has to end."""
        yield _OPENING + self._write_place(subscription.place)
        async for piece in self._catch_up(subscription):
            yield piece
        while True:
            if subscription.resync is not None:
                yield self._write_resync(subscription)
            events = subscription.take()
            if events:
                subscription.place = events[-1].place
                yield b"".join(event.block for event in events)
            elif subscription.ended is not None:
                return
            elif not await subscription.wait(self.limits.heartbeat_seconds) and subscription.is_idle:
                yield b": still here\n" + self._write_progress(subscription)

    def end(self) -> None:
        """End all streams, and open no more; they resume elsewhere. Idempotent."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.end("done")

    async def close(self) -> None:
        """End all streams and stop telling; idempotent."""
        self.end()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _judge(self, last: EventId) -> str | None:
        """Tell why a stream cannot go on after an event, if it cannot."""
        async with self._database.connect() as connection:
            clock = await find_clock(connection)
            oldest = await find_oldest_position(connection)
        if last.catalogue != name_catalogue(clock.epoch) or last.place > after_change(clock.position):
            return "another_catalogue"
        return "too_old" if last.place.position < oldest else None

    async def _catch_up(self, subscription: Subscription) -> AsyncIterator[bytes]:
        """Write what happened between the stream's place and what it is told as it happens."""
        at = subscription.place.position - 1
        while at < subscription.known:
            async with self._database.connect() as connection:
                changes = await find_changes(connection, at, _CHANGES_AT_ONCE)
            for change in changes:
                if change.position > subscription.known:
                    break
                if change.position != at + 1:
                    subscription.begin_anew(after_change(subscription.known), "too_old")
                async for piece in self._repeat(change, subscription):
                    yield piece
                if subscription.resync is not None:
                    return
                at = change.position
            if not changes:
                subscription.begin_anew(after_change(subscription.known), "too_old")
                return
        subscription.place = max(subscription.place, after_change(subscription.known))

    async def _repeat(self, change: CatalogueChange, subscription: Subscription) -> AsyncIterator[bytes]:
        """Write what a stream has not had of a change."""
        for first in range(0, count_entries(change), _ENTRIES_AT_ONCE):
            if subscription.resync is not None:
                return
            events = subscription.choose(await self._read(change, first))
            if events and subscription.resync is None:
                subscription.place = events[-1].place
                yield b"".join(event.block for event in events)

    def _write_place(self, place: Place) -> bytes:
        # an id without data is an event that nobody hears of, but from where a client resumes
        return f"id: {write_event_id(place, self._catalogue)}\n\n".encode()

    def _write_progress(self, subscription: Subscription) -> bytes:
        """Let a stream that is asked for little not resume at a place long ago."""
        subscription.place = max(subscription.place, after_change(self._told))
        return self._write_place(subscription.place)

    def _write_resync(self, subscription: Subscription) -> bytes:
        reason, subscription.resync = subscription.resync, None
        event_id = write_event_id(subscription.place, self._catalogue)
        return write_block("resync", {"reason": reason}, event_id)
