"""`skatestock rules`: what no rule knows is told, and today's rules are applied after a look and a yes."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from typing import Any

import asyncpg
import pytest
from tests.e2e.platforms import open_test_platform
from tests.e2e.processes import command_environ, run_command
from tests.ingest_shop import add_shop, ingest, offer, seen

SHOP = "corner"
ODD = "Odd [/] Inc."
"""It looks like markup, which a table must not obey."""


@pytest.fixture
def dsn(database_dsn: str) -> str:
    """Give a database with a listing that the rules know in part, as it was before there were rules."""
    asyncio.run(fill(database_dsn))
    return database_dsn


async def fill(dsn: str) -> None:
    async with open_test_platform(dsn, None) as platform:
        await add_shop(platform.pool, SHOP)
        known = seen(0, offer(options={"Size": "8.25"}), shop=SHOP)
        odd = {"brand": ODD, "title": "Odd Thing", "name": "Thing"}
        await ingest(platform.pool, known, seen(0, offer(options={}), listing="2", shop=SHOP, **odd))
        await platform.pool.execute(
            "UPDATE listings SET brand_id = NULL, category_id = NULL, rules_version = NULL"
            " WHERE listing_id = '1'"
        )
        await platform.pool.execute("UPDATE offers SET size = NULL")


def call(dsn: str, *arguments: str, code: int = 0) -> str:
    """Run a command without a terminal, expect its exit code, and return what it said."""
    ended = run_command("rules", *arguments, environ={"SKATESTOCK_DATABASE_URL": dsn, "COLUMNS": "120"})
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout if code == 0 else ended.stderr


def answer(dsn: str, words: str) -> tuple[int, str]:
    """Run `rules apply` on a terminal, type an answer, and return exit code and output."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, words.encode() + b"\n")
        ended = subprocess.run(
            [sys.executable, "-m", "skatestock", "rules", "apply"],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=command_environ({"SKATESTOCK_DATABASE_URL": dsn, "COLUMNS": "120"}),
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return ended.returncode, ended.stdout


def read_sizes(dsn: str) -> list[Any]:
    async def fetch() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            return [row[0] for row in await connection.fetch("SELECT size FROM offers ORDER BY id")]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_the_report_tells_what_is_unknown_and_what_is_unread(dsn: str) -> None:
    report = json.loads(call(dsn, "report", "--json"))
    assert (report["listings"], report["outdated"]) == (2, 1)
    assert [(row["kind"], row["words"]) for row in report["unknown"]] == [("brand", ODD)]
    said = call(dsn, "report")
    assert ODD in said
    assert "1 listing not read by these rules yet" in said
    assert json.loads(call(dsn, "report", "--kind", "size", "--json"))["unknown"] == []
    assert json.loads(call(dsn, "report", "nj", "--json"))["unknown"] == []


def test_rules_are_applied_only_after_a_look_and_a_yes(dsn: str) -> None:
    assert "--yes" in call(dsn, "apply", code=2)
    assert "--yes" in call(dsn, "apply", "--json", code=2)
    looked = json.loads(call(dsn, "apply", "--dry-run", "--json"))
    assert (looked["listings"], looked["changed"]) == (2, 1)
    assert "Nothing was written." in call(dsn, "apply", "--dry-run")
    code, said = answer(dsn, "n")
    assert (code, "Nothing was written." in said) == (1, True)
    assert read_sizes(dsn) == [None, None]

    code, said = answer(dsn, "y")
    assert code == 0
    assert "1 listing changed" in said
    assert read_sizes(dsn) == ['8.25"', None]
    assert json.loads(call(dsn, "apply", "--yes", "--json"))["changed"] == 0
    assert "Nothing was written." in call(dsn, "apply", "--yes")
