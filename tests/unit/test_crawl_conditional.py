"""What lets a page be asked for conditionally: its tag, how it was read, and the last states it showed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from skatestock.crawl.conditional import MAX_AGE, KnownPage, describe_reading, parse_entity_tag, to_known_page
from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.crawl.platforms.shopify import parse_products_page
from skatestock.crawl.shops import load_shops

SHOP = load_shops()[0]
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
URL = "https://shop.example/products.json?limit=250&page=1"


def read_page(*prices: str) -> ParsedPage:
    products = [
        {"id": number, "handle": f"h{number}", "variants": [{"id": 1, "price": price}]}
        for number, price in enumerate(prices, 1)
    ]
    sighting = Sighting(shop=SHOP, crawl_id="c", observed_at=AT)
    return parse_products_page(json.dumps({"products": products}).encode(), sighting)


def known_page(page: ParsedPage) -> KnownPage:
    known = to_known_page(page, '"a"', "rules", AT)
    assert known is not None
    return known


@pytest.mark.parametrize("tag", ['"a"', 'W/"cacheable:0f3c"', ' "a" ', 'W/"a--gzip"'])
def test_an_entity_tag_is_sent_back_as_it_came(tag: str) -> None:
    assert parse_entity_tag(tag) == tag.strip()


@pytest.mark.parametrize(
    "text", [None, "", "a", '"', '""', '"a', 'w/"a"', '"a" "b"', '"a\r\nX: y"', '"é"', "*"]
)
def test_what_is_no_entity_tag_is_never_sent_back(text: str | None) -> None:
    assert parse_entity_tag(text) is None


def test_a_page_stands_while_its_listings_last_showed_what_it_shows() -> None:
    page = read_page("60.00", "45.00")
    known = known_page(page)
    last = {event.listing_id: event.fingerprint for event in page.observations}
    assert known.still_stands("rules", AT, last)
    assert known.to_page().listing_ids == page.listing_ids
    assert not known.still_stands("rules", AT, last | {"2": b"another"})
    assert not known.still_stands("rules", AT, {"1": last["1"]})
    assert not known.still_stands("rules", AT, {"1": last["2"], "2": last["1"]})
    assert not known.still_stands("other rules", AT, last)


@pytest.mark.parametrize(
    ("age", "stands"),
    [
        (MAX_AGE - timedelta(seconds=1), True),
        (MAX_AGE, False),
        # A clock that was set back says nothing of a page's age.
        (-timedelta(seconds=1), False),
    ],
)
def test_a_page_is_read_whole_again_after_a_while(age: timedelta, stands: bool) -> None:
    assert known_page(read_page()).still_stands("rules", AT + age, {}) == stands


def test_a_page_without_a_tag_or_with_a_reject_is_not_remembered() -> None:
    assert to_known_page(read_page("60.00"), None, "rules", AT) is None
    assert to_known_page(read_page("60.00", "cheap"), '"a"', "rules", AT) is None


def test_a_new_parser_another_entry_of_the_shop_or_address_is_another_reading() -> None:
    readings = {
        describe_reading(SHOP, URL, "shopify", 1),
        describe_reading(SHOP, URL, "shopify", 2),
        describe_reading(SHOP, URL + "0", "shopify", 1),
        describe_reading(msgspec.structs.replace(SHOP, currency="CAD"), URL, "shopify", 1),
    }
    assert len(readings) == 4
    assert describe_reading(SHOP, URL, "shopify", 1) in readings
