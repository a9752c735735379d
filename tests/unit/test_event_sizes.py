"""No event outgrows what a log takes, whatever a shop shows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.crawl_ports import HandClock, LogCounts, LogFingerprints, MemoryLog

from skatestock.crawl.conditional import Fetched
from skatestock.crawl.errors import CrawlStoppedError
from skatestock.crawl.filter import UnchangedFilter
from skatestock.crawl.observing import Sighting
from skatestock.crawl.platforms.shopify import parse_products_page
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.shops import load_shops
from skatestock.crawl.walk import ShopCrawl, judge_error
from skatestock.events.codec import decode, encode
from skatestock.events.model import MAX_REJECTED, CrawlCompleted, ListingObserved, OfferObserved
from skatestock.events.model import RejectedObservation as Reject
from skatestock.events.sense import (
    MAX_OFFER_CHARACTERS,
    MAX_OFFERS,
    MAX_OPTIONS,
    MAX_TITLE_LENGTH,
    MAX_URL_LENGTH,
    find_nonsense,
)
from skatestock.events.size import (
    MAX_EVENT_BYTES,
    MAX_LISTING_IDS_BYTES,
    MAX_REJECTED_BYTES,
    choose_rejected,
    measure_reject,
    measure_text,
)
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import MAX_MINOR

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = load_shops()[0]
LETTERS = st.sampled_from(("a", "é", "語", "😀"))


def make_listing(letter: str, offers: int, options: int, characters: int) -> ListingObserved:
    """Make a listing with about so many characters in its offers, and every other text at its longest."""
    word = max(0, characters // offers - 5)
    title, rest = min(word, 500), max(0, word - 500)
    sku, rest = min(rest, 500), max(0, rest - 500)
    value = min(rest // max(1, options), 490)
    made = [
        OfferObserved(
            offer_id=f"{number:05}",
            title=letter * title,
            sku=letter * sku,
            options={f"{option:02}": letter * max(0, value - 2) for option in range(options)},
            price_minor=MAX_MINOR,
            compare_at_minor=MAX_MINOR,
            availability=Availability.OUT_OF_STOCK,
        )
        for number in range(offers)
    ]
    return ListingObserved(
        event_id="e" * 255,
        shop="s" * 255,
        crawl_id=letter * 255,
        listing_id=letter * 255,
        observed_at=NOW,
        url=letter * MAX_URL_LENGTH,
        handle=letter * 500,
        title=letter * MAX_TITLE_LENGTH,
        name=letter * MAX_TITLE_LENGTH,
        vendor=letter * 500,
        brand=letter * 500,
        colourway=letter * 500,
        product_type=letter * 500,
        image_url=letter * MAX_URL_LENGTH,
        currency="USD",
        offers=tuple(made),
        parser=letter * 255,
        parser_version=2**31 - 1,
        fingerprint=b"\0" * 32,
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    letter=LETTERS,
    offers=st.integers(1, MAX_OFFERS),
    options=st.integers(0, MAX_OPTIONS + 1),
    characters=st.integers(0, 2 * MAX_OFFER_CHARACTERS),
)
@example(letter="😀", offers=MAX_OFFERS, options=MAX_OPTIONS, characters=MAX_OFFER_CHARACTERS)
@example(letter="😀", offers=MAX_OFFERS, options=0, characters=MAX_OFFER_CHARACTERS)
@example(letter="😀", offers=200, options=MAX_OPTIONS, characters=MAX_OFFER_CHARACTERS)
def test_a_listing_either_fits_or_makes_no_sense(
    letter: str, offers: int, options: int, characters: int
) -> None:
    event = make_listing(letter, offers, options, characters)
    if find_nonsense(event) is None:
        assert len(encode(event)) < MAX_EVENT_BYTES


def test_the_largest_listing_that_makes_sense_is_one() -> None:
    event = make_listing("😀", MAX_OFFERS, 0, MAX_OFFER_CHARACTERS)
    assert find_nonsense(event) is None
    assert len(encode(event)) > MAX_EVENT_BYTES // 2


REJECTS = st.builds(
    lambda letter, listing_id, detail, excerpt: Reject(
        listing_id=letter * listing_id if listing_id else None,
        reason="senseless",
        detail=letter * detail,
        position=letter * 500,
        excerpt=letter * excerpt,
    ),
    letter=LETTERS,
    listing_id=st.sampled_from((0, 1, 255)),
    detail=st.sampled_from((0, 100, 2000)),
    excerpt=st.sampled_from((0, 300, 2000)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kinds=st.lists(REJECTS, min_size=1, max_size=5), repeats=st.integers(1, 400), letter=LETTERS)
def test_the_end_of_a_crawl_fits_with_as_many_rejects_and_ids_as_it_may_have(
    kinds: list[Reject], repeats: int, letter: str
) -> None:
    rejected = kinds * repeats
    chosen = choose_rejected(rejected)
    assert chosen == tuple(rejected[: len(chosen)])
    if len(chosen) < min(len(rejected), MAX_REJECTED):
        assert sum(map(measure_reject, rejected[: len(chosen) + 1])) > MAX_REJECTED_BYTES
    width = measure_text(letter * 249 + "123456")
    ids = tuple(f"{letter * 249}{number:06}" for number in range(MAX_LISTING_IDS_BYTES // width))
    event = make_end(ids, chosen, len(rejected))
    value = encode(event)
    assert MAX_LISTING_IDS_BYTES * 0.9 < len(value) < MAX_EVENT_BYTES
    assert decode(value, clock=lambda: NOW) == event
    assert find_nonsense(make_end((*ids, "x", "y" * 255, "z" * 255, letter * 255, letter * 254), (), 0))


def make_end(listing_ids: tuple[str, ...], rejected: tuple[Reject, ...], total: int) -> CrawlCompleted:
    return CrawlCompleted(
        event_id="e" * 255,
        shop="s" * 255,
        crawl_id="😀" * 255,
        started_at=NOW,
        completed_at=NOW,
        complete=False,
        reason="drifted",
        detail="😀" * 2000,
        pages=1,
        requests=1,
        listing_ids=listing_ids,
        changed=0,
        rejected=rejected,
        rejected_total=total,
    )


async def end_crawl(products: list[Any], politeness: Politeness) -> CrawlCompleted:
    """Crawl pages of so many products each, and return the end that was said."""
    log, limit = MemoryLog(), politeness.page_limit
    unchanged = await UnchangedFilter.open(None, SHOP.slug, "c", None, LogFingerprints(log))
    crawl = ShopCrawl(
        SHOP, "c", unchanged=unchanged, publisher=log, lease=None, clock=HandClock(), after=None
    )

    async def fetch(url: str, tag: str | None) -> Fetched:
        number = int(url.rpartition("=")[2])
        page = products[(number - 1) * limit : number * limit]
        return Fetched(body=json.dumps({"products": page}, ensure_ascii=False).encode())

    try:
        judgement = await crawl.read_shop(fetch, LogCounts(log), politeness)
    except CrawlStoppedError as error:
        judgement, _ = judge_error(error)
    await crawl.complete(judgement, 1)
    assert all(len(message.value) < MAX_EVENT_BYTES for message in log.messages)
    return log.completed()[-1]


async def test_a_shop_full_of_long_broken_products_ends_with_as_many_as_fit() -> None:
    products = [{"id": number, "handle": "h", "title": "😀" * 3000} for number in range(1200)]
    end = await end_crawl(products, Politeness(page_limit=250))
    assert (end.reason, end.rejected_total, len(end.listing_ids)) == ("complete", 1200, 1200)
    assert 300 < len(end.rejected) < MAX_REJECTED


async def test_a_shop_with_more_listings_than_an_event_can_name_is_too_large() -> None:
    def product(number: int) -> dict[str, Any]:
        listing_id = f"{'語' * 240}{number:010}"
        return {"id": listing_id, "handle": "h", "variants": [{"id": 1, "price": "1.00"}]}

    end = await end_crawl([product(number) for number in range(6000)], Politeness(page_limit=1000))
    assert (end.complete, end.reason, len(end.listing_ids)) == (False, CrawlReason.TOO_LARGE, 5000)
    assert "listings" in end.detail


@pytest.mark.parametrize(
    ("variants", "title", "detail"),
    [(4000, "x" * 400, "characters"), (5001, "x", "5001 offers")],
)
def test_a_listing_beyond_the_limits_is_rejected_alone(variants: int, title: str, detail: str) -> None:
    huge = [{"id": number, "price": "1.00", "title": title} for number in range(variants)]
    products = [
        {"id": 1, "handle": "huge", "variants": huge},
        {"id": 2, "handle": "usual", "variants": [{"id": 1, "price": "1.00"}]},
    ]
    body = json.dumps({"products": products}).encode()
    page = parse_products_page(body, Sighting(shop=SHOP, crawl_id="c", observed_at=NOW))
    assert [event.listing_id for event in page.observations] == ["2"]
    (reject,) = page.rejected
    assert (reject.listing_id, reject.reason) == ("1", "senseless")
    assert detail in reject.detail
