"""The API's short way: hot endpoints say by it exactly what they say by the messages of ASGI."""

from __future__ import annotations

from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from tests.integration.catalog_rows import NOW, Catalogue

from skatestock.api.app import create_app
from skatestock.api.direct import Api
from skatestock.database.errors import DatabaseUnavailableError

PAGE = "https://labor.example/products/busenitz"


@pytest.fixture
def app(pool: asyncpg.Pool) -> Api:
    return create_app(pool, version="1", clock=lambda: NOW)


@pytest.fixture
async def product(pool: asyncpg.Pool) -> int:
    catalogue = Catalogue(pool)
    product = await catalogue.add_product("Busenitz", brand="Adidas", category=8)
    listing = await catalogue.add_listing(product, await catalogue.add_shop("labor", demo=True))
    offer = await catalogue.add_offer(listing, 4500, 6000)
    await catalogue.add_point(offer, NOW, 4500, 6000, "in_stock", ("first_seen",))
    await pool.execute("UPDATE listings SET handle = 'busenitz', url = $2 WHERE id = $1", listing, PAGE)
    await catalogue.index()
    return product


def make_scope(path: str, query: str = "", **changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"api.example")],
        "state": {},
    } | changes


async def ask(app: Api, path: str, query: str = "") -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example") as client:
        return await client.get(f"{path}?{query}" if query else path)


@pytest.mark.parametrize(
    ("path", "query", "tags"),
    [
        ("/products", "q=busenitz&facets=true", ("index",)),
        (
            "/products/lookup",
            "url=https://labor.example/products/busenitz",
            ("index", "product:{product}", "shop:1"),
        ),
        ("/products/{product}", "", ("product:{product}", "shop:1")),
        ("/products/{product}/price-history", "days=7", ("product:{product}", "shop:1")),
    ],
)
async def test_both_ways_say_the_same(
    app: Api, product: int, path: str, query: str, tags: tuple[str, ...]
) -> None:
    path = path.replace("{product}", str(product))
    told = await ask(app, path, query)
    answering = app.answer(make_scope(path, query))
    assert answering is not None
    finished = await answering
    assert finished is not None
    assert (told.status_code, told.content) == (200, finished.body)
    assert msgspec.json.decode(finished.body)
    named = {name.decode(): value.decode() for name, value in finished.headers}
    of_this_one = {"content-length", "x-request-id", "surrogate-key"}
    assert named == {name: value for name, value in told.headers.items() if name not in of_this_one}
    assert named["x-skatestock-data"] == "demo"
    assert sorted(finished.tags) == sorted(tag.replace("{product}", str(product)) for tag in tags)
    assert told.headers["surrogate-key"].split() == list(finished.tags)


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/products/999999", "", 404, "product_not_found"),
        ("/products/1", "colour=red", 400, "unknown_parameter"),
        ("/products", "limit=0", 400, "invalid_parameter"),
        ("/products", "q=" + "x" * 9000, 414, "address_too_long"),
    ],
)
async def test_a_problem_is_left_to_the_messages_and_found_once(
    app: Api, product: int, path: str, query: str, status: int, code: str
) -> None:
    scope = make_scope(path, query)
    answering = app.answer(scope)
    assert answering is not None
    assert await answering is None
    # asked again by messages, with the same scope, as the edge does
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == status
    assert msgspec.json.decode(sent[1]["body"])["code"] == code
    assert (await ask(app, path, query)).json()["code"] == code


async def test_a_failing_function_runs_once(product: int) -> None:
    asked = 0

    async def open_pool() -> asyncpg.Pool:
        nonlocal asked
        asked += 1
        raise DatabaseUnavailableError("it does not answer")

    answer = await ask(create_app(open_pool, version="1"), f"/products/{product}")
    assert (answer.status_code, answer.json()["code"], asked) == (503, "database_unavailable", 1)


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/shops", {}),
        ("/products/", {}),
        ("//products", {}),
        ("/products", {"root_path": "/api"}),
        ("/products", {"headers": [(b"host", b"a b")]}),
        ("/products", {"headers": [(b"host", b"api.example"), (b"host", b"other\x00")]}),
    ],
)
def test_everything_else_goes_by_messages(app: Api, path: str, changes: dict[str, Any]) -> None:
    assert app.answer(make_scope(path, **changes)) is None


@pytest.mark.parametrize("path", ["/products/", "/products//"])
async def test_a_path_written_in_another_way_is_answered_all_the_same(
    app: Api, product: int, path: str
) -> None:
    assert (await ask(app, path)).json() == (await ask(app, "/products")).json()


async def test_head_is_answered_without_a_body(app: Api, product: int) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example") as client:
        answer = await client.head(f"/products/{product}")
        whole = await client.get(f"/products/{product}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(whole.content))
