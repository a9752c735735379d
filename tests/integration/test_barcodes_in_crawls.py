"""Barcodes on the wire: asked of a replica and of shops that refuse, break and hide them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from tests.crawl_scene import FAST, START_AT, Scene
from tests.scripted_shop import http, paths, scripted_shop

from skatestock.crawl.platforms.port import BARCODES
from skatestock.crawl.rereading import CrawlReader
from skatestock.crawl.session import crawl_shop
from skatestock.evidence.address import open_store
from skatestock.evidence.keeping import CrawlEvidence
from skatestock.evidence.model import KeptCrawl
from skatestock.replica.faults import Fault
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

SLUG = "labor"
PRODUCTS = {
    "products": [
        {"id": number, "handle": f"deck-{number}", "variants": [{"id": 10 * number, "price": "60.00"}]}
        for number in (1, 2, 3)
    ]
}


def ask_for_barcodes(scene: Scene, most: int = 20) -> None:
    """Let the crawls of the shop ask."""
    shop = msgspec.structs.replace(scene.shop(SLUG), barcodes=True, barcodes_per_crawl=most)
    scene.shops[SLUG] = shop


@pytest_asyncio.fixture(loop_scope="session")
async def scene() -> AsyncIterator[Scene]:
    async with ReplicaServers(World(7, START_AT, listings_per_shop=28)) as replica:
        made = Scene.of(replica)
        ask_for_barcodes(made)
        yield made


def barcodes_of(scene: Scene) -> dict[str, dict[str, str | None]]:
    """Tell what the log says, by listing and offer."""
    return {
        listing_id: {offer.offer_id: offer.barcode for offer in event.offers}
        for listing_id, event in scene.log.fold(SLUG).items()
    }


def truth_of(scene: Scene) -> dict[str, dict[str, str | None]]:
    return {
        str(listing.listing_id): {str(offer.offer_id): offer.barcode for offer in listing.present_offers()}
        for listing in scene.replica.world.state_at(SLUG)
    }


def objects_asked(scene: Scene) -> list[str]:
    return [record.target for record in scene.asked() if record.target.endswith(".js")]


async def test_a_catalogue_fills_by_what_is_new_and_what_changes(scene: Scene) -> None:
    truth = truth_of(scene)
    first = await scene.crawl(SLUG)
    assert (first.complete, first.changed, first.requests) == (True, 28, 22)
    said = barcodes_of(scene)
    asked = [listing_id for listing_id, offers in said.items() if any(offers.values())]
    assert 10 <= len(asked) <= 20
    assert {listing_id: said[listing_id] for listing_id in asked} == {
        listing_id: truth[listing_id] for listing_id in asked
    }
    assert (await scene.crawl(SLUG)).changed == 0
    assert len(objects_asked(scene)) == 20


async def test_the_questions_keep_the_spacing_like_every_request(scene: Scene) -> None:
    ask_for_barcodes(scene, most=4)
    polite = msgspec.structs.replace(FAST, spacing_seconds=0.15)
    assert (await scene.crawl(SLUG, polite)).complete
    arrivals = [record.monotonic_seconds for record in scene.asked()]
    assert len(arrivals) == 6
    assert min(later - earlier for earlier, later in pairwise(arrivals)) >= 0.15


@pytest.mark.parametrize(
    "kind", ["not_found", "too_many_requests", "unavailable", "connection_reset", "truncated_body"]
)
async def test_whatever_befalls_a_question_the_crawl_is_complete(scene: Scene, kind: str) -> None:
    parameters = {"retry_after_seconds": 0} if kind == "too_many_requests" else {}
    scene.replica.set_fault(Fault(SLUG, kind, None, "/products/*.js", None, dict(parameters)))
    outcome = await scene.crawl(SLUG)
    assert (outcome.complete, outcome.changed, outcome.retry_not_before) == (True, 28, None)
    assert {barcode for offers in barcodes_of(scene).values() for barcode in offers.values()} == {None}
    # Only what says that one page is gone is worth another question; nothing is asked for twice.
    assert len(objects_asked(scene)) == (20 if kind == "not_found" else 1)


async def test_after_429_the_rest_of_the_crawl_is_slower(scene: Scene) -> None:
    parameters = {"retry_after_seconds": 1}
    scene.replica.set_fault(Fault(SLUG, "too_many_requests", None, "/products/*.js", None, dict(parameters)))
    fast = msgspec.structs.replace(FAST, page_limit=10, spacing_seconds=0.1)
    assert (await scene.crawl(SLUG, fast)).complete
    refused = next(number for number, record in enumerate(scene.asked()) if record.target.endswith(".js"))
    later = [record.monotonic_seconds for record in scene.asked()[refused:]]
    assert later[1] - later[0] >= 1.0
    assert min(b - a for a, b in pairwise(later)) >= 0.2


async def test_a_shop_that_blocks_a_question_is_left_alone(scene: Scene) -> None:
    scene.replica.set_fault(Fault(SLUG, "security_rejection", None, "/products/*.js", None, {}))
    small = msgspec.structs.replace(FAST, page_limit=10)
    outcome = await scene.crawl(SLUG, small)
    assert (outcome.reason, outcome.changed) == ("blocked", 10)
    assert outcome.retry_not_before is not None
    assert scene.asked()[-1].target.endswith(".js")


async def test_robots_that_forbid_the_objects_are_obeyed() -> None:
    robots = http(b"User-agent: *\nDisallow: /products/*.js\n")

    def answer(path: str) -> bytes:
        return robots if path == "/robots.txt" else http(json.dumps(PRODUCTS).encode())

    async with scripted_shop(answer) as (scene, heads):
        ask_for_barcodes(scene)
        outcome = await scene.crawl(SLUG)
        assert (outcome.complete, outcome.changed) == (True, 3)
        assert paths(heads) == ["/robots.txt", "/products.json?limit=50&page=1"]


@pytest.mark.parametrize(
    "body", [b"", b"<html><title>Hello</title>", b'{"id": 1, "variants": [{"id": 10,', b"[]", b'{"id": 1}']
)
async def test_a_broken_object_costs_its_own_listing_only_the_barcodes(body: bytes) -> None:
    whole = json.dumps({"variants": [{"id": 20, "barcode": "4006381333931"}]}).encode()

    def answer(path: str) -> bytes:
        if path == "/robots.txt":
            return http(b"")
        if path.endswith(".js"):
            return http(body if "deck-1" in path else whole)
        return http(json.dumps(PRODUCTS).encode())

    async with scripted_shop(answer) as (scene, heads):
        ask_for_barcodes(scene)
        outcome = await scene.crawl(SLUG)
        assert (outcome.complete, outcome.changed, outcome.rejected) == (True, 3, 0)
        assert len(heads) == 5
        assert barcodes_of(scene) == {"1": {"10": None}, "2": {"20": "4006381333931"}, "3": {"30": None}}


async def test_what_said_the_barcodes_is_kept_and_is_no_page_of_listings(
    scene: Scene, tmp_path: Path
) -> None:
    store = open_store(None, tmp_path)
    request = scene.request(SLUG)
    kept = KeptCrawl(START_AT.date(), SLUG, request.crawl_id)
    ports = msgspec.structs.replace(scene.ports, evidence=CrawlEvidence(store, kept))
    assert (await crawl_shop(request, ports, FAST, scene.clock)).complete
    pages = await store.read_pages(kept)
    objects = [page for page in pages if page.seen.kind == BARCODES]
    assert [page.seen.url for page in objects] == [
        f"{scene.shop(SLUG).url}{target}" for target in objects_asked(scene)
    ]
    reader = CrawlReader(scene.shop(SLUG), request.crawl_id)
    assert all(map(reader.knows, pages))
    assert [reader.read_page(page, await store.get(page.key)) for page in objects] == [None] * 20
