"""The earlier system's 28 recorded feeds through log and ingest, against an expectation of its own."""

import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.e2e.processes import run_command
from tests.e2e.snapshots import take_snapshot
from tests.servers import PostgresServer

Key = tuple[str, str, str]
Point = tuple[str, int, int | None]

# Rows of theirs that are no product page at all: their links lead to a collection.
_AMOUNT = re.compile(r"\d[\d,]*(?:\.\d+)?")


@pytest.fixture(scope="module")
def imported(postgres_server: PostgresServer, shared_data: Path) -> Iterator[str]:
    """A database with all feeds, imported once for all tests here; none of them changes it."""
    dsn = postgres_server.create_database(migrated=True)
    assert run_command("migrate", environ={"SKATESTOCK_DATABASE_URL": dsn}).returncode == 0
    import_files(dsn, find_files(shared_data))
    yield dsn
    postgres_server.drop_database(dsn)


def import_files(dsn: str, files: list[str]) -> None:
    done = run_command("import-feeds", *files, environ={"SKATESTOCK_DATABASE_URL": dsn})
    # 4: three rows cannot be used, and the command says so.
    assert done.returncode == 4, done.stderr


def find_files(shared_data: Path) -> list[str]:
    files = sorted(map(str, (shared_data / "recorded-feeds").glob("*.json")))
    assert len(files) == 28
    return files


def test_importing_the_feeds_again_in_another_order_changes_nothing(imported: str, shared_data: Path) -> None:
    once = take_snapshot(imported)
    import_files(imported, find_files(shared_data)[::-1])
    assert take_snapshot(imported) == once


@pytest.fixture
async def connection(imported: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(imported)
    yield opened
    await opened.close()


async def test_every_listing_and_price_of_the_feeds_is_there_and_nothing_else(
    connection: asyncpg.Connection, shared_data: Path
) -> None:
    expected = expect_points(shared_data / "recorded-feeds")
    rows = await connection.fetch(
        """
        SELECT s.slug, l.handle, o.offer_id, p.observed_at::date::text AS day, p.price_minor,
            p.compare_at_minor
        FROM price_points p JOIN offers o ON o.id = p.offer_id JOIN listings l ON l.id = o.listing_id
        JOIN shops s ON s.id = l.shop_id ORDER BY p.observed_at
        """
    )
    found: dict[Key, list[Point]] = defaultdict(list)
    for row in rows:
        found[row["slug"], row["handle"], row["offer_id"]].append(
            (row["day"], row["price_minor"], row["compare_at_minor"])
        )
    assert found == expected
    assert await connection.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_1967_listings_less_three_links_that_are_no_product_pages(
    connection: asyncpg.Connection, shared_data: Path
) -> None:
    keys = {
        (shop, handle)
        for _, shop, row in read_rows(shared_data / "recorded-feeds")
        for handle in [last_part(row)]
    }
    assert len(keys) == 1967
    unusable = {
        (shop, last_part(row))
        for _, shop, row in read_rows(shared_data / "recorded-feeds")
        if "/products/" not in row["link"]
    }
    assert len(unusable) == 3
    stored = {
        (row["slug"], row["handle"])
        for row in await connection.fetch(
            "SELECT s.slug, l.handle FROM listings l JOIN shops s ON s.id = l.shop_id"
        )
    }
    assert stored == keys - unusable
    rejected = await connection.fetch("SELECT reason, count(*) AS rows FROM rejected_observations GROUP BY 1")
    assert {row["reason"]: row["rows"] for row in rejected} == {"not_a_product": 3}


async def test_each_listing_whose_sale_price_moved_shows_exactly_its_price_points(
    connection: asyncpg.Connection, shared_data: Path
) -> None:
    days: dict[tuple[str, str], dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for day, shop, row in read_rows(shared_data / "recorded-feeds"):
        price, _ = read_prices(row)
        if price is not None:
            days[shop, last_part(row)][day].add(price)
    moved = {
        key for key, by_day in days.items() if len({frozenset(prices) for prices in by_day.values()}) > 1
    }
    assert len(moved) == 281
    expected = expect_points(shared_data / "recorded-feeds")
    for shop, handle in moved:
        points = await connection.fetchval(
            """
            SELECT count(*) FROM price_points p JOIN offers o ON o.id = p.offer_id
            JOIN listings l ON l.id = o.listing_id JOIN shops s ON s.id = l.shop_id
            WHERE s.slug = $1 AND l.handle = $2
            """,
            shop,
            handle,
        )
        wanted = sum(len(found) for key, found in expected.items() if key[:2] == (shop, handle))
        assert points == wanted, (shop, handle)


async def test_no_feed_makes_anything_gone_or_sold_out(connection: asyncpg.Connection) -> None:
    assert await connection.fetchval("SELECT count(*) FROM listings WHERE delisted_at IS NOT NULL") == 0
    rows = await connection.fetch("SELECT DISTINCT availability FROM price_points")
    assert [row["availability"] for row in rows] == ["unknown"]
    assert await connection.fetchval("SELECT count(*) FROM crawls WHERE complete") == 0


def read_rows(folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for file in sorted(folder.glob("*.json")):
        day, shop = file.stem.split("_")
        for row in json.loads(file.read_text()):
            yield day, shop, row


def last_part(row: dict[str, Any]) -> str:
    return str(row["link"]).split("?")[0].rstrip("/").rsplit("/", 1)[1]


def cents(text: str | None) -> int | None:
    found = _AMOUNT.search(text or "")
    return None if found is None else int(Decimal(found[0].replace(",", "")) * 100)


def read_prices(row: dict[str, Any]) -> tuple[int | None, int | None]:
    if "salePrice" in row:
        return cents(row["salePrice"]), cents(row.get("originalPrice")) or None
    sale, _, was = row["price"].partition("was")
    return cents(sale), cents(was) or None


def expect_points(folder: Path) -> dict[Key, list[Point]]:
    """Fold each offer's rows over the days: a point per change, a doubtful price once it was seen again."""
    seen: dict[Key, dict[str, tuple[int, int | None]]] = defaultdict(dict)
    for day, shop, row in read_rows(folder):
        price, compare = read_prices(row)
        if "/products/" in row["link"] and price is not None:
            offer = str(row["productId"]) if shop == "nj" and "productId" in row else "default"
            seen[shop, last_part(row), offer].setdefault(day, (price, compare))
    expected: dict[Key, list[Point]] = {}
    for key, by_day in seen.items():
        points = fold(sorted(by_day.items()))
        if points:
            expected[key] = points
    return expected


def fold(states: list[tuple[str, tuple[int, int | None]]]) -> list[Point]:
    points: list[Point] = []
    held: Point | None = None
    for day, (price, compare) in states:
        point = (day, price, compare)
        believed = points[-1][1] if points else None
        doubtful = price == 0 or (believed is not None and abs(price - believed) > 0.7 * believed)
        if doubtful and (held is None or held[1] != price):
            held = point
            continue
        if doubtful and held is not None:
            points.append(held)
        held = None
        if not points or points[-1][1:] != point[1:]:
            points.append(point)
    return points
