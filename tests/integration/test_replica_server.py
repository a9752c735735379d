"""The replica on the wire: Shopify's protocol, and pages that say exactly what the truth says."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ports import choose_quiet_port

from skatestock.replica.client import ReplicaControl, Response, fetch
from skatestock.replica.errors import ReplicaError
from skatestock.replica.model import TruthRecord
from skatestock.replica.rates import Rates
from skatestock.replica.reply import Request
from skatestock.replica.server import Addresses, ReplicaServers, serve
from skatestock.replica.shop_face import ShopFace
from skatestock.replica.truth import OfferKey, OfferState, fold, read_truth
from skatestock.replica.world import World

START_AT = datetime(2026, 3, 1, tzinfo=UTC)
PER_SHOP = 70


def make_world(per_shop: int = PER_SHOP) -> World:
    return World(21, START_AT, per_shop, Rates(price_episode_days=8, stock_change_days=4))


@pytest.fixture
async def servers() -> AsyncIterator[ReplicaServers]:
    async with ReplicaServers(make_world()) as running:
        yield running


async def fetch_shop(servers: ReplicaServers, shop: str, path: str, **headers: str) -> Response:
    return await fetch(servers.addresses.shop_urls[shop] + path, headers=headers)


async def fetch_catalogue(servers: ReplicaServers, shop: str, limit: int = 250) -> list[dict[str, Any]]:
    products: list[dict[str, Any]] = []
    page = 1
    while True:
        response = await fetch_shop(servers, shop, f"/products.json?limit={limit}&page={page}")
        found = response.json()["products"]
        products += found
        if len(found) < limit:
            return products
        page += 1


def cents(text: str | None) -> int | None:
    return None if text is None else round(float(text) * 100)


def read_states(shop: str, products: list[dict[str, Any]]) -> dict[OfferKey, OfferState]:
    """Read what pages say, by hand and not with the replica's own code."""
    states = {}
    for product in products:
        for variant in product["variants"]:
            price = cents(variant["price"])
            assert price is not None
            key = OfferKey(shop, str(product["id"]), str(variant["id"]))
            states[key] = OfferState(price, cents(variant["compare_at_price"]), variant["available"])
    return states


async def test_served_pages_equal_the_truth_at_many_moments_of_a_month(servers: ReplicaServers) -> None:
    control = ReplicaControl(servers.addresses.control_url)
    for hours in (0, 1, 30, 100, 101, 200, 300, 77):
        await control.advance(hours * 3600)
        truth = await control.truth()
        now = (await control.state()).now
        served: dict[OfferKey, OfferState] = {}
        for shop in servers.world.shops:
            served |= read_states(shop, await fetch_catalogue(servers, shop, limit=37))
        assert served == fold(truth, now)
    assert now > START_AT + timedelta(days=30)


async def test_the_cents_and_the_page_say_the_same(servers: ReplicaServers) -> None:
    await ReplicaControl(servers.addresses.control_url).advance(86_400 * 9)
    for product in (await fetch_catalogue(servers, "premier"))[::6]:
        path = f"/products/{quote(product['handle'])}"
        in_cents = json.loads((await fetch_shop(servers, "premier", f"{path}.js")).body)
        single = (await fetch_shop(servers, "premier", f"{path}.json")).json()["product"]
        page = (await fetch_shop(servers, "premier", path)).body.decode()
        linked = json.loads(page.partition('ld+json">')[2].partition("</script>")[0])
        assert in_cents["id"] == single["id"] == product["id"]
        for row in zip(product["variants"], in_cents["variants"], linked["offers"], strict=True):
            variant, in_cents_variant, offer = row
            assert in_cents_variant["id"] == variant["id"]
            assert in_cents_variant["price"] == cents(variant["price"]) == cents(offer["price"])
            assert (
                in_cents_variant["available"] == variant["available"] == ("InStock" in offer["availability"])
            )


async def test_updated_at_moves_with_every_response_and_nothing_else_does(servers: ReplicaServers) -> None:
    first = await fetch_shop(servers, "labor", "/products.json?limit=250")
    await asyncio.sleep(1.1)
    second = await fetch_shop(servers, "labor", "/products.json?limit=250")
    assert first.body != second.body
    mask = re.compile(rb'"updated_at":"[^"]*"')
    assert mask.sub(b"", first.body) == mask.sub(b"", second.body)
    assert len({p["updated_at"] for p in second.json()["products"]}) == 1


async def test_pages_hold_thirty_products_unless_asked(servers: ReplicaServers) -> None:
    sizes = {}
    for query in ("", "?limit=7", "?limit=0", "?limit=9999", "?page=3", "?page=99"):
        sizes[query] = len((await fetch_shop(servers, "nj", f"/products.json{query}")).json()["products"])
    assert sizes == {"": 30, "?limit=7": 7, "?limit=0": 30, "?limit=9999": 70, "?page=3": 10, "?page=99": 0}


async def test_pages_put_together_are_the_catalogue_without_gap_or_repeat(servers: ReplicaServers) -> None:
    whole = [product["id"] for product in await fetch_catalogue(servers, "seasons")]
    paged = [product["id"] for product in await fetch_catalogue(servers, "seasons", limit=11)]
    assert paged == whole
    assert len(set(whole)) == PER_SHOP


@pytest.fixture(scope="module")
def face() -> ShopFace:
    servers = ReplicaServers(make_world(20))
    return ShopFace(servers.world, servers.clock, servers.board, "labor", "http://127.0.0.1:1")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.text() | st.integers().map(str), page=st.text() | st.integers().map(str))
def test_no_limit_or_page_is_a_server_error(face: ShopFace, limit: str, page: str) -> None:
    query = urlencode({"limit": limit, "page": page}, errors="surrogatepass")
    reply = face.answer(Request("GET", f"/products.json?{query}", {}))
    assert reply.status == 200
    assert len(json.loads(reply.body)["products"]) <= 250


@given(path=st.text(), query=st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_address_is_a_server_error(face: ShopFace, path: str, query: str) -> None:
    for target in (f"/{path}?{query}", f"/products/{path}.js", f"/sitemap_products_1.xml?from={query}"):
        assert face.answer(Request("GET", target, {})).status in (200, 404)


async def test_collections_show_everything_or_what_is_on_sale(servers: ReplicaServers) -> None:
    await ReplicaControl(servers.addresses.control_url).advance(86_400 * 12)
    listed = (await fetch_shop(servers, "premier", "/collections.json")).json()["collections"]
    counts = {collection["handle"]: collection["products_count"] for collection in listed}
    sizes = {}
    for handle in ("all", "sale"):
        path = f"/collections/{handle}/products.json?limit=250"
        products = (await fetch_shop(servers, "premier", path)).json()["products"]
        sizes[handle] = len(products)
    assert counts == sizes
    assert 0 < counts["sale"] < counts["all"]
    for product in products:
        pairs = [(cents(v["compare_at_price"]) or 0, cents(v["price"]) or 0) for v in product["variants"]]
        assert any(was > price for was, price in pairs)
    assert (await fetch_shop(servers, "premier", "/collections/none/products.json")).status == 404


async def test_the_sitemap_leads_to_every_product_through_escaped_addresses(servers: ReplicaServers) -> None:
    origin = servers.addresses.shop_urls["premier"]
    robots = (await fetch_shop(servers, "premier", "/robots.txt")).body.decode()
    [place] = re.findall(r"^Sitemap: (.*)$", robots, re.MULTILINE)
    index = (await fetch(place)).body.decode()
    products_map = re.findall(r"<loc>(.*?)</loc>", index)[0]
    assert "&amp;to=" in products_map
    found = (await fetch(unescape(products_map))).body.decode()
    places = re.findall(r"<loc>(.*?)</loc>", found)
    assert places[0] == f"{origin}/"
    assert len(places) == PER_SHOP + 1
    assert "<lastmod>2026-02-28T19:00:0" in found
    assert (await fetch(unescape(places[-1]))).status == 200
    foreign = next(place for place in places if "%" in place)
    assert (await fetch(foreign)).status == 200


async def test_every_answer_says_that_it_is_a_demo(servers: ReplicaServers) -> None:
    for path in ("/", "/robots.txt", "/products.json", "/products/gift-card", "/nope", "/password"):
        response = await fetch_shop(servers, "nj", path)
        assert response.headers["x-skatestock-replica"] == "demo"
        if "html" in response.headers["content-type"]:
            assert "demo replica" in response.body.decode()


async def test_what_does_not_exist_is_404_and_what_is_not_read_is_405(servers: ReplicaServers) -> None:
    assert (await fetch_shop(servers, "nj", "/products/nothing.js")).status == 404
    assert (await fetch_shop(servers, "nj", "/products/nothing.json")).status == 404
    response = await fetch(servers.addresses.shop_urls["nj"] + "/products.json", method="POST", body=b"{}")
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")


async def test_head_has_the_headers_of_get_and_no_body(servers: ReplicaServers) -> None:
    url = servers.addresses.shop_urls["nj"] + "/products.json"
    head, whole = await fetch(url, method="HEAD"), await fetch(url)
    assert head.body == b""
    assert head.headers["content-length"] == str(len(whole.body))


async def test_gzip_is_sent_to_those_who_accept_it(servers: ReplicaServers) -> None:
    packed = await fetch_shop(servers, "nj", "/products.json", **{"Accept-Encoding": "gzip, deflate"})
    plain = await fetch_shop(servers, "nj", "/products.json")
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert len(packed.body) < len(plain.body) / 3
    assert len(packed.json()["products"]) == len(plain.json()["products"])


async def test_an_unchanged_page_is_not_sent_again_and_a_changed_one_is(servers: ReplicaServers) -> None:
    first = await fetch_shop(servers, "nj", "/products.json?limit=250")
    tag = first.headers["etag"]
    same = await fetch_shop(servers, "nj", "/products.json?limit=250", **{"If-None-Match": tag})
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
    await ReplicaControl(servers.addresses.control_url).advance(86_400 * 5)
    later = await fetch_shop(servers, "nj", "/products.json?limit=250", **{"If-None-Match": tag})
    assert later.status == 200
    assert later.headers["etag"] != tag


async def test_a_connection_is_kept_alive(servers: ReplicaServers) -> None:
    host, port = servers.addresses.shop_urls["nj"].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for path in ("/robots.txt", "/products/gift-card.js"):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        [length] = re.findall(rb"content-length: (\d+)", head.lower())
        await reader.readexactly(int(length))
    writer.close()


async def test_what_is_no_http_is_refused_and_the_server_lives_on(servers: ReplicaServers) -> None:
    host, port = servers.addresses.shop_urls["nj"].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    assert (await fetch_shop(servers, "nj", "/robots.txt")).status == 200


async def test_requests_are_logged_with_the_time_on_the_wire(servers: ReplicaServers) -> None:
    control = ReplicaControl(servers.addresses.control_url)
    await fetch_shop(servers, "nj", "/robots.txt", **{"User-Agent": "tester/1"})
    await asyncio.sleep(0.2)
    await fetch_shop(servers, "labor", "/products.json?limit=5")
    first, second = await control.requests()
    assert (first.shop, first.target, first.status, first.user_agent) == (
        "nj",
        "/robots.txt",
        200,
        "tester/1",
    )
    assert second.target == "/products.json?limit=5"
    assert 0.19 < second.monotonic_seconds - first.monotonic_seconds < 5
    assert await control.requests(after=first.number) == [second]
    assert await control.requests(shop="nj") == [first]


async def test_a_page_of_250_products_is_made_in_a_few_milliseconds() -> None:
    world = World(1, START_AT)
    servers = ReplicaServers(world)
    face = ShopFace(world, servers.clock, servers.board, "labor", "")
    face.answer(Request("GET", "/products.json?limit=250", {}))
    began = time.perf_counter()
    for _ in range(20):
        face.answer(Request("GET", "/products.json?limit=250", {}))
    assert (time.perf_counter() - began) / 20 < 0.02


async def test_a_replica_serves_on_loopback_only() -> None:
    with pytest.raises(ReplicaError, match="loopback"):
        ReplicaServers(make_world(1), host="0.0.0.0")


async def test_a_taken_port_is_a_clear_error_and_leaves_nothing_open() -> None:
    async with ReplicaServers(make_world(1)) as running:
        taken = int(running.addresses.control_url.rpartition(":")[2])
        with pytest.raises(ReplicaError, match=r"cannot listen on 127.0.0.1:\d+: .*in use") as caught:
            await ReplicaServers(make_world(1), base_port=taken).__aenter__()
    # Its neighbours may be taken too, by the shops that run or by somebody else.
    named = int(str(caught.value).split("127.0.0.1:")[1].split(":")[0])
    assert taken <= named < taken + 6


async def start_serving(world: World, **options: Any) -> tuple[asyncio.Task[None], Addresses]:
    ready: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(world, on_ready=ready.set_result, **options))
    return task, await asyncio.wait_for(ready, 10)


async def stop_serving(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stopped_and_restarted_replica_serves_the_same_world(tmp_path: Path) -> None:
    options = {"truth_file": tmp_path / "truth.jsonl", "clock_file": tmp_path / "clock.json"}
    task, addresses = await start_serving(make_world(), **options)
    await ReplicaControl(addresses.control_url).advance(86_400 * 6)
    before = (await fetch(addresses.shop_urls["nj"] + "/products.json?limit=250")).json()
    await stop_serving(task)
    truth = (tmp_path / "truth.jsonl").read_bytes()

    task, addresses = await start_serving(make_world(), **options)
    control = ReplicaControl(addresses.control_url)
    assert (await control.state()).now == START_AT + timedelta(days=6)
    after = (await fetch(addresses.shop_urls["nj"] + "/products.json?limit=250")).json()
    assert read_states("nj", after["products"]) == read_states("nj", before["products"])
    assert await control.truth() == read_truth(truth)
    await stop_serving(task)


async def test_a_following_world_moves_by_itself_and_writes_its_truth(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    task, addresses = await start_serving(make_world(), truth_file=path, follow_rate=80_000)
    try:
        async with asyncio.timeout(10):
            while not any(record.at > START_AT for record in _read(path)):
                await asyncio.sleep(0.2)
        state = await ReplicaControl(addresses.control_url).state()
        assert state.rate == 80_000
        assert state.now > START_AT
    finally:
        await stop_serving(task)


def _read(path: Path) -> list[TruthRecord]:
    return read_truth(path.read_bytes())


async def test_a_client_waits_for_a_replica_that_is_starting() -> None:
    port = choose_quiet_port(following=5)
    control = ReplicaControl(f"http://127.0.0.1:{port}")
    with pytest.raises(TimeoutError):
        await control.wait_until_ready(0.3)
    waiting = asyncio.create_task(control.wait_until_ready(10))
    await asyncio.sleep(0.2)
    async with ReplicaServers(make_world(1), base_port=port) as running:
        assert running.addresses.control_url.endswith(f":{port}")
        assert (await waiting).now == START_AT


async def test_a_truth_file_that_cannot_be_written_ends_the_replica(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="truth"):
        await serve(make_world(1), truth_file=tmp_path / "nowhere" / "truth.jsonl")


async def test_a_body_that_is_too_large_is_refused(servers: ReplicaServers) -> None:
    response = await fetch(servers.addresses.control_url + "/clock", method="POST", body=bytes(2**20 + 1))
    assert response.status == 413


async def test_closing_ends_open_connections() -> None:
    async with ReplicaServers(make_world(1)) as running:
        host, port = running.addresses.shop_urls["nj"].removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await asyncio.sleep(0.05)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
