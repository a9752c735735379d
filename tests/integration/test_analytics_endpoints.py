"""Analytics against cases reckoned by hand, over a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from tests.integration.catalog_rows import NOW, Catalogue, days_ago

from skatestock.api.app import create_app
from skatestock.catalog.commands_changes import Point, Touched, record_change
from skatestock.catalog.commands_index import follow_changes
from skatestock.catalog.commands_trends import reckon_next_day, take_out_days

TODAY = NOW.date()
QUIET = {
    "offers_in_stock": 0,
    "lowest_price": None,
    "median_price": None,
    **dict.fromkeys(("price_drops", "price_rises", "restocks", "sold_out", "first_seen"), 0),
}


@pytest.fixture
def catalogue(pool: asyncpg.Pool) -> Catalogue:
    return Catalogue(pool)


@pytest.fixture
async def api(pool: asyncpg.Pool) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(pool, version="1", clock=lambda: NOW)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
        yield client


async def ask(api: httpx.AsyncClient, path: str) -> Any:
    answer = await api.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["surrogate-key"].startswith("catalogue")
    return answer.json()


async def reckon_all(pool: asyncpg.Pool) -> None:
    """Reckon all days that have ended, as the process that keeps the index does."""
    async with pool.acquire() as connection:
        while await reckon_next_day(connection, NOW):
            pass


async def lowest_prices(api: httpx.AsyncClient) -> list[int | None]:
    (series,) = (await ask(api, "/analytics/trends?days=5"))["series"]
    return [minor(day["lowest_price"]) for day in series["days"]]


def minor(price: dict[str, Any] | None) -> int | None:
    return None if price is None else price["minor"]


@pytest.fixture
async def two_decks(catalogue: Catalogue) -> None:
    """Two decks in stock for ten days; one falls and sells out, the other rises; a shoe comes today."""
    labor, nj = await catalogue.add_shop("labor"), await catalogue.add_shop("nj")
    deck = await catalogue.add_product("Deck", brand="Quasi", category=1)
    shoe = await catalogue.add_product("Shoe", brand="Adidas", category=8)
    at_labor = await catalogue.add_listing(deck, labor)
    first = await catalogue.add_offer(at_labor, 4000, 6000, "out_of_stock", since_at=days_ago(1))
    second = await catalogue.add_offer(at_labor, 7000)
    at_nj = await catalogue.add_listing(shoe, nj)
    third = await catalogue.add_offer(at_nj, 9000, 10000, since_at=days_ago(0.1))
    for offer, price in ((first, 6000), (second, 6500)):
        await catalogue.add_point(offer, days_ago(10), price, changes=("first_seen",))
    await catalogue.add_point(first, days_ago(3), 4000, 6000, changes=("price_down", "compare_at_changed"))
    await catalogue.add_point(
        first, days_ago(1), 4000, 6000, availability="out_of_stock", changes=("out_of_stock",)
    )
    await catalogue.add_point(second, days_ago(2), 7000, changes=("price_up",))
    await catalogue.add_point(third, days_ago(0.1), 9000, 10000, changes=("first_seen",))


class TestTrends:
    async def test_each_day_tells_what_stood_at_its_end_and_what_happened(
        self, api: httpx.AsyncClient, two_decks: None
    ) -> None:
        (series,) = (await ask(api, "/analytics/trends?days=5"))["series"]
        assert (series["key"], series["currency"]) == (None, "USD")
        days = series["days"]
        assert [day["day"] for day in days] == [
            (TODAY - timedelta(days=n)).isoformat() for n in (4, 3, 2, 1, 0)
        ]
        stood = [
            (day["offers_in_stock"], minor(day["lowest_price"]), minor(day["median_price"])) for day in days
        ]
        assert stood == [
            (2, 6000, 6000),
            (2, 4000, 4000),
            (2, 4000, 4000),
            (1, 7000, 7000),
            (2, 7000, 7000),
        ]
        happened = [
            (day["price_drops"], day["price_rises"], day["sold_out"], day["first_seen"]) for day in days
        ]
        assert happened == [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]

    async def test_series_are_told_apart_and_filtered(self, api: httpx.AsyncClient, two_decks: None) -> None:
        by_shop = await ask(api, "/analytics/trends?days=1&by=shop")
        assert [(one["key"], one["name"]) for one in by_shop["series"]] == [("labor", "Labor"), ("nj", "Nj")]
        assert [one["days"][0]["offers_in_stock"] for one in by_shop["series"]] == [1, 1]
        shoes = await ask(api, "/analytics/trends?days=2&by=category&category=shoes")
        (series,) = shoes["series"]
        assert series["key"] == "shoes"
        assert series["days"][0] == {"day": (TODAY - timedelta(days=1)).isoformat(), **QUIET}
        assert (await ask(api, "/analytics/trends?brand=nobody"))["series"] == []

    async def test_kept_days_answer_as_the_history_does(
        self, api: httpx.AsyncClient, pool: asyncpg.Pool, two_decks: None
    ) -> None:
        questions = ["", "&by=shop", "&by=brand", "&by=category", "&shop=labor"]
        questions += ["&by=shop&shop=labor&shop=nj", "&brand=nobody", "&brand=quasi&category=decks"]
        paths = [f"/analytics/trends?days=9{question}" for question in questions]
        read = [await ask(api, path) for path in paths]
        await reckon_all(pool)
        assert [await ask(api, path) for path in paths] == read
        # these days are taken from what is kept: the history is not asked
        await pool.execute("DELETE FROM price_points WHERE observed_at < $1", days_ago(0.5))
        assert [await ask(api, path) for path in paths[:7]] == read[:7]
        assert await ask(api, paths[7]) != read[7]

    async def test_a_late_price_point_changes_the_kept_days_from_its_own_on(
        self, api: httpx.AsyncClient, catalogue: Catalogue, pool: asyncpg.Pool, two_decks: None
    ) -> None:
        await reckon_all(pool)
        offer = await pool.fetchval("SELECT min(id) FROM offers")
        await catalogue.add_point(offer, days_ago(2), 3900, 6000)
        assert await lowest_prices(api) == [6000, 4000, 4000, 7000, 7000]
        async with pool.acquire() as connection:
            async with connection.transaction():
                await record_change(connection, Touched(points=[Point(offer, days_ago(2))]))
            assert (await follow_changes(connection)).position == 1
        kept = await pool.fetchval("SELECT max(day) FROM trend_days")
        assert kept == TODAY - timedelta(days=3)
        assert await lowest_prices(api) == [6000, 4000, 3900, 7000, 7000]
        await reckon_all(pool)
        assert await lowest_prices(api) == [6000, 4000, 3900, 7000, 7000]

    async def test_a_day_whose_history_changes_while_it_is_reckoned_is_not_kept(
        self, pool: asyncpg.Pool, two_decks: None
    ) -> None:
        async with pool.acquire() as reckoning, pool.acquire() as following:
            transaction = reckoning.transaction(isolation="repeatable_read")
            await transaction.start()
            assert await reckoning.fetchval("SELECT count(*) FROM price_points") == 6
            async with following.transaction():
                await take_out_days(following, [days_ago(4)], [], TODAY)
            with pytest.raises(asyncpg.SerializationError):
                await reckon_next_day(reckoning, NOW)
            await transaction.rollback()
            assert await following.fetchval("SELECT count(*) FROM trend_days") == 0

    async def test_a_day_is_reckoned_again_when_late_crawls_are_written(self, pool: asyncpg.Pool) -> None:
        midnight = NOW.replace(hour=0)
        async with pool.acquire() as connection:
            while await reckon_next_day(connection, midnight):
                pass
            assert await reckon_next_day(connection, midnight + timedelta(hours=2)) is None
            again = midnight + timedelta(hours=3)
            assert await reckon_next_day(connection, again) == TODAY - timedelta(days=1)
            assert await reckon_next_day(connection, again) is None


class TestDiscounts:
    async def test_depths_weekdays_and_durations(
        self, api: httpx.AsyncClient, catalogue: Catalogue, two_decks: None
    ) -> None:
        shop = await catalogue.add_shop("premier")
        listing = await catalogue.add_listing(await catalogue.add_product("Wheel"), shop)
        offer = await catalogue.add_offer(listing, 3000)
        for days, price, compare_at in ((9, 3000, None), (8, 2000, 3000), (6, 1800, 3000), (5, 3000, None)):
            await catalogue.add_point(offer, days_ago(days), price, compare_at, changes=("price_down",))
        found = await ask(api, "/analytics/discount-patterns?days=10")
        # 4000 of 6000 is 33 % off, 9000 of 10000 is 10 %; the wheel and the second deck are not discounted
        assert (found["offers"], found["discounted"]) == (4, 2)
        assert [bucket["offers"] for bucket in found["depths"]] == [0, 1, 0, 1, 0, 0, 0, 0, 0, 0]
        # NOW is a Monday: the discounts began 8 days ago, on a Sunday, and 3 days ago, on a Friday
        begun = {
            day["weekday"]: day["discounts_begun"] for day in found["weekdays"] if day["discounts_begun"]
        }
        assert begun == {7: 1, 5: 1}
        assert found["durations"] == {
            "begun": 2,
            "ended": 1,
            "lower_quartile_seconds": 3 * 86400,
            "median_seconds": 3 * 86400,
            "upper_quartile_seconds": 3 * 86400,
        }

    async def test_an_empty_catalogue_has_no_discounts(self, api: httpx.AsyncClient) -> None:
        found = await ask(api, "/analytics/discount-patterns")
        assert (found["offers"], found["discounted"], len(found["weekdays"])) == (0, 0, 7)
        assert found["durations"]["median_seconds"] is None


class TestMetrics:
    async def test_a_long_history_is_estimated_and_said_to_be(
        self,
        api: httpx.AsyncClient,
        pool: asyncpg.Pool,
        two_decks: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("skatestock.catalog.metric_queries._MOST_COUNTED", 4)
        counts = (await ask(api, "/analytics/metrics"))["counts"]
        assert (counts["price_points"], counts["price_points_estimated"]) == (5, True)
        await pool.execute("ANALYZE price_points")
        counts = (await ask(api, "/analytics/metrics"))["counts"]
        assert (counts["price_points"], counts["price_points_estimated"]) == (6, True)

    async def test_counts_freshness_and_issues(
        self, api: httpx.AsyncClient, catalogue: Catalogue, pool: asyncpg.Pool, two_decks: None
    ) -> None:
        labor = await pool.fetchval("SELECT id FROM shops WHERE slug = 'labor'")
        await catalogue.add_crawl(labor, days_ago(0.01))
        await catalogue.add_crawl(labor, days_ago(0.02), complete=False, reason="short")
        await pool.execute(
            "INSERT INTO quality_issues (kind, severity, shop_id, first_seen_at, last_seen_at, resolved_at) "
            "VALUES ('a', 'error', $1, $2, $2, NULL), ('b', 'warning', $1, $2, $2, $2)",
            labor,
            days_ago(1),
        )
        found = await ask(api, "/analytics/metrics")
        assert found["counts"] == {
            "shops": 2,
            "products": 2,
            "listings": 2,
            "delisted": 0,
            "offers": 3,
            "offers_in_stock": 2,
            "price_points": 6,
            "price_points_estimated": False,
            "first_point_at": "2026-02-20T09:00:00Z",
        }
        shop = found["shops"][0]
        assert (shop["shop"], shop["crawls"], shop["complete_crawls"]) == ("labor", 2, 1)
        assert (shop["errors"], shop["warnings"], shop["infos"]) == (1, 0, 0)
        assert shop["seconds_since_complete"] == 864
        assert found["index"]["changes_behind"] == 0


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("trends?days=0", "days"),
        ("trends?days=91", "days"),
        ("trends?by=size", "by"),
        ("trends?shop=", "shop"),
        ("discount-patterns?by=shop", "by"),
        ("metrics?days=1", "days"),
    ],
)
async def test_senseless_questions_are_told(api: httpx.AsyncClient, path: str, parameter: str) -> None:
    answer = await api.get(f"/analytics/{path}")
    assert answer.status_code == 400
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]
