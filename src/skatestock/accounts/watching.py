"""Watches the credentials that something is kept open for, and tells when one holds no more."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from skatestock.accounts.model import Client
from skatestock.telemetry.logs import get_logger
from skatestock.vocabulary.time import Clock

LOOKED_AT_SECONDS = 2.0
"""How long after its end a credential may still be believed by what is watched."""

FindHolding = Callable[[Collection[UUID], Collection[str], datetime], Awaitable[set[UUID | str]]]
"""Finds which of these sessions and keys still hold."""

_log = get_logger(__name__)


class _Watched(NamedTuple):
    client: Client
    on_end: Callable[[], None]

    @property
    def holder(self) -> UUID | str:
        """Return what has to hold: a session's id or a key's."""
        claims = self.client.claims
        return self.client.id if claims is None else claims.session_id


class CredentialWatch:
    """Looks again and again, at all credentials by one statement; one per process.

    While the database is away nothing is known to have ended, but for access tokens: they tell their own end.
    """

    def __init__(self, find_holding: FindHolding, clock: Clock, *, every_seconds: float) -> None:
        self._find_holding = find_holding
        self._clock = clock
        self._every_seconds = every_seconds
        self._watched: dict[int, _Watched] = {}
        self._number = 0
        self._task: asyncio.Task[None] | None = None

    def begin(self, client: Client, on_end: Callable[[], None]) -> Callable[[], None]:
        """Call `on_end` once what this client showed holds no more; returns what stops that."""
        self._number += 1
        number = self._number
        self._watched[number] = _Watched(client, on_end)
        if self._task is None:
            self._task = asyncio.create_task(self._keep_looking(), name="credential-watch")
        return lambda: self._forget(number)

    def close(self) -> None:
        """Watch nothing any more; idempotent."""
        self._watched.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _forget(self, number: int) -> None:
        self._watched.pop(number, None)

    async def _keep_looking(self) -> None:
        while self._watched:
            try:
                await self._look()
            except Exception as error:
                # nobody else hears of it, and the watch has to go on
                _log.warning("credentials_not_looked_at", error=str(error))
            await asyncio.sleep(self._every_seconds)
        self._task = None

    async def _look(self) -> None:
        now = self._clock()
        known = dict(self._watched)
        for number, watched in list(known.items()):
            if watched.client.claims is not None and watched.client.claims.expires_at <= now.timestamp():
                self._end(number)
                del known[number]
        holders = {watched.holder for watched in known.values()}
        sessions = [holder for holder in holders if isinstance(holder, UUID)]
        keys = [holder for holder in holders if isinstance(holder, str)]
        if not holders:
            return
        holding = await self._find_holding(sessions, keys, now)
        for number, watched in known.items():
            if watched.holder not in holding:
                self._end(number)

    def _end(self, number: int) -> None:
        watched = self._watched.pop(number, None)
        if watched is not None:
            watched.on_end()
