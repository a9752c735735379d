"""Whatever a shop sends, a parser answers with observations and rejects, or with its own page error.

`make test` reads some thousands of mutated pages; `make test-fuzz` reads a million (SKATESTOCK_TEST_FUZZ).
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import pytest
from tests.page_mutations import mutate_page
from tests.shared_data import find_shared_data

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.crawl.platforms import shopify, shopify_cents, squarespace, woocommerce
from skatestock.crawl.platforms.recipe import parse_listing_page
from skatestock.crawl.platforms.recipe_model import parse_recipe
from skatestock.crawl.platforms.schema_org import parse_product_page
from skatestock.crawl.platforms.sitemap import parse_sitemap
from skatestock.crawl.shops import load_shops
from skatestock.events.model import MAX_REJECTED, CrawlCompleted
from skatestock.events.sense import find_nonsense

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = msgspec.structs.replace(load_shops()[0], url="https://shop.example")
SIGHTING = Sighting(shop=SHOP, crawl_id="crawl-1", observed_at=AT)
URL = "https://shop.example/products/deck"
PAGES = int(os.environ.get("SKATESTOCK_TEST_FUZZ", "4000"))
LARGEST_SEED = 40_000

RECIPE = parse_recipe(
    tomllib.loads(
        'format="html"\npages="/s/{page}"\nwhole="footer"\nitems="li"\nlink="a::attr(href)"\ntitle="h2"\n'
        'image="img::attr(src)"\n[offer]\nprice=".price"\ncompare_at="del"\nsold_out=".gone"'
    )
)
JSON_RECIPE = parse_recipe(
    tomllib.loads(
        'format="json"\npages="/s/{page}"\nitems="data.items[]"\nlink="path"\nid="id"\ntitle="name"\n'
        'amounts="decimal"\n[offer]\nitems="offers[]"\nid="id"\nprice="price"\ncompare_at="was"\nin_stock="left"'
    )
)

SHOPIFY = {
    "products": [
        {
            "id": 1,
            "title": "Deck- Red/Blue",
            "handle": "deck-red",
            "vendor": "Hockey",
            "product_type": "Decks",
            "variants": [
                {
                    "id": 11,
                    "title": "8.25",
                    "option1": "8.25",
                    "sku": "A",
                    "available": True,
                    "price": "60.00",
                },
                {"id": 12, "title": "8.5", "option1": "8.5", "price": "60.00", "compare_at_price": "80.00"},
            ],
            "images": [{"src": "//cdn.example/1.jpg"}],
            "options": [{"name": "Size"}],
        },
        {"id": 2, "title": None, "handle": "tee", "variants": [{"id": 21, "price": "25.00"}]},
    ]
}
CENTS = {
    "id": 1,
    "title": "Deck",
    "handle": "deck",
    "type": "Decks",
    "options": ["Size"],
    "images": ["//cdn.example/1.jpg"],
    "variants": [{"id": 11, "options": ["8.25"], "price": 6000, "compare_at_price": 8000, "barcode": "12"}],
}
PRICES = {"price": "6000", "regular_price": "8000", "currency_code": SHOP.currency, "currency_minor_unit": 2}
WOO = [
    {
        "id": 1,
        "name": "Deck &#8211; Red",
        "slug": "deck%20red",
        "type": "variable",
        "permalink": "https://shop.example/product/deck/",
        "prices": PRICES,
        "is_in_stock": True,
        "attributes": [{"name": "Size", "terms": [{"name": "8.25", "slug": "825"}]}],
        "variations": [{"id": 11, "attributes": [{"name": "Size", "value": "825"}]}],
        "images": [{"src": "https://shop.example/1.jpg"}],
        "categories": [{"name": "Decks"}],
    },
    {"id": 11, "variation": "Size: 8.25", "slug": "v", "prices": PRICES, "is_in_stock": False, "sku": "S"},
]
SQUARE: dict[str, Any] = {
    "items": [
        {
            "id": "a1",
            "title": "Deck",
            "urlId": "p/deck",
            "fullUrl": "/store/p/deck",
            "items": [{"assetUrl": "https://images.example/1.jpg"}],
            "categories": ["Decks"],
            "structuredContent": {
                "variants": [
                    {
                        "id": "v1",
                        "price": 6000,
                        "salePrice": 4500,
                        "onSale": True,
                        "priceMoney": {"currency": SHOP.currency, "value": "60.00"},
                        "qtyInStock": 2,
                        "optionValues": [{"optionName": "Size", "value": "8.25"}],
                    }
                ]
            },
        }
    ],
    "pagination": {"nextPage": True, "nextPageUrl": "/store?offset=1"},
}
OFFER = {"@type": "Offer", "price": "60.00", "priceCurrency": SHOP.currency, "availability": "InStock"}
GROUP = {
    "@context": "https://schema.org",
    "@graph": [
        {
            "@type": "ProductGroup",
            "@id": "#a",
            "name": "Deck",
            "brand": {"@type": "Brand", "name": "Hockey"},
            "image": ["/1.jpg"],
            "hasVariant": [{"sku": "D-8", "size": "8.25", "color": "Red", "offers": OFFER}, {"@id": "#v"}],
        },
        {
            "@id": "#v",
            "sku": "D-9",
            "offers": [OFFER, {"priceSpecification": [{"price": 80, "priceType": "ListPrice"}]}],
        },
    ],
}
MARKUP = """<!doctype html><html><head><meta charset="utf-8"><meta property="og:type" content="product">
<meta property="product:price:amount" content="60.00"><title>Deck</title></head><body>
<div itemscope itemtype="https://schema.org/Product" itemref="more"><h1 itemprop="name">Deck</h1>
<div itemprop="offers" itemscope itemtype="https://schema.org/Offer"><meta itemprop="price" content="60.00">
<link itemprop="availability" href="https://schema.org/InStock"><b itemprop="sku">D-1</b></div></div>
<img id="more" itemprop="image" src="/1.jpg"></body></html>"""
CHOOSER = f"""<html><title>Deck</title><div class="product-variants" data-variants='{
    json.dumps(SQUARE["items"][0]["structuredContent"]["variants"])
}'></div></html>"""
LISTING = """<html><body><ul><li><a href="/p/1"><h2>Deck</h2></a><img src="/1.jpg"><b class="price">$60.00</b>
<del>$80.00</del></li><li><a href="/p/2"><h2>Tee</h2></a><b class="price">25 USD</b><i class="gone">x</i></li>
</ul><footer>end</footer></body></html>"""
ITEMS = {
    "data": {
        "items": [
            {
                "id": "1",
                "path": "/p/1",
                "name": "Deck",
                "offers": [{"id": "a", "price": 60.5, "was": "80.00", "left": True}],
            }
        ]
    }
}
SITEMAP = """<?xml version="1.0"?><urlset xmlns="x"><url><loc>https://shop.example/p/1?a=1&amp;b=2</loc></url>
<url><loc> <![CDATA[https://shop.example/p/2]]></loc></url><!-- <loc>x</loc> --></urlset>"""

Parse = Callable[[bytes], ParsedPage | None]


def _woo_rows(body: bytes) -> ParsedPage:
    variations = woocommerce.parse_variations_page(body).variations
    return woocommerce.parse_products_page(body, SIGHTING, variations)


def _sitemap(body: bytes) -> None:
    parse_sitemap(body, SHOP.url)


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


def _script(value: object) -> bytes:
    text = f'<html><script type="application/ld+json">{json.dumps(value)}</script></html>'
    return text.encode()


# By platform: what reads its pages, own pages of it, and the folder of recorded ones.
PLATFORMS: dict[str, tuple[Parse, list[bytes], str]] = {
    "shopify": (
        lambda body: shopify.parse_products_page(body, SIGHTING),
        [_text(SHOPIFY)],
        "shopify/*_products_*.json",
    ),
    "shopify-cents": (
        lambda body: shopify_cents.parse_product_object(body, SIGHTING).page,
        [_text(CENTS)],
        "shopify/*.product-json.json",
    ),
    "woocommerce": (
        lambda body: woocommerce.parse_products_page(body, SIGHTING),
        [_text(WOO)],
        "woocommerce/*_live.json",
    ),
    "woocommerce-variations": (_woo_rows, [_text(WOO), _text(WOO[1:])], "woocommerce/*_live.json"),
    "squarespace": (
        lambda body: squarespace.parse_store_page(body, SIGHTING).page,
        [_text(SQUARE)],
        "nothing",
    ),
    "json-ld": (
        lambda body: parse_product_page(body, URL, SIGHTING),
        [_script(GROUP), _script([GROUP["@graph"], OFFER])],
        "microdata-opengraph/*ld*.html",
    ),
    "microdata": (
        lambda body: parse_product_page(body, URL, SIGHTING),
        [MARKUP.encode(), CHOOSER.encode()],
        "microdata-opengraph/*product*.html",
    ),
    "recipe-html": (
        lambda body: parse_listing_page(body, URL, RECIPE, SIGHTING).page,
        [LISTING.encode()],
        "nothing",
    ),
    "recipe-json": (
        lambda body: parse_listing_page(body, URL, JSON_RECIPE, SIGHTING).page,
        [_text(ITEMS)],
        "nothing",
    ),
    "sitemap": (_sitemap, [SITEMAP.encode()], "shopify/*.xml"),
}


def seeds_of(platform: str) -> list[bytes]:
    """Return the pages to mutate: our own, and the recorded ones that are small enough to be read often."""
    _, own, pattern = PLATFORMS[platform]
    folder = find_shared_data()
    files = sorted((folder / "pages").glob(pattern)) if folder is not None else []
    recorded = (file.read_bytes() for file in files)
    return own * 3 + [body for body in recorded if len(body) <= LARGEST_SEED]


def find_fault(page: ParsedPage) -> str | None:
    """Tell what of a page could not be said on the log, or None."""
    # Listings were checked when they were made; what is rejected is said with the end of the crawl.
    return find_nonsense(
        CrawlCompleted(
            event_id="e",
            shop=SHOP.slug,
            crawl_id="c",
            started_at=AT,
            completed_at=AT,
            complete=True,
            reason="complete",
            pages=1,
            requests=1,
            listing_ids=page.listing_ids,
            changed=0,
            rejected=page.rejected[:MAX_REJECTED],
            rejected_total=len(page.rejected),
        )
    )


@pytest.mark.parametrize("platform", PLATFORMS)
def test_an_unchanged_own_page_is_read(platform: str) -> None:
    parse, own, _ = PLATFORMS[platform]
    page = parse(own[0])
    if page is not None:
        assert page.observations


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_mutated_page_raises_nothing_but_a_page_error(platform: str) -> None:
    parse, _, _ = PLATFORMS[platform]
    seeds = seeds_of(platform)
    read = refused = 0
    for number in range(PAGES // len(PLATFORMS)):
        random = Random(f"{platform}-{number}")
        body = mutate_page(random.choice(seeds), seeds, random)
        try:
            page = parse(body)
        except PageError:
            refused += 1
            continue
        read += 1
        if page is not None:
            assert find_fault(page) is None, f"mutation {number}"
    # Of a fuzzer that only made pages which nobody reads, or which all read, nothing would be learnt.
    assert read
    assert refused or "json-ld" in platform or platform == "microdata"
