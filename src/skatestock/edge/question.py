"""One question to the application that many may wait for."""

import asyncio

from skatestock.edge.entries import Entry
from skatestock.edge.requests import Request
from skatestock.edge.validity import Stamp


class Question:
    """One question, asked by a task of its own: who asked first may leave, and others wait for it too.

    In the end there is an `entry` for all, an `error`, or neither: then the answer was for the one who asked
    first alone, and has passed to him.
    """

    __slots__ = (
        "_waiting",
        "entry",
        "error",
        "is_late",
        "is_passing",
        "is_shared",
        "leader",
        "request",
        "stamp",
        "task",
    )

    def __init__(self, request: Request, stamp: Stamp, leader: "asyncio.Future[None]") -> None:
        self.request = request
        self.stamp = stamp
        self.leader = leader
        """Done when nothing more comes for the one who asked first; cancelled when he has left."""
        self.task: asyncio.Task[None] | None = None
        self.entry: Entry | None = None
        self.error: Exception | None = None
        self.is_shared = False
        """Whether the answer was in Redis."""
        self.is_passing = False
        """Whether the answer goes to the one who asked first, as it comes: nobody may join any more."""
        self.is_late = False
        self._waiting: asyncio.Future[None] | None = None

    async def join(self) -> Entry | None:
        """Wait for what comes of it, as one of those who came later."""
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._waiting)
        return self.entry

    def pass_on(self) -> None:
        """Let the answer pass: whoever came later has to ask for himself."""
        self.is_passing = True
        self._release_others()
        if self.leader.cancelled():
            self.cancel()

    def release(self) -> None:
        """Wake all who wait, because what there is now is all that comes; idempotent."""
        if self._waiting is not None:
            self._release_others()
        if not self.leader.done():
            self.leader.set_result(None)

    def expire(self) -> None:
        """Give the application up, because its answer has not begun in time."""
        self.is_late = True
        self.cancel()

    def cancel(self) -> None:
        """End the asking."""
        if self.task is not None:
            self.task.cancel()

    def _release_others(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
