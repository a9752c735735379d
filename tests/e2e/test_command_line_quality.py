"""`skatestock quality`: counts by shop and kind, examples that lead to the listing, and `status` about it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.e2e.platforms import open_test_platform
from tests.e2e.processes import run_command
from tests.ingest_shop import add_shop, ended, ingest, offer, seen

from skatestock.cli.quality_checks import check_quality

SHOP = "corner"
ODD = "Odd [/] Deck"
"""It looks like markup, which a line must not obey."""
SIZE = {"Size": "8.25"}


async def fill(dsn: str) -> None:
    async with open_test_platform(dsn, None) as platform:
        await add_shop(platform.pool, SHOP)
        await add_shop(platform.pool, "nj")
        await platform.pool.execute("UPDATE shops SET enabled = false")
        free = seen(0, offer(0, options=SIZE), title=ODD, shop=SHOP)
        await ingest(platform.pool, free, ended(0, "1", shop=SHOP))
        await check_quality(platform)
        picture = {"image_url": "https://shop.example/deck.jpg"}
        pictured = seen(30, offer(0, options=SIZE), title=ODD, shop=SHOP, **picture)
        await ingest(platform.pool, pictured, ended(30, "1", shop=SHOP))
        await check_quality(platform)


def call(dsn: str, *arguments: str, code: int = 0, command: str = "quality") -> str:
    """Run a command, expect its exit code, and return what it said."""
    ended = run_command(command, *arguments, environ={"SKATESTOCK_DATABASE_URL": dsn, "COLUMNS": "140"})
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout if code == 0 else ended.stderr


def call_json(dsn: str, *arguments: str, command: str = "quality") -> Any:
    return json.loads(call(dsn, *arguments, "--json", command=command))


def test_before_the_first_crawl_and_with_sound_data_it_says_so(database_dsn: str) -> None:
    assert call(database_dsn).strip() == "No shop was crawled yet."
    assert call_json(database_dsn) | {"at": None} == {"at": None, "open": 0, "counts": [], "issues": []}


@pytest.fixture
def dsn(database_dsn: str) -> str:
    asyncio.run(fill(database_dsn))
    return database_dsn


def test_it_counts_by_shop_and_kind_and_leads_to_the_listing(dsn: str) -> None:
    said = call(dsn)
    assert "price_zero" in said
    assert "The price is zero" in said
    assert ODD in said
    assert "https://shop.example/products/deck-1" in said
    assert "missing_image" not in said, "it is resolved"
    found = call_json(dsn)
    assert (found["open"], [count["kind"] for count in found["counts"]]) == (1, ["price_zero"])
    (issue,) = found["issues"]
    assert (issue["shop"], issue["severity"], issue["offer_id"]) == (SHOP, "error", "a")
    assert (issue["says"], issue["first_seen_at"]) == ("confirmed, and shown", "2026-03-02T12:00:00Z")


def test_resolved_issues_are_shown_on_demand_and_a_limit_says_what_it_hides(dsn: str) -> None:
    said = call(dsn, "--all", "--limit", "1")
    assert "missing_image" in said
    assert "1 more; `--limit` shows them." in said
    found = call_json(dsn, "--all")
    assert [(count["open"], count["resolved"]) for count in found["counts"]] == [(1, 0), (0, 1)]
    assert [issue["resolved_at"] is None for issue in found["issues"]] == [True, False]


def test_issues_are_chosen_by_shop_kind_and_severity(dsn: str) -> None:
    assert "No such issue is open." in call(dsn, "--shop", "nj")
    assert "No such issue is open." in call(dsn, "--severity", "warning")
    assert "No such issue is open." in call(dsn, "--kind", "missing_image")
    assert call_json(dsn, "--kind", "missing_image", "--all", "--severity", "info")["open"] == 0
    assert call_json(dsn, "--shop", SHOP, "--kind", "price_zero", "--severity", "error")["open"] == 1
    assert "there are: corner, nj" in call(dsn, "--shop", "corn", code=2)
    assert "stale_shop, " in call(dsn, "--kind", "free", code=2)


def test_status_tells_the_open_errors_and_warnings_of_each_shop(dsn: str) -> None:
    assert "data quality  corner 1 error: `skatestock quality`" in call(dsn, command="status")
    found = call_json(dsn, command="status")
    assert found["quality"] == {SHOP: {"error": 1, "warning": 0, "info": 0}}


def test_without_a_database_it_ends_with_the_code_of_a_server_that_is_away() -> None:
    assert call("postgresql://nobody@127.0.0.1:1/none", code=3)


def test_maintaining_once_checks_every_shop(dsn: str) -> None:
    asyncio.run(forget(dsn))
    call(dsn, "--once", command="maintain")
    assert call_json(dsn)["open"] == 1


async def forget(dsn: str) -> None:
    async with open_test_platform(dsn, None) as platform:
        await platform.pool.execute("TRUNCATE quality_issues")
