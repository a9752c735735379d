"""Crawls of replica shops of every platform over real HTTP: the truth exactly, and no false news."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.crawl_scene import FAST, START_AT, Scene

from skatestock.crawl.platforms.recipe_model import parse_recipe
from skatestock.crawl.platforms.registry import open_platform
from skatestock.crawl.session import CrawlOutcome, connect_cache, crawl_shop
from skatestock.events.model import ListingObserved
from skatestock.replica.faults import Fault
from skatestock.replica.marked_pages import RECIPE
from skatestock.replica.model import Listing, Offer
from skatestock.replica.server import ReplicaServers
from skatestock.replica.woocommerce import is_simple
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

SLUG = "labor"
KEYS: Mapping[str, Mapping[str, Any]] = {
    "woocommerce": {},
    "squarespace": {"store_path": "/store"},
    "schema-org": {"product_paths": ("/products/",)},
    "recipe": {"recipe": parse_recipe(RECIPE)},
}
PATHS = {
    "woocommerce": "/wp-json/wc/store/v1/products",
    "squarespace": "/store",
    "schema-org": "/products/*",
    "recipe": "/catalogue",
}

State = tuple[int, int | None, str]


@pytest_asyncio.fixture(loop_scope="session", params=list(KEYS))
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    platform = request.param
    world = World(11, START_AT, listings_per_shop=60)
    async with ReplicaServers(world, platforms={SLUG: platform}) as replica:
        made = Scene.of(replica)
        made.shops[SLUG] = msgspec.structs.replace(made.shops[SLUG], platform=platform, **KEYS[platform])
        yield made


def platform_of(scene: Scene) -> str:
    return scene.shop(SLUG).platform


def listing_id_of(scene: Scene, listing: Listing) -> str:
    """Tell the id under which a platform's pages show a listing."""
    return f"products/{listing.handle}" if platform_of(scene) == "schema-org" else str(listing.listing_id)


def offer_id_of(scene: Scene, listing: Listing, offer: Offer) -> str:
    """Tell the id under which a platform's pages show an offer."""
    if platform_of(scene) == "woocommerce" and is_simple(listing):
        return str(listing.listing_id)
    return str(offer.offer_id)


def truth_of(scene: Scene) -> dict[str, dict[str, State]]:
    """Tell what the shop shows now, as far as its platform has words for it."""
    shown: dict[str, dict[str, State]] = {}
    for listing in scene.replica.world.state_at(SLUG):
        offers: dict[str, State] = {}
        for offer in listing.present_offers():
            was = offer.compare_at_minor or 0
            compare_at = was if was > offer.price_minor else None
            stock = "in_stock" if offer.available else "out_of_stock"
            offers[offer_id_of(scene, listing, offer)] = (offer.price_minor, compare_at, stock)
        shown[listing_id_of(scene, listing)] = offers
    return shown


def seen_by(scene: Scene) -> dict[str, ListingObserved]:
    return scene.log.fold(SLUG)


def states_of(scene: Scene, listing_ids: tuple[str, ...]) -> dict[str, dict[str, State]]:
    seen = seen_by(scene)
    return {
        listing_id: {
            o.offer_id: (o.price_minor, o.compare_at_minor, o.availability.value)
            for o in seen[listing_id].offers
        }
        for listing_id in listing_ids
    }


async def test_a_crawl_sees_every_listing_and_offer_of_the_shop(scene: Scene) -> None:
    outcome = await scene.crawl(SLUG)
    assert (outcome.reason, outcome.complete, outcome.rejected) == ("complete", True, 0)
    end = scene.log.completed()[-1]
    truth = truth_of(scene)
    assert states_of(scene, end.listing_ids) == truth
    assert all(event.offers_complete for event in seen_by(scene).values())
    titles = {listing_id_of(scene, listing): listing for listing in scene.replica.world.state_at(SLUG)}
    for listing_id, event in seen_by(scene).items():
        assert event.title == " ".join(titles[listing_id].title.split())
        assert event.url.startswith(scene.shop(SLUG).url)
        assert event.image_url is not None


async def test_what_changes_is_followed_and_what_does_not_is_not_said_again(scene: Scene) -> None:
    await scene.crawl(SLUG)
    again = await scene.crawl(SLUG)
    assert (again.complete, again.changed) == (True, 0)
    for days in (2, 4, 6):
        scene.replica.clock.set_to(START_AT + timedelta(days=days))
        outcome = await scene.crawl(SLUG)
        assert outcome.complete
        assert states_of(scene, scene.log.completed()[-1].listing_ids) == truth_of(scene)
        assert outcome.changed


async def test_requests_are_as_few_as_the_platform_says(scene: Scene) -> None:
    outcome = await scene.crawl(SLUG)
    offers = sum(map(len, truth_of(scene).values()))
    expected = open_platform(scene.shop(SLUG), FAST).estimate_requests(outcome.listings, offers)
    # robots.txt, and a page more or less where the size of a page is the shop's affair.
    assert abs(outcome.requests - 1 - expected) <= 2


FAULTS: list[tuple[str, dict[str, int | str], str]] = [
    ("not_found", {}, "refused"),
    ("too_many_requests", {"retry_after_seconds": 0}, "rate_limited"),
    ("too_many_requests", {"retry_after_seconds": 9000}, "retry_later"),
    ("security_rejection", {}, "blocked"),
    ("unavailable", {}, "server_error"),
    ("password_page", {}, "password_page"),
    ("redirect_loop", {}, "redirected_away"),
    ("redirect_off_host", {}, "redirected_away"),
    ("robots_5xx", {}, "robots_unreachable"),
    ("connection_reset", {}, "unreachable"),
    ("truncated_body", {"content_length": "whole"}, "truncated"),
    ("truncated_gzip", {}, "truncated"),
    ("decompression_bomb", {"size_bytes": 9 * 2**20}, "too_large"),
]
JSON_FAULTS: list[tuple[str, dict[str, int | str], str]] = [
    ("html_instead_of_json", {}, "not_json"),
    ("truncated_body", {"content_length": "sent"}, "truncated"),
    ("wrong_charset", {"charset": "utf-16"}, "wrong_charset"),
]


async def play(scene: Scene, kind: str, parameters: Mapping[str, int | str]) -> None:
    path = None if kind.startswith(("robots", "password")) else PATHS[platform_of(scene)]
    scene.replica.set_fault(Fault(SLUG, kind, None, path, None, dict(parameters)))


async def assert_nothing_false(scene: Scene, before: dict[str, dict[str, State]]) -> None:
    """Assert that a crawl that went wrong took nothing for sold out, and that the next one is whole."""
    seen = seen_by(scene)
    assert states_of(scene, tuple(seen)) == before
    scene.replica.board.clear()
    assert (await scene.crawl(SLUG)).complete


@pytest.mark.parametrize(("kind", "parameters", "reason"), FAULTS)
async def test_a_fault_ends_the_crawl_with_its_reason_and_changes_nothing(
    scene: Scene, kind: str, parameters: dict[str, int | str], reason: str
) -> None:
    await scene.crawl(SLUG)
    before = truth_of(scene)
    await play(scene, kind, parameters)
    outcome = await scene.crawl(SLUG)
    if kind == "not_found" and platform_of(scene) == "schema-org":
        # Every page is gone, says the shop: that is believed of a page, and of a whole shop it is not.
        reason = "empty"
    assert (outcome.reason, outcome.complete) == (reason, False)
    await assert_nothing_false(scene, before)


@pytest.mark.parametrize(("kind", "parameters", "reason"), JSON_FAULTS)
async def test_what_is_no_whole_page_of_the_platform_changes_nothing(
    scene: Scene, kind: str, parameters: dict[str, int | str], reason: str
) -> None:
    await scene.crawl(SLUG)
    before = truth_of(scene)
    await play(scene, kind, parameters)
    outcome = await scene.crawl(SLUG)
    if platform_of(scene) in ("woocommerce", "squarespace"):
        assert (outcome.reason, outcome.complete) == (reason, False)
    elif kind == "wrong_charset":
        # A page of HTML says itself how it is encoded.
        assert outcome.complete
    elif platform_of(scene) == "schema-org":
        # What is left of its page shows the listing or does not; it counts as seen either way.
        assert set(scene.log.completed()[-1].listing_ids) <= before.keys()
    else:
        assert not outcome.complete
    if platform_of(scene) != "schema-org":
        await assert_nothing_false(scene, before)


@pytest.mark.parametrize("scene", ["schema-org"], indirect=True)
async def test_product_pages_that_read_as_before_are_not_sent_again(scene: Scene, valkey_url: str) -> None:
    client = connect_cache(valkey_url)
    ports = msgspec.structs.replace(scene.ports, cache=client)

    async def crawl(state: Mapping[str, str] | None) -> CrawlOutcome:
        request = msgspec.structs.replace(scene.request(SLUG), filter_state=state)
        return await crawl_shop(request, ports, FAST, scene.clock)

    try:
        first = await crawl(None)
        second = await crawl(first.filter_state)
        not_modified = [r for r in scene.replica.log.requests() if r.status == 304]
        assert (second.complete, second.changed, len(not_modified)) == (True, 0, second.listings)
        scene.replica.clock.set_to(START_AT + timedelta(days=3))
        third = await crawl(second.filter_state)
        assert third.complete
        assert 0 < third.changed < third.listings
        assert states_of(scene, scene.log.completed()[-1].listing_ids) == truth_of(scene)
    finally:
        await client.aclose()


@pytest.mark.parametrize("scene", ["woocommerce", "squarespace", "recipe"], indirect=True)
async def test_a_catalogue_that_ends_early_or_is_empty_is_no_whole_shop(scene: Scene) -> None:
    await scene.crawl(SLUG)
    before = truth_of(scene)
    await play(scene, "empty_catalogue", {})
    assert not (await scene.crawl(SLUG)).complete
    await assert_nothing_false(scene, before)


@pytest.mark.parametrize("scene", ["schema-org"], indirect=True)
async def test_a_page_that_is_gone_is_a_listing_that_was_not_seen(scene: Scene) -> None:
    await scene.crawl(SLUG)
    gone = scene.replica.world.state_at(SLUG)[3]
    path = f"/products/{gone.handle}"
    scene.replica.set_fault(Fault(SLUG, "not_found", None, path, None, {}))
    outcome = await scene.crawl(SLUG)
    listing_ids = scene.log.completed()[-1].listing_ids
    assert outcome.complete
    assert listing_id_of(scene, gone) not in listing_ids
    assert len(listing_ids) == len(truth_of(scene)) - 1


@pytest.mark.parametrize("scene", ["woocommerce", "squarespace", "recipe"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("page_drift", {}),
        ("page_drift", {"change": "removed"}),
        ("listing_repeated", {}),
    ],
)
async def test_pages_that_move_while_they_are_read_are_no_whole_shop(
    scene: Scene, kind: str, parameters: dict[str, int | str]
) -> None:
    await scene.crawl(SLUG)
    before = truth_of(scene)
    await play(scene, kind, parameters)
    outcome = await scene.crawl(SLUG)
    if kind == "page_drift" and parameters:
        # One listing of sixty was skipped, which two crawls in a row must say before it is believed.
        assert set(scene.log.completed()[-1].listing_ids) < before.keys()
    else:
        assert (outcome.reason, outcome.complete) == ("drifted", False)
    await assert_nothing_false(scene, before)


@pytest.mark.parametrize("scene", ["woocommerce", "squarespace"], indirect=True)
@pytest.mark.parametrize("how", ["no_id", "not_an_object", "price_text", "variants_null"])
async def test_one_malformed_product_is_rejected_alone(scene: Scene, how: str) -> None:
    await scene.crawl(SLUG)
    before = truth_of(scene)
    await play(scene, "bad_product", {"how": how, "position": 2})
    outcome = await scene.crawl(SLUG)
    assert outcome.reason == ("unidentified" if how in ("no_id", "not_an_object") else "complete")
    await assert_nothing_false(scene, before)


@pytest.mark.parametrize("scene", ["squarespace", "schema-org", "recipe"], indirect=True)
async def test_prices_of_nothing_are_said_as_the_shop_says_them(scene: Scene) -> None:
    await play(scene, "price_zero", {"count": 1})
    assert (await scene.crawl(SLUG)).complete
    free = [event for event in seen_by(scene).values() if {o.price_minor for o in event.offers} == {0}]
    assert free
