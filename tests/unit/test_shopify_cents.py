"""Reading `/products/<handle>.js`: the recorded objects exactly, barcodes, and what is no such object."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import Sighting
from skatestock.crawl.platforms.shopify_cents import (
    ProductObject,
    ProductObjects,
    parse_product_object,
    product_object_url,
)
from skatestock.crawl.shops import load_shops

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)

# Read from the bodies by hand.
RECORDED = {
    "begonia-chloroneura": ("6251776508056", "38061312802968", 4999, None, "in_stock", "485"),
    "monstera-siltepecana": ("6251804623000", "38061351075992", 2499, None, "out_of_stock", "256"),
    "philodendron-burle-marx-fantasy": ("6251812651160", "38061360971928", 7499, 8599, "in_stock", "936"),
}


def parse(body: bytes, currency: str = "USD") -> ProductObject:
    shop = msgspec.structs.replace(load_shops()[0], currency=currency)
    return parse_product_object(body, Sighting(shop=shop, crawl_id="c", observed_at=AT))


def product(**changes: Any) -> bytes:
    row = {"id": 11, "title": "S / Red", "options": ["S", "Red"], "price": 6000, "barcode": " 0012345678905 "}
    known = {"id": 1, "title": "Deck", "handle": "deck", "variants": [row], "options": ["Size", "Color"]}
    return json.dumps(known | changes).encode()


@pytest.mark.parametrize("handle", RECORDED)
def test_a_recorded_object_is_read_exactly(shared_data: Path, handle: str) -> None:
    listing_id, offer_id, price, compare_at, availability, barcode = RECORDED[handle]
    body = (shared_data / "pages/shopify" / f"stevesleaves_{handle}.product-json.json").read_bytes()
    read = parse(body)
    (event,) = read.page.observations
    (offer,) = event.offers
    assert (event.listing_id, event.handle, event.vendor) == (listing_id, handle, "Steve's Leaves")
    assert event.image_url is not None
    assert event.image_url.startswith("https://cdn.shopify.com/")
    assert (offer.offer_id, offer.options, offer.sku) == (offer_id, {}, barcode)
    assert (offer.price_minor, offer.compare_at_minor, offer.availability) == (
        price,
        compare_at,
        availability,
    )
    assert read.barcodes == {offer_id: barcode}


def test_options_have_the_objects_names_and_barcodes_are_kept_as_written() -> None:
    read = parse(product())
    assert read.page.observations[0].offers[0].options == {"Size": "S", "Color": "Red"}
    assert read.barcodes == {"11": "0012345678905"}
    named = parse(product(options=[{"name": "SIZE"}, {"name": "Colour"}]))
    assert named.page.observations[0].offers[0].options == {"SIZE": "S", "Colour": "Red"}


def test_barcodes_are_read_alone_whatever_else_the_object_says() -> None:
    rows = [
        {"id": 11, "price": "dear", "barcode": "4006381333931"},
        {"id": 12, "barcode": 96385074},
        {"id": 13, "barcode": "\u0000 "},
        {"id": 14, "barcode": 0},
        {"id": 15, "barcode": True},
        {"id": None, "barcode": "936"},
    ]
    source = ProductObjects("https://x.example")
    assert source.read_barcodes(product(variants=rows, id=None)) == {"11": "4006381333931", "12": "96385074"}
    with pytest.raises(PageError):
        source.read_barcodes(b"<html>")


def test_cents_are_hundredths_in_every_currency() -> None:
    for currency, minor in (("USD", 6000), ("JPY", 60), ("KWD", 60_000)):
        assert parse(product(), currency).page.observations[0].offers[0].price_minor == minor


@pytest.mark.parametrize("price", ["60.00", 60.5, None, True, -1, 10**16])
def test_anything_but_whole_cents_is_unreadable(price: object) -> None:
    (reject,) = parse(product(variants=[{"id": 11, "price": price}])).page.rejected
    assert reject.reason == "unreadable_price"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]", "not_products"),
        (b'{"products": []}', "not_products"),
        (b'{"id":', "truncated"),
        (b"<h1>", "not_json"),
    ],
)
def test_what_is_no_product_object_is_a_page_error(body: bytes, reason: str) -> None:
    with pytest.raises(PageError) as caught:
        parse(body)
    assert caught.value.reason == reason


def test_an_address_is_quoted() -> None:
    assert (
        product_object_url("https://x.example", "décor/1") == "https://x.example/products/d%C3%A9cor%2F1.js"
    )
