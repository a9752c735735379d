"""Runs the processes of one machine: starts them in order, restarts what died, and leaves none behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime

import structlog

from skatestock.embedded.backoff import Backoff
from skatestock.embedded.child_run import ChildRun
from skatestock.embedded.children import Child, ChildStatus, sort_by_dependency
from skatestock.embedded.data_folder import HeldFolder
from skatestock.embedded.log_files import bound_log
from skatestock.embedded.process_records import remove_records, write_records

_LOG_CHECK_SECONDS = 15.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

log = structlog.get_logger(__name__)


class Supervisor:
    """Supervises children in a held folder. Use `run`, or `start`, `wait` and `stop` one by one.

    `on_change` is told every change of a child, in the event loop.
    """

    def __init__(
        self,
        held: HeldFolder,
        children: Sequence[Child] = (),
        *,
        on_change: Callable[[ChildStatus], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._held = held
        self._backoff = backoff or Backoff()
        self._on_change = on_change
        self._runs: dict[str, ChildRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop_asked = asyncio.Event()
        self._stop_requests = 0
        self._started_at = datetime.now(UTC).replace(microsecond=0).isoformat()
        self.add(*children)

    def add(self, *children: Child) -> None:
        """Take on more children; `start` starts those that were not started yet."""
        known = [run.child for run in self._runs.values()]
        for child in sort_by_dependency([*known, *children]):
            if child.name not in self._runs:
                self._runs[child.name] = ChildRun(child, self._held.logs, self._backoff, self._changed)

    def statuses(self) -> list[ChildStatus]:
        """Tell how every child stands now, in dependency order."""
        return [run.status() for run in self._runs.values()]

    async def run(self, then: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start everything, keep it running until SIGTERM, SIGINT or `request_stop`, and stop it.

        `then` is awaited once all are up; it may `add` and `start` more, and a stop cancels it.
        Raises ChildFailedError, after stopping everything, when a child cannot be started.
        """
        self._listen_to_signals()
        try:
            await self._unless_stopped(self._start_and(then))
            await self.wait()
        finally:
            await self.stop()
            self._ignore_signals()

    async def start(self) -> None:
        """Start every child that was not started, each after those it depends on, and wait until all are up.

        Raises ChildFailedError when one cannot be started; the others keep running until `stop`.
        """
        fresh = [run for run in self._runs.values() if not run.begun]
        for run in fresh:
            run.begun = True
            depends_on = [self._runs[name] for name in run.child.depends_on]
            self._tasks.add(asyncio.create_task(run.keep_running(depends_on), name=run.child.name))
        if fresh and not any(task.get_name() == "bound-logs" for task in self._tasks):
            self._tasks.add(asyncio.create_task(self._bound_logs(), name="bound-logs"))
        await asyncio.gather(*(asyncio.shield(run.up) for run in fresh))

    async def wait(self) -> None:
        """Wait until a stop was asked for; raises what broke the supervision itself."""
        asked = asyncio.create_task(self._stop_asked.wait())
        try:
            waiting: set[asyncio.Task[object]] = {asked, *self._tasks}
            while asked in waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            asked.cancel()

    def request_stop(self) -> None:
        """Ask for a clean stop; asked a second time, end every child at once."""
        self._stop_requests += 1
        self._stop_asked.set()
        if self._stop_requests == 1:
            return
        log.warning("stopping_at_once")
        for run in self._runs.values():
            run.end_at_once(mercy=self._stop_requests == 2)

    async def stop(self) -> None:
        """Stop every child, each after those that depend on it. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for run in self._runs.values():
            run.forget()
        await asyncio.gather(*(self._stop_one(run) for run in self._runs.values()))
        remove_records(self._held.folder)

    async def _stop_one(self, run: ChildRun) -> None:
        dependents = [other for other in self._runs.values() if run.child.name in other.child.depends_on]
        for other in dependents:
            await other.stopped.wait()
        await run.stop()

    async def _start_and(self, then: Callable[[], Awaitable[None]] | None) -> None:
        await self.start()
        if then is not None:
            await then()

    async def _unless_stopped(self, work: Coroutine[None, None, None]) -> None:
        """Do the work, but let a stop that is asked for meanwhile cancel it."""
        working = asyncio.create_task(work)
        asked = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait({working})
        if not working.cancelled():
            working.result()

    def _changed(self, status: ChildStatus) -> None:
        write_records(self._held.folder, self._started_at, self.statuses())
        if self._on_change is not None:
            self._on_change(status)

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(_LOG_CHECK_SECONDS)
            for run in self._runs.values():
                bound_log(run.log)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            # Under nohup it is ignored: we are to live on when the terminal closes.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self.request_stop)

    def _ignore_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
