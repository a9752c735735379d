"""Lists, cursors, facets, sizes, daily lows and lookups as the API answers them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.catalog_rows import NOW, Catalogue, days_ago

from skatestock.api.app import create_app
from skatestock.api.cursors import parse_cursor, write_cursor
from skatestock.catalog.commands_index import index_products
from skatestock.catalog.lookup_queries import parse_page_address
from skatestock.catalog.product_filter import ProductFilter, Sort
from skatestock.catalog.views import ProductPlace


@pytest.fixture
def catalogue(pool: asyncpg.Pool) -> Catalogue:
    return Catalogue(pool)


@pytest.fixture
async def api(pool: asyncpg.Pool) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(pool, version="1", clock=lambda: NOW)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
        yield client


async def ask(api: httpx.AsyncClient, path: str, **parameters: str | list[str]) -> Any:
    answer = await api.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def add_decks(catalogue: Catalogue, count: int) -> list[int]:
    shop = await catalogue.add_shop("labor")
    ids = []
    for number in range(count):
        product = await catalogue.add_product(f"Deck {number}", brand="Quasi", category=1)
        await catalogue.add_offer(await catalogue.add_listing(product, shop), 1000 + 100 * (number % 3))
        ids.append(product)
    await catalogue.index()
    return ids


class TestCursors:
    async def test_reading_on_meets_every_product_once_while_others_come_in(
        self, api: httpx.AsyncClient, catalogue: Catalogue, pool: asyncpg.Pool
    ) -> None:
        ids = await add_decks(catalogue, 30)
        shop = await pool.fetchval("SELECT id FROM shops")

        async def add_more() -> None:
            for number in range(15):
                product = await catalogue.add_product(f"New {number}")
                await catalogue.add_offer(await catalogue.add_listing(product, shop), 1000 + 50 * number)
                async with pool.acquire() as connection, connection.transaction():
                    await index_products(connection, [product])

        for sort in ("price", "-price", "newest", "-changed", "discount"):
            adding = asyncio.create_task(add_more())
            read: list[int] = []
            cursor: dict[str, str] = {}
            while True:
                page = await ask(api, "/products", sort=sort, limit="7", **cursor)
                read.extend(item["id"] for item in page["items"])
                if page["next_cursor"] is None:
                    break
                cursor = {"cursor": page["next_cursor"]}
            await adding
            assert len(read) == len(set(read))
            assert set(ids) <= set(read), sort

    async def test_a_cursor_holds_for_the_list_it_came_from_only(
        self, api: httpx.AsyncClient, catalogue: Catalogue
    ) -> None:
        await add_decks(catalogue, 3)
        cursor = (await ask(api, "/products", limit="1", brand="quasi"))["next_cursor"]
        assert (await ask(api, "/products", limit="2", brand="quasi", cursor=cursor))["page"] is None
        other = "A" if cursor[5] != "A" else "B"
        tampered = f"{cursor[:5]}{other}{cursor[6:]}"
        for question in (
            {"cursor": cursor},
            {"brand": "quasi", "cursor": cursor, "sort": "price"},
            {"brand": "quasi", "cursor": tampered},
            {"brand": "quasi", "cursor": cursor[:-1]},
            {"brand": "quasi", "cursor": cursor, "page": "2"},
        ):
            answer = await api.get("/products", params=question)
            assert answer.status_code == 400, question
            assert [error["parameter"] for error in answer.json()["errors"]] == ["cursor"]

    @given(st.text(alphabet="abcXYZ019_-", min_size=1, max_size=60))
    def test_no_text_that_we_did_not_write_is_a_place(self, text: str) -> None:
        assert parse_cursor(text, ProductFilter(), Sort.PRICE) is None

    @given(st.integers(-(2**62), 2**62), st.integers(1, 2**62))
    def test_a_place_is_read_as_it_was_written(self, key: int, product_id: int) -> None:
        place = ProductPlace(key, product_id)
        assert (
            parse_cursor(write_cursor(place, ProductFilter(), Sort.PRICE), ProductFilter(), Sort.PRICE)
            == place
        )


class TestLists:
    async def test_prices_are_bounded_in_decimals(self, api: httpx.AsyncClient, catalogue: Catalogue) -> None:
        shop = await catalogue.add_shop("labor")
        product = await catalogue.add_product("Deck")
        listing = await catalogue.add_listing(product, shop)
        await catalogue.add_offer(listing, 5999)
        await catalogue.index()
        assert (await ask(api, "/products", max_price="59.99", min_price="59.990"))["total"] == 1
        assert (await ask(api, "/products", max_price="59.98"))["total"] == 0
        assert (await ask(api, "/products", min_price="60"))["total"] == 0

    @pytest.mark.parametrize(
        ("question", "parameter"),
        [
            ({"min_price": "2", "max_price": "1"}, "min_price"),
            ({"sort": "relevance"}, "sort"),
            ({"new_since": "0001-01-01T00:00:00+14:00"}, "new_since"),
            ({"new_since": "9999-12-31T23:59:59-12:00"}, "new_since"),
            ({"cursor": "AAAA"}, "cursor"),
            ({"search": "deck"}, "search"),
        ],
    )
    async def test_what_makes_no_sense_is_named(
        self, api: httpx.AsyncClient, question: dict[str, str], parameter: str
    ) -> None:
        answer = await api.get("/products", params=question)
        assert answer.status_code == 400
        assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]

    async def test_facets_stand_beside_the_list(self, api: httpx.AsyncClient, catalogue: Catalogue) -> None:
        await add_decks(catalogue, 4)
        plain = await ask(api, "/products")
        assert plain["facets"] is None
        facets = (await ask(api, "/products", facets="true", shop="nowhere"))["facets"]
        assert facets["shop"] == [{"value": "labor", "name": "Labor", "count": 4}]
        assert facets["brand"] == []
        assert facets["price"] == {"lowest": None, "highest": None}
        facets = (await ask(api, "/products", facets="true", category="decks"))["facets"]
        assert facets["price"] == {"lowest": "10", "highest": "12"}
        assert {value["value"]: value["count"] for value in facets["in_stock"]} == {"true": 4, "false": 0}
        assert len(facets["new_since"]) == 4
        assert facets["new_since"][-1]["value"] == "2025-12-02T09:00:00Z"

    async def test_colours_are_plain_words(self, api: httpx.AsyncClient, catalogue: Catalogue) -> None:
        product = await catalogue.add_product("Shoe", colourway="Core Black/Gray")
        await catalogue.add_offer(await catalogue.add_listing(product, await catalogue.add_shop("labor")), 1)
        await catalogue.index()
        for colour in ("black", "Gray", "grey"):
            assert (await ask(api, "/products", colour=colour))["total"] == 1
        assert (await ask(api, "/products", colour=["white", "red"]))["total"] == 0

    async def test_an_index_that_is_not_built_is_a_problem_of_its_own(
        self, api: httpx.AsyncClient, pool: asyncpg.Pool
    ) -> None:
        await pool.execute("UPDATE product_index_state SET version = 0, built_to = 0, built_after = 0")
        for path in ("/products", "/brands", "/categories"):
            answer = await api.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "index_building")
            assert answer.headers["retry-after"] == "10"


class TestDetails:
    async def test_sizes_show_who_has_them_the_cheapest_first(
        self, api: httpx.AsyncClient, catalogue: Catalogue, pool: asyncpg.Pool
    ) -> None:
        product = await catalogue.add_product("Shoe")
        labor = await catalogue.add_listing(product, await catalogue.add_shop("labor"))
        nj = await catalogue.add_listing(product, await catalogue.add_shop("nj"))
        gone = await catalogue.add_listing(product, await catalogue.add_shop("old"), delisted_at=days_ago(1))
        await catalogue.add_offer(labor, 6000, title="M 9")
        await catalogue.add_offer(nj, 5000, title="M 9")
        await catalogue.add_offer(nj, 1000, availability="out_of_stock", title="M 10")
        await catalogue.add_offer(nj, 1000, availability="gone", title="M 11")
        await catalogue.add_offer(gone, 100, title="M 9")
        await pool.execute("UPDATE offers SET size = title")
        sizes = (await ask(api, f"/products/{product}"))["sizes"]
        assert [(size["size"], size["in_stock"]) for size in sizes] == [("M 9", True), ("M 10", False)]
        shown = [(offer["shop"], offer["price"]["minor"]) for offer in sizes[0]["offers"]]
        assert shown == [("nj", 5000), ("labor", 6000)]

    async def test_histories_tell_the_low_of_each_day(
        self, api: httpx.AsyncClient, catalogue: Catalogue, pool: asyncpg.Pool
    ) -> None:
        product = await catalogue.add_product("Shoe")
        labor, nj = await catalogue.add_shop("labor"), await catalogue.add_shop("nj")
        first = await catalogue.add_offer(await catalogue.add_listing(product, labor), 5000, title="M 9")
        second = await catalogue.add_offer(await catalogue.add_listing(product, nj), 5500, title="M 10")
        await pool.execute("UPDATE offers SET size = title")
        # the window of three days begins on 27 February at nine
        await catalogue.add_point(first, days_ago(9), 6000)
        await catalogue.add_point(first, days_ago(2), 5000)
        await catalogue.add_point(first, days_ago(1), 5000, availability="out_of_stock")
        await catalogue.add_point(second, days_ago(1.5), 5500)
        history = await ask(api, f"/products/{product}/price-history", days="3")
        lows = {
            series["shop"] and series["shop"]["slug"]: {
                day["day"]: day["price"]["minor"] for day in series["days"]
            }
            for series in history["daily_lows"]
        }
        assert lows == {
            None: {"2026-02-27": 6000, "2026-02-28": 5000, "2026-03-01": 5000, "2026-03-02": 5500},
            "labor": {"2026-02-27": 6000, "2026-02-28": 5000, "2026-03-01": 5000},
            "nj": {"2026-02-28": 5500, "2026-03-01": 5500, "2026-03-02": 5500},
        }
        only = await ask(api, f"/products/{product}/price-history", days="3", size="M 10")
        assert [offer["id"] for offer in only["offers"]] == [second]

    async def test_answers_name_what_they_rest_on(self, api: httpx.AsyncClient, catalogue: Catalogue) -> None:
        product = await catalogue.add_product("Shoe")
        shop = await catalogue.add_shop("labor")
        await catalogue.add_listing(product, shop)
        await catalogue.index()
        tags = {f"product:{product}", f"shop:{shop}"}
        for path, expected in (
            (f"/products/{product}", tags),
            ("/products", {"index"}),
            ("/brands", {"index"}),
            ("/shops", {"catalogue"}),
            ("/shops/labor", {"catalogue", f"shop:{shop}"}),
        ):
            assert set((await api.get(path)).headers["surrogate-key"].split()) == expected, path

    async def test_a_shop_is_found_by_its_slug(self, api: httpx.AsyncClient, catalogue: Catalogue) -> None:
        await catalogue.add_shop("labor")
        assert (await ask(api, "/shops/labor")) == (await ask(api, "/shops"))["items"][0]
        for slug in ("nowhere", "%00", "a" * 300):
            answer = await api.get(f"/shops/{slug}")
            assert (answer.status_code, answer.json()["code"]) == (404, "shop_not_found")


class TestLookup:
    @pytest.fixture
    async def busenitz(self, catalogue: Catalogue, pool: asyncpg.Pool) -> int:
        shop = await catalogue.add_shop("labor")
        wanted, other = await catalogue.add_product("Busenitz"), await catalogue.add_product("Other")
        for product, handle in ((wanted, "busenitz-vulc"), (other, "bus%")):
            listing = await catalogue.add_listing(product, shop)
            await pool.execute(
                "UPDATE listings SET handle = $2, url = 'https://labor.example/products/' || $2 WHERE id "
                "= $1",
                listing,
                handle,
            )
        return wanted

    @pytest.mark.parametrize(
        "url",
        [
            "https://labor.example/products/busenitz-vulc",
            "http://www.LABOR.example:8080/products/busenitz-vulc/",
            "labor.example/products/busenitz-vulc",
            "https://labor.example/collections/shoes/products/busenitz-vulc?variant=1&utm=x#top",
            "https://labor.example/en-gb/products/busenitz-vulc.js",
            "  https://labor.example/products/busenitz%2Dvulc ",
        ],
    )
    async def test_a_page_is_found_however_its_address_is_written(
        self, api: httpx.AsyncClient, busenitz: int, url: str
    ) -> None:
        assert (await ask(api, "/products/lookup", url=url))["product"]["id"] == busenitz

    @pytest.mark.parametrize(
        "url", ["https://other.example/products/busenitz-vulc", "https://labor.example/products/busenitz"]
    )
    async def test_pages_that_nobody_knows_are_not_found(
        self, api: httpx.AsyncClient, busenitz: int, url: str
    ) -> None:
        answer = await api.get("/products/lookup", params={"url": url})
        assert (answer.status_code, answer.json()["code"]) == (404, "page_not_found")

    @pytest.mark.parametrize(
        "url", ["ftp://labor.example/x", "https://labor.example/", "https:///x/y", "http://[::1/x", "1234"]
    )
    async def test_what_is_no_page_is_a_senseless_value(self, api: httpx.AsyncClient, url: str) -> None:
        answer = await api.get("/products/lookup", params={"url": url})
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "url")

    async def test_an_address_is_needed(self, api: httpx.AsyncClient) -> None:
        answer = await api.get("/products/lookup")
        assert answer.json()["errors"] == [{"parameter": "url", "message": "is needed"}]

    @given(st.text(max_size=200))
    def test_no_text_breaks_the_reading_of_addresses(self, text: str) -> None:
        address = parse_page_address(text)
        assert address is None or (address.host and address.handles is not None)
