"""`skatestock import-feeds` on feeds of our own: exit codes, and what is said of rejected rows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

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


@pytest.mark.parametrize("after_seconds", [0.8, 2.0])
def test_an_interrupted_import_ends_with_130_and_without_a_traceback(
    environ: dict[str, str], tmp_path: Path, after_seconds: float
) -> None:
    for day in range(10, 30):
        rows = [{**GOOD, "link": f"{GOOD['link']}-{number}"} for number in range(2000)]
        (tmp_path / f"2024-09-{day}_labor.json").write_text(json.dumps(rows))
    process = subprocess.Popen(
        [sys.executable, "-m", "skatestock", "import-feeds", *map(str, tmp_path.iterdir())],
        env=command_environ(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(after_seconds)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), said
    assert "Traceback" not in said
