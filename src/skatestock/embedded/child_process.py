"""One running child: started so that it cannot outlive us, with its output in a file of its own."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from skatestock.embedded.accounts import Account, inherit_owner, make_folder, switch_arguments

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Launch:
    """What to start, and how."""

    command: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    account: Account | None = None
    cwd: Path | None = None
    death_signal: int = signal.SIGKILL


class ChildProcess:
    """A child process in a process group of its own; create it in the main thread.

    On Linux the kernel sends it `death_signal` when the thread that created it ends: that thread must live as
    long as the program does.
    """

    def __init__(self, launch: Launch) -> None:
        make_folder(launch.log.parent)
        with launch.log.open("ab") as output:
            inherit_owner(launch.log)
            # The command is our own, and what runs before exec makes one system call, nothing that could
            # wait for a lock of another thread.
            self._popen = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603
                list(launch.command),
                env=dict(launch.env),
                cwd=launch.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=end_with_parent(launch.death_signal),  # noqa: PLW1509
                **switch_arguments(launch.account),
            )
        self.pid: int = self._popen.pid
        self.create_time = _create_time(self.pid)
        self._exit: Future[int] = Future()
        self._exit.set_running_or_notify_cancel()
        threading.Thread(target=self._reap, name=f"reap-{self.pid}", daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """The exit code; negative for the signal that ended it; None while it runs."""
        return self._exit.result() if self._exit.done() else None

    async def wait(self) -> int:
        """Wait until the process ended and give its exit code."""
        return await asyncio.shield(asyncio.wrap_future(self._exit))

    def signal(self, number: int, *, whole_group: bool = False) -> None:
        """Send a signal to the process, or to it and those it started; does nothing when it has ended."""
        with suppress(ProcessLookupError, PermissionError):
            if whole_group:
                os.killpg(self.pid, number)
            elif not self._exit.done():
                os.kill(self.pid, number)

    async def stop(self, number: int, timeout_seconds: float) -> int:
        """Ask the process to stop, kill it after the timeout, and end what it left in its group."""
        self.signal(number)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL, whole_group=True)
        code = await self.wait()
        self.signal(signal.SIGKILL, whole_group=True)
        return code

    def _reap(self) -> None:
        self._exit.set_result(self._popen.wait())


def _create_time(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0


def end_with_parent(number: int) -> Callable[[], None] | None:
    """Give a `preexec_fn` that asks the kernel to send the child this signal when we end (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask
