"""What another reading would change: only what the catalogue would really hold otherwise."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.event_strategies import listings
from tests.ingest_shop import IN, OUT, UNKNOWN, offer, seen

from skatestock.catalog.observation_queries import ObservedListing, ObservedOffer
from skatestock.events.model import ListingObserved, OfferObserved
from skatestock.ingest.comparing import (
    MOVED_ON,
    OTHER_CURRENCY,
    OTHER_PARSER,
    SAME_VERSION,
    Obstacle,
    compare_reading,
    find_obstacle,
)
from skatestock.vocabulary.gtin import parse_gtin


def stored(event: ListingObserved, **fields: Any) -> ObservedListing:
    """Return what the catalogue holds once an observation is applied."""
    kept = {
        name: getattr(event, name) for name in ObservedListing.__struct_fields__ if name != "has_moved_on"
    }
    offers = tuple(stored_offer(each) for each in event.offers)
    return ObservedListing(**kept | {"offers": offers, "has_moved_on": False} | fields)


def stored_offer(seen_offer: OfferObserved, **fields: Any) -> ObservedOffer:
    kept = {name: getattr(seen_offer, name) for name in ObservedOffer.__struct_fields__}
    kept |= {
        "compare_at_minor": seen_offer.compare_at_minor or None,
        "availability": seen_offer.availability.value,
        "barcode": parse_gtin(seen_offer.barcode or "") or seen_offer.barcode,
    }
    return ObservedOffer(**kept | fields)


@given(listings)
def test_the_reading_that_is_stored_changes_nothing(event: ListingObserved) -> None:
    assert compare_reading(stored(event), event) == []


@given(event=listings, data=st.data())
def test_each_changed_word_is_told_with_before_and_after(event: ListingObserved, data: st.DataObject) -> None:
    words = ["title", "name", "brand", "colourway", "vendor", "product_type", "handle", "url", "image_url"]
    name = data.draw(st.sampled_from(words))
    after = msgspec.structs.replace(event, **{name: "another word"})
    (change,) = compare_reading(stored(event), after)
    assert (change.field, change.before, change.after) == (name, getattr(event, name), "another word")


def test_a_barcode_that_is_read_now_is_told_and_one_that_is_not_read_is_no_difference() -> None:
    before = stored(seen(0, offer(barcode="4006381333931")))
    assert fields_of(before, seen(0, offer())) == []
    assert fields_of(before, seen(0, offer(barcode="04006381333931"))) == []
    assert fields_of(before, seen(0, offer(barcode="936"))) == [
        ("offers.barcode", "a", "04006381333931", "936")
    ]


def fields_of(before: ObservedListing, after: ListingObserved) -> list[tuple[str, str | None, Any, Any]]:
    return [
        (change.field, change.offer_id, change.before, change.after)
        for change in compare_reading(before, after)
    ]


def test_offers_that_come_go_and_change_are_told_one_by_one() -> None:
    before = stored(seen(0, offer(), offer(offer_id="b"), offer(offer_id="c")))
    after = seen(0, offer(5000, OUT, compare=6000), offer(offer_id="c", sku="other"), offer(offer_id="d"))
    assert fields_of(before, after) == [
        ("offers.price_minor", "a", 6000, 5000),
        ("offers.compare_at_minor", "a", None, 6000),
        ("offers.availability", "a", "in_stock", "out_of_stock"),
        ("offers.sku", "c", "S-c", "other"),
        ("offers.availability", "d", None, "in_stock"),
        ("offers.availability", "b", "in_stock", "gone"),
    ]


def test_what_the_catalogue_holds_for_its_own_reasons_is_no_difference() -> None:
    event = seen(0, offer(6000, UNKNOWN, compare=0), offers_complete=False)
    gone = stored_offer(offer(offer_id="b"), availability="gone")
    known = (stored_offer(event.offers[0], availability="in_stock"), stored_offer(offer(offer_id="c")), gone)
    # Unknown stock stays what it was, no was-price is none, and a part of the offers ends none of the others.
    assert compare_reading(stored(event, offers=known), event) == []
    whole = msgspec.structs.replace(event, offers_complete=True)
    assert fields_of(stored(event, offers=known), whole) == [("offers.availability", "c", "in_stock", "gone")]


@pytest.mark.parametrize(
    ("fields", "obstacle"),
    [
        ({}, None),
        ({"parser_version": 2}, SAME_VERSION),
        ({"parser_version": 3}, SAME_VERSION),
        ({"parser": "squarespace"}, OTHER_PARSER),
        ({"currency": "CAD"}, OTHER_CURRENCY),
        ({"has_moved_on": True}, MOVED_ON),
    ],
)
def test_what_ingest_would_not_take_is_told_beforehand(
    fields: dict[str, Any], obstacle: Obstacle | None
) -> None:
    event = msgspec.structs.replace(seen(0, offer(6000, IN)), parser_version=2)
    assert find_obstacle(stored(event, **{"parser_version": 1} | fields), event) == obstacle
