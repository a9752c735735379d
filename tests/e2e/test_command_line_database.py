"""Commands and the database: what they say when it is away, refuses or was never prepared."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest
from tests.e2e.processes import command_environ, run_command

from skatestock.embedded.children import ChildState, ChildStatus
from skatestock.embedded.data_folder import hold_folder
from skatestock.embedded.process_records import write_records


def test_a_database_that_does_not_answer_is_told_soon(free_url: str) -> None:
    began = time.monotonic()
    ended = run_command("status", environ={"SKATESTOCK_DATABASE_URL": free_url})
    assert ended.returncode == 3
    assert ended.stderr.startswith("error: PostgreSQL did not answer within 5 s")
    assert ended.stderr.count("\n") == 1
    assert time.monotonic() - began < 30


async def test_status_shows_what_runs_even_when_the_database_refuses(
    empty_database_dsn: str, tmp_path: Path
) -> None:
    child = ChildStatus("postgres", ChildState.CRASH_LOOP, None, None, 7, "127.0.0.1:1/x", tmp_path / "log")
    url = with_part(empty_database_dsn, password="guess")
    environ = {"SKATESTOCK_DATABASE_URL": url, "SKATESTOCK_DATA": str(tmp_path / "data")}
    async with hold_folder(tmp_path / "data") as held:
        write_records(held.folder, "2026-05-01T00:00:00+00:00", [child])
        ended = await asyncio.to_thread(run_command, "status", environ=environ)
    assert ended.returncode == 3
    assert "crash loop" in ended.stdout
    assert "no word from the database: PostgreSQL says: password" in ended.stdout


@pytest.fixture
def free_url(database_dsn: str) -> str:
    """Name an address where nobody listens."""
    return with_part(database_dsn, port="1")


def with_part(dsn: str, *, password: str = "", name: str = "", port: str = "") -> str:
    """Change one part of an address."""
    who, _, where = dsn.partition("@")
    host, _, database = where.partition("/")
    if password:
        who = f"{who.rpartition(':')[0]}:{password}"
    if port:
        host = f"{host.partition(':')[0]}:{port}"
    return f"{who}@{host}/{name or database}"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"password": "guess"}, ["password", "check user and password in SKATESTOCK_DATABASE_URL"]),
        ({"name": "nothing_here"}, ["nothing_here", "createdb"]),
    ],
    ids=["password", "name"],
)
def test_a_refusal_says_what_to_change(
    empty_database_dsn: str, part: dict[str, str], words: list[str]
) -> None:
    url = with_part(empty_database_dsn, **part)
    ended = run_command("status", environ={"SKATESTOCK_DATABASE_URL": url})
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1
    for word in words:
        assert word in ended.stderr
    assert "guess" not in ended.stderr, "no password is ever shown"


@pytest.mark.parametrize("command", [["status"], ["crawl", "labor"]])
def test_a_database_that_was_never_migrated_says_so(empty_database_dsn: str, command: list[str]) -> None:
    ended = run_command(*command, environ={"SKATESTOCK_DATABASE_URL": empty_database_dsn})
    assert ended.returncode == 3, ended.stderr
    assert "run `skatestock migrate`" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_address_that_is_none_is_a_broken_setting() -> None:
    ended = run_command("status", environ={"SKATESTOCK_DATABASE_URL": "mysql://somewhere/x"})
    assert ended.returncode == 1
    assert "SKATESTOCK_DATABASE_URL cannot be used" in ended.stderr


def test_migrating_twice_is_migrating_once(empty_database_dsn: str) -> None:
    environ = {"SKATESTOCK_DATABASE_URL": empty_database_dsn}
    first = run_command("migrate", "--json", environ=environ)
    tables = asyncio.run(fetch_tables(empty_database_dsn))
    second = run_command("migrate", environ=environ)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert json.loads(first.stdout)["revision"] in second.stdout
    assert asyncio.run(fetch_tables(empty_database_dsn)) == tables
    assert "price_points" in tables
    status = run_command("status", environ=environ)
    assert (status.returncode, status.stderr) == (0, "")
    assert "No shop was crawled yet." in status.stdout


async def fetch_tables(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') ORDER BY 1")
        return [row[0] for row in rows]
    finally:
        await connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ingest_stops_cleanly_when_it_is_asked_to(prepared_url: str, number: signal.Signals) -> None:
    environ = command_environ({"SKATESTOCK_DATABASE_URL": prepared_url})
    process = subprocess.Popen(
        [sys.executable, "-m", "skatestock", "ingest"], env=environ, stderr=subprocess.PIPE, text=True
    )
    # It listens on a connection of its own, once its signals are taken care of.
    asyncio.run(wait_for_session(prepared_url, "skatestock ingest apart"))
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "Traceback" not in said


@pytest.fixture
def prepared_url(database_dsn: str) -> str:
    """Give a database with schema and topics."""
    ended = run_command("migrate", environ={"SKATESTOCK_DATABASE_URL": database_dsn})
    assert ended.returncode == 0, ended.stderr
    return database_dsn


async def wait_for_session(dsn: str, application: str) -> None:
    """Wait until a process has opened a connection of that name."""
    connection = await asyncpg.connect(dsn)
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
    try:
        async with asyncio.timeout(30):
            while not await connection.fetchval(ours, application):
                await asyncio.sleep(0.1)
    finally:
        await connection.close()
