"""The way through a shop's pages, with pages made by hand: when it ends, and what is said at the end."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.crawl_ports import HandClock, LogCounts, LogFingerprints, MemoryLog, new_crawl_id

from skatestock.crawl.conditional import Fetched
from skatestock.crawl.errors import CrawlStoppedError
from skatestock.crawl.filter import UnchangedFilter
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.shops import load_shops
from skatestock.crawl.walk import CrawlOutcome, ShopCrawl
from skatestock.events.model import MAX_REJECTED

SHOP = load_shops()[0]
FOUR_A_PAGE = Politeness(page_limit=4, max_pages=8)


def product(number: int, price: str = "60.00") -> dict[str, Any]:
    return {"id": number, "handle": f"h{number}", "variants": [{"id": 1, "price": price}]}


def pages_of(numbers: list[int], size: int = 4) -> Callable[[int], list[Any]]:
    return lambda page: [product(number) for number in numbers[(page - 1) * size : page * size]]


class Walk:
    """Crawls of one shop, one after another, over pages that a function makes."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.clock = HandClock()
        self.asked: list[int] = []
        self.after: datetime | None = None

    async def crawl(
        self, pages: Callable[[int], list[Any]], politeness: Politeness = FOUR_A_PAGE
    ) -> CrawlOutcome:
        self.clock.advance(60)
        crawl_id = new_crawl_id()
        unchanged = await UnchangedFilter.open(None, SHOP.slug, crawl_id, None, LogFingerprints(self.log))
        crawl = ShopCrawl(
            SHOP,
            crawl_id,
            unchanged=unchanged,
            publisher=self.log,
            lease=None,
            clock=self.clock,
            after=self.after,
        )
        judgement = await crawl.read_shop(self._fetching(pages), LogCounts(self.log), politeness)
        return await crawl.complete(judgement, len(self.asked))

    def _fetching(self, pages: Callable[[int], list[Any]]) -> Callable[[str, str | None], Awaitable[Fetched]]:
        async def fetch(url: str, tag: str | None) -> Fetched:
            number = int(url.rpartition("=")[2])
            self.asked.append(number)
            return Fetched(body=json.dumps({"products": pages(number)}).encode())

        return fetch


async def test_a_shop_of_one_short_page_is_asked_once() -> None:
    walk = Walk()
    outcome = await walk.crawl(pages_of([1, 2, 3]))
    assert (outcome.complete, walk.asked) == (True, [1])


async def test_several_pages_end_with_a_short_or_empty_one_and_a_look_back() -> None:
    for count, asked in ((6, [1, 2, 1]), (8, [1, 2, 3, 1])):
        walk = Walk()
        outcome = await walk.crawl(pages_of(list(range(1, count + 1))))
        assert (outcome.complete, outcome.listings, walk.asked) == (True, count, asked)


async def test_a_shop_that_ignores_the_limit_is_read_to_its_end() -> None:
    walk = Walk()
    outcome = await walk.crawl(pages_of(list(range(1, 76)), size=30), Politeness(page_limit=250))
    assert (outcome.complete, outcome.listings, walk.asked) == (True, 75, [1, 2, 3, 1])


async def test_a_shop_that_shows_one_page_for_ever_drifts() -> None:
    walk = Walk()
    outcome = await walk.crawl(lambda page: [product(number) for number in (1, 2, 3, 4)])
    assert (outcome.reason, walk.asked) == ("drifted", [1, 2, 1, 2])


async def test_pages_without_end_are_left() -> None:
    walk = Walk()
    with pytest.raises(CrawlStoppedError) as caught:
        await walk.crawl(lambda page: [product(10 * page + number) for number in range(4)])
    assert (caught.value.reason, len(walk.asked)) == ("too_many_pages", 8)


async def test_a_first_page_that_changed_meanwhile_is_a_drift_and_mended_by_a_second_reading() -> None:
    walk = Walk()

    def moving(page: int) -> list[Any]:
        # Something new stands in front from the third request on.
        return pages_of([1, 2, 3, 4, 5] if len(walk.asked) <= 2 else [9, 1, 2, 3, 4, 5])(page)

    outcome = await walk.crawl(moving)
    assert (outcome.complete, outcome.listings, walk.asked) == (True, 6, [1, 2, 1, 1, 2, 1])


async def test_what_a_drifting_crawl_saw_is_said_all_the_same() -> None:
    walk = Walk()
    await walk.crawl(lambda page: [product(number) for number in (1, 2, 3, 4)])
    assert [event.listing_id for event in walk.log.observed()] == ["1", "2", "3", "4"]
    end = walk.log.completed()[-1]
    assert (end.complete, end.listing_ids) == (False, ("1", "2", "3", "4"))


async def test_a_shop_that_shrank_is_believed_at_the_fourth_time() -> None:
    walk = Walk()
    await walk.crawl(pages_of(list(range(10))))
    reasons = [(await walk.crawl(pages_of(list(range(6))))).reason for _ in range(5)]
    assert reasons == ["implausible"] * 3 + ["complete"] * 2


async def test_a_listing_that_changes_while_it_is_seen_twice_in_a_second_is_caught_up_with() -> None:
    walk = Walk()

    def falling(page: int) -> list[Any]:
        # Page 1 is asked twice within the same second, with another price the second time.
        price = "60.00" if len(walk.asked) <= 2 else "45.00"
        return [product(number, price) for number in ((1, 2, 3, 4), (5,))[page - 1]]

    await walk.crawl(falling)
    assert {e.offers[0].price_minor for e in walk.log.fold(SHOP.slug).values()} == {6000}
    await walk.crawl(falling)
    assert {e.offers[0].price_minor for e in walk.log.fold(SHOP.slug).values()} == {4500}


async def test_time_never_goes_backwards_between_crawls_or_within_one() -> None:
    walk = Walk()
    first = await walk.crawl(pages_of([1]))
    walk.after = first.completed_at
    walk.clock.advance(-3600)

    def back(page: int) -> list[Any]:
        walk.clock.advance(-60)
        return [product(1, "45.00")]

    second = await walk.crawl(back)
    assert second.started_at == first.completed_at + timedelta(seconds=1)
    assert second.completed_at >= second.started_at
    assert walk.log.fold(SHOP.slug)["1"].offers[0].price_minor == 4500


async def test_rejects_are_counted_and_listed_up_to_the_limit() -> None:
    walk = Walk()
    bad = [{"id": number, "handle": f"h{number}"} for number in range(MAX_REJECTED + 5)]
    outcome = await walk.crawl(lambda page: bad, Politeness(page_limit=5000))
    end = walk.log.completed()[-1]
    assert (outcome.rejected, end.rejected_total, len(end.rejected)) == (1005, 1005, 1000)
    assert len(end.listing_ids) == 1005
    assert {reject.reason for reject in end.rejected} == {"no_offers"}


async def test_a_page_that_is_read_again_counts_its_rejects_once() -> None:
    walk = Walk()
    pages = [[product(1), product(2), product(3), {"id": 4}], [product(5)]]
    outcome = await walk.crawl(lambda page: pages[page - 1])
    assert (outcome.complete, outcome.rejected, outcome.pages) == (True, 1, 3)
