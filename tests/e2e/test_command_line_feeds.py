"""`skatestock import-feeds` on feeds of our own: exit codes, and what is said of rejected rows."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import psutil
import pytest
from tests.e2e.processes import command_environ, run_command

GOOD = {
    "link": "https://laborskateshop.com/products/deck-1",
    "title": "Deck 1 - Black",
    "salePrice": "$40.00",
    "originalPrice": "$60.00",
}
PRICELESS = {"link": "https://laborskateshop.com/products/deck-2", "title": "Deck 2 - Red"}


@pytest.fixture
def environ(database_dsn: str) -> dict[str, str]:
    environ = {"SKATESTOCK_DATABASE_URL": database_dsn, "COLUMNS": "100"}
    assert run_command("migrate", environ=environ).returncode == 0
    return environ


def test_a_feed_is_imported_and_a_rejected_row_is_counted_with_its_reason(
    environ: dict[str, str], tmp_path: Path
) -> None:
    feed = tmp_path / "2024-09-10_labor.json"
    feed.write_text(json.dumps([GOOD]))
    whole = run_command("import-feeds", str(feed), environ=environ)
    assert (whole.returncode, whole.stdout) == (0, "1 feed with 1 row: 1 listing.\n"), whole.stderr

    feed = tmp_path / "2024-09-11_labor.json"
    feed.write_text(json.dumps([GOOD, PRICELESS]))
    partly = run_command("import-feeds", str(feed), environ=environ)
    assert partly.returncode == 4, partly.stderr
    assert "1 feed with 2 rows: 2 listings." in partly.stdout
    (rejected,) = [line.split() for line in partly.stdout.splitlines() if "rejected" in line]
    assert rejected == ["no_price", "1", "rejected"]


def test_an_interrupted_import_ends_with_130_and_without_a_traceback(
    environ: dict[str, str], tmp_path: Path
) -> None:
    write_many_feeds(tmp_path)
    process = start_import(tmp_path, environ)
    wait_until_appending(environ["SKATESTOCK_DATABASE_URL"], process)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), said
    assert "Traceback" not in said


def test_an_import_interrupted_while_it_starts_gives_no_traceback(
    environ: dict[str, str], tmp_path: Path
) -> None:
    write_many_feeds(tmp_path)
    process = start_import(tmp_path, environ)
    wait_until_started(process)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    # Before our own handlers are there, Python itself ends by the signal, which shells show as 130 too.
    assert process.returncode in (130, -signal.SIGINT), said
    assert (out, "Traceback" in said) == ("", False), said


def wait_until_started(process: subprocess.Popen[str], cpu_seconds: float = 0.25) -> None:
    """Wait until Python itself is up: told by the processor's time, which other work does not stretch."""
    running = psutil.Process(process.pid)
    while process.poll() is None and sum(running.cpu_times()[:2]) < cpu_seconds:
        time.sleep(0.01)


def write_many_feeds(folder: Path) -> None:
    for day in range(10, 30):
        rows = [{**GOOD, "link": f"{GOOD['link']}-{number}"} for number in range(2000)]
        (folder / f"2024-09-{day}_labor.json").write_text(json.dumps(rows))


def start_import(folder: Path, environ: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "skatestock", "import-feeds", *map(str, folder.iterdir())],
        env=command_environ(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_appending(dsn: str, process: subprocess.Popen[str]) -> None:
    async def count() -> int:
        connection = await asyncpg.connect(dsn)
        try:
            return int(await connection.fetchval("SELECT sum(next_offset) FROM eventlog_ends"))
        finally:
            await connection.close()

    while asyncio.run(count()) == 0:
        assert process.poll() is None
        time.sleep(0.05)
