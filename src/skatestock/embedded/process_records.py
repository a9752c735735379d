"""`processes.json`: what runs in a data folder, for `status` and for clearing up after a kill."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import structlog

from skatestock.embedded.accounts import inherit_owner
from skatestock.embedded.children import ChildState, ChildStatus
from skatestock.embedded.folder_lock import find_holder
from skatestock.embedded.leftovers import end_processes, is_running

RECORDS_NAME = "processes.json"

# The kernel counts from boot; the wall clock that psutil adds may be set between two readings.
_CREATE_TIME_TOLERANCE_SECONDS = 2.0
_STOP_SECONDS = 10.0

log = structlog.get_logger(__name__)


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One child as `processes.json` has it."""

    name: str
    state: ChildState
    pid: int | None
    create_time: float | None
    restarts: int
    address: str | None
    log: str


@dataclass(frozen=True)
class FolderProcesses:
    """What is recorded of a folder; `supervised` says whether its supervisor still lives."""

    supervised: bool
    supervisor_pid: int
    started_at: str
    children: tuple[ProcessRecord, ...]


class _File(msgspec.Struct):
    supervisor_pid: int
    started_at: str
    children: tuple[ProcessRecord, ...]


def write_records(folder: Path, started_at: str, children: Sequence[ChildStatus]) -> None:
    """Write `processes.json`, whole or not at all."""
    rows = [
        {
            "name": child.name,
            "state": child.state,
            "pid": child.pid,
            "create_time": child.create_time,
            "restarts": child.restarts,
            "address": child.address,
            "log": str(child.log),
        }
        for child in children
    ]
    file = folder / RECORDS_NAME
    partial = file.with_name(RECORDS_NAME + ".partial")
    content = {"supervisor_pid": os.getpid(), "started_at": started_at, "children": rows}
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    inherit_owner(partial)
    partial.replace(file)


def remove_records(folder: Path) -> None:
    """Remove `processes.json` after a clean stop."""
    (folder / RECORDS_NAME).unlink(missing_ok=True)


def find_processes(folder: Path) -> FolderProcesses | None:
    """Find what is recorded of a folder; None when nothing runs there and nothing was left."""
    try:
        content = msgspec.json.decode((folder / RECORDS_NAME).read_bytes(), type=_File)
    except (OSError, msgspec.MsgspecError):
        return None
    return FolderProcesses(
        supervised=find_holder(folder) is not None,
        supervisor_pid=content.supervisor_pid,
        started_at=content.started_at,
        children=content.children,
    )


async def end_stale_processes(folder: Path) -> list[str]:
    """End what a killed supervisor left running and give the names; call it holding the folder."""
    recorded = find_processes(folder)
    if recorded is None:
        return []
    names: list[str] = []
    found: list[psutil.Process] = []
    for child in recorded.children:
        stale = _find_stale(child)
        if stale:
            names.append(child.name)
            found.extend(stale)
    if found:
        log.warning("stale_processes_ended", folder=str(folder), names=names, pids=[p.pid for p in found])
        await end_processes(found, signal.SIGTERM, _STOP_SECONDS)
    remove_records(folder)
    return names


def _find_stale(child: ProcessRecord) -> list[psutil.Process]:
    """Find the recorded process, if it is still that one, and what it started in its process group."""
    if child.pid is None or child.create_time is None:
        return []
    leader = _find_process(child.pid)
    if leader is not None and not _is_same(leader, child.create_time):
        # The pid went to a stranger, so nothing of the child's group can be left either.
        return []
    return [process for process in psutil.process_iter() if _in_group(process, child.pid)]


def _find_process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _is_same(process: psutil.Process, create_time: float) -> bool:
    try:
        return abs(float(process.create_time()) - create_time) < _CREATE_TIME_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return False


def _in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and is_running(process)
    except (ProcessLookupError, PermissionError):
        return False
