"""What the edge counts: plain numbers on the way of a request, told to Prometheus each second."""

import asyncio

from skatestock.edge.memory import Memory
from skatestock.edge.pipe import RedisPipe
from skatestock.telemetry.metrics import (
    EDGE_ANSWERS,
    EDGE_CACHE_BYTES,
    EDGE_CACHE_ENTRIES,
    EDGE_CACHE_EVICTIONS,
    EDGE_NOT_MODIFIED,
    EDGE_REDIS_CALLS,
    EDGE_REDIS_CONNECTED,
)

_EVERY_SECONDS = 1.0


class Measures:
    """The numbers of one process."""

    __slots__ = (
        "_told",
        "failed",
        "faulty",
        "joined",
        "memory",
        "miss",
        "not_modified",
        "passed",
        "preflight",
        "refused",
        "shared",
        "timed_out",
    )

    OUTCOMES = (
        "memory",
        "shared",
        "joined",
        "miss",
        "passed",
        "preflight",
        "refused",
        "faulty",
        "timed_out",
        "failed",
    )

    def __init__(self) -> None:
        self.memory = 0
        self.shared = 0
        self.joined = 0
        self.miss = 0
        self.passed = 0
        self.preflight = 0
        self.refused = 0
        self.faulty = 0
        self.timed_out = 0
        self.failed = 0
        self.not_modified = 0
        self._told: dict[str, int] = {}

    async def keep_telling(self, memory: Memory, pipe: RedisPipe | None) -> None:
        """Tell the numbers until cancelled, and once more at the end."""
        try:
            while True:
                self.tell(memory, pipe)
                await asyncio.sleep(_EVERY_SECONDS)
        finally:
            self.tell(memory, pipe)

    def tell(self, memory: Memory, pipe: RedisPipe | None) -> None:
        """Tell Prometheus what came since the last time."""
        for outcome in self.OUTCOMES:
            if added := self._added(outcome, getattr(self, outcome)):
                EDGE_ANSWERS.labels(outcome=outcome).inc(added)
        EDGE_NOT_MODIFIED.inc(self._added("not_modified", self.not_modified))
        EDGE_CACHE_EVICTIONS.inc(self._added("evicted", memory.evicted))
        EDGE_CACHE_BYTES.set(memory.bytes)
        EDGE_CACHE_ENTRIES.set(len(memory))
        if pipe is not None:
            EDGE_REDIS_CALLS.inc(self._added("calls", pipe.calls))
            EDGE_REDIS_CONNECTED.set(pipe.connected)

    def _added(self, name: str, value: int) -> int:
        added = value - self._told.get(name, 0)
        self._told[name] = value
        return added
