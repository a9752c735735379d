"""Follows the catalogue's changes in a process that keeps something of it: caches, streams of events."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

from skatestock.catalog.change_queries import CatalogueChange, Clock, find_changes, find_clock
from skatestock.catalog.commands_changes import CHANNEL, INDEX_CHANNEL
from skatestock.database.listening import LISTENING_LOSSES, listening
from skatestock.telemetry.logs import get_logger
from skatestock.vocabulary.time import utc_now

_POLL_SECONDS = 1.0
_RECONNECT_SECONDS = 0.5
# An answer of the database that took longer says nothing of the present.
_ANSWER_SECONDS = 1.0
_CHANGES_AT_ONCE = 100

_log = get_logger(__name__)

Connect = Callable[[], Awaitable[asyncpg.Connection]]


class Follower:
    """Tells of every change since it first saw the catalogue, in order and once.

    `on_change` hears each change, `on_confirmed` how far the catalogue is: at least every second while the
    database answers, and always after the changes up to there. While the database is away neither is called;
    what was missed meanwhile is told afterwards. Where changes were pruned meanwhile, one that changed
    everything is told in their stead. When the epoch confirmed is another than before, the catalogue is
    another one and nothing is known of what came before. Neither callback may raise.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        on_change: Callable[[CatalogueChange], None],
        on_confirmed: Callable[[Clock], None],
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._connect = connect
        self._on_change = on_change
        self._on_confirmed = on_confirmed
        self._poll_seconds = poll_seconds
        self._epoch: str | None = None
        self._position = 0
        self._lost = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow, in the running loop; idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_following(), name="catalogue-follower")

    async def stop(self) -> None:
        """Stop following; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_following(self) -> None:
        while True:
            try:
                await self._follow_until_lost()
            except LISTENING_LOSSES as error:
                if not self._lost:
                    _log.warning("catalogue_lost_sight_of", error=str(error) or type(error).__name__)
                self._lost = True
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _follow_until_lost(self) -> None:
        moved = asyncio.Event()
        async with listening(
            self._connect,
            (CHANNEL, INDEX_CHANNEL),
            on_notification=lambda _position: moved.set(),
            on_lost=moved.set,
        ) as connection:
            if self._lost:
                _log.info("catalogue_followed_again")
            self._lost = False
            await self._follow(connection, moved)

    async def _follow(self, connection: asyncpg.Connection, moved: asyncio.Event) -> None:
        """Follow until the connection is lost, which raises."""
        while True:
            moved.clear()
            if not await self._catch_up(connection):
                continue
            try:
                # Not wait_for: before Python 3.12 it may lose a cancellation that comes with the event.
                async with asyncio.timeout(self._poll_seconds):
                    await moved.wait()
            except TimeoutError:
                # a notification may be lost on its way: look all the same
                continue

    async def _catch_up(self, connection: asyncpg.Connection) -> bool:
        """Tell all that is new, and confirm it unless that took so long that there may be more."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        async with asyncio.timeout(_ANSWER_SECONDS):
            clock = await find_clock(connection)
        if clock.epoch != self._epoch or clock.position < self._position:
            self._begin_anew(clock)
        while self._position < clock.position:
            await self._tell_next(connection, clock)
        if loop.time() - asked_at > _ANSWER_SECONDS:
            return False
        self._on_confirmed(clock._replace(position=self._position))
        return True

    def _begin_anew(self, clock: Clock) -> None:
        if self._epoch is not None:
            _log.warning("catalogue_is_another", epoch=clock.epoch, position=clock.position)
        if clock.epoch == self._epoch:
            # These very tables went back to an earlier state: their positions will be given anew.
            self._on_change(_change_everything(clock.position))
        self._epoch, self._position = clock.epoch, clock.position

    async def _tell_next(self, connection: asyncpg.Connection, clock: Clock) -> None:
        changes = await find_changes(connection, self._position, _CHANGES_AT_ONCE)
        first = changes[0].position if changes else clock.position + 1
        if first != self._position + 1:
            _log.warning("catalogue_changes_missed", after=self._position, before=first)
            self._tell(_change_everything(first - 1))
        for change in changes:
            self._tell(change)

    def _tell(self, change: CatalogueChange) -> None:
        self._position = change.position
        self._on_change(change)


def _change_everything(position: int) -> CatalogueChange:
    return CatalogueChange(position, utc_now(), everything=True)
