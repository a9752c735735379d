"""Wishlists and saved searches over a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from tests.account_scene import AccountScene, account_scene, code_of
from tests.integration.catalog_rows import Catalogue, days_ago
from tests.integration.test_api_endpoints import check_problem

from skatestock.accounts.model import MAX_SEARCHES, MAX_WISHES


@pytest.fixture
async def scene(pool: asyncpg.Pool) -> AsyncIterator[AccountScene]:
    async with account_scene(pool) as scene:
        yield scene


@pytest.fixture
def catalogue(pool: asyncpg.Pool) -> Catalogue:
    return Catalogue(pool)


async def add_shoe(catalogue: Catalogue, minor: int = 4500, availability: str = "in_stock") -> int:
    product = await catalogue.add_product("Busenitz Vulc II", brand="Adidas")
    shop = await catalogue.add_shop(f"shop-{product}")
    await catalogue.add_crawl(shop, days_ago(0.01))
    listing = await catalogue.add_listing(product, shop, title="Busenitz Vulc II", brand="Adidas")
    await catalogue.add_offer(listing, minor, availability=availability, title="9")
    return product


class TestWishlist:
    async def test_a_wish_is_put_read_changed_and_taken_off(
        self, scene: AccountScene, catalogue: Catalogue
    ) -> None:
        person, product = await scene.signed_in(), await add_shoe(catalogue)
        wish = {"size": "US 9", "target": {"minor": 4000, "currency": "USD"}, "note": "for the summer"}
        put = await person.ask("PUT", f"/wishlist/{product}", json=wish)
        assert put.status_code == 200
        item = put.json()
        assert item["target"] == {"minor": 4000, "currency": "USD", "decimal": "40.00"}
        assert (item["size"], item["note"], item["target_met"]) == ("US 9", "for the summer", False)
        assert item["product"]["price"]["minor"] == 4500
        listed = (await person.ask("GET", "/wishlist")).json()
        assert (listed["items"], listed["total"]) == ([item], 1)
        assert (await person.ask("GET", f"/wishlist/{product}")).json() == item
        scene.clock.move(minutes=5)
        bare = (await person.ask("PUT", f"/wishlist/{product}", json={})).json()
        assert (bare["size"], bare["target"], bare["note"], bare["target_met"]) == (None,) * 4
        assert bare["added_at"] == item["added_at"] < bare["changed_at"]
        assert (await person.ask("DELETE", f"/wishlist/{product}")).status_code == 204
        assert code_of(await person.ask("DELETE", f"/wishlist/{product}"), 404) == "wish_not_found"
        assert code_of(await person.ask("GET", f"/wishlist/{product}"), 404) == "wish_not_found"

    async def test_putting_the_same_wish_again_changes_nothing(
        self, scene: AccountScene, catalogue: Catalogue
    ) -> None:
        person, product = await scene.signed_in(), await add_shoe(catalogue)
        wish = {"size": "US 9"}
        first = await person.ask("PUT", f"/wishlist/{product}", json=wish)
        scene.clock.move(minutes=5)
        again = await person.ask("PUT", f"/wishlist/{product}", json=wish)
        assert again.json() == first.json()

    @pytest.mark.parametrize(
        ("minor", "availability", "target", "met"),
        [
            (4000, "in_stock", {"minor": 4000, "currency": "USD"}, True),
            (4001, "in_stock", {"minor": 4000, "currency": "USD"}, False),
            (4000, "out_of_stock", {"minor": 4000, "currency": "USD"}, False),
            (4000, "unknown", {"minor": 4000, "currency": "USD"}, False),
            (4000, "in_stock", {"minor": 4000, "currency": "EUR"}, None),
            (4000, "in_stock", None, None),
        ],
    )
    async def test_a_target_is_met_by_a_price_in_stock_in_its_currency(
        self,
        scene: AccountScene,
        catalogue: Catalogue,
        minor: int,
        availability: str,
        target: dict[str, Any] | None,
        met: bool | None,
    ) -> None:
        person, product = await scene.signed_in(), await add_shoe(catalogue, minor, availability)
        wish = (await person.ask("PUT", f"/wishlist/{product}", json={"target": target})).json()
        assert wish["target_met"] is met

    async def test_a_product_that_there_is_not_cannot_be_wished(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        for product in ("999999", "9223372036854775807", "0", "-1", "abc", "99999999999999999999"):
            answer = await person.ask("PUT", f"/wishlist/{product}", json={})
            assert code_of(answer, 404) == "product_not_found"
            assert code_of(await person.ask("GET", f"/wishlist/{product}"), 404) == "wish_not_found"
            assert code_of(await person.ask("DELETE", f"/wishlist/{product}"), 404) == "wish_not_found"

    async def test_a_wishlist_is_full_at_last_however_fast_it_is_filled(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person = await scene.signed_in()
        await pool.execute(
            "INSERT INTO products (name, created_at) SELECT 'p' || n, now() FROM generate_series(1, $1) n",
            MAX_WISHES + 5,
        )
        ids = [row["id"] for row in await pool.fetch("SELECT id FROM products ORDER BY id")]
        await pool.execute(
            """INSERT INTO wishes (account_id, product_id, added_at, changed_at)
            SELECT a.id, p.id, now(), now() FROM accounts a, unnest($1::bigint[]) AS p (id)""",
            ids[: MAX_WISHES - 2],
        )
        answers = await asyncio.gather(
            *(person.ask("PUT", f"/wishlist/{product}", json={}) for product in ids[MAX_WISHES - 2 :])
        )
        assert sorted(answer.status_code for answer in answers) == [200] * 2 + [409] * 5
        # what is on it can still be changed
        assert (await person.ask("PUT", f"/wishlist/{ids[0]}", json={"note": "x"})).status_code == 200
        assert (await person.ask("GET", "/wishlist")).json()["total"] == MAX_WISHES

    async def test_two_people_wish_the_same_product_each_for_themselves(
        self, scene: AccountScene, catalogue: Catalogue
    ) -> None:
        kareem, rodney = await scene.signed_in("kareem"), await scene.signed_in("rodney")
        product = await add_shoe(catalogue)
        await kareem.ask("PUT", f"/wishlist/{product}", json={"note": "kareem's"})
        assert code_of(await rodney.ask("GET", f"/wishlist/{product}"), 404) == "wish_not_found"
        assert code_of(await rodney.ask("DELETE", f"/wishlist/{product}"), 404) == "wish_not_found"
        await rodney.ask("PUT", f"/wishlist/{product}", json={"note": "rodney's"})
        for person, note in ((kareem, "kareem's"), (rodney, "rodney's")):
            (wish,) = (await person.ask("GET", "/wishlist")).json()["items"]
            assert wish["note"] == note
        assert (await rodney.ask("DELETE", f"/wishlist/{product}")).status_code == 204
        assert (await kareem.ask("GET", f"/wishlist/{product}")).status_code == 200

    async def test_the_same_wish_by_many_requests_at_once_is_one(
        self, scene: AccountScene, catalogue: Catalogue
    ) -> None:
        person, product = await scene.signed_in(), await add_shoe(catalogue)
        answers = await asyncio.gather(
            *(person.ask("PUT", f"/wishlist/{product}", json={"note": f"{n}"}) for n in range(8))
        )
        assert {answer.status_code for answer in answers} == {200}
        assert (await person.ask("GET", "/wishlist")).json()["total"] == 1


class TestSearches:
    async def test_a_search_is_saved_read_changed_and_deleted(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        body = {"name": " vulcs ", "query": "?shop=blacksheep&shop=labor&in_stock=true"}
        saved = await person.ask("POST", "/searches", json=body)
        assert saved.status_code == 201
        search = saved.json()
        assert search["name"] == "vulcs"
        assert search["address"] == "/products?shop=blacksheep&shop=labor&in_stock=true"
        assert (await person.ask("GET", f"/searches/{search['id']}")).json() == search
        assert (await person.client.get(search["address"])).status_code == 200
        scene.clock.move(minutes=1)
        changed = await person.ask("PUT", f"/searches/{search['id']}", json={"name": "all", "query": ""})
        assert (changed.json()["name"], changed.json()["address"]) == ("all", "/products")
        again = await person.ask("PUT", f"/searches/{search['id']}", json={"name": "all", "query": ""})
        assert again.json() == changed.json()
        assert (await person.ask("GET", "/searches")).json()["items"] == [changed.json()]
        assert (await person.ask("DELETE", f"/searches/{search['id']}")).status_code == 204
        assert code_of(await person.ask("DELETE", f"/searches/{search['id']}"), 404) == "search_not_found"

    async def test_what_is_saved_is_what_can_be_asked(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        for query in (
            "shp=labor",
            "in_stock=perhaps",
            "in_stock=true&in_stock=true",
            "page=2",
            "limit=5",
            "%ff",
        ):
            answer = await person.ask("POST", "/searches", json={"name": "x", "query": query})
            assert code_of(answer, 400) == "invalid_body", query
            assert [error["parameter"] for error in answer.json()["errors"]] == ["query"]
        assert (await person.ask("GET", "/searches")).json()["items"] == []

    async def test_no_two_searches_have_one_name_but_those_of_two_people(self, scene: AccountScene) -> None:
        kareem, rodney = await scene.signed_in("kareem"), await scene.signed_in("rodney")
        answers = await asyncio.gather(
            *(kareem.ask("POST", "/searches", json={"name": "mine", "query": ""}) for _ in range(5))
        )
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 4
        assert {check_problem(answer) for answer in answers if answer.status_code == 409} == {"name_taken"}
        body = {"name": "mine", "query": ""}
        assert (await rodney.ask("POST", "/searches", json=body)).status_code == 201
        other = await kareem.ask("POST", "/searches", json={"name": "other", "query": ""})
        changed = await kareem.ask("PUT", f"/searches/{other.json()['id']}", json=body)
        assert code_of(changed, 409) == "name_taken"

    async def test_there_is_a_limit(self, scene: AccountScene, pool: asyncpg.Pool) -> None:
        person = await scene.signed_in()
        await pool.execute(
            """INSERT INTO saved_searches (account_id, name, query, created_at, changed_at)
            SELECT a.id, 's' || n, '', now(), now() FROM accounts a, generate_series(1, $1) n""",
            MAX_SEARCHES,
        )
        answer = await person.ask("POST", "/searches", json={"name": "one more", "query": ""})
        assert code_of(answer, 409) == "limit_reached"

    async def test_an_id_that_no_search_has_is_not_found(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        for search in ("1", "0", "abc", "9" * 30, "%00"):
            for method in ("GET", "DELETE"):
                answer = await person.ask(method, f"/searches/{search}")
                assert code_of(answer, 404) == "search_not_found"
