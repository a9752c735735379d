"""The recorded feeds: what is read of them, against an expectation computed from the files alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.crawl.errors import FeedError
from skatestock.crawl.feeds import ParsedFeed, feed_events, parse_feed, parse_feed_name
from skatestock.crawl.shops import get_shop, load_shops
from skatestock.events.codec import decode, encode
from skatestock.events.model import CrawlCompleted

SHOPS = load_shops()
DAY = date(2024, 12, 12)


def parse(*rows: Any, slug: str = "labor") -> ParsedFeed:
    name = f"2024-12-12_{slug}.json"
    return parse_feed(json.dumps(rows).encode(), get_shop(SHOPS, slug), DAY, name)


def row(**changes: Any) -> dict[str, Any]:
    known = {"title": "Deck - Red/Blue", "salePrice": "$40.00", "originalPrice": "$80.00", "productId": 7}
    known |= {
        "link": "https://laborskateshop.com/products/deck?variant=1",
        "image": "https://x.example/a.jpg",
    }
    return {key: value for key, value in (known | changes).items() if value is not None}


def offer(**changes: Any) -> tuple[str, int, int | None]:
    (event,) = parse(row(**changes)).observations
    (only,) = event.offers
    return only.offer_id, only.price_minor, only.compare_at_minor


@pytest.fixture(scope="module")
def feeds(shared_data: Path) -> dict[str, ParsedFeed]:
    found = {}
    for file in sorted((shared_data / "recorded-feeds").glob("*.json")):
        day, slug = parse_feed_name(str(file))
        found[file.name] = parse_feed(file.read_bytes(), get_shop(SHOPS, slug), day, file.name)
    assert len(found) == 28
    return found


def raw_rows(shared_data: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((shared_data / "recorded-feeds" / name).read_bytes())
    return rows


def cents(text: str | None) -> int | None:
    """Read an amount the plainest way: the figures of the files are all dollars with a point."""
    figures = re.findall(r"\d+(?:\.\d+)?", text or "")
    return round(float(figures[0]) * 100) if figures else None


def test_every_row_of_every_feed_is_an_offer_with_its_own_price(
    shared_data: Path, feeds: dict[str, ParsedFeed]
) -> None:
    for name, feed in feeds.items():
        expected: dict[tuple[str, str], tuple[int | None, int | None]] = {}
        for item in raw_rows(shared_data, name):
            path = urlsplit(item["link"]).path
            price, _, was = (item.get("salePrice") or item["price"]).partition(" was ")
            if "/products/" in path:
                variant = str(item["productId"]) if feed.shop == "nj" and "productId" in item else "default"
                was_minor = cents(was or item.get("originalPrice"))
                expected[path.rpartition("/")[2], variant] = (cents(price), was_minor)
        read = {
            (event.handle, offer.offer_id): (offer.price_minor, offer.compare_at_minor)
            for event in feed.observations
            for offer in event.offers
        }
        assert read == expected
        assert all(event.listing_id == event.handle for event in feed.observations)
        assert {event.observed_at.isoformat()[:10] for event in feed.observations} == {name[:10]}


def test_1967_listings_less_three_links_that_lead_to_no_product(feeds: dict[str, ParsedFeed]) -> None:
    listings = {(feed.shop, event.listing_id) for feed in feeds.values() for event in feed.observations}
    rejected = [reject for feed in feeds.values() for reject in feed.rejected]
    assert sum(feed.rows for feed in feeds.values()) == 4824
    assert len(listings) == 1967 - 3
    assert Counter(reject.reason for reject in rejected) == {"not_a_product": 3}
    assert {reject.position for reject in rejected} == {
        f"2024-08-17_premier.json, row {n}" for n in (49, 50, 51)
    }


def test_281_listings_have_different_sale_prices_on_different_days(feeds: dict[str, ParsedFeed]) -> None:
    days: dict[tuple[str, str], list[frozenset[int]]] = {}
    for feed in feeds.values():
        for event in feed.observations:
            prices = frozenset(offer.price_minor for offer in event.offers)
            days.setdefault((feed.shop, event.listing_id), []).append(prices)
    assert sum(len(seen) > 1 for seen in days.values()) == 920
    assert sum(len(set(seen)) > 1 for seen in days.values()) == 281


def test_nothing_is_said_of_stock_and_nothing_is_complete(feeds: dict[str, ParsedFeed]) -> None:
    for feed in feeds.values():
        *observed, end = feed_events(feed)
        assert isinstance(end, CrawlCompleted)
        assert (end.complete, end.reason, end.rejected_total) == (False, "sale_feed", len(feed.rejected))
        assert tuple(observed) == feed.observations
        for event in feed.observations:
            assert not event.offers_complete
            assert {offer.availability for offer in event.offers} == {"unknown"}


def test_what_was_noted_is_what_the_files_lack(shared_data: Path, feeds: dict[str, ParsedFeed]) -> None:
    notes: Counter[str] = Counter()
    for feed in feeds.values():
        notes.update(feed.notes)
    rows = [item for name in feeds for item in raw_rows(shared_data, name) if "/products/" in item["link"]]
    untitled = sum("No title" in item["title"] for item in rows)
    zero = sum(item.get("salePrice") in ("$0.00", "$ 0.00") for item in rows)
    no_was = sum(
        cents(item.get("originalPrice")) is None and " was " not in item.get("price", "") for item in rows
    )
    from_prices = sum(item.get("salePrice", "").startswith("From ") for item in rows)
    assert notes == {"no_title": untitled, "no_compare_at": no_was, "from_price": from_prices}
    prices = [
        offer.price_minor for feed in feeds.values() for event in feed.observations for offer in event.offers
    ]
    assert prices.count(0) == zero == 4


def test_the_same_file_gives_the_same_events_and_another_file_other_ids(feeds: dict[str, ParsedFeed]) -> None:
    name, feed = next(iter(feeds.items()))
    assert len({other.crawl_id for other in feeds.values()}) == 28
    event_ids = [event.event_id for feed in feeds.values() for event in feed_events(feed)]
    assert len(set(event_ids)) == len(event_ids)
    assert parse(row()) == parse(row())
    assert name.startswith(feed.observed_at.date().isoformat())


def test_every_event_of_the_feeds_can_be_said(feeds: dict[str, ParsedFeed]) -> None:
    for event in feed_events(feeds["2024-12-12_nj.json"]):
        assert decode(encode(event), clock=lambda: datetime(2026, 1, 1, tzinfo=UTC)) == event


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"salePrice": "$22", "originalPrice": "$35"}, (2200, 3500)),
        ({"salePrice": "$ 48.00", "originalPrice": "$ 60.00"}, (4800, 6000)),
        ({"salePrice": "$38.80", "originalPrice": "$72.00"}, (3880, 7200)),
        ({"salePrice": "$72.00", "originalPrice": "$38.80"}, (7200, 3880)),
        ({"salePrice": "$1,299.00 USD"}, (129900, 8000)),
        ({"salePrice": "From $24.99 USD", "originalPrice": None}, (2499, None)),
        ({"salePrice": "$0.00"}, (0, 8000)),
        ({"originalPrice": "No original price found"}, (4000, None)),
        ({"originalPrice": ""}, (4000, None)),
        ({"salePrice": None, "originalPrice": None, "price": "$ 60.00 was $ 120.00"}, (6000, 12000)),
        ({"salePrice": None, "originalPrice": None, "price": "2 USD"}, (200, None)),
    ],
)
def test_every_dirty_kind_of_price_is_read(changes: dict[str, Any], expected: tuple[int, int | None]) -> None:
    assert offer(**changes) == ("default", *expected)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("row", "not_an_object"),
        (None, "not_an_object"),
        (row(link=None), "no_handle"),
        (row(link=5), "no_handle"),
        (row(link="https://[x/products/a"), "no_handle"),
        (row(link="https://x.example/products/%00"), "no_handle"),
        (row(link="https://x.example/products/"), "not_a_product"),
        (row(link="https://x.example/pages/about"), "not_a_product"),
        (row(salePrice=None), "no_price"),
        (row(salePrice="No price found"), "no_price"),
        (row(salePrice="call us"), "unreadable_price"),
        (row(salePrice="$-"), "unreadable_price"),
        (row(salePrice="€40.00"), "other_currency"),
        (row(originalPrice="soon"), "unreadable_compare_at_price"),
    ],
)
def test_an_unusable_row_is_rejected_alone_with_its_reason(bad: Any, reason: str) -> None:
    feed = parse(row(), bad, row(link="https://laborskateshop.com/products/other"))
    assert [event.handle for event in feed.observations] == ["deck", "other"]
    (reject,) = feed.rejected
    assert (reject.reason, reject.position) == (reason, "2024-12-12_labor.json, row 2")


def test_a_missing_title_comes_from_the_handle_and_nothing_found_is_nothing() -> None:
    (event,) = parse(
        row(title="No title found", productType="No type found", image="No image found")
    ).observations
    assert (event.title, event.product_type, event.image_url) == ("Deck", None, None)
    (template,) = parse(row(image="https://x.example/a_{width}x.jpg")).observations
    assert template.image_url is None


def test_rows_of_nj_are_variants_of_one_listing_and_elsewhere_a_listing_each() -> None:
    link = "https://njskateshop.com/collections/sale/products/tee"
    rows = [
        row(link=link, productId=1),
        row(link=link, productId=2, salePrice="$30.00"),
        row(link=link, productId=1),
    ]
    (event,) = parse(*rows, slug="nj").observations
    assert [(o.offer_id, o.price_minor) for o in event.offers] == [("1", 4000), ("2", 3000)]
    assert event.url == link
    (early,) = parse(row(link=link, productId=None), slug="nj").observations
    assert early.offers[0].offer_id == "default"


def test_of_two_prices_for_one_offer_the_first_stands_and_the_other_is_rejected() -> None:
    feed = parse(row(), row(), row(salePrice="$30.00"))
    assert [(o.offer_id, o.price_minor) for o in feed.observations[0].offers] == [("default", 4000)]
    assert [(r.reason, r.listing_id) for r in feed.rejected] == [("conflicting_offers", "deck")]


@pytest.mark.parametrize(
    "name", ["labor.json", "2024-13-01_labor.json", "2024-09-10_labor.csv", "x/2024-09-10.json"]
)
def test_a_file_without_day_and_shop_in_its_name_is_refused(name: str) -> None:
    with pytest.raises(FeedError, match=r"2024-09-10_labor\.json"):
        parse_feed_name(name)


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"null"])
def test_a_file_that_is_no_array_is_refused_whole(body: bytes) -> None:
    with pytest.raises(FeedError, match=r"2024-12-12_labor\.json"):
        parse_feed(body, SHOPS[2], DAY, "2024-12-12_labor.json")


VALUES = st.none() | st.integers() | st.text(max_size=30) | st.lists(st.integers(), max_size=2)
ROWS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("title", "salePrice", "price", "originalPrice", "productId", "image", "productType"), VALUES
    ),
)


@given(st.lists(ROWS, max_size=4), st.sampled_from(["labor", "nj"]))
def test_whatever_rows_hold_each_is_used_or_rejected(rows: list[dict[str, Any]], slug: str) -> None:
    linked = [{"link": f"https://x.example/products/p{n}", **item} for n, item in enumerate(rows)]
    feed = parse(*linked, slug=slug)
    assert len(feed.observations) + len(feed.rejected) == len(rows)
    for event in feed_events(feed):
        encode(event)
