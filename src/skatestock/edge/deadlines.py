"""Deadlines for many at once, all of the same length: one timer, set for whoever is due first."""

import asyncio
from typing import Protocol


class Expiring(Protocol):
    """What can be ended because its time is over."""

    def expire(self) -> None:
        """End: called once, by the event loop."""
        ...


class Deadlines:
    """Whose time runs; to begin and to end costs no more than a dictionary's entry."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # in the order of beginning, which is the order of their ends too
        self._due: dict[Expiring, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, expiring: Expiring, loop: asyncio.AbstractEventLoop) -> None:
        """Let its time run."""
        self._due[expiring] = due_at = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due_at, self._look, loop)

    def end(self, expiring: Expiring) -> None:
        """Let it have all the time it likes; idempotent."""
        self._due.pop(expiring, None)

    def close(self) -> None:
        """Let nobody's time run any more; idempotent."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End whose time is over, and look again when the next one is due."""
        self._timer = None
        while self._due:
            expiring, due_at = next(iter(self._due.items()))
            if due_at > loop.time():
                self._timer = loop.call_at(due_at, self._look, loop)
                return
            del self._due[expiring]
            expiring.expire()
