"""Evidence in a folder of this machine: a file is there whole or not at all, and its owner's alone."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from skatestock.evidence.errors import EvidenceMissingError, EvidenceUnavailableError

_LISTED_AT_ONCE = 500
_Result = TypeVar("_Result")


class FolderStorage:
    """Objects as files below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> str:
        """Name the folder."""
        return str(self._folder)

    async def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all; one of the same size is taken for the same."""
        await self._run(lambda: _write(self._path(name), content))

    async def read(self, name: str) -> bytes:
        """Read a file; raises EvidenceMissingError where there is none."""
        return await self._run(lambda: self._path(name).read_bytes())

    async def list_folders(self, prefix: str) -> list[str]:
        """Name the folders directly below a prefix, in order."""
        return await self._run(lambda: _list_folders(self._path(prefix)))

    async def list_objects(self, prefix: str) -> AsyncIterator[list[str]]:
        """Name all files below a prefix, some at a time; what a killed writer left behind is among them."""
        names = await self._run(lambda: _list_files(self._folder, self._path(prefix)))
        for at in range(0, len(names), _LISTED_AT_ONCE):
            yield names[at : at + _LISTED_AT_ONCE]

    async def delete(self, names: Sequence[str]) -> None:
        """Delete files, and the folders that are empty then."""
        await self._run(lambda: _delete(self._folder, [self._path(name) for name in names]))

    def _path(self, name: str) -> Path:
        return self._folder / name

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        try:
            return await asyncio.to_thread(work)
        except FileNotFoundError as error:
            raise EvidenceMissingError(f"nothing is kept at {error.filename}") from error
        except OSError as error:
            detail = error.strerror or str(error)
            raise EvidenceUnavailableError(f"the folder {self._folder} cannot be used: {detail}") from error


def _write(path: Path, content: bytes) -> None:
    # One that a crash of the whole machine cut short has another size, and is written again.
    with suppress(FileNotFoundError):
        if path.stat().st_size == len(content):
            return
    _make_folder(path.parent)
    fresh = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _make_folder(folder: Path) -> None:
    # One by one: `parents=True` would give the ones above the mode that the umask leaves.
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _list_folders(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))


def _list_files(root: Path, path: Path) -> list[str]:
    found = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    return sorted(file.relative_to(root).as_posix() for file in found)


def _delete(root: Path, paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        while folder != root:
            try:
                folder.rmdir()
            except OSError:
                # not empty yet, or another has deleted it
                break
            folder = folder.parent
