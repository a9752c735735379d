"""What each commit says it changed: dense, in order, whole, and nothing of what was rolled back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import asyncpg
import pytest
from msgspec.structs import replace
from tests.ingest_shop import (
    OUT,
    SHOP,
    at,
    ended,
    ingest,
    make_batch,
    offer,
    seen,
)

from skatestock.catalog.change_queries import CatalogueChange, find_changes, find_clock, find_oldest_position
from skatestock.catalog.commands import ensure_shops
from skatestock.catalog.commands_changes import (
    Touched,
    prune_changes,
    record_change,
    record_everything_changed,
)
from skatestock.catalog.commands_shops import disable_shop, enable_shop
from skatestock.catalog.model import ShopRecord
from skatestock.events.codec import Codec
from skatestock.events.model import Event
from skatestock.ingest.consumer import IngestHandler
from skatestock.vocabulary.time import utc_now


async def changes(pool: asyncpg.Pool, after: int = 0) -> tuple[CatalogueChange, ...]:
    async with pool.acquire() as connection:
        return await find_changes(connection, after, 1000)


async def position(pool: asyncpg.Pool) -> int:
    async with pool.acquire() as connection:
        return (await find_clock(connection)).position


async def the_change(pool: asyncpg.Pool, after: int) -> CatalogueChange:
    (change,) = await changes(pool, after)
    return change


async def ids(pool: asyncpg.Pool, listing: str = "1") -> tuple[int, int, int]:
    """Return a listing's shop, product and own id."""
    row = await pool.fetchrow("SELECT shop_id, product_id, id FROM listings WHERE listing_id = $1", listing)
    assert row is not None
    return row[0], row[1], row[2]


async def test_a_new_listing_is_told_with_its_shop_and_product_and_no_points(shop: asyncpg.Pool) -> None:
    before = await position(shop)
    await ingest(shop, seen(1))
    change = await the_change(shop, before)
    shop_id, product_id, listing_id = await ids(shop)
    assert change.position == before + 1
    assert change.shop_ids == (shop_id,)
    assert change.product_ids == (product_id,)
    assert change.new_listing_ids == (listing_id,)
    assert (change.points, change.everything) == ((), False)


async def test_a_changed_price_is_told_as_the_price_point_that_was_written(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(1, offer(6000), offer(6000, offer_id="b")))
    before = await position(shop)
    await ingest(shop, seen(2, offer(4500), offer(6000, offer_id="b")))
    change = await the_change(shop, before)
    (point,) = change.points
    offer_id = await shop.fetchval("SELECT id FROM offers WHERE offer_id = 'a'")
    assert (point.offer_id, point.observed_at) == (offer_id, at(2))
    assert change.product_ids == ((await ids(shop))[1],)
    assert change.new_listing_ids == ()


async def test_the_points_of_several_moments_keep_their_moments(shop: asyncpg.Pool) -> None:
    numbers = [str(number) for number in range(6)]
    await ingest(
        shop, *(seen(1, offer(6000), offer(6000, offer_id="b"), listing=number) for number in numbers)
    )
    before = await position(shop)
    minutes = [2, 2, 3, 2, 4, 4]
    events = [
        seen(minute, offer(4500), offer(4400, offer_id="b"), listing=number)
        for number, minute in zip(numbers, minutes, strict=True)
    ]
    await ingest(shop, *events)
    told = (await the_change(shop, before)).points
    stored = await shop.fetch("SELECT offer_id, observed_at FROM price_points WHERE observed_at > $1", at(1))
    assert len(told) == 12
    assert set(told) == {tuple(row) for row in stored}


async def test_a_batch_of_several_parts_is_one_change(
    shop: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skatestock.ingest.consumer._PART", 2)
    before = await position(shop)
    await ingest(
        shop, *(seen(1, listing=str(number)) for number in range(7)), seen(2, offer(5000), listing="3")
    )
    change = await the_change(shop, before)
    assert len(change.new_listing_ids) == 7
    assert [point.observed_at for point in change.points] == [at(2)]


async def test_a_crawls_end_that_changes_nothing_else_tells_the_shop(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(1), ended(1, "1"))
    before = await position(shop)
    await ingest(shop, ended(10, "1"))
    change = await the_change(shop, before)
    assert change.shop_ids == ((await ids(shop))[0],)
    assert (change.product_ids, change.new_listing_ids, change.points) == ((), (), ())


async def test_a_batch_that_comes_again_changes_nothing_and_takes_no_position(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(1), ended(1, "1"))
    before = await position(shop)
    await ingest(shop, seen(1), ended(1, "1"))
    assert await position(shop) == before
    assert await changes(shop, before) == ()


async def test_an_observation_that_changes_no_offer_tells_the_shop_but_not_the_product(
    shop: asyncpg.Pool,
) -> None:
    await ingest(shop, seen(1))
    before = await position(shop)
    await ingest(shop, seen(2))
    change = await the_change(shop, before)
    assert (change.shop_ids, change.product_ids) == (((await ids(shop))[0],), ())


async def test_a_delisting_and_a_return_are_told_as_changes_of_the_product(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(1), seen(1, listing="2"), ended(1, "1", "2"))
    _, product_id, _ = await ids(shop)
    await ingest(shop, ended(10, "2"))
    before = await position(shop)
    await ingest(shop, ended(20, "2"))
    delisted = await the_change(shop, before)
    assert delisted.product_ids == (product_id,)
    assert len(delisted.points) == 1
    await ingest(shop, ended(30, "1", "2"))
    returned = await the_change(shop, before + 1)
    assert returned.product_ids == (product_id,)
    assert len(returned.points) == 1


async def test_a_listing_without_a_price_is_told_when_it_is_delisted(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(1, offer(0)), seen(1, listing="2"), ended(1, "1", "2"))
    await ingest(shop, ended(10, "2"))
    before = await position(shop)
    await ingest(shop, ended(20, "2"))
    assert (await the_change(shop, before)).product_ids == ((await ids(shop))[1],)


async def test_a_held_price_that_is_confirmed_is_told(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(1, offer(6000)))
    await ingest(shop, seen(2, offer(1000, OUT)))
    before = await position(shop)
    await ingest(shop, seen(3, offer(1000, OUT)))
    change = await the_change(shop, before)
    assert [point.observed_at for point in change.points] == [at(2)]


async def test_another_reading_of_the_same_observation_tells_the_product_but_no_point_twice(
    shop: asyncpg.Pool,
) -> None:
    await ingest(shop, seen(1, offer(6000)))
    await ingest(shop, seen(2, offer(4500)))
    before = await position(shop)
    await ingest(shop, replace(seen(2, offer(4500)), parser_version=2))
    change = await the_change(shop, before)
    assert change.product_ids == ((await ids(shop))[1],)
    assert change.points == ()
    await ingest(shop, replace(seen(2, offer(4400)), parser_version=3))
    assert len((await the_change(shop, before + 1)).points) == 1


async def test_a_batch_that_is_rolled_back_leaves_no_change_and_no_gap(shop: asyncpg.Pool) -> None:
    before = await position(shop)
    async with shop.acquire() as connection:
        batch = connection.transaction()
        await batch.start()
        await IngestHandler()(connection, make_batch(seen(1)))
        assert (await find_clock(connection)).position == before + 1
        await batch.rollback()
    assert await position(shop) == before
    await ingest(shop, seen(1))
    assert (await the_change(shop, before)).position == before + 1


class GivenEvents(Codec):
    """Takes values for events that no bytes could say."""

    def __init__(self, *events: Event) -> None:
        super().__init__()
        self.events = {str(number).encode(): event for number, event in enumerate(events)}

    def decode(self, value: bytes, *, clock: Callable[[], datetime] = utc_now) -> Event:
        return self.events[value]


async def test_what_a_faulty_event_took_down_with_it_is_told_once_and_nothing_of_itself(
    shop: asyncpg.Pool,
) -> None:
    await ingest(shop, *(seen(1, listing=number) for number in "12"))
    before = await position(shop)
    faulty = replace(seen(2, offer(5000), listing="2"), title="no NUL \x00 is stored")
    codec = GivenEvents(seen(2, offer(5000)), faulty)
    await ingest(shop, *codec.events, handler=IngestHandler(codec=codec))
    change = await the_change(shop, before)
    assert change.product_ids == ((await ids(shop, "1"))[1],)
    assert len(change.points) == 1


async def test_positions_are_dense_and_become_visible_in_order_under_concurrency(shop: asyncpg.Pool) -> None:
    watched: list[int] = []
    done = asyncio.Event()

    async def watch() -> None:
        while not (done.is_set() and watched[-1:] == [await position(shop)]):
            watched.extend(change.position for change in await changes(shop, watched[-1] if watched else 0))

    async def write(number: int) -> None:
        for turn in range(10):
            async with shop.acquire() as connection:
                work = connection.transaction()
                await work.start()
                await connection.execute("SELECT pg_sleep($1)", (number * 7 + turn) % 5 / 1000)
                await record_change(connection, Touched(product_ids=[number]))
                # every third transaction fails after it has taken its position
                await (work.rollback() if (number + turn) % 3 == 0 else work.commit())

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(write(number) for number in range(8)))
    done.set()
    await asyncio.wait_for(watching, 20)
    assert watched == list(range(1, await position(shop) + 1))
    assert len(watched) > 40


async def test_a_shop_that_is_added_renamed_or_put_to_rest_is_told(shop: asyncpg.Pool) -> None:
    before = await position(shop)
    record = ShopRecord(
        slug=SHOP, name="Renamed", url="https://shop.example/", currency="USD", platform="shopify"
    )
    other = ShopRecord(
        slug="other", name="Other", url="https://o.example/", currency="USD", platform="shopify"
    )
    async with shop.acquire() as connection:
        await ensure_shops(connection, [other])
        await ensure_shops(connection, [other])
        await ensure_shops(connection, [record])
        await disable_shop(connection, "other", at(0), "operator")
        await disable_shop(connection, "other", at(0), "operator")
        await enable_shop(connection, "other")
    added, renamed, disabled, enabled = await changes(shop, before)
    other_id = await shop.fetchval("SELECT id FROM shops WHERE slug = 'other'")
    assert added.shop_ids == disabled.shop_ids == enabled.shop_ids == (other_id,)
    assert renamed.shop_ids == ((await shop.fetchval("SELECT id FROM shops WHERE slug = $1", SHOP)),)
    assert not any(change.everything for change in (added, renamed, disabled, enabled))


async def test_nothing_touched_takes_no_position(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        assert await record_change(connection, Touched()) is None
    assert await position(pool) == 0


async def age(pool: asyncpg.Pool, days: float, *positions: int) -> None:
    await pool.execute(
        "UPDATE catalogue_changes SET changed_at = now() - $1::interval WHERE position = ANY ($2)",
        timedelta(days=days),
        positions,
    )


async def record_some(pool: asyncpg.Pool, count: int) -> None:
    async with pool.acquire() as connection:
        for _ in range(count):
            await record_everything_changed(connection)


async def prune(pool: asyncpg.Pool) -> int:
    async with pool.acquire() as connection:
        return await prune_changes(connection, await connection.fetchval("SELECT now()"))


async def test_changes_are_forgotten_after_two_days_but_never_before_the_index_has_followed(
    pool: asyncpg.Pool,
) -> None:
    await record_some(pool, 4)
    await age(pool, 30, 1, 2, 3)
    await pool.execute("UPDATE catalogue_clock SET indexed = 2")
    assert await prune(pool) == 2
    assert [change.position for change in await changes(pool)] == [3, 4]
    async with pool.acquire() as connection:
        assert await find_oldest_position(connection) == 3


async def test_without_an_index_changes_are_forgotten_after_a_week(pool: asyncpg.Pool) -> None:
    await record_some(pool, 3)
    await age(pool, 8, 1)
    await age(pool, 3, 2)
    assert await prune(pool) == 1
    assert [change.position for change in await changes(pool)] == [2, 3]


async def test_the_oldest_position_of_an_empty_log_is_the_next_one(pool: asyncpg.Pool) -> None:
    await record_some(pool, 2)
    await pool.execute("DELETE FROM catalogue_changes")
    async with pool.acquire() as connection:
        assert await find_oldest_position(connection) == 3
