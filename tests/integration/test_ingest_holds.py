"""Prices that nobody believes until a second crawl confirms them."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from tests.ingest_shop import (
    IN,
    OUT,
    Point,
    at,
    dump,
    ended,
    find_rows,
    ingest,
    offer,
    points,
    read_one,
    seen,
)

from skatestock.events.model import Event, RejectedObservation


@pytest.fixture(params=[1, 100], ids=["one by one", "in one batch"])
def batch(request: pytest.FixtureRequest) -> Any:
    return request.param


async def discarded(pool: asyncpg.Pool) -> list[dict[str, Any]]:
    return find_rows((await dump(pool))["rejected"], reason="held_price_discarded")


@pytest.mark.parametrize("price", [0, 1799, 10_201, 600_000])
async def test_a_jump_is_held_and_the_believed_price_stays(shop: asyncpg.Pool, price: int) -> None:
    await ingest(shop, seen(0), seen(30, offer(price, IN, 9000)))
    assert len(await points(shop)) == 1
    held = await read_one(shop, "offers")
    assert (held["price_minor"], held["held_price_minor"], held["held_compare_at_minor"]) == (
        6000,
        price,
        9000,
    )
    assert (held["held_at"], held["held_crawl_id"]) == (at(30), "labor-30")


@pytest.mark.parametrize("price", [1800, 10_200])
async def test_a_change_by_seventy_percent_is_no_jump(shop: asyncpg.Pool, price: int) -> None:
    await ingest(shop, seen(0), seen(30, offer(price)))
    assert (await points(shop))[-1].price == price


async def test_stock_moves_at_once_while_a_price_is_held(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0), seen(30, offer(100, OUT)))
    assert (await points(shop))[-1] == Point(30, 6000, None, "out_of_stock", ["out_of_stock"])


async def test_the_same_price_in_another_crawl_confirms_from_the_first_moment(
    shop: asyncpg.Pool, batch: int
) -> None:
    await ingest(
        shop, seen(0), seen(30, offer(1000, IN, 6000)), seen(60, offer(1000, OUT, 6000)), batch=batch
    )
    assert await points(shop) == [
        Point(0, 6000, None, "in_stock", ["first_seen"]),
        Point(30, 1000, 6000, "in_stock", ["price_down", "compare_at_changed"]),
        Point(60, 1000, 6000, "out_of_stock", ["out_of_stock"]),
    ]
    assert (await read_one(shop, "offers"))["held_at"] is None
    assert await discarded(shop) == []


async def test_a_confirmed_price_joins_the_price_point_that_stands_at_its_moment(
    shop: asyncpg.Pool, batch: int
) -> None:
    await ingest(shop, seen(0), seen(30, offer(1000, OUT)), seen(60, offer(1000, OUT)), batch=batch)
    assert (await points(shop))[1:] == [Point(30, 1000, None, "out_of_stock", ["price_down", "out_of_stock"])]


async def test_a_confirmed_price_holds_in_the_price_points_since(shop: asyncpg.Pool, batch: int) -> None:
    story: list[Event] = [
        seen(0),
        seen(30, offer(1000), crawl="x"),
        seen(31, offer(1000, OUT), crawl="x"),
        seen(60, offer(1000, OUT)),
    ]
    await ingest(shop, *story, batch=batch)
    assert (await points(shop))[1:] == [
        Point(30, 1000, None, "in_stock", ["price_down"]),
        Point(31, 1000, None, "out_of_stock", ["out_of_stock"]),
    ]


async def test_a_believable_price_in_the_next_crawl_discards_the_held_one(
    shop: asyncpg.Pool, batch: int
) -> None:
    await ingest(shop, seen(0), seen(30, offer(600_000)), seen(60, offer(5000)), batch=batch)
    assert [(point.minute, point.price) for point in await points(shop)] == [(0, 6000), (60, 5000)]
    (row,) = await discarded(shop)
    assert (row["crawl_id"], row["ordinal"], row["listing_id"]) == ("labor-30", None, "1")
    assert row["rejected_at"] == at(60)
    assert "600000" in row["detail"]


async def test_the_believed_price_in_the_next_crawl_leaves_no_trace_in_the_history(
    shop: asyncpg.Pool, batch: int
) -> None:
    await ingest(shop, seen(0), seen(30, offer(0)), seen(60), batch=batch)
    assert len(await points(shop)) == 1
    assert len(await discarded(shop)) == 1


async def test_another_price_near_the_held_one_confirms_it(shop: asyncpg.Pool, batch: int) -> None:
    await ingest(shop, seen(0), seen(30, offer(1000)), seen(60, offer(900)), batch=batch)
    assert [(point.minute, point.price) for point in await points(shop)] == [
        (0, 6000),
        (30, 1000),
        (60, 900),
    ]


async def test_another_jump_replaces_the_held_price(shop: asyncpg.Pool, batch: int) -> None:
    await ingest(
        shop, seen(0), seen(30, offer(600_000)), seen(60, offer(100)), seen(90, offer(100)), batch=batch
    )
    assert [(point.minute, point.price) for point in await points(shop)] == [(0, 6000), (60, 100)]
    assert len(await discarded(shop)) == 1


async def test_a_low_price_after_a_held_zero_does_not_confirm_the_zero(
    shop: asyncpg.Pool, batch: int
) -> None:
    await ingest(shop, seen(0), seen(30, offer(0)), seen(60, offer(100)), batch=batch)
    assert len(await points(shop)) == 1
    assert (await read_one(shop, "offers"))["held_price_minor"] == 100


async def test_the_same_crawl_cannot_confirm_its_own_price(shop: asyncpg.Pool, batch: int) -> None:
    await ingest(
        shop,
        seen(0),
        seen(30, offer(1000), crawl="x"),
        seen(31, offer(1000), crawl="x"),
        ended(29, "1", crawl="x"),
        batch=batch,
    )
    assert len(await points(shop)) == 1
    assert (await read_one(shop, "offers"))["held_at"] == at(30)


@pytest.mark.parametrize("complete", [True, False])
async def test_another_crawl_that_sees_the_listing_unchanged_confirms(
    shop: asyncpg.Pool, batch: int, complete: bool
) -> None:
    story: list[Event] = [
        seen(0),
        seen(30, offer(1000), crawl="x"),
        ended(29, "1", crawl="x"),
        ended(60, "1", complete=complete),
    ]
    await ingest(shop, *story, batch=batch)
    assert (await points(shop))[1:] == [Point(30, 1000, None, "in_stock", ["price_down"])]


async def test_another_crawl_that_does_not_see_the_listing_confirms_nothing(
    shop: asyncpg.Pool, batch: int
) -> None:
    await ingest(shop, seen(0), seen(30, offer(1000)), ended(60), batch=batch)
    assert len(await points(shop)) == 1


@pytest.mark.parametrize("rejected_total", [1, 2], ids=["this one rejected", "any rejected"])
async def test_a_crawl_that_could_not_read_the_listing_confirms_nothing(
    shop: asyncpg.Pool, batch: int, rejected_total: int
) -> None:
    rejected = RejectedObservation(
        listing_id="1" if rejected_total == 1 else "2", reason="no_offers", detail="", position="page 1"
    )
    unread = ended(60, "1", rejected=[rejected], rejected_total=rejected_total)
    await ingest(shop, seen(0), seen(30, offer(1000)), unread, batch=batch)
    assert len(await points(shop)) == 1
    assert (await read_one(shop, "offers"))["held_price_minor"] == 1000
    assert (await read_one(shop, "listings"))["seen_at"] == at(60)


async def test_an_older_crawl_that_ends_late_confirms_nothing(shop: asyncpg.Pool, batch: int) -> None:
    await ingest(shop, seen(0), seen(30, offer(1000)), ended(20, "1", until=40), batch=batch)
    assert len(await points(shop)) == 1


async def test_a_crawl_that_observed_the_listing_without_the_offer_confirms_nothing(
    shop: asyncpg.Pool, batch: int
) -> None:
    other = offer(offer_id="b")
    story: list[Event] = [
        seen(0, offer(), other),
        seen(30, offer(1000), other),
        seen(61, other, crawl="y", offers_complete=False),
        ended(60, "1", crawl="y"),
    ]
    await ingest(shop, *story, batch=batch)
    assert len(await points(shop)) == 1
    assert (await read_one(shop, "offers", offer_id="a"))["held_price_minor"] == 1000


# ---------------------------------------------------------------- first prices of zero


async def test_a_first_price_of_zero_has_no_price_point_until_it_is_confirmed(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0, offer(0)))
    assert await points(shop) == []
    assert (await read_one(shop, "offers"))["price_minor"] is None
    await ingest(shop, seen(30, offer(0)))
    assert await points(shop) == [Point(0, 0, None, "in_stock", ["first_seen"])]


async def test_a_price_after_a_first_zero_is_the_first_one(shop: asyncpg.Pool, batch: int) -> None:
    await ingest(shop, seen(0, offer(0)), seen(30, offer(6000)), batch=batch)
    assert await points(shop) == [Point(30, 6000, None, "in_stock", ["first_seen"])]
    assert len(await discarded(shop)) == 1


async def test_from_a_confirmed_zero_any_price_is_believed(shop: asyncpg.Pool, batch: int) -> None:
    story: list[Event] = [seen(0, offer(0)), seen(30, offer(0)), seen(60, offer(0)), seen(90, offer(6000))]
    await ingest(shop, *story, batch=batch)
    assert [(point.minute, point.price) for point in await points(shop)] == [(0, 0), (90, 6000)]


async def test_an_offer_that_ends_before_its_first_price_is_believed_begins_anew(
    shop: asyncpg.Pool, batch: int
) -> None:
    story: list[Event] = [seen(1, offer(0, OUT)), ended(30), ended(60), seen(90, offer(6000, IN))]
    await ingest(shop, *story, batch=batch)
    assert await points(shop) == [Point(90, 6000, None, "in_stock", ["first_seen"])]
    assert len(await discarded(shop)) == 1


# ---------------------------------------------------------------- holds and ends


async def test_a_held_price_outlives_a_delisting(shop: asyncpg.Pool, batch: int) -> None:
    story: list[Event] = [seen(1), seen(31, offer(1000)), ended(60), ended(90), seen(120, offer(1000))]
    await ingest(shop, *story, batch=batch)
    assert (await points(shop))[1:] == [
        Point(31, 1000, None, "in_stock", ["price_down"]),
        Point(95, 1000, None, "gone", ["delisted"]),
        Point(120, 1000, None, "in_stock", ["back"]),
    ]
