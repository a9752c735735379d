"""Finds and ends what a killed server or supervisor left running."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil
import structlog

_QUIT_SECONDS = 5.0
_KILL_SECONDS = 5.0

log = structlog.get_logger(__name__)


async def end_leftovers(data: Path, cluster_name: str) -> None:
    """End the PostgreSQL processes of a data folder that nobody supervises; call it holding the folder."""
    found = find_postgres_processes(data, cluster_name)
    if not found:
        return
    log.warning("postgres_leftovers_ended", folder=str(data), pids=[process.pid for process in found])
    await end_processes(found, signal.SIGQUIT, _QUIT_SECONDS)


def find_postgres_processes(data: Path, cluster_name: str) -> list[psutil.Process]:
    """Find the PostgreSQL processes of a data folder by their command line or title."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if process.info["status"] == psutil.STATUS_ZOMBIE or not line:
            continue
        is_postmaster = str(data) in line and Path(line[0]).name == "postgres"
        if is_postmaster or line[0].startswith(f"postgres: {cluster_name}:"):
            found.append(process)
    return found


async def end_processes(processes: Iterable[psutil.Process], number: int, timeout_seconds: float) -> None:
    """Signal processes, wait, and kill those that stay."""
    waiting = list(processes)
    for process in waiting:
        _signal(process, number)
    waiting = await _wait_gone(waiting, timeout_seconds)
    for process in waiting:
        _signal(process, signal.SIGKILL)
    await _wait_gone(waiting, _KILL_SECONDS)


def is_running(process: psutil.Process) -> bool:
    """Say whether this very process (not a later one of the same pid) still runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        # It is there; macOS only tells root what strangers' processes do.
        return True


async def _wait_gone(processes: list[psutil.Process], timeout_seconds: float) -> list[psutil.Process]:
    deadline = time.monotonic() + timeout_seconds
    while True:
        processes = [process for process in processes if is_running(process)]
        if not processes or time.monotonic() >= deadline:
            return processes
        await asyncio.sleep(0.02)


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process.send_signal(number)
