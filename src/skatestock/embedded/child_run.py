"""The life of one supervised child: waiting, starting, ready, dead, started again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from skatestock.embedded.backoff import Backoff
from skatestock.embedded.child_process import ChildProcess
from skatestock.embedded.children import Child, ChildState, ChildStatus
from skatestock.embedded.errors import ChildFailedError, EmbeddedError
from skatestock.embedded.log_files import bound_log, log_size, read_last_lines
from skatestock.embedded.server import build_launch, describe_exit, resolve_command, wait_ready

log = structlog.get_logger(__name__)


class ChildRun:
    """Keeps one child running. `up` is done when it was ready (or finished) for the first time."""

    def __init__(
        self, child: Child, logs: Path, backoff: Backoff, on_change: Callable[[ChildStatus], None]
    ) -> None:
        self.child = child
        self.log = logs / f"{child.name}.log"
        self.begun = False
        self.ready = asyncio.Event()
        self.stopped = asyncio.Event()
        self.up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._backoff = backoff
        self._on_change = on_change
        self._state = ChildState.WAITING
        self._process: ChildProcess | None = None
        self._restarts = 0
        self._log_start = 0
        self._ready_at: float | None = None

    def status(self) -> ChildStatus:
        """Tell how the child stands now."""
        running = self._process if self._process is not None and self._process.exit_code is None else None
        return ChildStatus(
            name=self.child.name,
            state=self._state,
            pid=running.pid if running else None,
            create_time=running.create_time if running else None,
            restarts=self._restarts,
            address=self.child.address,
            log=self.log,
        )

    async def keep_running(self, depends_on: Sequence[ChildRun]) -> None:
        """Start the child when its dependencies are ready, and again whenever it died, until cancelled."""
        deaths = 0
        while True:
            for other in depends_on:
                await other.ready.wait()
            died_because = await self._live_once()
            if died_because is None:
                return
            deaths = 1 if self._was_stable() else deaths + 1
            if self._gives_up(deaths, died_because):
                return
            await self._pause(deaths, died_because)

    async def stop(self) -> None:
        """Stop the child's process, if one runs; `keep_running` must have been cancelled before."""
        if self._process is not None and self._process.exit_code is None:
            self._enter(ChildState.STOPPING)
            await self._process.stop(self.child.stop_signal, self.child.stop_timeout_seconds)
        self.stopped.set()
        if self._state not in (ChildState.DONE, ChildState.FAILED):
            self._enter(ChildState.STOPPED)

    def end_at_once(self, *, mercy: bool) -> None:
        """End the child without waiting; with mercy, by the signal that lets it end its own children."""
        if self._process is not None:
            self._process.signal(self.child.death_signal if mercy else signal.SIGKILL, whole_group=True)

    def forget(self) -> None:
        """Say that nobody waits for `up` any more, so that a failure nobody asked about is no warning."""
        if not self.up.cancel() and not self.up.cancelled():
            self.up.exception()

    async def _live_once(self) -> str | None:
        """Live from start to death; give the reason of the death, or None when the child is done for good."""
        self._ready_at = None
        self._enter(ChildState.STARTING)
        try:
            process = await self._launch()
        except (OSError, EmbeddedError) as error:
            return str(error)
        problem = await wait_ready(self.child, process)
        if problem is not None:
            await process.stop(self.child.stop_signal, self.child.stop_timeout_seconds)
            return problem
        if not self.child.one_shot:
            self._ready_at = time.monotonic()
            self._rise(ChildState.READY)
        code = await process.wait()
        # Whatever the child had started must not go on beside its successor.
        process.signal(signal.SIGKILL, whole_group=True)
        return self._read_exit(code)

    def _read_exit(self, code: int) -> str | None:
        if self.child.one_shot and code == 0:
            self._rise(ChildState.DONE)
            return None
        self.ready.clear()
        if not self.child.restart and code == 0:
            self._enter(ChildState.STOPPED)
            return None
        return describe_exit(code)

    async def _launch(self) -> ChildProcess:
        bound_log(self.log)
        self._log_start = log_size(self.log)
        launch = build_launch(self.child, await resolve_command(self.child), self.log)
        self._process = ChildProcess(launch)
        # Recorded at once: should we be killed now, the next supervisor must know the pid.
        self._enter(ChildState.STARTING)
        return self._process

    def _was_stable(self) -> bool:
        return self._ready_at is not None and (
            time.monotonic() - self._ready_at >= self._backoff.stable_seconds
        )

    def _gives_up(self, deaths: int, reason: str) -> bool:
        refused = self.child.one_shot and self._process is not None and (self._process.exit_code or 0) > 0
        if not self.up.done():
            if deaths < self._backoff.start_attempts and not refused:
                return False
            last_lines = read_last_lines(self.log, since=self._log_start)
            self.up.set_exception(ChildFailedError(self.child.name, reason, self.log, last_lines))
        elif self.child.restart:
            return False
        self._enter(ChildState.FAILED)
        return True

    async def _pause(self, deaths: int, reason: str) -> None:
        self._restarts += 1
        delay = self._backoff.delay_seconds(deaths)
        looping = self._backoff.is_crash_loop(deaths)
        self._enter(ChildState.CRASH_LOOP if looping else ChildState.RESTARTING)
        tell = log.error if looping else log.warning
        event = "child_in_crash_loop" if looping else "child_died"
        tell(event, child=self.child.name, why=reason, again_in_seconds=delay, read=str(self.log))
        await asyncio.sleep(delay)

    def _rise(self, state: ChildState) -> None:
        self.ready.set()
        self._enter(state)
        if not self.up.done():
            self.up.set_result(None)

    def _enter(self, state: ChildState) -> None:
        self._state = state
        self._on_change(self.status())
