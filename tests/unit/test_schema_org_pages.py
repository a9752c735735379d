"""Reading schema.org product pages: the recorded ones exactly, and what each kind of page may say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.crawl.platforms.schema_nodes import read_amount, read_availability
from skatestock.crawl.platforms.schema_org import parse_product_page, read_listing_id
from skatestock.crawl.shops import load_shops
from skatestock.events.codec import decode, encode
from skatestock.events.model import ListingObserved

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
URL = "https://shop.example/products/deck-red"

# By file: currency, title, vendor, offers (id, price, availability), whether these are all of them.
READ: dict[str, tuple[str, str, str | None, list[tuple[str, int, str]], bool]] = {
    "json-ld/salla_alsweed_product_price0_p1506395107.html": (
        "SAR",
        "خزان ماء الزامل عمودي",
        "الزامل AL ZAMIL",
        [("default", 0, "in_stock")],
        True,
    ),
    "json-ld/salla_alsweed_product_priced_p698258674.html": (
        "SAR",
        "دينمو ماء إيطالي",
        None,
        [("default", 12900, "in_stock")],
        True,
    ),
    "json-ld/salla_elburoj_product_priced_p543555922.html": (
        "SAR",
        "قاطع فرعي من شنايدر - 1 بول - 20 أمبير - ACTI9 iC60N A9F44120, C Curve",
        "شنايدر",
        [("default", 2300, "in_stock")],
        True,
    ),
    "microdata-opengraph/misc_opengraph_ns_product_test.html": (
        "USD",
        "Better Off Dead [Exclusive Blu-ray Steelbook]",
        None,
        [("default", 1799, "in_stock")],
        True,
    ),
    # Fragments without the end of a document: there may be offers that were cut off.
    "microdata-opengraph/misc_product_microdata.html": (
        "USD",
        "Executive Anvil",
        "ACME",
        [("default", 11999, "in_stock")],
        False,
    ),
    "microdata-opengraph/schema.org_product.html": (
        "USD",
        "Executive Anvil",
        "ACME",
        [("default", 11999, "in_stock")],
        True,
    ),
    "microdata-opengraph/schema.org_product-ref.html": (
        "USD",
        "Executive Anvil",
        "ACME",
        [("default", 11999, "in_stock")],
        True,
    ),
    # A range over both offers stands beside them and says nothing of its own.
    "microdata-opengraph/websites_microdata-with-description.html": (
        "GBP",
        "Johnsons 4 Fleas Cats & Kittens Tablets",
        "Johnsons",
        [("CS20858_1", 956, "in_stock"), ("CS20858_2", 529, "in_stock")],
        True,
    ),
}

# Pages that describe no product, and what is said of them.
REFUSED = {
    "microdata-opengraph/custom.invalid_JSONLD_with_JS_comment.html": "the page describes no product",
    "microdata-opengraph/misc_null_ld_mock.html": "the page describes no product; the page ends early",
    "microdata-opengraph/songkick_jsonld_empty_item_test.html": "the page describes no product",
}


def parse(body: bytes | str, url: str = URL, currency: str = "USD") -> ParsedPage:
    shop = msgspec.structs.replace(load_shops()[0], url="https://shop.example", currency=currency)
    sighting = Sighting(shop=shop, crawl_id="crawl-1", observed_at=AT, page=7)
    return parse_product_page(body.encode() if isinstance(body, str) else body, url, sighting)


def page(*blocks: Any, head: str = "", rest: str = "", end: str = "</body></html>") -> str:
    texts = (block if isinstance(block, str) else json.dumps(block) for block in blocks)
    scripts = "".join(f'<script type="application/ld+json">{text}</script>' for text in texts)
    return f"<!doctype html><html><head>{head}{scripts}</head><body>{rest}{end}"


def offer(**changes: Any) -> dict[str, Any]:
    known = {"@type": "Offer", "price": "60.00", "priceCurrency": "USD"}
    return known | {"availability": "https://schema.org/InStock"} | changes


def product(**changes: Any) -> dict[str, Any]:
    known = {"@context": "https://schema.org", "@type": "Product", "name": "Deck Red", "sku": "D-1"}
    return known | {"offers": offer()} | changes


def read(*blocks: Any, **options: Any) -> ListingObserved:
    result = parse(page(*blocks, **options))
    assert result.rejected == ()
    (event,) = result.observations
    return event


def refusal(*blocks: Any, **options: Any) -> str:
    result = parse(page(*blocks, **options))
    assert result.observations == ()
    return result.rejected[0].reason


def prices(event: ListingObserved) -> list[tuple[str, int, int | None]]:
    return [(o.offer_id, o.price_minor, o.compare_at_minor) for o in event.offers]


@pytest.mark.parametrize("name", READ)
def test_a_recorded_page_is_read_exactly(shared_data: Path, name: str) -> None:
    currency, title, vendor, offers, complete = READ[name]
    result = parse((shared_data / "pages" / name).read_bytes(), f"https://shop.example/p/{name}", currency)
    assert result.rejected == ()
    (event,) = result.observations
    assert (event.title, event.vendor, event.offers_complete) == (title, vendor, complete)
    assert [(o.offer_id, o.price_minor, o.availability) for o in event.offers] == offers
    assert event.listing_id == f"p/{name}"
    assert decode(encode(event), clock=lambda: AT) == event


@pytest.mark.parametrize("name", REFUSED)
def test_a_recorded_page_without_a_product_is_refused_with_a_reason(shared_data: Path, name: str) -> None:
    result = parse((shared_data / "pages" / name).read_bytes())
    assert result.observations == ()
    assert [(r.reason, r.detail, r.listing_id) for r in result.rejected] == [
        ("not_a_product", REFUSED[name], "products/deck-red")
    ]


def test_a_recorded_node_out_of_stock_is_read(shared_data: Path) -> None:
    name = "json-ld/salla_alsweed_product_node_outofstock_2026-07-23.json"
    node = (shared_data / "pages" / name).read_text("utf-8")
    (event,) = parse(page(node), currency="SAR").observations
    assert event.title == "لي سخان مجدول اسباني"
    assert [(o.price_minor, o.availability) for o in event.offers] == [(600, "out_of_stock")]


def test_the_recorded_blocks_of_two_pages_are_read(shared_data: Path) -> None:
    name = "json-ld/zid_advancedcastle_product_jsonld_2026-07-20.json"
    recorded = json.loads((shared_data / "pages" / name).read_text("utf-8"))["pages"]
    events = [
        event
        for row in recorded
        for event in parse(page(*row["ld_json_blocks"]), row["url"], "SAR").observations
    ]
    assert [(e.title, e.offers[0].price_minor, e.offers[0].sku, e.product_type) for e in events] == [
        ("بكج 6 كواشف دخان ببطارية", 16000, "a4ba0102-P6", "كاشف دخان"),
        ("قميص بولو بورتويست بلونين", 9500, "S479XXL", "ملابس مهنية > مخفض"),
    ]
    assert events[0].handle == "6-pack-battery-powered-smoke-detectors"


def test_one_offer_keeps_one_id_whatever_its_sku() -> None:
    first, second = (read(product(sku=sku)) for sku in ("D-1", "D-2"))
    assert [o.offer_id for o in (*first.offers, *second.offers)] == ["default", "default"]
    assert (first.offers[0].sku, second.offers[0].sku) == ("D-1", "D-2")


def test_offers_in_a_list_have_their_own_ids() -> None:
    rows = [offer(sku="A"), offer(sku="B", price=45), offer(url=f"{URL}?size=9", price=50.5)]
    assert prices(read(product(offers=rows))) == [
        ("A", 6000, None),
        ("B", 4500, None),
        ("/products/deck-red?size=9", 5050, None),
    ]


def test_variants_of_a_group_are_its_offers_with_their_options() -> None:
    rows = [
        {"@type": "Product", "sku": f"D-{size}", "size": size, "color": "Red", "offers": offer(price=price)}
        for size, price in (("8.25", "60.00"), ("8.5", "62.00"))
    ]
    group = {"@type": "ProductGroup", "name": "Deck", "brand": {"name": "Hockey"}, "hasVariant": rows}
    event = read(group)
    assert (event.title, event.vendor, event.offers_complete) == ("Deck", "Hockey", True)
    assert prices(event) == [("D-8.25", 6000, None), ("D-8.5", 6200, None)]
    assert event.offers[1].options == {"Color": "Red", "Size": "8.5"}


def test_variants_beside_each_other_are_joined_by_their_group() -> None:
    rows = [
        product(sku=f"D-{size}", size=size, inProductGroupWithID="D", isVariantOf={"name": "Deck"})
        for size in ("8", "9")
    ]
    event = read(*rows)
    assert event.title == "Deck"
    assert [o.offer_id for o in event.offers] == ["D-8", "D-9"]
    # One of several blocks may be missing from a page that ends early.
    assert not read(*rows, end="").offers_complete
    assert read(product(), end="").offers_complete


def test_variants_that_are_only_named_leave_the_offers_unknown() -> None:
    rows = [{"sku": "A", "offers": offer()}, {"url": "https://shop.example/products/deck-blue"}]
    event = read({"@type": "ProductGroup", "name": "Deck", "hasVariant": rows})
    assert [o.offer_id for o in event.offers] == ["A"]
    assert not event.offers_complete
    assert refusal({"@type": "ProductGroup", "name": "Deck", "hasVariant": rows[1:]}) == "no_offers"


def test_six_colours_under_one_sku_are_six_offers() -> None:
    rows = [{"sku": "D", "color": colour, "offers": offer()} for colour in ("Red", "Blue")]
    assert [o.offer_id for o in read({"@type": "ProductGroup", "hasVariant": rows}).offers] == [
        "D/Red",
        "D/Blue",
    ]


def test_references_are_followed_through_the_graph() -> None:
    graph = [
        {"@type": "WebPage", "mainEntity": {"@id": "#product"}},
        product(**{"@id": "#product", "offers": {"@id": "#offer"}, "brand": {"@id": "#brand"}}),
        offer(**{"@id": "#offer", "price": "45.00"}),
        {"@type": "Brand", "@id": "#brand", "name": "Hockey"},
    ]
    event = read({"@context": "https://schema.org", "@graph": graph})
    assert (event.vendor, prices(event)) == ("Hockey", [("default", 4500, None)])


def test_a_reference_to_itself_ends() -> None:
    assert refusal(product(**{"@id": "#a", "offers": {"@id": "#a"}})) in ("no_price", "no_offers")


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ({"@type": "AggregateOffer", "lowPrice": "45.00", "highPrice": "45.00"}, [("default", 4500, None)]),
        ({"@type": "AggregateOffer", "lowPrice": 45, "offerCount": 1}, [("default", 4500, None)]),
        (
            {"@type": "AggregateOffer", "lowPrice": 1, "highPrice": 99, "offers": [offer(sku="A")]},
            [("A", 6000, None)],
        ),
        (
            offer(price=None, priceSpecification={"@type": "UnitPriceSpecification", "price": "55.00"}),
            [("default", 5500, None)],
        ),
        (
            offer(
                price="45.00",
                priceSpecification=[
                    {"price": "39.00", "validForMemberTier": {"name": "gold"}},
                    {"price": "45.00"},
                    {"price": 60, "priceType": "https://schema.org/StrikethroughPrice"},
                ],
            ),
            [("default", 4500, 6000)],
        ),
        ([offer(sku="A"), offer(sku="A", price="70.00", priceCurrency="EUR")], [("A", 6000, None)]),
        (offer(price="$1,299.00"), [("default", 129_900, None)]),
        (offer(price=59.990000000000002), [("default", 5999, None)]),
    ],
)
def test_prices_are_found_wherever_an_offer_has_them(offers: Any, expected: list[Any]) -> None:
    assert prices(read(product(offers=offers))) == expected


@pytest.mark.parametrize(
    ("offers", "reason"),
    [
        (None, "no_offers"),
        ([], "no_offers"),
        ("free", "no_offers"),
        (offer(price=None), "no_price"),
        (offer(price=""), "no_price"),
        ({"@type": "AggregateOffer", "lowPrice": "45.00", "highPrice": "60.00"}, "no_price"),
        (offer(price="soon"), "unreadable_price"),
        (offer(price=True), "unreadable_price"),
        (offer(price=[]), "unreadable_price"),
        (offer(price="60 €"), "unreadable_price"),
        (offer(priceCurrency="EUR"), "other_currency"),
        (offer(priceSpecification={"price": "x", "priceType": "ListPrice"}), "unreadable_compare_at_price"),
        ([offer(sku="A"), offer(sku="A", price=1)], "conflicting_offers"),
    ],
)
def test_offers_that_cannot_be_read_refuse_the_listing(offers: Any, reason: str) -> None:
    assert refusal(product(offers=offers)) == reason


def test_a_range_is_no_price_even_where_opengraph_names_its_lower_end() -> None:
    head = '<meta property="og:type" content="product"><meta property="product:price:amount" content="45">'
    ranged = product(offers={"@type": "AggregateOffer", "lowPrice": "45.00", "highPrice": "60.00"})
    assert refusal(ranged, head=head) == "no_price"
    assert prices(read(product(offers=None), head=head)) == [("default", 4500, None)]


def test_opengraph_alone_is_read_and_never_all_that_there_is() -> None:
    head = """<meta property="og:type" content="og:product"><meta property="og:title" content="Deck">
    <meta property="product:price:amount" content="60.00">
    <meta property="product:price:currency" content="USD">
    <meta property="product:sale_price:amount" content="45.00"><meta property="og:image" content="/a.jpg">
    <meta property="product:original_price:amount" content="60.00">
    <meta property="product:availability" content="out of stock">
    <meta name="product:brand" content="Hockey">"""
    event = read(head=head)
    assert (event.title, event.vendor, event.image_url) == ("Deck", "Hockey", "https://shop.example/a.jpg")
    assert prices(event) == [("default", 4500, 6000)]
    assert (event.offers[0].availability, event.offers_complete) == ("out_of_stock", False)


def test_a_squarespace_page_is_read_by_the_variants_beside_its_chooser() -> None:
    rows = [
        {"id": "v-1", "sku": "SQ1", "price": 6000, "priceMoney": {"currency": "USD", "value": "60.00"}},
        {"id": "v-2", "sku": "SQ2", "price": 6000, "salePrice": 4500, "onSale": True, "unlimited": True},
    ]
    rows[0] |= {"qtyInStock": 0, "optionValues": [{"optionName": "Size", "value": "8.25"}]}
    chooser = f'<div class="product-variants" data-variants="{escape(json.dumps(rows))}"></div>'
    ranged = product(offers={"@type": "AggregateOffer", "lowPrice": "45.00", "highPrice": "60.00"})
    event = read(ranged, rest=chooser)
    assert (event.title, event.offers_complete) == ("Deck Red", True)
    assert prices(event) == [("v-1", 6000, None), ("v-2", 4500, 6000)]
    assert [o.availability for o in event.offers] == ["out_of_stock", "in_stock"]
    head = '<meta property="og:type" content="product"><meta property="og:title" content="Deck Blue">'
    assert read(head=head, rest=chooser).title == "Deck Blue"
    # What stands in its place is read as any page is.
    assert prices(read(product(), rest=chooser.replace("[", "{"))) == [("default", 6000, None)]
    assert refusal(rest=chooser.replace("USD", "CAD")) == "other_currency"


def test_json_ld_is_believed_before_microdata() -> None:
    rest = """<div itemscope itemtype="https://schema.org/Product"><b itemprop="name">Other</b>
    <span itemprop="offers" itemscope itemtype="https://schema.org/Offer">
    <b itemprop="price">1.00</b></span></div>"""
    assert read(product(), rest=rest).title == "Deck Red"
    assert read(product(offers=None), rest=rest).title == "Other"
    # What stands in a comment is not on the page.
    assert refusal(rest=f"<!-- {rest} -->") == "not_a_product"


def test_of_several_products_the_one_at_this_address_counts() -> None:
    other = product(name="Other", url="https://shop.example/products/other")
    assert read(other, product(url=URL)).title == "Deck Red"
    assert refusal(other, product(name="Third", url="https://shop.example/third")) == "not_a_product"
    # Two plugins that describe the same product.
    assert prices(read(product(offers=None), product(offers=offer(price="45.00")))) == [
        ("default", 4500, None)
    ]
    related = product(isRelatedTo=[product(name="Other")], isSimilarTo=product(name="Third"))
    assert read(related).title == "Deck Red"


@pytest.mark.parametrize(
    "block",
    [
        '{"@type": "Product", "name": "Deck Red", "offers": {"price": 60, }, } ',
        '{"@type": "Product", /* why */ "name": "Deck Red", // really\n "offers": [{"price": "60.00"},]}',
        '{"@type": "Product", "name": "Deck\nRed", "offers": {"price": "60.00"}}',
        '<!-- {"@type": "Product", "name": "Deck Red", "offers": {"price": "60.00"}} -->',
        '//<![CDATA[\n{"@type": "Product", "name": "Deck Red", "offers": {"price": "60.00"}}\n//]]>',
        '{"@type": "Product", "name": "Deck Red", "offers": {"price": "60.00"}};',
        "{&quot;@type&quot;: &quot;Product&quot;, &quot;name&quot;: &quot;Deck Red&quot;,"
        "&quot;offers&quot;: {&quot;price&quot;: 60}}",
        '{"@type": "http://schema.org/Product", "name": "Deck Red", "x": "\\ud83d", "offers": {"price": 60}}',
    ],
)
def test_what_a_lenient_reader_reads_is_read(block: str) -> None:
    event = read(block)
    assert event.title == "Deck Red"
    assert [o.price_minor for o in event.offers] == [6000]


@pytest.mark.parametrize(
    "block", ['{"@type": "Product", "name": "Deck', "{'@type': 'Product'}", "[[[[", "{" * 5000]
)
def test_a_broken_block_is_named_in_the_refusal(block: str) -> None:
    (reject,) = parse(page(block)).rejected
    assert (reject.reason, reject.detail) == (
        "not_a_product",
        "the page describes no product; 1 blocks of JSON-LD are unreadable",
    )


def test_a_broken_block_costs_no_other() -> None:
    assert read("{broken", product()).title == "Deck Red"


@pytest.mark.parametrize(
    ("stated", "known"),
    [
        ("https://schema.org/InStock", "in_stock"),
        ("http://schema.org/instock/", "in_stock"),
        ("schema:PreOrder", "in_stock"),
        ("in stock", "in_stock"),
        (["https://schema.org/BackOrder"], "in_stock"),
        ({"@id": "https://schema.org/SoldOut"}, "out_of_stock"),
        ("Out of Stock", "out_of_stock"),
        ("Discontinued", "out_of_stock"),
        ("InStoreOnly", "out_of_stock"),
        ("https://schema.org/", "unknown"),
        ("maybe", "unknown"),
        (None, "unknown"),
        (True, "unknown"),
    ],
)
def test_availabilities_are_addresses_or_words(stated: Any, known: str) -> None:
    assert read_availability(stated) == known


def test_amounts_follow_the_currencys_digits() -> None:
    assert [read_amount(60, currency) for currency in ("USD", "JPY", "KWD")] == [6000, 60, 60_000]
    assert [read_amount(value, "USD") for value in ("60 USD", "-1", "NaN", 10**30, "1e3")] == [
        6000,
        None,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("url", "listing_id"),
    [
        ("https://shop.example/products/deck-red/", "products/deck-red"),
        ("https://shop.example/p/d%C3%A9cor", "p/décor"),
        ("https://shop.example/item?id=5", "item?id=5"),
    ],
)
def test_a_listing_is_told_by_the_path_of_its_address(url: str, listing_id: str) -> None:
    assert read_listing_id(url) == listing_id


@pytest.mark.parametrize("url", ["https://shop.example/", "https://shop.example/" + "x" * 300])
def test_an_address_that_makes_no_id_is_digested(url: str) -> None:
    assert read_listing_id(url).startswith("sha256:")


def test_the_charset_is_that_which_the_page_names() -> None:
    body = page(product(name="Décor"), head="<meta charset='windows-1252'>").replace("\\u00e9", "é")
    assert parse(body.encode("cp1252")).observations[0].title == "Décor"
    assert parse(b"\xef\xbb\xbf" + page(product()).encode()).observations[0].title == "Deck Red"
    assert parse(page(product()).encode("utf-16")).observations[0].title == "Deck Red"
    assert parse(page(product(), head="<meta charset='hex'>")).observations[0].title == "Deck Red"


def test_a_bot_wall_and_a_page_beyond_the_limits_say_nothing_of_the_listing() -> None:
    wall = (
        "<html><title>Just a moment...</title><script src='/cdn-cgi/challenge-platform/h/b'></script></html>"
    )
    for body, reason in ((wall.encode(), "blocked"), (b"x" * (8 * 2**20 + 1), "too_large")):
        with pytest.raises(PageError) as caught:
            parse(body)
        assert caught.value.reason == reason


def test_a_page_within_the_limits_is_read_whatever_its_depth_and_width() -> None:
    deep = page(product(), rest="<div>" * 20_000)
    wide = page(product(), rest="<p itemscope itemprop=a>" * 20_000)
    nested: Any = product()
    for _ in range(200):
        nested = {"inner": [nested]}
    assert parse(deep).observations
    assert parse(wide).observations
    assert not parse(page(nested)).observations
