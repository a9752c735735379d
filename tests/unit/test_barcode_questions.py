"""Asking a shop for barcodes: within its limits, never at the cost of a listing, and not once it says no."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.crawl_ports import HandClock, LogCounts, LogFingerprints, MemoryLog, new_crawl_id
from tests.event_strategies import listings
from tests.ingest_shop import offer, seen

from skatestock.crawl.barcodes import BarcodeQuestions, with_barcodes
from skatestock.crawl.conditional import Fetched
from skatestock.crawl.errors import CrawlStoppedError
from skatestock.crawl.filter import UnchangedFilter
from skatestock.crawl.platforms.shopify_cents import ProductObjects
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.shops import load_shops
from skatestock.crawl.walk import CrawlOutcome, ShopCrawl, judge_error
from skatestock.events.model import ListingObserved
from skatestock.events.sense import MAX_OFFER_CHARACTERS, MAX_OFFERS, find_nonsense

SHOP = msgspec.structs.replace(load_shops()[0], barcodes=True, barcodes_per_crawl=3)
POLITE = Politeness(page_limit=4)

Answer = bytes | CrawlStoppedError


def barcode_of(number: int) -> str:
    return f"40063813339{number:02d}"


def product_object(number: int) -> bytes:
    return json.dumps({"variants": [{"id": 1, "price": 6000, "barcode": barcode_of(number)}]}).encode()


class AskedShop:
    """Crawls of a shop of a few listings, with answers made by hand."""

    def __init__(self, answers: Mapping[int, Answer] | None = None, listings: int = 2) -> None:
        self.answers: dict[int, Answer] = {number: product_object(number) for number in range(1, 20)}
        self.answers.update(answers or {})
        self.prices = dict.fromkeys(range(1, listings + 1), "60.00")
        self.asked: list[int] = []
        self.log = MemoryLog()
        self.clock = HandClock()
        self.shop = SHOP

    async def fetch(self, url: str, tag: str | None) -> Fetched:
        first = 4 * (int(url.rpartition("=")[2]) - 1)
        rows = [
            {"id": number, "handle": f"h{number}", "variants": [{"id": 1, "price": price}]}
            for number, price in list(self.prices.items())[first : first + 4]
        ]
        return Fetched(body=json.dumps({"products": rows}).encode())

    async def fetch_once(self, url: str) -> Fetched:
        number = int(url.removeprefix(f"{SHOP.url}/products/h").removesuffix(".js"))
        self.asked.append(number)
        answer = self.answers[number]
        if isinstance(answer, CrawlStoppedError):
            raise answer
        return Fetched(body=answer)

    async def crawl(self) -> CrawlOutcome:
        self.clock.advance(60)
        crawl_id = new_crawl_id()
        unchanged = await UnchangedFilter.open(None, SHOP.slug, crawl_id, None, LogFingerprints(self.log))
        crawl = ShopCrawl(
            self.shop,
            crawl_id,
            unchanged=unchanged,
            publisher=self.log,
            lease=None,
            clock=self.clock,
            after=None,
        )
        try:
            judgement = await crawl.read_shop(self.fetch, LogCounts(self.log), POLITE, self.fetch_once)
        except CrawlStoppedError as error:
            judgement, pause = judge_error(error)
            return await crawl.complete(judgement, 0, pause)
        return await crawl.complete(judgement, 0)

    def said(self) -> dict[str, str | None]:
        return {event.listing_id: event.offers[0].barcode for event in self.log.fold(SHOP.slug).values()}


async def test_new_listings_are_said_with_their_barcodes() -> None:
    shop = AskedShop()
    outcome = await shop.crawl()
    assert (outcome.complete, outcome.changed, shop.asked) == (True, 2, [1, 2])
    assert shop.said() == {"1": barcode_of(1), "2": barcode_of(2)}


async def test_only_what_has_changed_is_asked_for_and_nothing_flips() -> None:
    shop = AskedShop()
    for _ in range(3):
        await shop.crawl()
    assert (shop.asked, len(shop.log.observed())) == ([1, 2], 2)
    shop.prices[2] = "45.00"
    assert (await shop.crawl()).changed == 1
    assert shop.asked == [1, 2, 2]


async def test_a_crawl_that_asks_and_one_that_does_not_see_the_same_listing() -> None:
    shop = AskedShop()
    for asks in (True, False, True, False):
        shop.shop = msgspec.structs.replace(SHOP, barcodes=asks)
        await shop.crawl()
    assert len(shop.log.observed()) == 2


async def test_a_shop_that_nobody_said_to_ask_is_not_asked() -> None:
    shop = AskedShop()
    shop.shop = load_shops()[0]
    await shop.crawl()
    assert (shop.asked, set(shop.said().values())) == ([], {None})


async def test_no_more_is_asked_than_the_shop_allows_in_one_crawl() -> None:
    shop = AskedShop(listings=7)
    outcome = await shop.crawl()
    assert (outcome.complete, outcome.changed, shop.asked) == (True, 7, [1, 2, 3])
    assert [number for number, barcode in shop.said().items() if barcode is None] == ["4", "5", "6", "7"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"{",
        b"[1]",
        b'{"variants": 7}',
        b'{"variants": [7]}',
        b"\xff\xfe",
        b'{"variants": []}',
        b'{"variants": [{"id": 99, "barcode": "1"}, {"id": null}, {"id": 1, "barcode": [1]}]}',
        CrawlStoppedError(CrawlReason.REFUSED, "404", gone=True),
    ],
)
async def test_an_answer_that_is_of_no_use_leaves_its_listing_without_barcodes(answer: Answer) -> None:
    shop = AskedShop({1: answer})
    outcome = await shop.crawl()
    assert (outcome.complete, shop.asked) == (True, [1, 2])
    assert shop.said() == {"1": None, "2": barcode_of(2)}


@pytest.mark.parametrize(
    "reason",
    [
        CrawlReason.ROBOTS_DISALLOWED,
        CrawlReason.RATE_LIMITED,
        CrawlReason.SERVER_ERROR,
        CrawlReason.TIMED_OUT,
        CrawlReason.REDIRECTED_AWAY,
    ],
)
async def test_a_refusal_ends_the_questions_but_not_the_crawl(reason: CrawlReason) -> None:
    shop = AskedShop({1: CrawlStoppedError(reason, "no", 3600)}, listings=6)
    outcome = await shop.crawl()
    assert (outcome.complete, outcome.changed, shop.asked) == (True, 6, [1])
    assert outcome.retry_not_before is None
    assert set(shop.said().values()) == {None}


@pytest.mark.parametrize("reason", [CrawlReason.BLOCKED, CrawlReason.RETRY_LATER])
async def test_a_shop_that_wants_to_be_left_alone_is_and_what_was_seen_is_said(reason: CrawlReason) -> None:
    shop = AskedShop({2: CrawlStoppedError(reason, "leave us alone", 3600)}, listings=6)
    outcome = await shop.crawl()
    assert (outcome.reason, outcome.changed, shop.asked) == (reason, 4, [1, 2])
    assert outcome.retry_not_before == shop.clock.now + timedelta(seconds=3600)
    assert shop.said() == {"1": barcode_of(1), "2": None, "3": None, "4": None}


async def test_barcodes_do_not_take_the_time_that_the_pages_need() -> None:
    shop, seconds, kept = AskedShop(listings=3), iter((0.0, 9.0, 10.0)), []
    await shop.crawl()

    async def keep(url: str, answer: Fetched) -> None:
        kept.append(url)

    questions = BarcodeQuestions(
        ProductObjects(SHOP.url),
        shop.fetch_once,
        keep,
        shop=SHOP.slug,
        most=9,
        patience_seconds=10,
        clock=lambda: next(seconds),
    )
    shop.asked.clear()
    told = await questions.add_barcodes(shop.log.observed())
    assert (shop.asked, len(told)) == ([1, 2], 3)
    assert kept == [f"{SHOP.url}/products/h1.js", f"{SHOP.url}/products/h2.js"]


@given(event=listings, data=st.data())
def test_barcodes_change_nothing_else_of_an_observation(event: ListingObserved, data: st.DataObject) -> None:
    ids = [offer.offer_id for offer in event.offers]
    barcodes = data.draw(st.dictionaries(st.sampled_from([*ids, "of another"]), st.from_regex(r"\A[0-9]+\Z")))
    told = with_barcodes(event, barcodes)
    assert find_nonsense(told) is None
    for before, after in zip(event.offers, told.offers, strict=True):
        if find_nonsense(event) is None and len(barcodes.get(before.offer_id, "")) <= 500:
            assert after.barcode == barcodes.get(before.offer_id, before.barcode)
        assert msgspec.structs.replace(after, barcode=before.barcode) == before
    assert msgspec.structs.replace(told, offers=event.offers) == event


def test_a_listing_that_is_full_is_said_without_barcodes() -> None:
    title = "x" * (MAX_OFFER_CHARACTERS // MAX_OFFERS - 5)
    words: dict[str, Any] = {"title": title, "options": {}, "sku": None}
    event = seen(0, *(offer(offer_id=f"{number:05}", **words) for number in range(MAX_OFFERS)))
    assert find_nonsense(event) is None
    assert with_barcodes(event, {"00001": "4006381333931"}) is event
