"""The lock, the passwords, the ports and the programs of a data folder."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skatestock.embedded import ports
from skatestock.embedded.binaries import get_postgres, get_valkey
from skatestock.embedded.errors import FolderHeldError, PortInUseError, ServerNotFoundError
from skatestock.embedded.folder_lock import FolderLock, find_holder
from skatestock.embedded.passwords import ensure_password
from skatestock.embedded.ports import choose_port, is_free, keep_port, take_free_port


def test_a_second_holder_hears_who_holds_the_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path, command="skatestock up"):
        with pytest.raises(FolderHeldError, match=rf"process {os.getpid()} \(skatestock up\) since 20"):
            FolderLock(tmp_path).acquire()
        holder = find_holder(tmp_path)
        assert holder is not None
        assert holder.pid == os.getpid()
    assert find_holder(tmp_path) is None


def test_a_released_folder_keeps_no_lock_and_can_be_held_again(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "made" / "on the way")
    for _ in range(2):
        lock.acquire()
        assert find_holder(lock.folder) is not None
        lock.release()
        assert find_holder(lock.folder) is None
        assert list(lock.folder.iterdir()) == []
    lock.release()


def test_a_lock_file_without_a_living_holder_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(json.dumps({"pid": 1, "command": "gone", "started_at": "long ago"}))
    assert find_holder(tmp_path) is None
    with FolderLock(tmp_path, command="next"):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_a_password_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "password"
    password = ensure_password(file)
    assert len(password) >= 32
    assert ensure_password(file) == password
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ensure_password(tmp_path / "another") != password


def test_a_port_is_remembered_while_it_is_free(tmp_path: Path) -> None:
    memory = tmp_path / "port"
    port = choose_port(memory, configured=None, server="PostgreSQL")
    assert choose_port(memory, configured=None, server="PostgreSQL") == port
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        other = choose_port(memory, configured=None, server="PostgreSQL")
        assert other != port
        with pytest.raises(PortInUseError, match=rf"127\.0\.0\.1:{port}"):
            choose_port(memory, configured=port, server="PostgreSQL")
    assert choose_port(memory, configured=None, server="PostgreSQL") == other


@pytest.mark.parametrize("written", ["", "no number", "0", "70000"])
def test_a_senseless_remembered_port_is_replaced(tmp_path: Path, written: str) -> None:
    (tmp_path / "port").write_text(written)
    port = choose_port(tmp_path / "port", configured=None, server="Valkey")
    assert is_free(port)
    assert (tmp_path / "port").read_text() == f"{port}\n"


def test_a_configured_port_is_used(tmp_path: Path) -> None:
    port = take_free_port()
    assert choose_port(tmp_path / "port", configured=port, server="Valkey") == port


@pytest.fixture
def no_port_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the ports back that a test takes."""
    kept: dict[tuple[str, int], socket.socket | None] = {}
    monkeypatch.setattr(ports, "_kept", kept)
    yield
    for held in kept.values():
        if held is not None:
            held.close()


@pytest.mark.usefixtures("no_port_kept")
def test_no_port_is_given_twice_although_nobody_listens_there_yet(tmp_path: Path) -> None:
    given = [take_free_port() for _ in range(200)]
    given += [choose_port(tmp_path / f"{n}", configured=None, server="Kafka") for n in range(200)]
    assert len(set(given)) == len(given)


@pytest.mark.usefixtures("no_port_kept")
@pytest.mark.skipif(sys.platform != "linux", reason="a bound socket is in the way elsewhere")
def test_a_port_stays_its_server_s_while_that_is_dead() -> None:
    port = take_free_port()
    keep_port(port)
    for _ in range(2):
        with socket.create_server(("127.0.0.1", port)):
            assert not is_free(port)
        assert is_free(port)
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            # as the kernel asks on behalf of who wants any port
            stranger.bind(("127.0.0.1", port))


def _fake_postgres(folder: Path, version: str) -> Path:
    folder.mkdir()
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("version", "major"), [("15.13 (Debian 15.13-0+deb12u1)", 15), ("18.6", 18), ("19beta1", 19)]
)
def test_the_version_of_configured_binaries_is_read(tmp_path: Path, version: str, major: int) -> None:
    found = get_postgres(_fake_postgres(tmp_path / "bin", version))
    assert found.major == major
    assert version.startswith(found.version)


def test_a_postgres_that_is_too_old_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ServerNotFoundError, match="PostgreSQL 14 is too old") as refused:
        get_postgres(_fake_postgres(tmp_path / "bin", "14.9"))
    assert "SKATESTOCK_DATABASE_URL" in str(refused.value)


def test_configured_programs_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ServerNotFoundError, match="has no postgres and initdb"):
        get_postgres(tmp_path)
    with pytest.raises(ServerNotFoundError, match="valkey-server: is not there"):
        get_valkey(tmp_path / "valkey-server")
