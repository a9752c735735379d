"""Bot walls on the wire: whatever they answer, they are asked once and the shop is left alone for hours."""

from __future__ import annotations

import gzip

import msgspec
import pytest
from tests.crawl_scene import FAST
from tests.scripted_shop import http, paths, scripted_shop

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

WALL = b"<!doctype html><html><head><title>Just a moment...</title></head></html>"
GZIP = "Content-Encoding: gzip\r\n"
WALLS = {
    "200": http(WALL),
    "401": http(WALL, status="401 Unauthorized"),
    "403": http(WALL, status="403 Forbidden"),
    "429": http(WALL, "Retry-After: 1\r\n", "429 Too Many Requests"),
    "503": http(WALL, status="503 Service Unavailable"),
    "packed": http(gzip.compress(WALL), GZIP, "403 Forbidden"),
    "by its header": http(b"no", "cf-mitigated: challenge\r\n", "403 Forbidden"),
}
PLACES = {
    "a page of JSON": ("/products.json", {}),
    "the sitemap": ("/sitemap.xml", {"platform": "schema-org", "product_paths": ("/products/",)}),
    "a product's page": ("/products/1", {"platform": "schema-org", "product_paths": ("/products/",)}),
}


@pytest.mark.parametrize("wall", WALLS)
@pytest.mark.parametrize("place", PLACES)
async def test_a_wall_is_asked_once_and_the_shop_left_alone_for_hours(place: str, wall: str) -> None:
    path, keys = PLACES[place]
    origin = ""

    def answer(target: str) -> bytes:
        asked = target.partition("?")[0]
        if asked == path:
            return WALLS[wall]
        return http(f"<urlset><url><loc>{origin}/products/1</loc></url></urlset>".encode())

    async with scripted_shop(answer) as (scene, heads):
        scene.shops["labor"] = msgspec.structs.replace(scene.shop(), **keys)
        origin = scene.shop().url
        outcome = await scene.crawl()
    assert (outcome.reason, outcome.listings) == ("blocked", 0), outcome.detail
    assert [target.partition("?")[0] for target in paths(heads)].count(path) == 1
    assert outcome.retry_not_before is not None
    pause = (outcome.retry_not_before - outcome.completed_at).total_seconds()
    assert FAST.blocked_pause_seconds == 6 * 3600
    assert FAST.blocked_pause_seconds <= pause <= FAST.blocked_pause_seconds + 60


async def test_a_wall_in_the_place_of_robots_txt_means_that_nothing_is_asked() -> None:
    async with scripted_shop(lambda target: WALLS["403"]) as (scene, heads):
        outcome = await scene.crawl()
    assert outcome.reason == "blocked"
    assert paths(heads) == ["/robots.txt"]


@pytest.mark.parametrize("status", ["403 Forbidden", "401 Unauthorized"])
@pytest.mark.parametrize("head", ["", GZIP])
async def test_a_refusal_that_is_no_wall_is_a_refusal(status: str, head: str) -> None:
    def answer(target: str) -> bytes:
        if target == "/robots.txt":
            return http(b"User-agent: *\n")
        # That it is packed is not true: what cannot be read is no wall that we know.
        return http(b"<html><title>Forbidden</title></html>", head, status)

    async with scripted_shop(answer) as (scene, _):
        assert (await scene.crawl()).reason == "refused"
