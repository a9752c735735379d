"""Folders for what ends with the tests: in memory where that has room, since a disk is slow to be sure."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psutil

MEMORY = Path("/dev/shm")
"""Linux's file system in memory: making and dropping databases takes a fifth of the time there."""

_MEMORY_NEEDED_BYTES = 4 * 1024**3
_PREFIX = "skatestock-test"


def make_public_folder() -> Path:
    """Make a folder that PostgreSQL's account can enter: root's tmp_path is none.

    Whatever a process has written outlives its kill in memory as on a disk.
    """
    place = MEMORY if has_memory() else None
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{os.getpid()}-", dir=place))
    folder.chmod(0o755)
    return folder


def has_memory() -> bool:
    """Tell whether the file system in memory is there, with enough room for the servers of all workers."""
    return os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= _MEMORY_NEEDED_BYTES


def remove_leftovers() -> None:
    """Remove from memory what test processes left that were killed and could not remove their own."""
    for left in MEMORY.glob(f"{_PREFIX}-*-*"):
        if not psutil.pid_exists(int(left.name.split("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
