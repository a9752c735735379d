"""One process per data folder: a lock that says who holds it and ends with its holder."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from skatestock.embedded.accounts import inherit_owner, make_folder
from skatestock.embedded.errors import FolderHeldError, UnreachableFolderError

LOCK_NAME = "lock"


class FolderLock:
    """An exclusive hold on a folder; the kernel releases it when the holder dies, however it dies.

    Use it as a context manager, or call `acquire` and `release`.
    """

    def __init__(self, folder: Path, *, command: str | None = None) -> None:
        self.folder = folder.absolute()
        self._command = command or shlex.join(sys.argv)
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Say whether this object holds the folder now."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the folder; raises FolderHeldError that names the holder, UnreachableFolderError."""
        try:
            self._acquire()
        except PermissionError as error:
            raise UnreachableFolderError(
                f"No permission to work in {self.folder}: {error}. Another user (root, perhaps) made it: run "
                "as that user, give the folder to yourself (chown -R), or choose another folder."
            ) from error

    def _acquire(self) -> None:
        make_folder(self.folder)
        path = self.folder / LOCK_NAME
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            if not _lock(descriptor):
                os.close(descriptor)
                raise describe_holder(self.folder)
            if _is_same_file(descriptor, path):
                break
            # The last holder removed the file between our open and our lock.
            os.close(descriptor)
        self._descriptor = descriptor
        inherit_owner(path)
        self._write()

    def release(self) -> None:
        """Give the folder back; does nothing when it is not held."""
        if self._descriptor is None:
            return
        (self.folder / LOCK_NAME).unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def _write(self) -> None:
        assert self._descriptor is not None
        started_at = datetime.now(UTC).replace(microsecond=0).isoformat()
        holder = {"pid": os.getpid(), "command": self._command, "started_at": started_at}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(holder).encode(), 0)

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def find_holder(folder: Path) -> FolderHeldError | None:
    """Find who holds a folder now, told as the error that a second holder would get."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return describe_holder(folder)
    finally:
        os.close(descriptor)
    return None


def describe_holder(folder: Path) -> FolderHeldError:
    """Read who says that they hold a folder."""
    try:
        holder = json.loads((folder / LOCK_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        holder = {}
    return FolderHeldError(folder, holder.get("pid"), holder.get("command"), holder.get("started_at"))


def _lock(descriptor: int) -> bool:
    """Lock, with a little patience: `find_holder` tries the lock too, for a moment."""
    for pause_seconds in (0.01, 0.05, 0.2, 0.0):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause_seconds)
        else:
            return True
    return False


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
