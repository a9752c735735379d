"""Gates that keep requests to one host apart: in this process, and across all workers through Valkey."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from skatestock.crawl.ports import SpacingGate
from skatestock.telemetry.logs import get_logger

# KEYS: the host's key, which holds the server time in microseconds from which on the host may be asked.
# ARGV: spacing in microseconds. Returns 0 and takes the turn, or the microseconds that are left to wait.
_TURN_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local free_at = tonumber(redis.call('GET', KEYS[1]) or '0')
if free_at > now then return free_at - now end
local spacing = tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', now + spacing), 'PX', math.ceil(spacing / 1000) + 1000)
return 0
"""
# The same key and argument; never shortens a longer hold.
_HOLD_SCRIPT = """
local time = redis.call('TIME')
local until_at = time[1] * 1000000 + time[2] + tonumber(ARGV[1])
if tonumber(redis.call('GET', KEYS[1]) or '0') >= until_at then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f', until_at), 'PX', math.ceil(tonumber(ARGV[1]) / 1000) + 1000)
return 1
"""
# A hold may be lifted or lengthened while one waits, so long waits look again now and then.
_LONGEST_SLEEP_SECONDS = 5.0

_log = get_logger(__name__)


class LocalSpacingGate:
    """Keeps the requests of this process apart, by a clock that nobody can set."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._free_at: dict[str, float] = {}

    async def wait_turn(self, host: str, spacing_seconds: float) -> None:
        """Wait until the host may be asked; nobody else in this process may for the spacing's time."""
        while (wait_seconds := self._free_at.get(host, -math.inf) - self._now()) > 0:  # noqa: ASYNC110 - a clock
            await asyncio.sleep(min(wait_seconds, _LONGEST_SLEEP_SECONDS))
        self._free_at[host] = self._now() + spacing_seconds

    async def hold(self, host: str, seconds: float) -> None:
        """Let nobody in this process ask the host for so long from now; never shortens a longer hold."""
        self._free_at[host] = max(self._free_at.get(host, -math.inf), self._now() + seconds)


class ValkeySpacingGate:
    """Keeps all workers apart that share a Valkey; without it, those that share the fallback.

    Every turn is taken in this process too, so a flushed or restarted Valkey never lets two requests of one
    process come closer.
    """

    def __init__(self, client: Redis, fallback: SpacingGate | None = None) -> None:
        self._client = client
        self._fallback = fallback
        self._local = LocalSpacingGate()
        self._away = False

    async def wait_turn(self, host: str, spacing_seconds: float) -> None:
        """Wait until the host may be asked; no other worker may for the spacing's time."""
        while (wait_seconds := await self._take_turn(host, spacing_seconds)) > 0:  # noqa: ASYNC110 - a clock
            await asyncio.sleep(min(wait_seconds, _LONGEST_SLEEP_SECONDS))
        await self._local.wait_turn(host, spacing_seconds)

    async def hold(self, host: str, seconds: float) -> None:
        """Let no worker ask the host for so long from now; never shortens a longer hold."""
        await self._local.hold(host, seconds)
        if await self._run(_HOLD_SCRIPT, host, seconds) is None and self._fallback is not None:
            await self._fallback.hold(host, seconds)

    async def _take_turn(self, host: str, spacing_seconds: float) -> float:
        wait_microseconds = await self._run(_TURN_SCRIPT, host, spacing_seconds)
        if wait_microseconds is None:
            if self._fallback is not None:
                await self._fallback.wait_turn(host, spacing_seconds)
            return 0.0
        return wait_microseconds / 1e6

    async def _run(self, script: str, host: str, seconds: float) -> int | None:
        try:
            microseconds = math.ceil(seconds * 1e6)
            answer = await cast(Any, self._client.eval(script, 1, spacing_key(host), microseconds))
        except (RedisError, OSError, TimeoutError) as error:
            if not self._away:
                _log.warning("spacing_cache_away", host=host, error=str(error))
            self._away = True
            return None
        self._away = False
        return int(answer)


def spacing_key(host: str) -> str:
    """Return the key of a host's next free moment."""
    return f"skatestock:spacing:{host}"
