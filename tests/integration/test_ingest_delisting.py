"""Who may say that something is gone, and how it returns."""

from __future__ import annotations

import asyncpg
import pytest
from tests.ingest_shop import (
    IN,
    OUT,
    Point,
    at,
    ended,
    ingest,
    offer,
    points,
    read_one,
    seen,
)

from skatestock.events.model import Event, RejectedObservation

GONE = ["delisted"]


async def test_one_complete_crawl_without_a_listing_says_nothing(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(1), ended(0, "1"), ended(30))
    listing = await read_one(shop, "listings")
    assert (listing["missed"], listing["delisted_at"]) == (1, None)
    assert len(await points(shop)) == 1


@pytest.mark.parametrize("batch", [1, 100])
async def test_the_second_complete_crawl_without_a_listing_delists_it(shop: asyncpg.Pool, batch: int) -> None:
    offers = offer(offer_id="a"), offer(5000, OUT, 7000, offer_id="b")
    await ingest(
        shop, seen(1, *offers), ended(0, "1"), ended(30), ended(60, until=66), ended(90), batch=batch
    )
    assert (await read_one(shop, "listings"))["delisted_at"] == at(66)
    assert (await points(shop, offer_id="a"))[1:] == [Point(66, 6000, None, "gone", GONE)]
    assert (await points(shop, offer_id="b"))[1:] == [Point(66, 5000, 7000, "gone", GONE)]


async def test_incomplete_crawls_never_count_misses(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(1), *(ended(30 * number, complete=False) for number in range(1, 9)))
    listing = await read_one(shop, "listings")
    assert (listing["missed"], listing["delisted_at"]) == (0, None)


async def test_an_incomplete_crawl_that_sees_a_listing_forgives_its_miss(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(1), ended(30), ended(60, "1", complete=False), ended(90))
    listing = await read_one(shop, "listings")
    assert (listing["missed"], listing["seen_at"], listing["delisted_at"]) == (1, at(60), None)


async def test_misses_must_be_in_a_row(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(1), ended(30), ended(60, "1"), ended(90), seen(121), ended(120, "1"), ended(150))
    assert (await read_one(shop, "listings"))["missed"] == 1


async def test_a_listing_seen_after_a_crawl_began_is_not_missed_by_it(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(31, crawl="import"), ended(30))
    assert (await read_one(shop, "listings"))["missed"] == 0


async def test_a_variant_that_was_gone_before_gets_no_second_end(shop: asyncpg.Pool) -> None:
    both = [offer(offer_id="a"), offer(offer_id="b")]
    await ingest(shop, seen(1, *both), seen(31, both[0]), ended(60), ended(90))
    assert [point.minute for point in await points(shop, offer_id="b")] == [1, 31]


async def test_a_delisted_listing_that_cannot_be_read_is_not_back(shop: asyncpg.Pool) -> None:
    rejected = RejectedObservation(listing_id="1", reason="no_offers", detail="", position="page 1")
    await ingest(shop, seen(0), ended(30), ended(60), ended(90, "1", rejected=[rejected]))
    assert (await points(shop))[-1].availability == "gone"
    await ingest(shop, ended(120, "1"))
    assert (await points(shop))[-1] == Point(120, 6000, None, "in_stock", ["back"])


async def test_a_delisted_listing_that_is_observed_is_back_as_observed(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(1), ended(30), ended(60), seen(91, offer(5000, OUT)))
    assert (await points(shop))[-1] == Point(91, 5000, None, "out_of_stock", ["back", "price_down"])
    listing = await read_one(shop, "listings")
    assert (listing["delisted_at"], listing["missed"]) == (None, 0)


@pytest.mark.parametrize("batch", [1, 100])
async def test_a_delisted_listing_that_is_seen_unchanged_is_back_as_it_was(
    shop: asyncpg.Pool, batch: int
) -> None:
    offers = [offer(offer_id="a"), offer(5000, OUT, offer_id="b"), offer(offer_id="c")]
    story: list[Event] = [
        seen(1, *offers),
        seen(11, *offers[:2]),
        ended(30),
        ended(60),
        ended(90, "1", complete=False),
        ended(120, "1"),
    ]
    await ingest(shop, *story, batch=batch)
    assert (await points(shop, offer_id="a"))[-1] == Point(90, 6000, None, "in_stock", ["back"])
    assert (await points(shop, offer_id="b"))[-1] == Point(90, 5000, None, "out_of_stock", ["back"])
    # the variant that went before its listing did stays gone
    assert (await points(shop, offer_id="c"))[-1] == Point(11, 6000, None, "gone", GONE)


async def test_a_listing_can_be_delisted_and_return_again_and_again(shop: asyncpg.Pool) -> None:
    await ingest(
        shop, seen(1), ended(30), ended(60), ended(90, "1"), ended(120), ended(150), seen(181, offer(6000))
    )
    assert [point.changes for point in await points(shop)] == [
        ["first_seen"],
        GONE,
        ["back"],
        GONE,
        ["back"],
    ]


async def test_an_end_and_a_return_within_one_second_are_one_price_point(shop: asyncpg.Pool) -> None:
    story: list[Event] = [
        seen(1, offer(6000, IN)),
        ended(30),
        ended(60, until=65),
        seen(65, offer(5000), crawl="next"),
    ]
    await ingest(shop, *story, batch=1)
    assert (await points(shop))[1:] == [Point(65, 5000, None, "in_stock", ["back", "price_down", "delisted"])]


async def test_thousands_of_listings_are_told_apart_by_the_end_of_a_crawl(shop: asyncpg.Pool) -> None:
    ids = [str(number) for number in range(3000)]
    await ingest(shop, *(seen(1, listing=listing) for listing in ids), ended(0, *ids))
    await ingest(shop, ended(30, *ids[:-10]), ended(60, *ids[:-10]))
    assert await shop.fetchval("SELECT count(*) FROM listings WHERE delisted_at IS NOT NULL") == 10
    assert await shop.fetchval("SELECT count(*) FROM listings WHERE seen_at = $1", at(60)) == 2990
    assert await shop.fetchval("SELECT count(*) FROM price_points WHERE availability = 'gone'") == 10
