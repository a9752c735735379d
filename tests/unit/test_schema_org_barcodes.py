"""Barcodes in schema.org's words, wherever on a page they stand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from skatestock.crawl.observing import Sighting
from skatestock.crawl.platforms.schema_org import parse_product_page
from skatestock.crawl.shops import load_shops
from skatestock.events.model import ListingObserved

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
URL = "https://shop.example/products/deck-red"


def offer(**changes: Any) -> dict[str, Any]:
    return {"@type": "Offer", "price": "60.00", "priceCurrency": "USD"} | changes


def product(**changes: Any) -> dict[str, Any]:
    return {"@type": "Product", "name": "Deck Red", "sku": "D-1", "offers": offer()} | changes


def read(node: dict[str, Any] | None = None, head: str = "", rest: str = "") -> ListingObserved:
    data = "" if node is None else f'<script type="application/ld+json">{json.dumps(node)}</script>'
    body = f"<!doctype html><html><head>{head}{data}</head><body>{rest}</body></html>"
    shop = msgspec.structs.replace(load_shops()[0], url="https://shop.example")
    page = parse_product_page(body.encode(), URL, Sighting(shop=shop, crawl_id="crawl-1", observed_at=AT))
    assert page.rejected == ()
    (event,) = page.observations
    return event


def test_a_barcode_is_that_of_the_offer_or_of_what_it_offers() -> None:
    rows = [
        {"@type": "Product", "sku": "D-8", "gtin13": "4006381333931", "offers": offer()},
        {"@type": "Product", "sku": "D-9", "offers": offer(gtin12=12345678905, gtin="n/a")},
        {"@type": "Product", "sku": "D-10", "offers": offer(gtin8=["96385074", "12345670"], gtin=" ")},
        {"@type": "Product", "sku": "D-11", "gtin14": "4711", "offers": offer()},
        {"@type": "Product", "sku": "D-12", "gtin14": {"a": 1}, "offers": offer(gtin=True)},
    ]
    event = read({"@type": "ProductGroup", "name": "Deck", "gtin": "4006381333931", "hasVariant": rows})
    assert [o.barcode for o in event.offers] == ["4006381333931", "n/a", "96385074", "4711", None]
    assert read(product(gtin="4006381333931")).offers[0].barcode == "4006381333931"
    # Of several offers none is said to be the product's own number.
    several = product(gtin="4006381333931", offers=[offer(sku="A"), offer(sku="B")])
    assert [o.barcode for o in read(several).offers] == [None, None]


def test_the_first_number_that_is_a_gtin_is_preferred() -> None:
    assert read(product(gtin="see box", gtin13="4006381333931")).offers[0].barcode == "4006381333931"


def test_one_offer_with_two_barcodes_is_one_offer_without() -> None:
    rows = [product(gtin13=barcode) for barcode in ("4006381333931", "96385074", "96385074")]
    group = {"@type": "ProductGroup", "name": "Deck", "hasVariant": rows}
    (only,) = read(group).offers
    assert (only.offer_id, only.barcode) == ("D-1", None)


def test_microdata_and_opengraph_say_barcodes_too() -> None:
    head = '<meta property="og:type" content="product"><meta property="product:price:amount" content="60">'
    for name in ("product:gtin", "product:ean", "product:upc"):
        said = head + f'<meta property="{name}" content="4006381333931">'
        assert read(head=said).offers[0].barcode == "4006381333931"
    rest = """<div itemscope itemtype="https://schema.org/Product"><b itemprop="name">Deck</b>
        <meta itemprop="gtin13" content="4006381333931"><div itemprop="offers" itemscope
        itemtype="https://schema.org/Offer"><b itemprop="price">60</b></div></div>"""
    assert read(rest=rest).offers[0].barcode == "4006381333931"
