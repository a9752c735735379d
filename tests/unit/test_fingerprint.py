from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.event_strategies import listings

from skatestock.events.fingerprint import FINGERPRINT_FIELDS, fingerprint_listing, without_query
from skatestock.events.identity import crawl_event_id, listing_event_id
from skatestock.events.model import ListingObserved, OfferObserved
from skatestock.vocabulary.availability import Availability

OFFERS = (
    OfferObserved(offer_id="1", title="8", options={"Size": "8", "Color": "Black"}, price_minor=60_00),
    OfferObserved(
        offer_id="2", title="9", options={"Size": "9", "Color": "Black"}, sku="A", price_minor=60_00
    ),
)
STATE: dict[str, Any] = {
    "parser": "shopify",
    "parser_version": 1,
    "currency": "USD",
    "title": "Dunk",
    "handle": "dunk",
    "url": "https://shop.example/products/dunk",
    "vendor": "Nike SB",
    "product_type": None,
    "image_url": "https://cdn.example/dunk.jpg?v=1",
    "offers_complete": True,
    "offers": OFFERS,
}


def state_of(event: ListingObserved) -> dict[str, Any]:
    return {field: getattr(event, field) for field in FINGERPRINT_FIELDS}


def with_offer(**changes: Any) -> dict[str, Any]:
    return STATE | {"offers": (msgspec.structs.replace(OFFERS[0], **changes), OFFERS[1])}


def comparable(state: dict[str, Any]) -> dict[str, Any]:
    """What docs/EVENTS.md says that must be equal, as plain values: independent of how it is hashed."""
    offers = {
        offer.offer_id: msgspec.structs.replace(
            offer, compare_at_minor=offer.compare_at_minor or None, barcode=None
        )
        for offer in state["offers"]
    }
    urls = {name: state[name] and without_query(state[name]) for name in ("url", "image_url")}
    image_missing = {"no_image": state["image_url"] is None}
    return state | urls | image_missing | {"offers": offers}


def test_the_fingerprint_of_a_state_never_changes_by_accident() -> None:
    expected = (
        '[1,"shopify",1,"USD","Dunk","dunk","shop.example/products/dunk","Nike SB",null,'
        '"cdn.example/dunk.jpg",true,'
        '[["1","8",[["Color","Black"],["Size","8"]],null,6000,null,"unknown"],'
        '["2","9",[["Color","Black"],["Size","9"]],"A",6000,null,"unknown"]]]'
    )
    assert fingerprint_listing(**STATE) == sha256(expected.encode()).digest()


@given(listings, listings, st.data())
def test_fingerprints_are_equal_exactly_when_what_matters_is(
    one: ListingObserved, other: ListingObserved, data: st.DataObject
) -> None:
    # Two drawn listings hardly ever agree: take most fields of the one into the other.
    taken = data.draw(st.sets(st.sampled_from(FINGERPRINT_FIELDS), min_size=len(FINGERPRINT_FIELDS) - 1))
    state = state_of(one)
    mixed = {field: state[field] if field in taken else getattr(other, field) for field in FINGERPRINT_FIELDS}
    same = fingerprint_listing(**state) == fingerprint_listing(**mixed)
    assert same is (comparable(state) == comparable(mixed))


@given(listings, st.randoms())
def test_the_order_of_offers_and_options_is_no_state(event: ListingObserved, random: Any) -> None:
    offers = [
        msgspec.structs.replace(
            offer, options=dict(random.sample(list(offer.options.items()), len(offer.options)))
        )
        for offer in random.sample(event.offers, len(event.offers))
    ]
    assert fingerprint_listing(**state_of(event) | {"offers": offers}) == fingerprint_listing(
        **state_of(event)
    )


@given(listings, st.data())
def test_a_listing_is_the_same_with_and_without_barcodes(event: ListingObserved, data: st.DataObject) -> None:
    barcodes = data.draw(
        st.lists(st.none() | st.text(), min_size=len(event.offers), max_size=len(event.offers))
    )
    offers = [
        msgspec.structs.replace(offer, barcode=barcode)
        for offer, barcode in zip(event.offers, barcodes, strict=True)
    ]
    assert fingerprint_listing(**state_of(event) | {"offers": offers}) == fingerprint_listing(
        **state_of(event)
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "http://shop.example/products/dunk?variant=2#reviews"},
        {"url": "//shop.example/products/dunk"},
        {"image_url": "https://cdn.example/dunk.jpg?v=2"},
        with_offer(compare_at_minor=0),
        with_offer(barcode="4006381333931"),
    ],
)
def test_what_says_the_same_has_the_same_fingerprint(changed: dict[str, Any]) -> None:
    assert fingerprint_listing(**STATE | changed) == fingerprint_listing(**STATE)


@pytest.mark.parametrize(
    "changed",
    [
        {"parser": "json-ld"},
        {"parser_version": 2},
        {"currency": "CAD"},
        {"title": "Dunk "},
        {"handle": "dunk-1"},
        {"url": "https://shop.example/ar/products/dunk"},
        {"vendor": None},
        {"vendor": ""},
        {"product_type": ""},
        {"image_url": None},
        {"image_url": "https://cdn.example/other.jpg?v=1"},
        {"offers_complete": False},
        {"offers": OFFERS[:1]},
        with_offer(offer_id="3"),
        with_offer(title="8.5"),
        with_offer(options={"Size": "8"}),
        with_offer(sku=""),
        with_offer(price_minor=60_01),
        with_offer(compare_at_minor=120_00),
        with_offer(availability=Availability.OUT_OF_STOCK),
    ],
)
def test_every_field_that_matters_changes_the_fingerprint(changed: dict[str, Any]) -> None:
    assert fingerprint_listing(**STATE | changed) != fingerprint_listing(**STATE)


def test_a_price_that_returns_has_its_first_fingerprint_again() -> None:
    prices = [fingerprint_listing(**with_offer(price_minor=price)) for price in (60_00, 45_00, 60_00)]
    assert prices[0] == prices[2] != prices[1]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), min_size=6, max_size=6),
    st.binary(),
)
def test_event_ids_are_equal_exactly_when_their_parts_are(parts: list[str], fingerprint: bytes) -> None:
    crawl_id, shop, listing_id, *other = parts
    same = listing_event_id(crawl_id, shop, listing_id, fingerprint) == listing_event_id(
        other[0], other[1], other[2], fingerprint
    )
    assert same is (parts[:3] == other)
    assert (crawl_event_id(crawl_id) == crawl_event_id(other[0])) is (crawl_id == other[0])


def test_event_ids_are_uuids_that_never_change_by_accident() -> None:
    assert crawl_event_id("c-1") == "5568dc84-c3de-5512-b2b3-f3dcb67de908"
    assert listing_event_id("c-1", "labor", "71", b"\x00" * 32) == "1ed2ec0a-c9de-5833-a476-0aff64f9295f"
    assert listing_event_id("c-1", "lab", "or71", b"") != listing_event_id("c-1", "labor", "71", b"")
