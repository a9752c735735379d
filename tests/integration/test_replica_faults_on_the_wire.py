"""Each fault does on the wire what its name says, and is over when it is over."""

import asyncio
import inspect
import json
import sys
import time
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import h11
import pytest

from skatestock.replica.client import ReplicaControl, Response, fetch
from skatestock.replica.faults import FAULT_KINDS
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

START_AT = datetime(2026, 3, 1, tzinfo=UTC)
WORLD = World(5, START_AT, listings_per_shop=40)


class Shop:
    """One shop of a running replica, with a hand on its faults."""

    def __init__(self, servers: ReplicaServers) -> None:
        self.url = servers.addresses.shop_urls["labor"]
        self.control = ReplicaControl(servers.addresses.control_url)

    async def play(self, kind: str, *, times: int | None = None, **parameters: Any) -> None:
        """Set a fault at this shop."""
        await self.control.set_fault("labor", kind, times=times, **parameters)

    async def get(self, path: str = "/products.json?limit=250", **headers: str) -> Response:
        """Fetch a page of this shop."""
        return await fetch(self.url + path, headers=headers)

    async def ids(self, page: int = 1, limit: int = 15) -> list[int]:
        """Fetch the listing ids of a page."""
        products = (await self.get(f"/products.json?limit={limit}&page={page}")).json()["products"]
        return [product["id"] for product in products]

    async def raw(self, path: str = "/products.json") -> bytes:
        """Fetch everything that comes over the wire until the connection ends."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        try:
            return await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with ReplicaServers(WORLD) as servers:
        yield Shop(servers)


def test_every_fault_has_a_test_of_its_own_here() -> None:
    tests = [name for name, _ in inspect.getmembers(sys.modules[__name__], inspect.isfunction)]
    untested = [kind for kind in FAULT_KINDS if not any(kind in name for name in tests)]
    assert untested == []


async def test_not_found_is_404_and_over_after_its_times(shop: Shop) -> None:
    await shop.play("not_found", times=1)
    assert (await shop.get()).status == 404
    assert (await shop.get()).status == 200
    assert (await shop.control.requests())[-2].faults == ("not_found",)


async def test_too_many_requests_says_when_to_return_in_seconds(shop: Shop) -> None:
    await shop.play("too_many_requests", retry_after_seconds=17)
    response = await shop.get()
    assert (response.status, response.headers["retry-after"]) == (429, "17")
    assert (await shop.get("/robots.txt")).status == 200


async def test_too_many_requests_says_when_to_return_with_a_date(shop: Shop) -> None:
    await shop.play("too_many_requests", form="date", retry_after_seconds=90)
    response = await shop.get()
    later = parsedate_to_datetime(response.headers["retry-after"])
    assert later - parsedate_to_datetime(response.headers["date"]) == timedelta(seconds=90)


async def test_too_many_requests_may_say_nothing(shop: Shop) -> None:
    await shop.play("too_many_requests", form="none")
    assert "retry-after" not in (await shop.get()).headers


async def test_security_rejection_is_430(shop: Shop) -> None:
    await shop.play("security_rejection")
    assert (await shop.raw()).startswith(b"HTTP/1.1 430 Shopify Security Rejection\r\n")


async def test_bot_wall_asks_who_we_are_with_any_status(shop: Shop) -> None:
    await shop.play("bot_wall", times=1)
    await shop.play("bot_wall", times=1, status=200)
    first, second = await shop.get(), await shop.get()
    assert (first.status, second.status) == (403, 200)
    assert first.body == second.body
    assert second.headers["content-type"] == "text/html; charset=utf-8"
    assert (await shop.get()).headers["content-type"].startswith("application/json")


async def test_unavailable_is_503_with_or_without_a_time(shop: Shop) -> None:
    await shop.play("unavailable", times=1)
    await shop.play("unavailable", times=1, form="seconds", retry_after_seconds=5)
    first, second = await shop.get(), await shop.get()
    assert (first.status, second.status) == (503, 503)
    assert "retry-after" not in first.headers
    assert second.headers["retry-after"] == "5"


async def test_html_instead_of_json_is_a_page_with_200(shop: Shop) -> None:
    await shop.play("html_instead_of_json")
    response = await shop.get()
    assert (response.status, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.body.startswith(b"<!doctype html>")


async def test_password_page_stands_before_everything_but_robots(shop: Shop) -> None:
    await shop.play("password_page")
    for path in ("/", "/products.json", "/products/gift-card.js"):
        response = await shop.get(path)
        assert (response.status, response.headers["location"]) == (302, "/password")
    assert (await shop.get("/password")).status == 200
    assert (await shop.get("/robots.txt")).status == 200


async def test_redirect_loop_leads_to_itself(shop: Shop) -> None:
    await shop.play("redirect_loop")
    response = await shop.get("/products.json?limit=250&page=2")
    assert (response.status, response.headers["location"]) == (302, "/products.json?limit=250&page=2")


async def test_redirect_off_host_leads_elsewhere(shop: Shop) -> None:
    await shop.play("redirect_off_host", times=1)
    assert (await shop.get()).headers["location"] == "http://elsewhere.invalid/products.json"
    await shop.play("redirect_off_host", location="http://127.0.0.1:9/x")
    assert (await shop.get()).headers["location"] == "http://127.0.0.1:9/x"


async def test_robots_5xx_leaves_the_catalogue_alone(shop: Shop) -> None:
    await shop.play("robots_5xx", status=520)
    assert (await shop.get("/robots.txt")).status == 520
    assert (await shop.get()).status == 200


async def test_robots_disallows_what_it_is_told_to(shop: Shop) -> None:
    await shop.play("robots_disallows", disallow="/products/")
    body = (await shop.get("/robots.txt")).body.decode()
    assert "Disallow: /products/" in body.splitlines()
    assert (await shop.get()).status == 200


async def test_robots_timeout_says_nothing_and_then_closes(shop: Shop) -> None:
    await shop.play("robots_timeout", seconds=1)
    began = time.monotonic()
    assert await shop.raw("/robots.txt") == b""
    assert 0.9 < time.monotonic() - began < 5
    assert (await shop.control.requests())[-1].status == 0


async def test_connection_reset_breaks_the_connection(shop: Shop) -> None:
    await shop.play("connection_reset", times=1)
    with pytest.raises(ConnectionResetError):
        await shop.raw()
    assert (await shop.get()).status == 200


async def test_page_drift_by_insertion_repeats_a_listing(shop: Shop) -> None:
    first, second = await shop.ids(1), await shop.ids(2)
    await shop.play("page_drift")
    assert await shop.ids(1) == first
    assert await shop.ids(2) == [first[-1], *second[:-1]]


async def test_page_drift_by_removal_skips_a_listing(shop: Shop) -> None:
    second, third = await shop.ids(2), await shop.ids(3)
    await shop.play("page_drift", change="removed")
    assert await shop.ids(2) == [*second[1:], third[0]]


async def test_listing_repeated_stands_twice(shop: Shop) -> None:
    whole = await shop.ids(limit=250)
    await shop.play("listing_repeated", position=4)
    assert await shop.ids(limit=250) == [*whole[:5], whole[4], *whole[5:]]


async def test_listing_twin_stands_under_ids_and_a_handle_of_its_own(shop: Shop) -> None:
    before = (await shop.get()).json()["products"]
    await shop.play("listing_twin", position=4)
    after = (await shop.get()).json()["products"]
    new = [product for product in after if product["id"] not in {other["id"] for other in before}]
    assert len(new) == 1
    assert new[0]["title"] == before[4]["title"]
    assert new[0]["handle"] not in {product["handle"] for product in before}
    ids = {variant["id"] for product in before for variant in product["variants"]}
    assert ids.isdisjoint(variant["id"] for variant in new[0]["variants"])


async def test_listing_missing_leaves_its_own_page_alone(shop: Shop) -> None:
    products = (await shop.get()).json()["products"]
    await shop.play("listing_missing", position=3)
    assert await shop.ids(limit=250) == [p["id"] for p in products[:3] + products[4:]]
    assert (await shop.get(f"/products/{products[3]['handle']}.json")).status == 200


async def test_price_zero_and_price_times_100_change_prices_only(shop: Shop) -> None:
    before = (await shop.get()).json()["products"]
    await shop.play("price_zero", times=1)
    zero = (await shop.get()).json()["products"]
    await shop.play("price_times_100", times=1, count=1)
    hundredfold = (await shop.get()).json()["products"]
    assert {variant["price"] for product in zero for variant in product["variants"]} == {"0.00"}
    assert float(hundredfold[0]["variants"][0]["price"]) == 100 * float(before[0]["variants"][0]["price"])
    assert hundredfold[1]["variants"][0]["price"] == before[1]["variants"][0]["price"]
    for product, other in zip(before, zero, strict=True):
        assert [v["available"] for v in product["variants"]] == [v["available"] for v in other["variants"]]


async def test_empty_catalogue_is_an_empty_list(shop: Shop) -> None:
    await shop.play("empty_catalogue")
    assert (await shop.get()).body == b'{"products":[]}'


async def test_short_catalogue_ends_after_its_first_page(shop: Shop) -> None:
    await shop.play("short_catalogue")
    assert [len(await shop.ids(page)) for page in (1, 2, 3)] == [15, 0, 0]


async def test_bad_product_spoils_one(shop: Shop) -> None:
    await shop.play("bad_product", position=2)
    products = (await shop.get()).json()["products"]
    assert [position for position, product in enumerate(products) if product["variants"] is None] == [2]


async def test_unexpected_json_has_another_shape(shop: Shop) -> None:
    for shape, kind in (("list", list), ("object", dict), ("text", str), ("null", type(None))):
        await shop.play("unexpected_json", times=1, shape=shape)
        value = (await shop.get()).json()
        assert isinstance(value, kind)
    assert isinstance((await shop.get()).json()["products"], list)


async def test_invalid_utf8_cannot_be_decoded(shop: Shop) -> None:
    await shop.play("invalid_utf8")
    with pytest.raises(UnicodeDecodeError):
        (await shop.get()).body.decode()


async def test_wrong_charset_is_latin_1_labelled_utf_8(shop: Shop) -> None:
    await shop.play("wrong_charset")
    response = await shop.get()
    assert response.headers["content-type"].endswith("charset=utf-8")
    with pytest.raises(UnicodeDecodeError):
        response.body.decode()
    assert json.loads(response.body.decode("latin-1"))["products"]


async def test_wrong_charset_is_utf_16_labelled_utf_8(shop: Shop) -> None:
    await shop.play("wrong_charset", charset="utf-16")
    response = await shop.get()
    assert response.headers["content-type"].endswith("charset=utf-8")
    assert json.loads(response.body.decode("utf-16"))["products"]


async def test_bom_stands_before_the_body(shop: Shop) -> None:
    await shop.play("bom")
    body = (await shop.get()).body
    assert body.startswith(b'\xef\xbb\xbf{"products"')
    assert json.loads(body.decode("utf-8-sig"))["products"]


async def test_slow_drip_takes_its_time_and_arrives_whole(shop: Shop) -> None:
    whole = len((await shop.get("/products.json?limit=1")).body)
    await shop.play("slow_drip", bytes_per_second=whole)
    began = time.monotonic()
    response = await shop.get("/products.json?limit=1")
    assert 0.8 < time.monotonic() - began < 5
    assert len(response.json()["products"]) == 1


async def test_slow_drip_does_not_keep_other_clients_waiting(shop: Shop) -> None:
    await shop.play("slow_drip", times=1, bytes_per_second=100)
    slow = asyncio.create_task(shop.raw())
    await asyncio.sleep(0.2)
    began = time.monotonic()
    assert (await shop.get()).status == 200
    assert time.monotonic() - began < 2
    slow.cancel()


async def test_truncated_body_ends_before_its_length(shop: Shop) -> None:
    await shop.play("truncated_body", share_percent=40)
    with pytest.raises(h11.RemoteProtocolError):
        await shop.get()
    head, _, body = (await shop.raw()).partition(b"\r\n\r\n")
    promised = next(line for line in head.splitlines() if line.lower().startswith(b"content-length"))
    assert len(body) == int(promised.split()[1]) * 40 // 100


async def test_truncated_body_is_cut_alike_when_it_is_packed(shop: Shop) -> None:
    await shop.play("truncated_body", share_percent=40)
    with pytest.raises(h11.RemoteProtocolError):
        await shop.get(**{"Accept-Encoding": "gzip"})


async def test_truncated_body_may_admit_its_length(shop: Shop) -> None:
    await shop.play("truncated_body", content_length="sent")
    response = await shop.get()
    assert response.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(response.body)


async def test_truncated_gzip_is_a_whole_answer_with_half_a_gzip(shop: Shop) -> None:
    await shop.play("truncated_gzip")
    response = await shop.get()
    assert (response.status, response.headers["content-encoding"]) == (200, "gzip")
    unpacker = zlib.decompressobj(31)
    assert unpacker.decompress(response.body).startswith(b'{"products":[')
    assert not unpacker.eof


async def test_decompression_bomb_is_small_on_the_wire_and_huge_unpacked(shop: Shop) -> None:
    await shop.play("decompression_bomb", size_bytes=200 * 2**20)
    response = await shop.get()
    assert (response.status, response.headers["content-encoding"]) == (200, "gzip")
    assert "content-length" not in response.headers
    assert len(response.body) < 2**20
    assert len(response.content()) == 200 * 2**20


async def test_faults_at_other_shops_play_no_part_here(shop: Shop) -> None:
    await shop.control.set_fault("nj", "not_found")
    assert (await shop.get()).status == 200


async def test_a_page_with_a_fault_has_no_etag_to_be_remembered_by(shop: Shop) -> None:
    tag = (await shop.get()).headers["etag"]
    await shop.play("price_zero")
    response = await shop.get(**{"If-None-Match": tag})
    assert response.status == 200
    assert "etag" not in response.headers
