"""Time from one page's bytes to its observations on each platform, beside what bare reading costs.

For JSON the limit is msgspec's decode of the same bytes into plain objects; for HTML it is the bare parse of
the same bytes into a tree by lxml. The pages are the replica's; product pages stand between as much other
markup as real shops put around theirs.

    python -m benchmarks.parsing [--rounds 25]
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import msgspec
from benchmarks.figures import Figure, make_report, publish
from benchmarks.rounds import compare, measure_in_turns
from parsel import Selector

from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.crawl.platforms import shopify, shopify_cents, squarespace, woocommerce
from skatestock.crawl.platforms.recipe import parse_listing_page
from skatestock.crawl.platforms.recipe_model import parse_recipe
from skatestock.crawl.platforms.schema_org import parse_product_page
from skatestock.crawl.shops import get_shop, load_shops
from skatestock.replica.marked_pages import RECIPE, write_catalogue_page, write_marked_page
from skatestock.replica.model import Listing
from skatestock.replica.shopify import render_cents, render_page
from skatestock.replica.squarespace import write_store
from skatestock.replica.woocommerce import write_product, write_variations
from skatestock.replica.world import World

WHAT = "parse one page of each platform to observations"
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
SHOP = "labor"
ORIGIN = "https://shop.example"
# The recorded product pages of real shops have 234 to 902 kB.
MARKUP_BYTES = 250_000


class Case(NamedTuple):
    """One kind of page: its bytes, how it is read, and what bare reading it would be."""

    body: bytes
    parse: Callable[[bytes], ParsedPage]
    limit_name: str
    read_bare: Callable[[bytes], object]


def make_cases() -> Mapping[str, Case]:
    """Render one page of each platform."""
    listings = World(1, AT, listings_per_shop=400).state_at(SHOP)
    sighting = Sighting(shop=get_shop(load_shops(), SHOP), crawl_id="bench", observed_at=AT)
    recipe = parse_recipe(RECIPE)
    marked = {listing.listing_id % 3 == 0: pad(write_marked_page(ORIGIN, listing)) for listing in listings}
    url = f"{ORIGIN}/products/deck"
    return {
        "Shopify, 250 products": _json(
            render_page(listings[:250], AT), lambda body: shopify.parse_products_page(body, sighting)
        ),
        "Shopify, the cents object": _json(
            render_cents(listings[0]), lambda body: shopify_cents.parse_product_object(body, sighting).page
        ),
        "WooCommerce, 100 products": _make_woocommerce(listings[:100], sighting),
        "Squarespace, 50 products": _json(
            msgspec.json.encode(write_store(listings[:50], 1, more=True)),
            lambda body: squarespace.parse_store_page(body, sighting).page,
        ),
        "schema.org, JSON-LD": _html(marked[False], lambda body: parse_product_page(body, url, sighting)),
        "schema.org, microdata": _html(marked[True], lambda body: parse_product_page(body, url, sighting)),
        "a recipe, 24 products in HTML": _html(
            write_catalogue_page(SHOP, listings[:24]).encode(),
            lambda body: parse_listing_page(body, ORIGIN, recipe, sighting).page,
        ),
    }


def _make_woocommerce(listings: Sequence[Listing], sighting: Sighting) -> Case:
    rows = [row for listing in listings for row in write_variations(ORIGIN, listing)]
    known = woocommerce.parse_variations_page(msgspec.json.encode(rows)).variations
    body = msgspec.json.encode([write_product(ORIGIN, listing) for listing in listings])
    return _json(body, lambda body: woocommerce.parse_products_page(body, sighting, known))


def _json(body: bytes, parse: Callable[[bytes], ParsedPage]) -> Case:
    return Case(body, parse, "msgspec decode", msgspec.json.decode)


def _html(body: bytes, parse: Callable[[bytes], ParsedPage]) -> Case:
    return Case(body, parse, "lxml tree", read_tree)


def read_tree(body: bytes) -> object:
    """Parse HTML into a tree and do nothing with it."""
    return Selector(body=body, encoding="utf-8", type="html").root


def pad(page: str) -> bytes:
    """Put the markup around a page that menus, footers and scripts are."""
    row = '<li class="menu__item"><a class="link link--quiet" href="/x" data-track="menu">Trucks</a></li>\n'
    rows = row * (MARKUP_BYTES // len(row))
    return page.replace("<main>", f"<nav><ul>{rows}</ul></nav><main>").encode()


def measure(cases: Mapping[str, Case], rounds: int) -> list[Figure]:
    """Take the rounds of each page."""
    figures = []
    for name, case in cases.items():
        page = case.parse(case.body)
        if page.rejected or not page.observations:
            raise SystemExit(f"{name}: {len(page.rejected)} rejected: nothing was measured")
        works: dict[str, Callable[[], object]] = {
            "ours": partial(case.parse, case.body),
            "bare": partial(case.read_bare, case.body),
        }
        taken = measure_in_turns(works, rounds)
        note = f"{len(case.body) / 1000:.0f} kB"
        figures.append(compare(name, taken["ours"], case.limit_name, taken["bare"], note))
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parsing", description=f"Time to {WHAT}.")
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args(arguments)
    return publish(make_report("parsing", WHAT, measure(make_cases(), options.rounds)))


if __name__ == "__main__":
    raise SystemExit(main())
