"""What the servers of one machine have in common: a folder, a child to supervise, a start of their own."""

from __future__ import annotations

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from skatestock.embedded.child_process import ChildProcess, Launch
from skatestock.embedded.children import Child
from skatestock.embedded.errors import ChildFailedError, EmbeddedError
from skatestock.embedded.folder_lock import FolderLock
from skatestock.embedded.log_files import bound_log, read_last_lines

_FIRST_POLL_SECONDS = 0.02
_LAST_POLL_SECONDS = 0.5
_START_ATTEMPTS = 3


def build_launch(child: Child, command: list[str], log: Path) -> Launch:
    """Put together how a child is started."""
    env: Mapping[str, str] = {**(os.environ if child.own_env else {}), **child.env}
    return Launch(command, log, env, child.account, child.cwd, child.death_signal)


async def resolve_command(child: Child) -> list[str]:
    """Give the child's command, running its preparation when it has one."""
    return list(await child.command() if callable(child.command) else child.command)


async def wait_ready(child: Child, process: ChildProcess) -> str | None:
    """Wait until a started child is ready; otherwise say why it is not."""
    if child.ready is None:
        return None
    deadline = time.monotonic() + child.ready_timeout_seconds
    problem = ""
    poll_seconds = _FIRST_POLL_SECONDS
    while time.monotonic() < deadline:
        if process.exit_code is not None:
            return describe_exit(process.exit_code)
        try:
            if await child.ready():
                return None
        except (OSError, EmbeddedError) as error:
            problem = f" ({error})"
        await asyncio.sleep(poll_seconds)
        # A long recovery is not asked about fifty times a second: each asking is a line in the server's log.
        poll_seconds = min(poll_seconds * 1.2, _LAST_POLL_SECONDS)
    return f"it was not ready after {child.ready_timeout_seconds:g} s{problem}"


def describe_exit(code: int) -> str:
    """Say in words how a process ended."""
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"


class EmbeddedServer(ABC):
    """A server in a folder: the supervisor runs `child()` after `prepare()`; alone, use `start`, `stop`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder.absolute()
        self.name = name
        self._process: ChildProcess | None = None
        self._lock = FolderLock(self.folder, command=f"{name} of process {os.getpid()}")

    @abstractmethod
    async def prepare(self) -> None:
        """Make the folder, its password and its address; idempotent, and needed before `child`."""

    @abstractmethod
    def child(self) -> Child:
        """Describe the server for the supervisor."""

    @property
    def log(self) -> Path:
        """The file with the server's output when it was started alone."""
        return self.folder / "server.log"

    @property
    def pid(self) -> int | None:
        """The server's process when it was started alone and runs."""
        running = self._process is not None and self._process.exit_code is None
        return self._process.pid if running and self._process is not None else None

    async def start(self) -> None:
        """Start the server alone, holding its folder, and wait until it accepts connections.

        Raises FolderHeldError when another process runs it, ChildFailedError when it cannot be started.
        """
        self._lock.acquire()
        try:
            await self.prepare()
            await self._launch()
        except BaseException:
            self._lock.release()
            raise

    async def stop(self) -> None:
        """Stop the server cleanly and give the folder back; does nothing when it was not started."""
        if self._process is not None:
            child = self.child()
            await self._process.stop(child.stop_signal, child.stop_timeout_seconds)
            self._process = None
        self._lock.release()

    async def crash(self) -> None:
        """End the server as a crash would, and start it again on the same address."""
        if self._process is not None:
            self._process.signal(9)
            await self._process.wait()
            await self._launch()

    async def _launch(self) -> None:
        child = self.child()
        bound_log(self.log)
        reason: str | None = None
        for _ in range(_START_ATTEMPTS):
            process = ChildProcess(build_launch(child, await resolve_command(child), self.log))
            reason = await wait_ready(child, process)
            if reason is None:
                self._process = process
                return
            await process.stop(child.stop_signal, child.stop_timeout_seconds)
        raise ChildFailedError(self.name, reason or "", self.log, read_last_lines(self.log))
