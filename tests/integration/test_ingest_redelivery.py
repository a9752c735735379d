"""Whatever crawls say, in whatever batches and however often: the history is that of a simple model, once.

The model below shares nothing with the pipeline: it keeps for every offer the plain course of its believed
price and of its availability, and reads the price points off where the two together differ from before.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ingest_shop import Point, add_shop, all_points, dump, ended, ingest, minute_of, offer, seen

from skatestock.events.model import CrawlCompleted, Event, ListingObserved, OfferObserved
from skatestock.vocabulary.availability import Availability

LISTINGS = ("1", "2", "3")
OFFERS = ("a", "b", "c")
_numbers = itertools.count(1)


# ---------------------------------------------------------------- the simple model


class OfferModel:
    """The courses of one offer: moment to price with compare-at price, moment to availability."""

    def __init__(self) -> None:
        self.prices: dict[int, tuple[int, int | None]] = {}
        self.stock: dict[int, str] = {}
        self.held: tuple[int, int, int | None, str] | None = None
        self.discarded = 0

    def believed(self) -> int | None:
        return self.prices[max(self.prices)][0] if self.prices else None

    def is_jump(self, base: int | None, price: int) -> bool:
        if base is None:
            return price == 0
        if price == base or base == 0:
            return price == 0 and base != 0
        return price == 0 or abs(price - base) / base > 0.7

    def see(self, minute: int, crawl: str, seen_offer: OfferObserved) -> None:
        price, compare = seen_offer.price_minor, seen_offer.compare_at_minor or None
        self.settle(crawl, price)
        if self.is_jump(self.believed(), price):
            if self.held is None:
                self.held = (minute, price, compare, crawl)
        else:
            self.prices[minute] = (price, compare)
        self.see_stock(minute, seen_offer.availability.value)

    def settle(self, crawl: str, price: int) -> None:
        if self.held is None:
            return
        minute, held, compare, held_crawl = self.held
        if held_crawl == crawl and held == price:
            return
        near = held > 0 and price > 0 and abs(price - held) / held <= 0.7
        if held_crawl != crawl and (price == held or (self.is_jump(self.believed(), price) and near)):
            self.prices[minute] = (held, compare)
        else:
            self.discarded += 1
        self.held = None

    def confirm(self) -> None:
        assert self.held is not None
        minute, held, compare, _ = self.held
        self.prices[minute] = (held, compare)
        self.held = None

    def see_stock(self, minute: int, word: str) -> None:
        known = [self.stock[moment] for moment in sorted(self.stock) if self.stock[moment] != "gone"]
        if word == "unknown" and known:
            word = known[-1]
        if not self.prices:
            # while the first price is held only the newest stock counts
            self.stock = {min([minute, *self.stock]): word}
        else:
            self.stock[minute] = word

    def is_gone(self) -> bool:
        return bool(self.stock) and self.stock[max(self.stock)] == "gone"

    def end(self, minute: int) -> None:
        if self.prices:
            self.stock[minute] = "gone"
        else:
            self.discarded += self.held is not None
            self.held, self.stock = None, {}

    def points(self) -> list[Point]:
        found: list[Point] = []
        before: tuple[int, int | None, str] | None = None
        for minute in sorted({*self.prices, *self.stock}):
            price = [self.prices[moment] for moment in sorted(self.prices) if moment <= minute]
            stock = [self.stock[moment] for moment in sorted(self.stock) if moment <= minute]
            if not price:
                continue
            now = (*price[-1], stock[-1])
            if now != before:
                found.append(Point(minute, *now, name_changes(before, now)))
            before = now
        return found


def name_changes(before: tuple[int, int | None, str] | None, now: tuple[int, int | None, str]) -> list[str]:
    if before is None:
        return ["first_seen"]
    words = ["back"] if before[2] == "gone" != now[2] else []
    words += ["price_up"] if now[0] > before[0] else ["price_down"] if now[0] < before[0] else []
    words += ["compare_at_changed"] if now[1] != before[1] else []
    words += ["out_of_stock"] if (before[2], now[2]) == ("in_stock", "out_of_stock") else []
    words += ["back_in_stock"] if (before[2], now[2]) == ("out_of_stock", "in_stock") else []
    words += ["delisted"] if now[2] == "gone" != before[2] else []
    return words


class ListingModel:
    def __init__(self) -> None:
        self.offers: dict[str, OfferModel] = {}
        self.observed = self.seen = -1
        self.missed = 0
        self.delisted: int | None = None


class ShopModel:
    """Applies events one by one."""

    def __init__(self) -> None:
        self.listings: dict[str, ListingModel] = {}
        self.ended_crawls: set[str] = set()
        self.whole = -1

    def apply(self, event: Event) -> None:
        if isinstance(event, ListingObserved):
            self.observe(event)
        elif event.crawl_id not in self.ended_crawls:
            self.ended_crawls.add(event.crawl_id)
            self.end_crawl(event)

    def observe(self, event: ListingObserved) -> None:
        minute = minute_of(event.observed_at)
        if event.listing_id in self.listings and minute < self.whole:
            return
        listing = self.listings.setdefault(event.listing_id, ListingModel())
        if minute <= listing.observed or minute < listing.seen or minute < (listing.delisted or 0):
            return
        listing.observed = listing.seen = minute
        listing.missed, listing.delisted = 0, None
        for item in event.offers:
            listing.offers.setdefault(item.offer_id, OfferModel()).see(minute, event.crawl_id, item)
        missing = listing.offers.keys() - {item.offer_id for item in event.offers}
        for offer_id in missing if event.offers_complete else ():
            if not listing.offers[offer_id].is_gone():
                listing.offers[offer_id].end(minute)

    def end_crawl(self, event: CrawlCompleted) -> None:
        start, end = minute_of(event.started_at), minute_of(event.completed_at)
        if start < self.whole:
            return
        self.whole = start if event.complete else self.whole
        for listing_id, listing in self.listings.items():
            if listing_id in event.listing_ids:
                self.see_again(listing, start, event.crawl_id)
            elif event.complete and listing.delisted is None and listing.seen < start:
                listing.missed += 1
                if listing.missed == 2:
                    listing.delisted = end
                    for item in listing.offers.values():
                        if not item.is_gone():
                            item.end(end)

    def see_again(self, listing: ListingModel, start: int, crawl: str) -> None:
        if listing.delisted is not None and start < listing.delisted:
            return
        for item in listing.offers.values():
            if listing.delisted is not None and item.stock and max(item.stock) == listing.delisted:
                item.see_stock(start, "unknown")
            is_sighting = listing.observed < start and not item.is_gone()
            if is_sighting and item.held is not None and item.held[3] != crawl:
                item.confirm()
        listing.delisted = None
        if start > listing.seen:
            listing.seen, listing.missed = start, 0


# ---------------------------------------------------------------- stories


@st.composite
def observations(draw: st.DrawFn, slug: str, crawl: str, listing: str, minute: int) -> ListingObserved:
    offer_ids = draw(st.lists(st.sampled_from(OFFERS), min_size=1, max_size=3, unique=True))
    offers = [
        offer(
            draw(st.sampled_from((0, 100, 120, 200, 1000, 1100, 4000))),
            draw(st.sampled_from((Availability.IN_STOCK, Availability.OUT_OF_STOCK, Availability.UNKNOWN))),
            draw(st.sampled_from((None, 0, 90, 1500))),
            offer_id,
        )
        for offer_id in sorted(offer_ids)
    ]
    is_whole = draw(st.integers(0, 4)) > 0
    return seen(minute, *offers, crawl=crawl, listing=listing, shop=slug, offers_complete=is_whole)


@st.composite
def stories(draw: st.DrawFn, slug: str) -> list[Event]:
    """A few crawls of a small shop; now and then one repeats itself or is told late."""
    story: list[Event] = []
    for number in range(draw(st.integers(1, 8))):
        start, crawl = 100 * number, f"c{number}"
        there = draw(st.lists(st.sampled_from(LISTINGS), max_size=3, unique=True))
        for place, listing in enumerate(there):
            sights = draw(st.sampled_from((0, 1, 1, 1, 2)))
            for sight in range(sights):
                story.append(draw(observations(slug, crawl, listing, start + 10 * place + sight + 1)))
        if draw(st.integers(0, 9)):
            is_complete = draw(st.integers(0, 3)) > 0
            story.append(ended(start, *there, until=start + 50, crawl=crawl, complete=is_complete, shop=slug))
        if story and draw(st.integers(0, 5)) == 0:
            story.append(draw(st.sampled_from(story)))
        if len(story) > 1 and draw(st.integers(0, 9)) == 0:
            place = draw(st.integers(0, len(story) - 2))
            story.insert(len(story), story.pop(place))
    return story


def expect(story: list[Event]) -> tuple[ShopModel, dict[tuple[str, str], list[Point]]]:
    model = ShopModel()
    for event in story:
        model.apply(event)
    histories = {
        (listing_id, offer_id): item.points()
        for listing_id, listing in model.listings.items()
        for offer_id, item in listing.offers.items()
    }
    return model, {key: history for key, history in histories.items() if history}


def listing_states(rows: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    def minute(moment: datetime | None) -> int | None:
        return None if moment is None else minute_of(moment)

    return {
        row["listing_id"]: (
            minute(row["observed_at"]),
            minute(row["seen_at"]),
            row["missed"] if row["delisted_at"] is None else None,
            minute(row["delisted_at"]),
        )
        for row in rows
    }


@pytest.fixture
def slugs() -> Iterator[str]:
    return (f"shop-{number}" for number in _numbers)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_the_history_is_that_of_the_simple_model_in_any_batches_and_any_redelivery(
    pool: asyncpg.Pool, slugs: Iterator[str], data: st.DataObject
) -> None:
    slug = next(slugs)
    await add_shop(pool, slug)
    story = data.draw(stories(slug))
    batch = data.draw(st.integers(1, 9), label="batch")
    await ingest(pool, *story, batch=batch)

    model, histories = expect(story)
    once = await dump(pool, slug)
    assert await all_points(pool, slug) == histories
    assert listing_states(once["listings"]) == {
        listing_id: (
            listing.observed,
            listing.seen,
            listing.missed if listing.delisted is None else None,
            listing.delisted,
        )
        for listing_id, listing in model.listings.items()
    }
    discarded = sum(item.discarded for each in model.listings.values() for item in each.offers.values())
    assert len(once["rejected"]) == discarded

    again = data.draw(st.integers(0, len(story)), label="again from")
    await ingest(pool, *story[again:], batch=data.draw(st.integers(1, 9), label="batch again"))
    assert await dump(pool, slug) == once


async def test_the_simple_model_knows_the_stories_that_are_told_in_words(pool: asyncpg.Pool) -> None:
    story: list[Event] = [
        seen(0, offer(1000), shop="told"),
        seen(30, offer(100, Availability.OUT_OF_STOCK), shop="told"),
        ended(60, "1", shop="told"),
        ended(90, shop="told"),
        ended(120, shop="told"),
    ]
    await add_shop(pool, "told")
    await ingest(pool, *story)
    _, histories = expect(story)
    assert histories == {
        ("1", "a"): [
            Point(0, 1000, None, "in_stock", ["first_seen"]),
            Point(30, 100, None, "out_of_stock", ["price_down", "out_of_stock"]),
            Point(125, 100, None, "gone", ["delisted"]),
        ]
    }
    assert await all_points(pool, "told") == histories
