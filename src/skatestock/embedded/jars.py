"""Fetches the Java programs from Maven, each file held to a pinned SHA-256, into a cache that stays whole.

Which files, how long and with which hash stands in `jars.toml`, so nothing is resolved when they are
fetched: jgo only brings files of known coordinates. A file appears in the cache under its name once it is
verified, and is verified again before every use: a killed download or a damaged disk costs a second fetch,
nothing else.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import threading
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache as remember
from importlib import resources
from pathlib import Path

import structlog

from skatestock.embedded.accounts import inherit_owner, make_folder
from skatestock.embedded.archives import digest_file, digest_tree, unpack
from skatestock.embedded.errors import DamagedDownloadError, EmbeddedError, FetchError
from skatestock.embedded.maven import Download, FetchStoppedError, open_maven

log = structlog.get_logger(__name__)

_AT_ONCE = 10
_ATTEMPTS = 3
_PAUSE_SECONDS = 1.0
_LOOK_AT_LOCK_EVERY_SECONDS = 0.2


@dataclass(frozen=True)
class PinnedFile:
    """One file of Maven's: `group:artifact:version`, perhaps with `:packaging:classifier`."""

    coordinate: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name, as Maven gives it."""
        _, artifact, version, *rest = self.coordinate.split(":")
        packaging, classifier = rest or ("jar", "")
        return f"{artifact}-{version}{f'-{classifier}' if classifier else ''}.{packaging}"


@dataclass(frozen=True)
class Bundle:
    """The files of one program. `tree` is the digest of what its only file, an archive, unpacks to."""

    name: str
    version: str
    files: tuple[PinnedFile, ...]
    tree: str | None = None

    @property
    def folder_name(self) -> str:
        """The name of its folder in a cache; other pins of the same version get another."""
        pins = "".join(file.sha256 for file in self.files)
        return f"{self.name}-{self.version}-{hashlib.sha256(pins.encode()).hexdigest()[:8]}"

    @property
    def size_bytes(self) -> int:
        """How much is fetched."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class FetchProgress:
    """How far the fetch of `what` is; one that waits for another process's stays at 0."""

    what: str
    bytes_done: int
    bytes_total: int

    @property
    def done(self) -> bool:
        """Whether everything is there."""
        return self.bytes_done >= self.bytes_total


Progress = Callable[[FetchProgress], None]


@remember
def get_bundle(name: str) -> Bundle:
    """Read what is pinned for a program: `kafka` or `registry`."""
    text = resources.files(__package__).joinpath("jars.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)[name]
    files = tuple(PinnedFile(one["coordinate"], one["bytes"], one["sha256"]) for one in table["files"])
    return Bundle(name, table["version"], files, table.get("tree"))


def is_cached(bundle: Bundle, cache: Path) -> bool:
    """Say whether a program is there, whole and unharmed, so that using it needs no network."""
    return _is_whole(bundle, _folder_of(bundle, cache))


async def fetch_bundle(bundle: Bundle, cache: Path, *, progress: Progress | None = None) -> Path:
    """Give the folder of a program's files, fetching what is missing or damaged. Safe to run concurrently.

    Progress is told in the event loop's own thread. Raises FetchError when a file is not to be had,
    DamagedDownloadError when what came is not what is pinned, MissingExtraError without jgo.
    """
    loop = asyncio.get_running_loop()
    stop = threading.Event()

    def tell(state: FetchProgress) -> None:
        if progress is not None:
            loop.call_soon_threadsafe(progress, state)

    try:
        return await asyncio.to_thread(_Fetch(bundle, cache, tell, stop).run)
    except OSError as error:
        raise EmbeddedError(f"{cache} cannot keep {bundle.name}'s files: {error}") from error
    finally:
        # Cancelled: the thread must not go on fetching for a command that has ended.
        stop.set()


class _Fetch:
    """One bringing of one bundle, in a thread."""

    def __init__(self, bundle: Bundle, cache: Path, tell: Progress, stop: threading.Event) -> None:
        self._bundle = bundle
        self._cache = cache.absolute()
        self._tell = tell
        self._stop = stop
        self._done: dict[str, int] = {}
        self._counting = threading.Lock()

    def run(self) -> Path:
        folder = _folder_of(self._bundle, self._cache)
        if _is_whole(self._bundle, folder):
            return folder
        make_folder(self._cache)
        with self._hold():
            # Another process may have finished the same fetch while we waited.
            if not _is_whole(self._bundle, folder):
                self._fetch(folder)
        return folder

    @contextmanager
    def _hold(self) -> Iterator[None]:
        """Wait until no other process fetches this program, then hold it; the kernel ends it with us."""
        path = self._cache / f"{self._bundle.name}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            inherit_owner(path)
            self._wait_for_lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _wait_for_lock(self, descriptor: int) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._report()
                if self._stop.wait(_LOOK_AT_LOCK_EVERY_SECONDS):
                    raise FetchStoppedError from None
            else:
                return

    def _fetch(self, folder: Path) -> None:
        # Ours alone under the lock; what lies here is a killed fetch's.
        partial = self._cache / f"{self._bundle.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        make_folder(partial)
        try:
            self._report()
            if self._bundle.tree is None:
                make_folder(folder)
                self._fetch_files(partial, folder)
                _remove_strangers(self._bundle, folder)
            else:
                self._fetch_files(partial, partial)
                self._unpack(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        log.info("jars_fetched", bundle=self._bundle.name, version=self._bundle.version, folder=str(folder))

    def _fetch_files(self, partial: Path, folder: Path) -> None:
        wanted = [file for file in self._bundle.files if not _is_good(file, folder / file.name)]
        for file in set(self._bundle.files) - set(wanted):
            self._count(file, file.size_bytes)
        download = open_maven(partial / "maven")
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch-jar") as pool:
            fetches = [pool.submit(self._fetch_file, download, file, folder) for file in wanted]
            try:
                for fetch in fetches:
                    fetch.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _fetch_file(self, download: Download, file: PinnedFile, folder: Path) -> None:
        for attempt in range(_ATTEMPTS):
            self._count(file, 0)
            try:
                found = download(file.coordinate, lambda size: self._add(file, size))
            except FetchError:
                if attempt + 1 == _ATTEMPTS:
                    raise
                self._stop.wait(_PAUSE_SECONDS)
                continue
            if _is_good(file, found):
                break
            log.warning("jar_damaged_on_the_way", coordinate=file.coordinate, attempt=attempt + 1)
        else:
            raise DamagedDownloadError(file.coordinate)
        _keep(found, folder / file.name)
        self._count(file, file.size_bytes)

    def _unpack(self, partial: Path, folder: Path) -> None:
        (archive,) = self._bundle.files
        tree = partial / "tree"
        unpack(partial / archive.name, tree)
        if digest_tree(tree) != self._bundle.tree:
            raise DamagedDownloadError(archive.coordinate)
        for made in (tree, *tree.rglob("*")):
            inherit_owner(made)
        if folder.exists():
            folder.rename(partial / "damaged")
        tree.rename(folder)

    def _add(self, file: PinnedFile, size: int) -> None:
        if self._stop.is_set():
            raise FetchStoppedError
        self._count(file, min(self._done.get(file.coordinate, 0) + size, file.size_bytes - 1))

    def _count(self, file: PinnedFile, size: int) -> None:
        with self._counting:
            self._done[file.coordinate] = size
            self._report()

    def _report(self) -> None:
        self._tell(FetchProgress(self._bundle.name, sum(self._done.values()), self._bundle.size_bytes))


def _folder_of(bundle: Bundle, cache: Path) -> Path:
    return cache.absolute() / bundle.folder_name


def _is_whole(bundle: Bundle, folder: Path) -> bool:
    """Read everything once: a tenth of a second for 50 MB, against a server that fails in odd ways later."""
    if bundle.tree is not None:
        return folder.is_dir() and digest_tree(folder) == bundle.tree
    names = {file.name for file in bundle.files}
    return (
        folder.is_dir()
        and {path.name for path in folder.iterdir()} == names
        and all(_is_good(file, folder / file.name) for file in bundle.files)
    )


def _is_good(file: PinnedFile, path: Path) -> bool:
    try:
        return path.stat().st_size == file.size_bytes and digest_file(path) == file.sha256
    except OSError:
        return False


def _keep(found: Path, target: Path) -> None:
    if found == target:
        return
    # Servers of another account read it; the rename is what makes it count.
    found.chmod(0o644)
    with found.open("rb") as stream:
        os.fsync(stream.fileno())
    found.replace(target)
    inherit_owner(target)


def _remove_strangers(bundle: Bundle, folder: Path) -> None:
    """Remove what is not pinned: the class path is the whole folder."""
    names = {file.name for file in bundle.files}
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
