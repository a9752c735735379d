"""The truth as far as a shop's platform has words for it: what a crawl of it can know."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from skatestock.crawl.platforms.schema_nodes import ONLY_OFFER
from skatestock.replica.marked_pages import is_open_graph
from skatestock.replica.model import Listing, TruthRecord
from skatestock.replica.woocommerce import is_simple
from skatestock.replica.world import World

TELLS_SALES_ONLY: Mapping[str, str] = {
    "woocommerce": "says its regular price, and that is a former one only while less is asked",
    "squarespace": "says a second price only of what is on sale",
    "schema-org": "says a list price only where it is above the price, as its themes do",
    "recipe": "crosses a price out only where it is above the one that is asked",
}
"""Why these say no compare-at price that is not above the price; on Shopify a shop says what it typed."""


def tell_truth(world: World, shop: str, platform: str) -> list[TruthRecord]:
    """Say what happened in a shop as its platform says it."""
    listings = {str(listing.listing_id): listing for listing in world.every_listing(shop)}
    return [_tell_record(record, listings[record.listing_id], platform) for record in world.truth(shop=shop)]


def _tell_record(record: TruthRecord, listing: Listing, platform: str) -> TruthRecord:
    compare_at = record.compare_at_minor or 0
    if platform in TELLS_SALES_ONLY and compare_at <= record.price_minor:
        compare_at = 0
    return msgspec.structs.replace(
        record,
        compare_at_minor=compare_at or None,
        listing_id=_name_listing(listing, platform),
        offer_id=_name_offer(record.offer_id, listing, platform),
    )


def _name_listing(listing: Listing, platform: str) -> str:
    # Marked pages have no id of their own that stays: the address is what such a listing is known by.
    return f"products/{listing.handle}" if platform == "schema-org" else str(listing.listing_id)


def _name_offer(offer_id: str, listing: Listing, platform: str) -> str:
    if platform == "woocommerce" and is_simple(listing):
        # A product without variations is its own only offer.
        return str(listing.listing_id)
    # OpenGraph tells of one offer and gives it no name.
    return ONLY_OFFER if platform == "schema-org" and is_open_graph(listing) else offer_id
