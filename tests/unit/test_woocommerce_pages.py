"""Reading WooCommerce's Store API: the recorded bodies exactly, and every way a page can be wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.crawl.platforms.woocommerce import (
    Variations,
    parse_products_page,
    parse_total_pages,
    parse_variations_page,
    products_url,
    variations_url,
)
from skatestock.crawl.shops import load_shops
from skatestock.events.codec import decode, encode

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = msgspec.structs.replace(load_shops()[0], url="https://samehgabriel.com", currency="EGP")

# Id, price, regular price and whether it is in stock, read from the body by hand. Each has six variations.
RECORDED = [
    ("10150", 277666, 298566, True),
    ("10128", 1427983, 1535466, True),
    ("10124", 892158, 959310, True),
    ("10120", 543034, 583908, True),
    ("10119", 360680, 387828, True),
    ("10118", 232184, 249660, True),
    ("10117", 190624, 204972, True),
    ("10116", 143339, 154128, True),
    ("10109", 98811, 106248, False),
    ("9822", 1665044, 1790370, True),
    ("9818", 1057125, 1136694, True),
    ("9815", 597211, 642162, True),
    ("9812", 404042, 434454, True),
    ("9809", 306716, 329802, True),
    ("9806", 261445, 281124, True),
    ("9800", 159772, 171798, True),
    ("9797", 112487, 120954, True),
]


def sighting(currency: str = "EGP") -> Sighting:
    shop = msgspec.structs.replace(SHOP, currency=currency)
    return Sighting(shop=shop, crawl_id="crawl-1", observed_at=AT)


def prices(**changes: Any) -> dict[str, Any]:
    known = {"price": "6000", "regular_price": "6000", "sale_price": "6000", "price_range": None}
    return known | {"currency_code": "EGP", "currency_minor_unit": 2} | changes


def product(**changes: Any) -> dict[str, Any]:
    known = {"id": 1, "name": "Deck &#8211; Red", "slug": "deck-red", "type": "simple", "sku": "A-1"}
    known |= {"permalink": "https://samehgabriel.com/product/deck-red/", "prices": prices()}
    return known | {"is_in_stock": True, "is_purchasable": True, "variations": []} | changes


def variable(**changes: Any) -> dict[str, Any]:
    terms = [{"name": "Navy Blue", "slug": "navy"}, {"name": "Red", "slug": "red"}]
    rows = [
        {"id": number, "attributes": [{"name": "Colour", "value": value}]}
        for number, value in ((11, "navy"), (12, "red"))
    ]
    known = {"type": "variable", "variations": rows, "attributes": [{"name": "Colour", "terms": terms}]}
    return product(**known) | changes


def variations(*rows: dict[str, Any]) -> Variations:
    return parse_variations_page(json.dumps(rows).encode()).variations


def row(number: int, **changes: Any) -> dict[str, Any]:
    known = {"id": number, "type": "variation", "variation": "Colour: X", "sku": f"S-{number}"}
    return known | {"is_in_stock": True, "is_purchasable": True, "prices": prices()} | changes


def parse(*products: Any, known: Variations | None = None, currency: str = "EGP") -> ParsedPage:
    return parse_products_page(json.dumps(products).encode(), sighting(currency), known)


def reject_reason(*products: Any, known: Variations | None = None) -> str:
    page = parse(*products, known=known)
    assert not page.observations
    return page.rejected[0].reason


def test_the_recorded_products_are_read_exactly(shared_data: Path) -> None:
    body = (shared_data / "pages/woocommerce/samehgabriel_wc_store_products_2026-07-20.json").read_bytes()
    page = parse_products_page(body, sighting())
    assert page.product_count == 18
    assert [(reject.listing_id, reject.reason) for reject in page.rejected] == [("9803", "no_price")]
    assert [event.listing_id for event in page.observations] == [listing_id for listing_id, *_ in RECORDED]
    for event, (_, price, regular, in_stock) in zip(page.observations, RECORDED, strict=True):
        assert len(event.offers) == 6
        assert event.offers_complete
        assert {(o.price_minor, o.compare_at_minor) for o in event.offers} == {(price, regular)}
        assert {o.availability for o in event.offers} == {"unknown" if in_stock else "out_of_stock"}
        assert {*event.offers[0].options} == {"Color"}
        assert event.url.startswith("https://samehgabriel.com/product/")
        assert decode(encode(event), clock=lambda: AT) == event


def test_the_first_recorded_product_has_the_shops_own_words(shared_data: Path) -> None:
    body = (shared_data / "pages/woocommerce/samehgabriel_wc_live.json").read_bytes()
    first, second = parse_products_page(body, sighting()).observations
    assert (first.title, first.product_type) == ("سلك نحاس مجدول 3 مم", "سلك معزول")
    assert first.handle == "سلك-نحاس-cu-pvc-مجدول-3-مم"
    assert [(o.offer_id, o.options["Color"]) for o in first.offers] == [
        ("10496", "أرضي"),
        ("10491", "أخضر"),
        ("10492", "أصفر"),
        ("10493", "أزرق"),
        ("10494", "أسود"),
        ("10495", "أحمر"),
    ]
    assert first.image_url == "https://samehgabriel.com/wp-content/uploads/2024/08/3.0.png"
    assert second.listing_id == "10128"


def test_a_recorded_variation_gives_its_offer_price_sku_and_stock(shared_data: Path) -> None:
    folder = shared_data / "pages/woocommerce"
    row_body = b"[" + (folder / "woocommerce_variation_10491.json").read_bytes() + b"]"
    known = parse_variations_page(row_body).variations
    page = parse_products_page((folder / "samehgabriel_wc_live.json").read_bytes(), sighting(), known)
    event = page.observations[0]
    (offer,) = event.offers
    assert (offer.offer_id, offer.price_minor, offer.compare_at_minor) == ("10491", 277666, 298566)
    assert (offer.title, offer.sku, offer.availability) == ("Color: أرضي", "12cc89c502df-2", "in_stock")
    # Five of its six variations were not shown, so none of them may be called gone.
    assert not event.offers_complete


def test_a_recorded_variation_alone_is_no_page(shared_data: Path) -> None:
    body = (shared_data / "pages/woocommerce/woocommerce_variation_10491.json").read_bytes()
    with pytest.raises(PageError) as caught:
        parse_products_page(body, sighting())
    assert caught.value.reason == "not_products"


def test_a_simple_product_is_its_own_offer() -> None:
    (event,) = parse(product(prices=prices(price="4500"))).observations
    (offer,) = event.offers
    assert (event.title, event.handle) == ("Deck – Red", "deck-red")
    assert (offer.offer_id, offer.price_minor, offer.compare_at_minor) == ("1", 4500, 6000)


def test_variations_bring_prices_and_stock_and_terms_bring_words() -> None:
    known = variations(row(11, prices=prices(price="4500")), row(12, is_in_stock=False))
    (event,) = parse(variable(prices=prices(price_range={"min_amount": "1"})), known=known).observations
    assert event.offers_complete
    assert [(o.offer_id, o.price_minor, o.compare_at_minor, o.availability) for o in event.offers] == [
        ("11", 4500, 6000, "in_stock"),
        ("12", 6000, None, "out_of_stock"),
    ]
    assert [o.options for o in event.offers] == [{"Colour": "Navy Blue"}, {"Colour": "Red"}]


def test_what_cannot_be_put_into_the_cart_is_out_of_stock() -> None:
    assert parse(product(is_purchasable=False)).observations[0].offers[0].availability == "out_of_stock"
    assert parse(product(is_in_stock=None)).observations[0].offers[0].availability == "unknown"


def test_the_shops_own_digits_are_converted_to_the_currencys() -> None:
    for digits, price, minor in ((0, "60", 6000), (2, "6000", 6000), (3, "60000", 6000), (4, "600000", 6000)):
        offer = parse(product(prices=prices(price=price, regular_price=price, currency_minor_unit=digits)))
        assert offer.observations[0].offers[0].price_minor == minor
    yen = prices(price="6000", currency_code="JPY", currency_minor_unit=0)
    assert parse(product(prices=yen), currency="JPY").observations[0].offers[0].price_minor == 6000


@pytest.mark.parametrize("price", [None, "", "60.00", "-60", "1e3", 6000, True, [], "٦٠٠٠", "9" * 16])
def test_an_unreadable_price_rejects_the_product(price: object) -> None:
    assert reject_reason(product(prices=prices(price=price))) == "unreadable_price"


@pytest.mark.parametrize("digits", [None, "2", -1, 7, True, 2.0])
def test_a_price_without_the_number_of_its_digits_is_unreadable(digits: object) -> None:
    assert reject_reason(product(prices=prices(currency_minor_unit=digits))) == "unreadable_price"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("product", "not_an_object"),
        (product(id=None), "no_id"),
        (product(slug=""), "no_handle"),
        (product(slug=5), "no_handle"),
        (product(prices=None), "no_price"),
        (product(prices="free"), "not_an_object"),
        (product(type="grouped"), "not_a_product"),
        (product(prices=prices(regular_price="x")), "unreadable_compare_at_price"),
        (product(prices=prices(currency_code="USD")), "other_currency"),
        (product(prices=prices(currency_code=None)), "other_currency"),
        (variable(variations=[{"id": None}]), "no_offer_id"),
        (variable(variations=None), "no_offers"),
        (variable(variations=[]), "no_offers"),
        (variable(prices=prices(price_range={"min_amount": "1"})), "no_price"),
    ],
)
def test_one_bad_product_is_rejected_alone_with_its_reason(bad: Any, reason: str) -> None:
    page = parse(product(id=5), bad, product(id=6))
    assert [event.listing_id for event in page.observations] == ["5", "6"]
    (reject,) = page.rejected
    assert (reject.reason, reject.position) == (reason, "page 1, product 2")


@pytest.mark.parametrize("odd", [5, [], {}, "x", None, [5], [None], {"a": 1}, ["x"]])
def test_odd_descriptions_cost_no_price(odd: Any) -> None:
    keys = ("name", "permalink", "type", "sku", "images", "categories", "brands", "attributes")
    (event,) = parse(product(**dict.fromkeys(keys, odd))).observations
    assert event.offers[0].price_minor == 6000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"<html>Just a moment</html>", "not_json"),
        (b'[{"id": 1', "truncated"),
        (b"[", "truncated"),
        (b'{"products": []}', "not_products"),
        (b"null", "not_products"),
        (b"[] more", "not_json"),
        ('["é"]'.encode("latin-1"), "wrong_charset"),
        (b"[" * 100_000, "not_json"),
    ],
)
def test_what_is_no_page_of_products_is_an_error_and_never_an_empty_page(body: bytes, reason: str) -> None:
    for parse_body in (lambda b: parse_products_page(b, sighting()), parse_variations_page):
        with pytest.raises(PageError) as caught:
            parse_body(body)
        assert caught.value.reason == reason


def test_a_refusal_says_what_the_shop_said() -> None:
    body = b'{"code":"rest_no_route","message":"No route was found"}'
    with pytest.raises(PageError, match="rest_no_route: No route was found"):
        parse_products_page(body, sighting())


def test_unreadable_variations_are_left_out_and_still_counted() -> None:
    page = parse_variations_page(
        json.dumps([row(11), "x", row(12, id=None), {"id": 13, "prices": 5}]).encode()
    )
    assert (list(page.variations), page.row_count) == (["11"], 4)


def test_pages_are_asked_by_id_and_their_number_is_read_from_the_header() -> None:
    assert products_url("https://x.example", 2, 100).endswith(
        "/wp-json/wc/store/v1/products?per_page=100&page=2&orderby=id&order=asc"
    )
    assert variations_url("https://x.example", 1, 100).endswith("&type=variation")
    totals = [parse_total_pages({"x-wp-totalpages": text}) for text in ("3", " 0 ", "x", "", "1_0")]
    assert [*totals, parse_total_pages({})] == [3, 0, None, None, None, None]


@pytest.mark.parametrize(
    ("permalink", "url"),
    [
        ("https://www.samehgabriel.com/p/deck", "https://www.samehgabriel.com/p/deck"),
        ("/p/deck", "https://samehgabriel.com/p/deck"),
        ("https://elsewhere.example/p/deck", "https://samehgabriel.com/product/deck-red/"),
        ("https://[x", "https://samehgabriel.com/product/deck-red/"),
        ("javascript:alert(1)", "https://samehgabriel.com/product/deck-red/"),
        (None, "https://samehgabriel.com/product/deck-red/"),
    ],
)
def test_an_address_is_the_shops_own_or_made_of_the_slug(permalink: Any, url: str) -> None:
    assert parse(product(permalink=permalink)).observations[0].url == url
