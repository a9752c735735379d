"""Reading `/products.json`: the recorded bodies exactly, and every way a product or a page can be wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import ParsedPage, Sighting, clean_image_url, title_from_handle
from skatestock.crawl.platforms.shopify import page_size, parse_products_page, products_url
from skatestock.crawl.shops import Shop, load_shops
from skatestock.events.codec import decode, encode
from skatestock.vocabulary.availability import Availability

SHOP = load_shops()[0]
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)

# What each recorded body holds, counted by hand: products and variants. Nothing of them is unreadable.
RECORDED = {
    "allbirds_products_page1.json": ("USD", 2, 26),
    "mattressguru_products_page1.json": ("USD", 25, 133),
    "elsewedyshop_products_page1_2026-07-20.json": ("EGP", 4, 9),
    "elsewedyshop_products_page4_2026-07-20.json": ("EGP", 3, 18),
    "elsewedyshop_products_en_page1_2026-07-23.json": ("EGP", 4, 9),
    "elsewedyshop_products_gallery_2026-08-01.json": ("EGP", 3, 3),
    "elsewedyshop_products_images_2026-07-30.json": ("EGP", 2, 2),
}


def sighting(shop: Shop = SHOP, page: int = 1) -> Sighting:
    return Sighting(shop=shop, crawl_id="crawl-1", observed_at=AT, page=page)


def variant(**changes: Any) -> dict[str, Any]:
    known = {"id": 11, "title": "S", "option1": "S", "option2": None, "option3": None, "sku": "A-1"}
    return known | {"available": True, "price": "60.00", "compare_at_price": None} | changes


def product(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"id": 1, "title": "Deck- Red/Blue", "handle": "deck-red", "vendor": "Hockey"}
    known |= {"product_type": "Decks", "variants": [variant()], "images": [], "options": [{"name": "Size"}]}
    return known | changes


def parse(*products: Any, shop: Shop = SHOP) -> ParsedPage:
    return parse_products_page(json.dumps({"products": products}).encode(), sighting(shop))


def reject_reason(*products: Any) -> str:
    page = parse(*products)
    assert not page.observations
    return page.rejected[0].reason


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_body_is_read_exactly(shared_data: Path, name: str) -> None:
    currency, products, variants = RECORDED[name]
    body = (shared_data / "pages" / "shopify" / name).read_bytes()
    shop = msgspec.structs.replace(SHOP, currency=currency)
    page = parse_products_page(body, sighting(shop))
    expected = json.loads(body)["products"]
    assert len(page.observations) == page.product_count == products == len(expected)
    assert sum(len(event.offers) for event in page.observations) == variants
    assert page.rejected == ()
    assert page.listing_ids == tuple(str(item["id"]) for item in expected)
    for event, item in zip(page.observations, expected, strict=True):
        assert event.title == " ".join(item["title"].split())
        assert event.vendor == item["vendor"]
        assert event.product_type == (item["product_type"] or None)
        assert event.url == f"{SHOP.url}/products/{quote(item['handle'])}"
        assert event.image_url == (item["images"][0]["src"] if item["images"] else None)
        assert event.currency == currency
        names = [option["name"] for option in item["options"]]
        for offer, row in zip(event.offers, item["variants"], strict=True):
            assert offer.offer_id == str(row["id"])
            assert offer.price_minor == Decimal(row["price"]) * 100
            was = row["compare_at_price"]
            assert offer.compare_at_minor == (None if was is None else Decimal(was) * 100)
            assert offer.availability == ("in_stock" if row["available"] else "out_of_stock")
            assert offer.sku == (row["sku"] or None)
            values = [row["option1"], row["option2"], row["option3"]]
            options = {n: " ".join(v.split()) for n, v in zip(names, values, strict=False) if v is not None}
            assert offer.options == ({} if options == {"Title": "Default Title"} else options)


def test_two_captures_that_differ_only_in_updated_at_have_the_same_fingerprints(shared_data: Path) -> None:
    body = (shared_data / "pages" / "shopify" / "allbirds_products_page1.json").read_bytes()
    later = json.loads(body)
    for item in later["products"]:
        item["updated_at"] = "2031-01-01T00:00:00Z"
        for row in item["variants"]:
            row["updated_at"] = "2031-01-01T00:00:00Z"
    first, second = (parse_products_page(b, sighting()) for b in (body, json.dumps(later).encode()))
    assert [e.fingerprint for e in first.observations] == [e.fingerprint for e in second.observations]


def test_a_price_or_stock_change_of_one_variant_changes_the_fingerprint() -> None:
    prints = {
        parse(product(variants=[variant(**change)])).observations[0].fingerprint
        for change in ({}, {"price": "45.00"}, {"available": False}, {"compare_at_price": "80.00"})
    }
    assert len(prints) == 4


def test_the_shops_habit_splits_the_title_and_its_own_vendor_is_no_brand() -> None:
    event = parse(product(), product(id=2, vendor="Seasons Skate Shop")).observations
    assert (event[0].name, event[0].brand, event[0].colourway) == ("Deck", "Hockey", "Red/Blue")
    assert (event[1].vendor, event[1].brand) == ("Seasons Skate Shop", None)


@pytest.mark.parametrize(
    ("price", "compare_at", "expected"),
    [
        ("60.00", "0.00", (6000, 0)),
        ("60.00", "", (6000, None)),
        ("295.00", "175.00", (29500, 17500)),
        ("0.00", None, (0, None)),
        ("60", "80.5", (6000, 8050)),
    ],
)
def test_prices_are_kept_as_the_shop_says_them(
    price: str, compare_at: str | None, expected: tuple[int, int | None]
) -> None:
    offer = (
        parse(product(variants=[variant(price=price, compare_at_price=compare_at)])).observations[0].offers[0]
    )
    assert (offer.price_minor, offer.compare_at_minor) == expected


def test_prices_follow_the_currencys_digits() -> None:
    for currency, minor in (("JPY", 60), ("KWD", 60_000)):
        shop = msgspec.structs.replace(SHOP, currency=currency)
        assert parse(product(), shop=shop).observations[0].offers[0].price_minor == minor


@pytest.mark.parametrize(
    "price", [None, "", "abc", "$60.00", "1,299.00", 6000, 60.0, "-1.00", "1e3", "NaN", [], True]
)
def test_an_unreadable_price_rejects_the_product_and_invents_nothing(price: object) -> None:
    assert reject_reason(product(variants=[variant(), variant(id=12, price=price)])) == "unreadable_price"


def test_an_unreadable_compare_at_price_rejects_the_product() -> None:
    assert (
        reject_reason(product(variants=[variant(compare_at_price="soon")])) == "unreadable_compare_at_price"
    )


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("product", "not_an_object"),
        (None, "not_an_object"),
        (product(id=None), "no_id"),
        (product(id=True), "no_id"),
        (product(id=1.5), "no_id"),
        (product(id="a\nb"), "no_id"),
        (product(handle=""), "no_handle"),
        (product(handle=None), "no_handle"),
        (product(variants=[]), "no_offers"),
        (product(variants=None), "no_offers"),
        (product(variants="none"), "not_an_object"),
        (product(variants=[variant(id=None)]), "no_offer_id"),
        (product(variants=[variant(), variant(price="61.00")]), "conflicting_offers"),
    ],
)
def test_one_bad_product_is_rejected_alone_with_its_reason(bad: Any, reason: str) -> None:
    page = parse(product(id=5), bad, product(id=6))
    assert [event.listing_id for event in page.observations] == ["5", "6"]
    (reject,) = page.rejected
    assert (reject.reason, reject.position) == (reason, "page 1, product 2")
    assert reject.excerpt
    assert page.product_count == 3
    known_id = isinstance(bad, dict) and bad["id"] == 1 and not isinstance(bad["id"], bool)
    assert page.listing_ids == (("5", "1", "6") if known_id else ("5", "6"))
    assert page.unidentified == (0 if known_id else 1)


def test_a_listing_twice_on_a_page_is_observed_once_and_said() -> None:
    page = parse(product(), product(title="Other"))
    assert (len(page.observations), page.repeated, page.listing_ids) == (1, True, ("1",))
    assert page.rejected[0].reason == "repeated_listing"


def test_the_same_variant_twice_is_one_offer() -> None:
    assert len(parse(product(variants=[variant(), variant()])).observations[0].offers) == 1


def test_what_is_no_goods_is_a_listing_all_the_same() -> None:
    gift = product(title="Gift Card", product_type="Gift Cards", variants=[variant(price="25.00")])
    note = product(id=2, title="PLEASE NOTE", variants=[variant(price="0.00")])
    assert [event.title for event in parse(gift, note).observations] == ["Gift Card", "PLEASE NOTE"]


def test_a_missing_title_is_made_of_the_handle() -> None:
    event = parse(product(title=None, handle="big-boy-shorts-5")).observations[0]
    assert event.title == "Big Boy Shorts 5"
    assert title_from_handle("---") == "---"


def test_missing_availability_is_unknown_and_odd_values_are_not_guessed() -> None:
    rows = [variant(id=1, available=None), variant(id=2, available="yes"), variant(id=3, available=False)]
    offers = parse(product(variants=rows)).observations[0].offers
    assert [o.availability for o in offers] == [
        Availability.UNKNOWN,
        Availability.UNKNOWN,
        Availability.OUT_OF_STOCK,
    ]


def test_options_keep_the_shops_words_and_lose_none() -> None:
    row = variant(option1=" M ", option2="Black", option3="x")
    odd = product(variants=[row], options=[{"name": "SIZE"}, {"name": "SIZE"}])
    assert parse(odd).observations[0].offers[0].options == {"SIZE": "M", "SIZE 2": "Black", "Option 3": "x"}
    plain = product(variants=[variant(option1="Default Title")], options=["Title"])
    assert parse(plain).observations[0].offers[0].options == {}


def test_handles_that_are_not_ascii_make_a_quoted_address() -> None:
    event = parse(product(handle="decké/ü")).observations[0]
    assert event.handle == "decké/ü"
    assert event.url == f"{SHOP.url}/products/deck%C3%A9%2F%C3%BC"


@pytest.mark.parametrize(
    ("given_url", "kept"),
    [
        ("//cdn.example/x.jpg", "https://cdn.example/x.jpg"),
        ("https://cdn.example/x.jpg?v=1", "https://cdn.example/x.jpg?v=1"),
        ("javascript:alert(1)", None),
        ("https://[broken", None),
        ("https://h/" + "x" * 5000, None),
        (None, None),
    ],
)
def test_only_web_addresses_are_kept_of_images(given_url: str | None, kept: str | None) -> None:
    assert clean_image_url(given_url) == kept


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"oops", "not_json"),
        (b"<html><body>Just a moment...</body></html>", "not_json"),
        (b'<html><form action="/password">', "password_page"),
        (b'{"products": [{"id": 1', "truncated"),
        (b'{"products": [', "truncated"),
        (b'{"products"', "truncated"),
        (b"[]", "not_products"),
        (b"null", "not_products"),
        (b'{"errors": "x"}', "not_products"),
        (b'{"products": {}}', "not_products"),
        (b'{"products": []} trailing', "not_json"),
        ('{"products": [{"title": "Café"}]}'.encode("latin-1"), "wrong_charset"),
        ('{"products": []}'.encode("utf-16"), "wrong_charset"),
        ('{"products": []}'.encode("utf-16-le"), "wrong_charset"),
    ],
)
def test_what_is_no_page_of_products_is_an_error_and_never_an_empty_page(body: bytes, reason: str) -> None:
    with pytest.raises(PageError) as caught:
        parse_products_page(body, sighting())
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("written", "title"),
    [
        (rb"Deck \ud83d", "Deck \ufffd"),
        (rb"\udc00 Deck", "\ufffd Deck"),
        (rb"\ud83d\ud83d\uDE00\ude00", "\ufffd\U0001f600\ufffd"),
        (rb"\ud83d\\ude00", "\ufffd\\ude00"),
    ],
)
def test_half_a_character_costs_no_page(written: bytes, title: str) -> None:
    body = (
        b'{"products": [{"id": 1, "handle": "a", "title": "%s", "variants": [{"id": 2, "price": "1.00"}]}]}'
    )
    (event,) = parse_products_page(body % written, sighting()).observations
    assert event.title == title


@pytest.mark.parametrize("tags", [b"[" * 200_000, b"[" * 5000 + b"]" * 5000])
def test_a_body_nested_without_end_is_no_page(tags: bytes) -> None:
    body = b'{"products": [{"id": 1, "handle": "a", "tags": %s, "variants": []}]}' % tags
    with pytest.raises(PageError) as caught:
        parse_products_page(body, sighting())
    assert caught.value.reason == "not_json"


def test_a_byte_order_mark_changes_nothing() -> None:
    body = json.dumps({"products": [product()]}).encode()
    assert parse_products_page(b"\xef\xbb\xbf" + body, sighting()) == parse_products_page(body, sighting())


def test_a_page_is_asked_with_limit_and_number_and_the_shops_own_size_is_noticed() -> None:
    assert products_url("https://x.example", 3, 250) == "https://x.example/products.json?limit=250&page=3"
    assert [page_size(count, 250) for count in (250, 120, 30, 50, 0)] == [250, 250, 30, 50, 250]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["id", "title", "handle", "vendor", "product_type", "variants", "images", "options"])


@given(st.lists(st.dictionaries(KEYS, JSON_VALUES) | JSON_VALUES, max_size=4))
def test_whatever_products_are_each_is_observed_or_rejected_and_can_be_said(products: list[Any]) -> None:
    page = parse_products_page(msgspec.json.encode({"products": products}), sighting())
    assert len(page.observations) + len(page.rejected) == len(products)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("title", "vendor", "product_type", "images", "options"), JSON_VALUES)
    )
)
def test_odd_descriptions_never_cost_a_readable_price(changes: dict[str, Any]) -> None:
    page = parse_products_page(msgspec.json.encode({"products": [product(**changes)]}), sighting())
    (event,) = page.observations
    assert event.offers[0].price_minor == 6000
    assert decode(encode(event), clock=lambda: AT) == event


@given(st.binary(max_size=200))
def test_any_bytes_are_a_page_or_a_page_error(body: bytes) -> None:
    try:
        page = parse_products_page(body, sighting())
    except PageError:
        return
    assert page.product_count >= 0
