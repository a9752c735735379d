"""The API over a real PostgreSQL: answers, problems, and that no input makes it fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from tests.integration.catalog_rows import NOW, Catalogue, days_ago

from skatestock.api.app import create_app
from skatestock.api.errors import PROBLEMS
from skatestock.api.health import find_newest_revision
from skatestock.database.migrations import head_revision, migrate
from skatestock.database.pool import create_pool
from skatestock.embedded.binaries import get_postgres
from skatestock.embedded.postgres import EmbeddedPostgres

STATUS_BY_CODE = {problem.code: int(problem.status) for problem in PROBLEMS}


@pytest.fixture
def catalogue(pool: asyncpg.Pool) -> Catalogue:
    return Catalogue(pool)


def connect(pool: Any, **options: Any) -> httpx.AsyncClient:
    app = create_app(pool, version="1.2.3", clock=lambda: NOW, **options)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example")


@pytest.fixture
async def api(pool: asyncpg.Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(pool) as client:
        yield client


@pytest.fixture
def app(pool: asyncpg.Pool) -> Litestar:
    return create_app(pool, version="1.2.3")


def check_problem(answer: httpx.Response) -> str:
    """Check that an answer is problem details as documented, and give its code."""
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert STATUS_BY_CODE[problem["code"]] == problem["status"] == answer.status_code
    assert problem["type"] == f"urn:skatestock:problem:{problem['code']}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    code: str = problem["code"]
    return code


async def add_busenitz(catalogue: Catalogue, *, demo: bool = False) -> int:
    product = await catalogue.add_product("Busenitz Vulc II", brand="Adidas", category=8, colourway="Navy")
    shop = await catalogue.add_shop("labor", demo=demo)
    await catalogue.add_crawl(shop, days_ago(0.01))
    listing = await catalogue.add_listing(product, shop, title="Busenitz Vulc II - Navy", brand="Adidas")
    offer = await catalogue.add_offer(listing, 4500, 6000, title="9", held=900)
    await catalogue.add_offer(
        listing, 3000, availability="out_of_stock", title="10", barcode="04006381333931"
    )
    await catalogue.add_point(offer, days_ago(100), 6000, None, "in_stock", ("first_seen",))
    await catalogue.add_point(
        offer, days_ago(2), 4500, 6000, "in_stock", ("price_down", "compare_at_changed")
    )
    await catalogue.index()
    return product


class TestProducts:
    async def test_a_list_shows_what_a_product_costs(
        self, api: httpx.AsyncClient, catalogue: Catalogue
    ) -> None:
        product = await add_busenitz(catalogue)
        answer = (await api.get("/products")).json()
        assert {key: answer[key] for key in ("total", "page", "limit")} == {
            "total": 1,
            "page": 1,
            "limit": 24,
        }
        assert answer["items"] == [
            {
                "id": product,
                "name": "Busenitz Vulc II",
                "brand": {"slug": "adidas", "name": "Adidas"},
                "category": {"slug": "shoes", "name": "Shoes"},
                "colourway": "Navy",
                "image_url": None,
                "price": {"minor": 4500, "currency": "USD", "decimal": "45.00"},
                "price_highest": {"minor": 4500, "currency": "USD", "decimal": "45.00"},
                "compare_at": {"minor": 6000, "currency": "USD", "decimal": "60.00"},
                "discount_percent": 25,
                "availability": "in_stock",
                "in_stock": True,
                "changed_at": "2026-02-28T09:00:00Z",
                "shops": [{"slug": "labor", "name": "Labor", "demo": False}],
                "demo": False,
                "matching_price": {"minor": 4500, "currency": "USD", "decimal": "45.00"},
                "matching_in_stock": True,
            }
        ]

    async def test_a_product_shows_its_shops_and_offers(
        self, api: httpx.AsyncClient, catalogue: Catalogue
    ) -> None:
        product = await add_busenitz(catalogue)
        answer = (await api.get(f"/products/{product}")).json()
        (listed,) = (await api.get("/products")).json()["items"]
        assert answer["product"].items() <= listed.items()
        (shop,) = answer["shops"]
        assert (shop["slug"], shop["stale"]) == ("labor", False)
        large, small = shop["listings"][0]["offers"]
        assert large["discount_percent"] == 25
        assert (large["barcode"], small["barcode"]) == (None, "04006381333931")
        assert large["unconfirmed"] == {
            "price": {"minor": 900, "currency": "USD", "decimal": "9.00"},
            "compare_at": None,
            "observed_at": "2026-03-01T09:00:00Z",
        }
        assert (small["availability"], small["compare_at"], small["unconfirmed"]) == (
            "out_of_stock",
            None,
            None,
        )

    async def test_a_shop_not_seen_whole_for_long_is_stale(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        product = await add_busenitz(catalogue)
        async with connect(pool, stale_after_seconds=60) as api:
            assert (await api.get(f"/products/{product}")).json()["shops"][0]["stale"] is True
            assert (await api.get("/shops")).json()["items"][0]["stale"] is True

    async def test_a_history_has_the_steps_of_the_window(
        self, api: httpx.AsyncClient, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        product = await add_busenitz(catalogue)
        await pool.execute(
            "INSERT INTO observations SELECT id, $1, 'c', 'shopify', 2, '2026-02-28/ab' FROM listings",
            datetime(2026, 2, 28, 9, tzinfo=UTC),
        )
        answer = (await api.get(f"/products/{product}/price-history?days=1&shop=labor")).json()
        assert (answer["since"], answer["until"]) == ("2026-03-01T09:00:00Z", "2026-03-02T09:00:00Z")
        (offer,) = answer["offers"]
        assert offer["steps"] == [
            {
                "at": "2026-02-28T09:00:00Z",
                "price": {"minor": 4500, "currency": "USD", "decimal": "45.00"},
                "compare_at": {"minor": 6000, "currency": "USD", "decimal": "60.00"},
                "discount_percent": 25,
                "availability": "in_stock",
                "changes": ["price_down", "compare_at_changed"],
                "crawl_id": "c",
                "parser": "shopify",
                "parser_version": 2,
                "evidence": "2026-02-28/ab",
            }
        ]
        longer = (await api.get(f"/products/{product}/price-history?days=3650")).json()
        assert [step["price"]["minor"] for step in longer["offers"][0]["steps"]] == [6000, 4500]
        # Where nobody noted what read it, a step names its crawl all the same.
        first = longer["offers"][0]["steps"][0]
        assert [first[name] for name in ("crawl_id", "parser", "parser_version", "evidence")] == [
            "c",
            *[None] * 3,
        ]
        elsewhere = (await api.get(f"/products/{product}/price-history?shop=nj")).json()
        assert elsewhere["offers"] == []

    async def test_an_id_that_no_product_has_is_a_404(self, api: httpx.AsyncClient) -> None:
        for text in (
            "1",
            str(2**63 - 1),
            str(2**63),
            "9" * 400,
            "0",
            "-1",
            "x",
            "%00",
            "%F0%9F%9B%B9",
            "1%0A",
        ):
            for path in (f"/products/{text}", f"/products/{text}/price-history"):
                assert check_problem(await api.get(path)) == "product_not_found"


class TestDemo:
    async def test_demo_shops_label_every_answer_that_holds_them(
        self, api: httpx.AsyncClient, catalogue: Catalogue
    ) -> None:
        product = await add_busenitz(catalogue, demo=True)
        for path in ("/products", f"/products/{product}", f"/products/{product}/price-history", "/shops"):
            answer = await api.get(path)
            assert answer.headers["x-skatestock-data"] == "demo", path
            assert '"demo":true' in answer.text
        assert "x-skatestock-data" not in (await api.get("/products?shop=nj")).headers

    async def test_real_shops_carry_no_such_label(self, api: httpx.AsyncClient, catalogue: Catalogue) -> None:
        await add_busenitz(catalogue)
        answer = await api.get("/products")
        assert "x-skatestock-data" not in answer.headers
        assert '"demo":true' not in answer.text

    async def test_a_demo_catalogue_labels_everything(self, pool: asyncpg.Pool) -> None:
        async with connect(pool, demo=True) as api:
            for path in ("/", "/health", "/health/live", "/nope", "/api-docs"):
                assert (await api.get(path)).headers["x-skatestock-data"] == "demo"
            assert (await api.get("/")).json()["demo"] is True


class TestHealth:
    async def test_all_is_well(self, api: httpx.AsyncClient) -> None:
        answer = (await api.get("/health")).json()
        assert (answer["status"], answer["version"]) == ("ok", "1.2.3")
        (database,) = answer["dependencies"]
        assert database["status"] == "ok"
        assert int(database["version"].split(".")[0]) >= 15
        assert database["detail"] == f"schema {head_revision()}"
        assert (await api.get("/health/ready")).status_code == 200

    def test_the_newest_schema_is_the_one_that_migrations_lead_to(self) -> None:
        assert find_newest_revision() == head_revision()

    async def test_an_old_schema_is_not_ready(self, pool: asyncpg.Pool, api: httpx.AsyncClient) -> None:
        await pool.execute("UPDATE alembic_version SET version_num = '0000'")
        answer = await api.get("/health/ready")
        assert check_problem(answer) == "schema_outdated"
        assert "0000" in answer.json()["detail"]
        health = await api.get("/health")
        assert health.status_code == 200
        assert (health.json()["status"], health.json()["dependencies"][0]["status"]) == (
            "degraded",
            "outdated",
        )

    async def test_a_newer_schema_is_ready(self, pool: asyncpg.Pool, api: httpx.AsyncClient) -> None:
        await pool.execute("UPDATE alembic_version SET version_num = '9999'")
        assert (await api.get("/health/ready")).status_code == 200

    async def test_a_database_without_tables_says_so_everywhere(self, empty_database_dsn: str) -> None:
        pool = await create_pool(empty_database_dsn, application_name="tests")
        async with pool, connect(pool) as api:
            for path in ("/health/ready", "/products", "/products/1", "/products/1/price-history", "/shops"):
                assert check_problem(await api.get(path)) == "schema_outdated"

    async def test_a_database_that_goes_away_is_found_again(self, data_folder: Path) -> None:
        server = EmbeddedPostgres(data_folder / "postgres", binaries=get_postgres(), durable=False)
        await server.start()
        try:
            await migrate(server.dsn)
            await self._lose_and_find(server)
        finally:
            await server.stop()

    async def _lose_and_find(self, server: EmbeddedPostgres) -> None:
        async def open_pool() -> asyncpg.Pool:
            return await create_pool(server.dsn, application_name="tests", connect_timeout_seconds=0.3)

        paths = ("/products", "/products/1/price-history", "/shops", "/health/ready")
        await server.stop()
        async with connect(open_pool) as api:
            for _round in range(2):
                for path in paths:
                    answer = await api.get(path)
                    assert check_problem(answer) == "database_unavailable"
                    assert int(answer.headers["retry-after"]) > 0
                health = await api.get("/health")
                assert (health.status_code, health.json()["status"]) == (200, "degraded")
                assert (await api.get("/health/live")).status_code == 200
                await server.start()
                codes = [(await api.get(path)).status_code for path in paths]
                assert codes == [200, 404, 200, 200]
                await server.stop()


class TestHttp:
    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    async def test_a_method_that_is_not_known_is_a_problem(self, api: httpx.AsyncClient, method: str) -> None:
        answer = await api.request(method, "/products", content=b"{}")
        assert check_problem(answer) == "method_not_allowed"
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/products",
            "/shops",
            "/health",
            "/api-docs",
            "/api-docs/openapi.json",
            "/api-docs/assets/start.js",
        ],
    )
    async def test_head_is_get_without_the_body(self, api: httpx.AsyncClient, path: str) -> None:
        head, full = await api.head(path), await api.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == full.headers["content-type"]

    @pytest.mark.parametrize(
        "path", ["/nope", "/product", "/products/1/2/3", "/api-docs/assets/..%2f", "/%00"]
    )
    async def test_a_path_that_is_not_known_is_a_problem(self, api: httpx.AsyncClient, path: str) -> None:
        assert check_problem(await api.get(path)) == "not_found"

    async def test_what_is_too_large_is_a_problem(self, api: httpx.AsyncClient) -> None:
        assert check_problem(await api.get("/products?q=" + "a" * 9000)) == "address_too_long"
        assert check_problem(await api.request("GET", "/products", content=b"x" * 70_000)) == "body_too_large"
        for length in ("9" * 5000, "-1", "x"):
            answer = await api.get("/products", headers={"content-length": length})
            assert answer.status_code in (400, 413)

    @pytest.mark.parametrize("path", ["/products", "/nope", "/api-docs", "/health", "/products?x=1"])
    async def test_every_answer_carries_the_security_headers(self, api: httpx.AsyncClient, path: str) -> None:
        headers = (await api.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "set-cookie" not in headers

    async def test_a_request_keeps_a_proper_id_and_loses_any_other(self, api: httpx.AsyncClient) -> None:
        kept = await api.get("/nope", headers={"X-Request-Id": "abcDEF-12345678"})
        assert kept.headers["x-request-id"] == kept.json()["request_id"] == "abcDEF-12345678"
        for sent in ("short", "a" * 65, 'x"injected: y', "äääääääää".encode("latin-1")):
            answer = await api.get(
                "/nope", headers=[(b"x-request-id", sent.encode() if isinstance(sent, str) else sent)]
            )
            assert len(answer.headers["x-request-id"]) == 16
            check_problem(answer)

    async def test_a_mistake_of_ours_is_told_without_a_word_of_it(
        self, pool: asyncpg.Pool, api: httpx.AsyncClient, catalogue: Catalogue
    ) -> None:
        product = await add_busenitz(catalogue)
        await pool.execute("ALTER TABLE offers DROP CONSTRAINT offers_availability_check")
        await pool.execute("UPDATE offers SET availability = 'a secret'")
        answer = await api.get(f"/products/{product}")
        assert check_problem(answer) == "internal_error"
        assert "secret" not in answer.text


TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="\0%_\\'\"; \t\r\n🛹é￿%+&=#", max_size=20),
    st.integers().map(str),
    st.sampled_from(["labor", "true", "false", "24", "", "null", "NaN", "1e400", "-0", "9" * 400]),
)
NAMES = st.one_of(
    st.sampled_from(
        [
            "shop",
            "q",
            "brand",
            "category",
            "size",
            "colour",
            "min_price",
            "max_price",
            "min_discount",
            "on_sale",
            "new_since",
            "sort",
            "cursor",
            "facets",
            "url",
            "by",
            "in_stock",
            "include_delisted",
            "page",
            "limit",
            "days",
        ]
    ),
    TEXTS,
)


@given(
    path=st.sampled_from(
        ["/products", "/products/{}", "/products/{}/price-history", "/shops", "/health", "/{}"]
    ),
    hole=TEXTS,
    query=st.lists(st.tuples(NAMES, TEXTS), max_size=6),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_input_makes_it_fail(
    api: httpx.AsyncClient, path: str, hole: str, query: list[tuple[str, str]]
) -> None:
    try:
        address = path.format(quote(hole, safe="")) + "?" + urlencode(query)
    except UnicodeEncodeError:
        return  # lone surrogates are no text that could be sent
    answer = await api.get(address)
    assert answer.status_code < 500
    if answer.status_code >= 400:
        check_problem(answer)
    else:
        answer.json()


@given(query=st.binary(max_size=200), path=st.binary(max_size=60))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_bytes_make_it_fail(app: Litestar, query: bytes, path: bytes) -> None:
    """Bytes that no client of good manners sends, put into the scope as a server would."""
    for target in ("/products", f"/products/{path.decode('latin-1')}", f"/{path.decode(errors='replace')}"):
        status = await send_raw(app, target, query)
        assert status < 500, target


async def send_raw(app: Any, path: str, query: bytes) -> int:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"api.example")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    status: int = sent[0]["status"]
    return status
