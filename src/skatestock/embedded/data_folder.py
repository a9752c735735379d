"""Holding a data folder: the lock, and a clean slate after whoever was killed in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from skatestock.embedded.folder_lock import FolderLock
from skatestock.embedded.process_records import end_stale_processes


@dataclass(frozen=True)
class HeldFolder:
    """A data folder that this process holds, as long as the context of `hold_folder` lasts."""

    folder: Path
    ended: tuple[str, ...] = ()

    @property
    def logs(self) -> Path:
        """The folder of the children's logs."""
        return self.folder / "logs"


@asynccontextmanager
async def hold_folder(folder: Path, *, command: str | None = None) -> AsyncIterator[HeldFolder]:
    """Hold a data folder, ending what a killed holder left running there.

    Raises FolderHeldError, which names the holder, when another process holds it.
    """
    lock = FolderLock(folder, command=command)
    with lock:
        yield HeldFolder(lock.folder, tuple(await end_stale_processes(lock.folder)))
