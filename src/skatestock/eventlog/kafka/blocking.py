"""Calls that block, one after the other in a thread of their own: the event loop never waits for them."""

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class BlockingCalls:
    """One thread that runs calls in the order in which they were asked for.

    The end of the process does not wait for a call that hangs. A caller that is cancelled does not hear the
    result; the call itself runs on, and the next one begins after it.
    """

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, call: Callable[[], _Result]) -> _Result:
        """Run one call and return, or raise, what it does."""
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._jobs.put((call, future))
        return await future

    def close(self) -> None:
        """End the thread once what was asked for is done; idempotent."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, future = job
            try:
                result = call()
            except BaseException as error:
                _tell(future, future.set_exception, error)
            else:
                _tell(future, future.set_result, result)


def _tell(future: "asyncio.Future[Any]", tell: Callable[[Any], None], outcome: object) -> None:
    def tell_if_awaited() -> None:
        if not future.done():
            tell(outcome)

    try:
        future.get_loop().call_soon_threadsafe(tell_if_awaited)
    except RuntimeError:
        # the loop has ended, and with it everybody who could listen
        return
