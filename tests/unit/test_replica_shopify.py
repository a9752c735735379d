"""Bodies: field for field as real Shopify bodies have them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.replica.model import Listing, Offer
from skatestock.replica.pages import write_product_page, write_robots
from skatestock.replica.shopify import read_paging, render_cents, render_page, write_price, write_single
from skatestock.replica.world import World

NOW = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)


def make_listing(**changes: Any) -> Listing:
    offers = [
        Offer(41_000_000_000_001, ("9",), "A-1", 900, 9000, 7000, 9000, True),
        Offer(41_000_000_000_002, ("9.5",), None, 900, 9000, 9000, None, False),
    ]
    known: dict[str, Any] = {
        "shop": "labor",
        "listing_id": 6_300_000_000_001,
        "design_key": None,
        "title": "Vans Ave 2.0 - Black/White",
        "handle": "vans-ave",
        "vendor": "Vans",
        "product_type": "Footwear",
        "tags": ("shoes", "new"),
        "body_html": "<p>A shoe</p>",
        "option_names": ("Size",),
        "published_at": datetime(2025, 1, 1, tzinfo=UTC),
        "offers": offers,
        "compare_at_habit": "null",
    }
    return Listing(**(known | changes))


def page_of(*listings: Listing) -> list[dict[str, Any]]:
    products: list[dict[str, Any]] = json.loads(render_page(listings, NOW))["products"]
    return products


def test_a_products_page_has_decimal_strings_and_no_currency() -> None:
    body = render_page([make_listing()], NOW)
    [product] = json.loads(body)["products"]
    assert [variant["price"] for variant in product["variants"]] == ["70.00", "90.00"]
    assert [variant["compare_at_price"] for variant in product["variants"]] == ["90.00", None]
    assert [variant["available"] for variant in product["variants"]] == [True, False]
    assert b"USD" not in body


def test_every_updated_at_is_the_time_of_the_response() -> None:
    [product] = page_of(make_listing())
    stamps = {product["updated_at"], *(variant["updated_at"] for variant in product["variants"])}
    assert stamps == {"2026-03-01T07:30:15-05:00"}


def test_a_changed_listing_is_rendered_anew_and_an_unchanged_one_is_not() -> None:
    listing = make_listing()
    page_of(listing)
    cached = listing.rendered["page"][1]
    assert page_of(listing)[0]["variants"][0]["price"] == "70.00"
    assert listing.rendered["page"][1] is cached
    listing.offers[0].price_minor = 6500
    listing.version += 1
    assert page_of(listing)[0]["variants"][0]["price"] == "65.00"


def test_a_dropped_size_is_neither_a_variant_nor_an_option_value() -> None:
    listing = make_listing()
    listing.offers[0].present = False
    [product] = page_of(listing)
    assert [variant["title"] for variant in product["variants"]] == ["9.5"]
    assert product["options"] == [{"name": "Size", "position": 1, "values": ["9.5"]}]


def test_the_page_has_the_fields_of_real_pages_in_their_order(shared_data: Path) -> None:
    world = World(1, NOW, listings_per_shop=5)
    ours = page_of(*world.state_at("premier"))[0]
    for file in sorted((shared_data / "pages" / "shopify").glob("*products*page1*.json")):
        real = json.loads(file.read_text())["products"][0]
        assert list(ours) == list(real)
        assert list(ours["variants"][0]) == list(real["variants"][0])
        assert list(ours["images"][0]) == list(real["images"][0])
        assert list(ours["options"][0]) == list(real["options"][0])


def test_the_cents_object_has_the_fields_of_real_ones(shared_data: Path) -> None:
    ours = json.loads(render_cents(make_listing()))
    files = sorted((shared_data / "pages" / "shopify").glob("*.product-json.json"))
    assert files
    for file in files:
        real = json.loads(file.read_text())
        assert [name for name in real if name != "media"] == list(ours)
        assert list(real["variants"][0]) == list(ours["variants"][0])
        assert type(real["price"]) is type(ours["price"])


def test_the_cents_object_has_whole_cents_and_pictures_without_a_scheme() -> None:
    body = render_cents(make_listing())
    ours = json.loads(body)
    assert (ours["price"], ours["price_min"], ours["price_max"]) == (7000, 7000, 9000)
    assert (ours["compare_at_price"], ours["compare_at_price_min"]) == (None, 0)
    assert ours["type"] == "Footwear"
    assert ours["description"] == "<p>A shoe</p>"
    assert all(image.startswith("//") for image in ours["images"])
    assert b"\\u003cp>A shoe\\u003c\\/p>" in body


def test_a_default_variant_has_no_public_title() -> None:
    offer = Offer(1, ("Default Title",), "", 0, 1000, 1000, 0, True)
    [variant] = json.loads(render_cents(make_listing(offers=[offer], option_names=("Title",))))["variants"]
    assert (variant["name"], variant["public_title"]) == ("Vans Ave 2.0 - Black/White", None)
    assert variant["compare_at_price"] == 0


def test_the_single_product_says_nothing_of_stock_but_names_a_currency() -> None:
    product = write_single(make_listing())["product"]
    assert "available" not in product["variants"][0]
    assert product["variants"][0]["price_currency"] == "USD"
    assert product["variants"][1]["compare_at_price"] == ""
    assert product["tags"] == "shoes, new"


def test_a_product_page_carries_linked_data_that_a_title_cannot_break_out_of() -> None:
    listing = make_listing(title="</script><script>alert('x')</script>")
    page = write_product_page("http://127.0.0.1:1", listing)
    _, _, rest = page.partition('<script type="application/ld+json">')
    data = json.loads(rest.partition("</script>")[0])
    assert data["name"] == listing.title
    assert [offer["availability"].rpartition("/")[2] for offer in data["offers"]] == ["InStock", "OutOfStock"]
    assert [offer["price"] for offer in data["offers"]] == ["70.00", "90.00"]
    assert {offer["priceCurrency"] for offer in data["offers"]} == {"USD"}
    assert '<meta property="og:price:amount" content="70.00">' in page
    assert "<script>alert" not in page


def test_robots_leaves_the_catalogue_open_and_names_the_sitemap() -> None:
    lines = write_robots("http://127.0.0.1:1").splitlines()
    closed = [line.removeprefix("Disallow: ") for line in lines if line.startswith("Disallow: ")]
    assert "Sitemap: http://127.0.0.1:1/sitemap.xml" in lines
    assert "/cart" in closed
    assert not any("/products.json".startswith(path.rstrip("*")) for path in closed if path != "/")


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ({}, (30, 1)),
        ({"limit": "250", "page": "3"}, (250, 3)),
        ({"limit": "251"}, (250, 1)),
        ({"limit": "0", "page": "0"}, (30, 1)),
        ({"limit": "-5", "page": "x"}, (30, 1)),
        ({"limit": "٣", "page": "²"}, (30, 1)),
        ({"limit": "9" * 5000}, (30, 1)),
    ],
)
def test_paging_is_read_as_leniently_as_shopify_reads_it(
    asked: dict[str, str], read: tuple[int, int]
) -> None:
    assert read_paging(asked) == read


@given(st.text(), st.text())
def test_any_paging_gives_a_possible_page(limit: str, page: str) -> None:
    size, number = read_paging({"limit": limit, "page": page})
    assert 1 <= size <= 250
    assert number >= 1


@given(st.integers(min_value=0, max_value=10**9))
def test_a_price_is_written_with_two_digits_and_exactly(minor: int) -> None:
    whole, _, cents = write_price(minor).partition(".")
    assert (len(cents), int(whole) * 100 + int(cents)) == (2, minor)
