"""The truth as far as a shop's platform has words for it: what a crawl of it can know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from skatestock.crawl.platforms.schema_nodes import ONLY_OFFER
from skatestock.replica.marked_pages import is_open_graph
from skatestock.replica.model import Listing, TruthRecord
from skatestock.replica.truth import OfferState, state_after
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
    if platform == "open-graph":
        return list(_tell_open_graph(world.truth(shop=shop), listings))
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


def _tell_open_graph(
    records: Sequence[TruthRecord], listings: Mapping[str, Listing]
) -> Iterator[TruthRecord]:
    """Say of each listing the one price that its page says: the cheapest offer's, in stock if any is."""
    states: dict[str, dict[str, OfferState]] = {}
    said: dict[str, OfferState | None] = {}
    for record in records:
        listing = listings[record.listing_id]
        offers = states.setdefault(record.listing_id, {})
        state = state_after(record)
        offers.pop(record.offer_id, None) if state is None else offers.update({record.offer_id: state})
        before, now = said.get(record.listing_id), _sum_up(offers, listing)
        if now == before:
            continue
        told = now or before
        assert told is not None
        first = record.listing_id not in said
        said[record.listing_id] = now
        kind = "first_seen" if first else "vanished" if now is None else "price" if before else "returned"
        yield msgspec.structs.replace(
            record,
            listing_id=f"products/{listing.handle}",
            offer_id=ONLY_OFFER,
            price_minor=told.price_minor,
            compare_at_minor=told.compare_at_minor,
            available=told.available,
            kind=kind,
        )


def _sum_up(offers: Mapping[str, OfferState], listing: Listing) -> OfferState | None:
    shown = [offers[str(offer.offer_id)] for offer in listing.offers if str(offer.offer_id) in offers]
    if not shown:
        return None
    cheapest = min(shown, key=lambda state: state.price_minor)
    was = cheapest.compare_at_minor or 0
    return OfferState(
        cheapest.price_minor,
        was if was > cheapest.price_minor else None,
        any(state.available for state in shown),
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
