"""Pages of HTML that one product spoils, as the parsers of a crawl read them: one reject, nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from skatestock.cli.mixed_world import derive_mixed_shops
from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.crawl.platforms.recipe import parse_listing_page
from skatestock.crawl.platforms.schema_org import parse_product_page
from skatestock.replica.marked_pages import is_open_graph, write_catalogue_page, write_marked_page
from skatestock.replica.model import MIXED_SHOP_SLUGS, Listing
from skatestock.replica.pages import product_address
from skatestock.replica.spoiled_pages import spoil_catalogue_page, spoil_marked_page
from skatestock.replica.world import World

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WORLD = World(3, NOW, 30, shops=MIXED_SHOP_SLUGS)
ORIGIN = "http://127.0.0.1:1"
SHOPS = {shop.slug: shop for shop in derive_mixed_shops(dict.fromkeys(MIXED_SHOP_SLUGS, ORIGIN))}
WAYS = ("variants_null", "variants_missing", "price_text", "no_id", "not_an_object")


def sighting_of(slug: str) -> Sighting:
    return Sighting(crawl_id=f"{slug}-1", shop=SHOPS[slug], observed_at=NOW, page=1)


def read_marked(listing: Listing, page: str) -> ParsedPage:
    return parse_product_page(page.encode(), product_address(ORIGIN, listing), sighting_of(listing.shop))


def read_catalogue(page: str) -> ParsedPage:
    shop = SHOPS["plain-plaza"]
    assert shop.recipe is not None
    url = f"{ORIGIN}/catalogue?page=1"
    return parse_listing_page(page.encode(), url, shop.recipe, sighting_of(shop.slug)).page


def find_marked(source: str) -> Listing:
    shop = "linked-ledge" if source == "json-ld" else "meta-manual"
    shown = WORLD.state_at(shop)
    return next(listing for listing in shown if is_open_graph(listing) == (source == "open-graph"))


@pytest.mark.parametrize("source", ["json-ld", "microdata", "open-graph"])
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("variants_null", None),
        ("variants_missing", None),
        ("price_text", "unreadable_price"),
        ("not_an_object", "not_a_product"),
    ],
)
def test_a_spoiled_product_page_is_rejected_and_its_listing_counts_as_seen(
    source: str, how: str, reason: str | None
) -> None:
    listing = find_marked(source)
    whole = read_marked(listing, write_marked_page(ORIGIN, listing))
    assert [observed.title for observed in whole.observations] == [" ".join(listing.title.split())]
    page = read_marked(listing, spoil_marked_page(ORIGIN, listing, how))
    assert not page.observations
    # Without offers JSON-LD and microdata show none, and OpenGraph one that has no price.
    without = "no_price" if source == "open-graph" else "no_offers"
    assert [reject.reason for reject in page.rejected] == [reason or without]
    assert page.listing_ids == whole.listing_ids


@pytest.mark.parametrize("source", ["json-ld", "microdata", "open-graph"])
def test_a_product_page_is_known_by_its_address_alone(source: str) -> None:
    listing = find_marked(source)
    whole = read_marked(listing, write_marked_page(ORIGIN, listing))
    assert read_marked(listing, spoil_marked_page(ORIGIN, listing, "no_id")) == whole


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("position", [0, 5, 23])
def test_a_spoiled_product_of_a_catalogue_is_rejected_alone(how: str, position: int) -> None:
    listings = WORLD.state_at("plain-plaza")[:24]
    whole = read_catalogue(write_catalogue_page("plain-plaza", listings))
    assert len(whole.observations) == 24
    page = read_catalogue(spoil_catalogue_page("plain-plaza", listings, position, how))
    assert [observed.listing_id for observed in page.observations] == [
        observed.listing_id for place, observed in enumerate(whole.observations) if place != position
    ]
    (reject,) = page.rejected
    reasons = {
        "variants_null": "no_offers",
        "variants_missing": "no_offers",
        "price_text": "unreadable_price",
    }
    assert reject.reason == reasons.get(how, "no_id")


def test_a_catalogue_without_a_product_at_that_place_is_whole() -> None:
    listings = WORLD.state_at("plain-plaza")[:3]
    spoiled = spoil_catalogue_page("plain-plaza", listings, 3, "price_text")
    assert spoiled == write_catalogue_page("plain-plaza", listings)
