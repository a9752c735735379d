"""Shops in the catalogue, and what crawls and operators ask about them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
from tests.ingest_shop import OUT, SHOP, add_shop, at, dump, ended, ingest, offer, seen

from skatestock.catalog.commands import ensure_brands, ensure_shops
from skatestock.catalog.crawl_queries import (
    ShopStatus,
    fetch_last_fingerprints,
    fetch_listing_counts,
    fetch_shop_statuses,
)
from skatestock.catalog.freshness import Freshness
from skatestock.catalog.model import ShopRecord
from skatestock.database.transactions import transaction
from skatestock.events.model import RejectedObservation

LABOR = ShopRecord(
    slug="labor",
    name="Labor",
    city="New York",
    region="NY",
    url="https://laborskateshop.com",
    currency="USD",
    platform="shopify",
)


async def status_of(pool: asyncpg.Pool, slug: str = SHOP) -> ShopStatus:
    async with pool.acquire() as connection:
        (status,) = [each for each in await fetch_shop_statuses(connection) if each.slug == slug]
    return status


async def test_shops_are_added_once_and_brought_up_to_date(pool: asyncpg.Pool) -> None:
    other = msgspec.structs.replace(LABOR, slug="nj", name="NJ", city=None, demo=True)
    async with pool.acquire() as connection:
        await ensure_shops(connection, [LABOR, other])
        await ensure_shops(connection, [msgspec.structs.replace(LABOR, name="Labor Skateshop"), other])
    rows = await pool.fetch("SELECT slug, name, city, region, demo, enabled FROM shops ORDER BY slug")
    assert [tuple(row) for row in rows] == [
        ("labor", "Labor Skateshop", "New York", "NY", False, True),
        ("nj", "NJ", None, "NY", True, True),
    ]


async def test_a_shop_is_watched_as_long_as_it_is_named(pool: asyncpg.Pool) -> None:
    other = msgspec.structs.replace(LABOR, slug="nj", name="NJ")
    async with pool.acquire() as connection:
        await ensure_shops(connection, [LABOR, other])
        await ensure_shops(connection, [other])
        assert (await status_of(pool)).enabled is True
        await ensure_shops(connection, [other], disable_others=True)
        gone = await status_of(pool)
        assert (gone.enabled, gone.freshness(at(0))) == (False, Freshness.DISABLED)
        await ensure_shops(connection, [LABOR])
        assert (await status_of(pool)).enabled is True


# ---------------------------------------------------------------- brands


async def test_two_who_add_the_same_brands_bit_by_bit_in_other_orders_do_not_deadlock(
    pool: asyncpg.Pool,
) -> None:
    async def add_in_turn(*slugs: str) -> list[int]:
        async with transaction(pool) as connection:
            return [(await ensure_brands(connection, {slug: slug.title()}))[slug] for slug in slugs]

    async with transaction(pool) as connection:
        anti = await ensure_brands(connection, {"anti": "Anti"})
        other = asyncio.create_task(add_in_turn("baker", "anti"))
        await asyncio.sleep(0.3)
        baker = await ensure_brands(connection, {"baker": "Baker"})
    assert await other == [baker["baker"], anti["anti"]]
    assert await pool.fetchval("SELECT count(*) FROM brands") == 2


# ---------------------------------------------------------------- last fingerprints


async def test_the_last_fingerprint_is_known_for_listings_that_are_there(pool: asyncpg.Pool) -> None:
    await add_shop(pool)
    await add_shop(pool, "premier")
    newest = seen(30, offer(5000))
    await ingest(pool, seen(0), newest, seen(0, listing="2", shop="premier"))
    async with pool.acquire() as connection:
        found = await fetch_last_fingerprints(connection, SHOP, ["1", "2", "3"])
    assert found == {"1": newest.fingerprint}


async def test_a_delisted_listing_has_no_last_fingerprint_so_that_its_return_is_observed(
    pool: asyncpg.Pool,
) -> None:
    await add_shop(pool)
    await ingest(pool, seen(1), seen(1, listing="2"), ended(30, "2"), ended(60, "2"))
    async with pool.acquire() as connection:
        assert set(await fetch_last_fingerprints(connection, SHOP, ["1", "2"])) == {"2"}


# ---------------------------------------------------------------- counts and status


async def test_counts_are_those_of_the_last_complete_crawl_and_the_implausible_ones_since(
    pool: asyncpg.Pool,
) -> None:
    await add_shop(pool)
    async with pool.acquire() as connection:
        assert await fetch_listing_counts(connection, SHOP) == (None, [])
        implausible: dict[str, Any] = {"complete": False, "reason": "implausible"}
        await ingest(
            pool,
            ended(0, "1", **implausible),
            ended(30, "1", "2", "3"),
            ended(60, "1", **implausible),
            ended(90, "1", complete=False, reason="blocked"),
            ended(120, "1", "2", **implausible),
        )
        assert await fetch_listing_counts(connection, SHOP) == (3, [2, 1])
        assert await fetch_listing_counts(connection, "nowhere") == (None, [])


async def test_a_shop_that_was_never_crawled_says_so(pool: asyncpg.Pool) -> None:
    await add_shop(pool)
    status = await status_of(pool)
    assert status.freshness(at(0)) is Freshness.NEVER_CRAWLED
    assert (status.listings, status.offers_in_stock, status.rejected) == (0, 0, 0)


async def test_a_shop_is_stale_after_a_long_silence_and_blocked_when_it_turned_a_crawl_away(
    pool: asyncpg.Pool,
) -> None:
    await add_shop(pool)
    await ingest(pool, ended(0, until=10))
    fresh = await status_of(pool)
    assert fresh.freshness(at(10) + timedelta(minutes=90)) is Freshness.FRESH
    assert fresh.freshness(at(11) + timedelta(minutes=90)) is Freshness.STALE
    await ingest(pool, seen(31, crawl="x"))
    assert (await status_of(pool)).freshness(at(32)) is Freshness.FRESH
    await ingest(pool, ended(30, "1", crawl="x", complete=False, detail="429 three times"))
    stale = await status_of(pool)
    assert stale.freshness(at(40)) is Freshness.BLOCKED
    assert (stale.last_reason, stale.last_detail, stale.last_complete_at) == (
        "blocked",
        "429 three times",
        at(10),
    )


async def test_a_status_counts_listings_stock_and_rejects(pool: asyncpg.Pool) -> None:
    await add_shop(pool)
    rejects = [
        RejectedObservation(reason="no_offers", detail="none", position="page 1, product 2", excerpt="{}"),
        RejectedObservation(reason="bad_price", detail="free", position="page 1, product 3", listing_id="9"),
    ]
    await ingest(
        pool,
        seen(1, offer(offer_id="a"), offer(6000, OUT, offer_id="b")),
        seen(1, listing="2"),
        seen(10, offer(0), crawl="held", listing="2"),
        ended(0, "1", "2", rejected=rejects, rejected_total=5),
        ended(30, "1"),
        ended(60, "1"),
        seen(70, listing="2"),
    )
    status = await status_of(pool)
    assert (status.listings, status.offers_in_stock) == (2, 2)
    # five of the crawl, of which two are told, and the held price of zero
    assert status.rejected == 6
    stored = (await dump(pool))["rejected"]
    assert [(row["reason"], row["ordinal"]) for row in stored] == [
        ("no_offers", 0),
        ("bad_price", 1),
        ("held_price_discarded", None),
    ]
