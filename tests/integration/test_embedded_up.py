"""A whole `up` with real servers: kills of its children and of itself, signals, and a second one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis
from tests.folders import make_public_folder
from tests.servers import run_apart

from skatestock.embedded.addresses import Addresses, find_addresses
from skatestock.embedded.children import ChildState
from skatestock.embedded.leftovers import is_running
from skatestock.embedded.process_records import FolderProcesses, ProcessRecord, find_processes

ROOT = Path(__file__).parents[2]


class Up:
    """A running `tests.embedded_program`, seen from outside."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.embedded_program", str(folder), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=(folder.parent / "stderr").open("wb"),
            text=True,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        line = next((text for text in self._process.stdout if text.startswith("{")), "")
        assert line, (folder.parent / "stderr").read_text()
        self.addresses: dict[str, str] = json.loads(line)

    def child(self, name: str) -> ProcessRecord:
        return next(child for child in self.recorded().children if child.name == name)

    def recorded(self) -> FolderProcesses:
        recorded = find_processes(self.folder)
        assert recorded is not None
        return recorded

    def all_processes(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 30) -> int:
        return self._process.wait(seconds)

    def close(self) -> None:
        if self._process.poll() is None:
            everything = self.all_processes()
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            for process in everything:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def _gone(processes: list[psutil.Process]) -> bool:
    return not any(is_running(process) for process in processes)


@pytest.fixture(scope="module")
def made_folder() -> Iterator[Path]:
    """A folder that keeps its data from test to test: making a new PostgreSQL takes longest."""
    folder = make_public_folder()
    yield folder / "data"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def up(made_folder: Path) -> Iterator[Up]:
    running = Up(made_folder)
    yield running
    running.close()


async def _insert(dsn: str, table: str) -> int:
    """Insert a row and count all."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (at timestamptz DEFAULT now())")
        await connection.execute(f"INSERT INTO {table} DEFAULT VALUES")
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    finally:
        await connection.close()


def test_each_killed_child_comes_back_at_its_address_and_nothing_committed_is_lost(up: Up) -> None:
    dsn, url = up.addresses["dsn"], up.addresses["url"]
    for round_number in (1, 2):
        for name in ("postgres", "valkey", "worker"):
            before = up.child(name)
            assert before.pid is not None
            assert run_apart(_insert(dsn, "by_child")) > 0
            os.kill(before.pid, signal.SIGKILL)
            _until(lambda n=name, r=round_number: _is_back(up, n, r))  # type: ignore[misc]
            assert up.child(name).pid != before.pid
    assert run_apart(_insert(dsn, "by_child")) == 7
    with redis.Redis.from_url(url) as client:
        assert client.ping()
    up.signal(signal.SIGTERM)
    assert up.wait() == 0


def _is_back(up: Up, name: str, restarts: int) -> bool:
    child = up.child(name)
    return child.state is ChildState.READY and child.restarts == restarts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_cleanly(up: Up, number: int) -> None:
    processes = up.all_processes()
    assert len(processes) > 5
    up.signal(number)
    assert up.wait() == 0
    assert _gone(processes)
    assert find_processes(up.folder) is None
    assert not (up.folder / "lock").exists()
    assert "database system is shut down" in (up.folder / "logs" / "postgres.log").read_text()


def test_a_second_up_on_the_folder_says_who_holds_it(up: Up) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "tests.embedded_program", str(up.folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 3
    assert f"held by process {up.pid} (" in second.stderr
    assert "since 20" in second.stderr
    assert f"kill {up.pid}" in second.stderr
    assert up.recorded().supervised
    assert find_addresses(up.folder) == Addresses(up.addresses["dsn"], up.addresses["url"])
    assert up.child("postgres").state is ChildState.READY


def test_a_killed_supervisor_leaves_nothing_and_the_next_start_has_the_data(up: Up) -> None:
    assert run_apart(_insert(up.addresses["dsn"], "by_up")) == 1
    processes = up.all_processes()
    # What a worker has started itself is nobody's to signal: it goes with the next start.
    servers = [process for process in processes if process.name() != "sleep"]
    up.signal(signal.SIGKILL)
    up.wait()
    if sys.platform.startswith("linux"):
        _until(lambda: _gone(servers))
    again = Up(up.folder)
    try:
        assert _gone(processes)
        assert again.addresses == up.addresses
        assert run_apart(_insert(again.addresses["dsn"], "by_up")) == 2
        again.signal(signal.SIGTERM)
        assert again.wait() == 0
    finally:
        again.close()


def test_a_second_ctrl_c_ends_everything_at_once(made_folder: Path) -> None:
    up = Up(made_folder, "--stubborn")
    try:
        processes = up.all_processes()
        up.signal(signal.SIGINT)
        _until(lambda: up.child("stubborn").state is ChildState.STOPPING)
        time.sleep(0.2)
        assert up.child("stubborn").pid is not None
        up.signal(signal.SIGINT)
        assert up.wait(10) == 0
        assert _gone(processes)
        assert not (up.folder / "lock").exists()
    finally:
        up.close()


async def test_kills_while_the_servers_are_coming_up_do_no_harm(data_folder: Path) -> None:
    # Python's own start takes about 0.3 s; then come initdb, the first start, and recovery.
    for delay_seconds in (0.4, 0.6, 0.9):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.embedded_program", str(data_folder / "data"), cwd=ROOT, stdout=-3
        )
        await asyncio.sleep(delay_seconds)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
    survivor = Up(data_folder / "data")
    try:
        assert await _insert(survivor.addresses["dsn"], "survivors") == 1
        survivor.signal(signal.SIGTERM)
        assert survivor.wait() == 0
    finally:
        survivor.close()
