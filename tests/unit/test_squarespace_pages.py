"""Reading Squarespace's store pages, with bodies in the shape that its shops send."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import Sighting
from skatestock.crawl.platforms.squarespace import StorePage, parse_store_page, store_url
from skatestock.crawl.shops import load_shops

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = msgspec.structs.replace(load_shops()[0], url="https://shop.example")


def money(value: str, currency: str = "USD") -> dict[str, str]:
    return {"currency": currency, "value": value}


def variant(**changes: Any) -> dict[str, Any]:
    known = {"id": "v-1", "sku": "SQ1", "price": 6000, "salePrice": 0, "onSale": False}
    known |= {"priceMoney": money("60.00"), "salePriceMoney": money("0.00")}
    known |= {"unlimited": False, "qtyInStock": 3, "attributes": {"Size": "8.25"}}
    return known | {"optionValues": [{"optionName": "Size", "value": "8.25"}]} | changes


def item(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"id": "5cf0515c56b12700013c35e6", "title": "Deck &amp; Grip", "urlId": "p/deck"}
    known |= {"fullUrl": "/store/p/deck", "assetUrl": "https://static1.example/a/", "categories": ["Decks"]}
    return (
        known | {"items": [{"assetUrl": "https://images.example/1.jpg"}], "variants": [variant()]} | changes
    )


def parse(*items: Any, currency: str = "USD", **extra: Any) -> StorePage:
    shop = msgspec.structs.replace(SHOP, currency=currency)
    body = json.dumps({"website": {}, "collection": {}, "items": items} | extra).encode()
    return parse_store_page(body, Sighting(shop=shop, crawl_id="c", observed_at=AT))


def test_a_product_is_read_with_its_variants() -> None:
    sold_out = variant(id="v-2", qtyInStock=0, optionValues=[{"optionName": "Size", "value": "8.5"}])
    on_sale = variant(id="v-3", onSale=True, salePrice=4500, salePriceMoney=money("45.00"), unlimited=True)
    (event,) = parse(item(variants=[variant(), sold_out, on_sale])).page.observations
    assert (event.title, event.handle, event.url) == (
        "Deck & Grip",
        "deck",
        "https://shop.example/store/p/deck",
    )
    assert (event.product_type, event.image_url) == ("Decks", "https://images.example/1.jpg")
    assert [
        (o.offer_id, o.price_minor, o.compare_at_minor, o.availability, o.options) for o in event.offers
    ] == [
        ("v-1", 6000, None, "in_stock", {"Size": "8.25"}),
        ("v-2", 6000, None, "out_of_stock", {"Size": "8.5"}),
        ("v-3", 4500, 6000, "in_stock", {"Size": "8.25"}),
    ]


def test_older_shops_keep_variants_in_the_content_and_amounts_in_hundredths() -> None:
    old = {"id": "v-9", "price": 1200, "onSale": True, "salePrice": 999, "unlimited": True}
    content = {"structuredContent": {"variants": [old | {"attributes": {"Colour": "White"}}]}}
    (event,) = parse(item(variants=[], **content), currency="GBP").page.observations
    (offer,) = event.offers
    assert (offer.price_minor, offer.compare_at_minor, offer.options) == (999, 1200, {"Colour": "White"})


def test_a_variant_without_an_id_is_told_by_its_sku() -> None:
    assert parse(item(variants=[variant(id=None)])).page.observations[0].offers[0].offer_id == "SQ1"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("item", "not_an_object"),
        (item(id=None), "no_id"),
        (item(urlId=None, fullUrl=None), "no_handle"),
        (item(fullUrl="https://elsewhere.example/p"), "no_handle"),
        (item(variants=[]), "no_offers"),
        (item(variants=[variant(id=None, sku="")]), "no_offer_id"),
        (item(variants=[variant(priceMoney=None, price="60.00")]), "unreadable_price"),
        (item(variants=[variant(priceMoney=money("60,00"))]), "unreadable_price"),
        (item(variants=[variant(priceMoney=money("60.00", "CAD"))]), "other_currency"),
        (item(variants=[variant(onSale=True, salePriceMoney=money("x"))]), "unreadable_compare_at_price"),
        (item(variants=[variant(), variant(qtyInStock=0)]), "conflicting_offers"),
    ],
)
def test_one_bad_product_is_rejected_alone_with_its_reason(bad: Any, reason: str) -> None:
    page = parse(item(id="a"), bad, item(id="b")).page
    assert [event.listing_id for event in page.observations] == ["a", "b"]
    assert [reject.reason for reject in page.rejected] == [reason]


def test_stock_that_is_no_number_is_unknown() -> None:
    rows = [
        variant(id="a", qtyInStock=None),
        variant(id="b", qtyInStock="3"),
        variant(id="c", qtyInStock=True),
    ]
    offers = parse(item(variants=rows)).page.observations[0].offers
    assert {o.availability for o in offers} == {"unknown"}


def test_the_next_page_is_asked_as_json_and_the_last_has_none() -> None:
    more: dict[str, Any] = {"pagination": {"nextPage": True, "nextPageUrl": "/store?offset=1712345678901"}}
    assert parse(item(), **more).next_url == "https://shop.example/store?offset=1712345678901&format=json"
    assert parse(item(), pagination={"nextPage": False}).next_url is None
    assert parse(item()).next_url is None
    assert store_url("https://shop.example", "/store/") == "https://shop.example/store?format=json"


@pytest.mark.parametrize("address", [None, "", "https://elsewhere.example/store", "https://[x", 5])
def test_a_next_page_that_is_no_address_of_the_shop_ends_the_crawl(address: Any) -> None:
    with pytest.raises(PageError) as caught:
        parse(item(), pagination={"nextPage": True, "nextPageUrl": address})
    assert caught.value.reason == "not_products"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "not_json"),
        (b'{"items": [', "truncated"),
        (b'{"website": {}}', "not_products"),
        (b'{"items": {}}', "not_products"),
        (b"[]", "not_products"),
    ],
)
def test_what_is_no_store_page_is_an_error_and_never_an_empty_store(body: bytes, reason: str) -> None:
    with pytest.raises(PageError) as caught:
        parse_store_page(body, Sighting(shop=SHOP, crawl_id="c", observed_at=AT))
    assert caught.value.reason == reason
