"""What a process remembers of API keys, for seconds: whose they are, and that their use was written."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NamedTuple

from skatestock.accounts.commands_keys import WRITTEN_EVERY
from skatestock.accounts.model import Client
from skatestock.telemetry.logs import get_logger

FindClient = Callable[[str, bytes], Awaitable[Client | None]]

BELIEVED_SECONDS = 5.0
_MOST = 10_000
# Somebody who makes keys up must not take the connections of those who have one.
_LOOKUPS_AT_ONCE, _LOOKUPS_WAITING = 2, 64

_log = get_logger(__name__)


class _Remembered(NamedTuple):
    client: Client | None
    until: float


class RecentKeys:
    """Remembers so many keys, and asks the database for no more than two others at once."""

    def __init__(
        self, find_client: FindClient, *, tell_seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._find_client = find_client
        self._tell_seconds = tell_seconds
        self._known: dict[tuple[str, bytes], _Remembered] = {}
        self._written: dict[tuple[str, str], datetime] = {}
        self._free = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        self._waiting = 0

    async def find(self, key_id: str, secret_hash: bytes) -> Client | None:
        """Tell whose key this is; None where it is nobody's, or where it cannot be told now. Never raises."""
        known = self._known.get((key_id, secret_hash))
        if known is not None and known.until > self._tell_seconds():
            return known.client
        if self._waiting >= _LOOKUPS_WAITING:
            return None
        self._waiting += 1
        try:
            async with self._free:
                return await self._look_up(key_id, secret_hash)
        finally:
            self._waiting -= 1

    def is_use_due(self, key_id: str, address: str, now: datetime) -> bool:
        """Tell whether a key's use from an address is to be written: at most once a minute."""
        written_at = self._written.get((key_id, address))
        if written_at is not None and now - written_at < WRITTEN_EVERY:
            return False
        _trim(self._written)
        self._written[key_id, address] = now
        return True

    async def _look_up(self, key_id: str, secret_hash: bytes) -> Client | None:
        known = self._known.get((key_id, secret_hash))
        if known is not None and known.until > self._tell_seconds():
            # whoever was before us in the queue asked the same
            return known.client
        asked_at = self._tell_seconds()
        try:
            client = await self._find_client(key_id, secret_hash)
        except Exception as error:
            # the edge asks for everybody: it goes on counting by address while the database is away
            _log.debug("key_not_looked_up", error=str(error))
            return None
        _trim(self._known)
        self._known[key_id, secret_hash] = _Remembered(client, asked_at + BELIEVED_SECONDS)
        return client


def _trim(memory: dict[tuple[str, bytes], _Remembered] | dict[tuple[str, str], datetime]) -> None:
    """Forget everything rather than grow: what is remembered is for seconds."""
    if len(memory) >= _MOST:
        memory.clear()
