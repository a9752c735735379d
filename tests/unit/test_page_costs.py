"""Pages that are made to cost: none of them keeps a parser busy for longer than its size allows."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import pytest

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import Sighting
from skatestock.crawl.platforms.recipe import parse_listing_page
from skatestock.crawl.platforms.recipe_model import parse_recipe
from skatestock.crawl.platforms.schema_org import parse_product_page
from skatestock.crawl.platforms.sitemap import parse_sitemap
from skatestock.crawl.platforms.woocommerce import parse_products_page
from skatestock.crawl.shops import load_shops

SHOP = msgspec.structs.replace(load_shops()[0], url="https://shop.example")
SIGHTING = Sighting(shop=SHOP, crawl_id="c", observed_at=datetime(2026, 3, 1, tzinfo=UTC))
URL = "https://shop.example/products/deck"
MANY = 500_000
# Each takes well under a second on a quiet machine; what costs time squared takes minutes.
LONGEST_SECONDS = 20.0

RECIPE = parse_recipe(
    tomllib.loads(
        'format="html"\npages="/s/{page}"\nwhole="footer"\nitems="li"\nlink="a::attr(href)"\ntitle="h2"\n'
        '[offer]\nprice=".price"'
    )
)


def script(text: str) -> bytes:
    return f'<html><script type="application/ld+json">{text}</script></html>'.encode()


BLOCKS = {
    "an unending text of quotes": '{"a":"' + '\\"' * MANY,
    "quotes": '"' * MANY,
    "comments in comments": "/*" * MANY,
    "slashes": "/" * MANY,
    "commas": ", " * MANY,
    "a comma before blanks": "," + " " * MANY + "x",
    "openings of comments": "<!--" * MANY,
    "nested lists": "[" * MANY,
    "halves of characters": "\\ud83d" * (MANY // 5),
    "one node many times": '{"@graph":[' + '{"@type":"Product","@id":"#a"},' * 20_000 + "{}]}",
    "offers without end": '{"@type":"Product","offers":[' + '{"price":"1,2.3 was 4"},' * 20_000 + "{}]}",
}
PAGES = {
    "items that all refer to one part": '<div itemscope itemtype="x/Product" itemref="a">' * 200
    + "<p id=a>"
    + "<b itemprop=x>1</b>" * 20_000,
    "items in items": "<div itemscope itemprop=x>" * 100_000,
    "many items beside each other": "<i itemscope itemtype=Product></i>" * 50_000,
    "many blocks": '<script type="application/ld+json">{}</script>' * 50_000,
    "many properties": '<meta property="og:a" content="b">' * 100_000,
}
SITEMAPS = {
    "comments": "<!--" * MANY,
    "openings": "<loc>" * MANY,
    "blanks": "<loc>" + " " * 2 * MANY,
    "openings and blanks": "<loc> " * MANY,
    "long addresses": f"<url><loc>https://shop.example/{'a' * 4000}</loc></url>" * 500,
}


def assert_bounded(parse: Callable[[bytes], object], body: bytes) -> None:
    began = time.perf_counter()
    with suppress(PageError):
        parse(body)
    assert time.perf_counter() - began < LONGEST_SECONDS


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_of_json_ld_costs_no_more_than_its_size(name: str) -> None:
    assert_bounded(lambda body: parse_product_page(body, URL, SIGHTING), script(BLOCKS[name]))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", PAGES)
def test_markup_costs_no_more_than_its_size(name: str) -> None:
    assert_bounded(lambda body: parse_product_page(body, URL, SIGHTING), PAGES[name].encode())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", SITEMAPS)
def test_a_sitemap_costs_no_more_than_its_size(name: str) -> None:
    body = f"<urlset>{SITEMAPS[name]}</urlset>".encode()
    assert_bounded(lambda body: parse_sitemap(body, SHOP.url), body)


@pytest.mark.timeout(60)
def test_rows_without_end_cost_no_more_than_their_size() -> None:
    rows = b"[" + b'{"id":1,"slug":"a","prices":{}},' * 30_000 + b"{}]"
    assert_bounded(lambda body: parse_products_page(body, SIGHTING), rows)


def test_a_listing_page_beyond_the_limit_is_no_page() -> None:
    body = b"<ul>" + b"<li>x</li>" * 5001 + b"</ul><footer></footer>"
    with pytest.raises(PageError) as caught:
        parse_listing_page(body, URL, RECIPE, SIGHTING)
    assert caught.value.reason == "too_large"
