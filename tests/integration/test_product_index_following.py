"""The product index follows commits, survives being stopped, and is the same whichever way it came."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.catalog_rows import NOW, Catalogue, days_ago
from tests.integration.index_model import make_catalogue, make_listing, write_catalogue, write_listing

from skatestock.catalog.commands_changes import Touched, record_change, record_everything_changed
from skatestock.catalog.commands_index import (
    begin_build,
    build_next,
    follow_changes,
    index_products,
    rebuild_index,
)
from skatestock.catalog.errors import IndexNotBuiltError
from skatestock.catalog.index_queries import find_index_lag, find_products
from skatestock.catalog.label_queries import find_brands, find_categories
from skatestock.catalog.product_filter import ProductFilter
from skatestock.database.pool import Connection

TABLES = ("indexed_products", "indexed_offers", "product_summaries", "product_words")
COUNTS = "SELECT t::text FROM facet_counts t WHERE products <> 0 OR in_stock <> 0 ORDER BY 1"
"""Counts that fell to nothing are swept by a build only."""


async def read_index(connection: Connection) -> dict[str, list[str]]:
    """Read the whole index; the order of its rows says nothing."""
    return {
        table: [row[0] for row in await connection.fetch(f"SELECT t::text FROM {table} t ORDER BY 1")]
        for table in TABLES
    } | {"facet_counts": [row[0] for row in await connection.fetch(COUNTS)]}


async def find_ids(connection: Connection, **wanted: Any) -> list[int]:
    return [item.id for item in (await find_products(connection, ProductFilter(**wanted))).items]


@pytest.fixture
def catalogue(pool: asyncpg.Pool) -> Catalogue:
    return Catalogue(pool)


async def touch(connection: Connection, *product_ids: int) -> None:
    async with connection.transaction():
        await record_change(connection, Touched(product_ids=product_ids))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
async def test_an_index_that_followed_is_the_same_as_one_built_anew(
    pool: asyncpg.Pool, chance: random.Random
) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        products = make_catalogue(chance, 6)
        await write_catalogue(connection, products)
        await index_products(connection, [product.id for product in products])
        await change_at_random(connection, chance, len(products))
        await index_products(connection, [product.id for product in products])
        followed = await read_index(connection)
        await rebuild_index(connection)
        built = await read_index(connection)
        # words that nothing holds any more are swept by a build only
        assert set(built.pop("product_words")) <= set(followed.pop("product_words"))
        assert followed == built
        await transaction.rollback()


async def change_at_random(connection: Connection, chance: random.Random, products: int) -> None:
    """Move prices, stock, listings and names of a written catalogue about."""
    await connection.execute(
        "UPDATE offers SET price_minor = price_minor + 100, availability = 'out_of_stock' WHERE id % 3 = $1",
        chance.randrange(3),
    )
    await connection.execute("UPDATE listings SET delisted_at = $1 WHERE id % 4 = 0", NOW)
    await connection.execute(
        "UPDATE listings SET product_id = $1 WHERE id = 1", chance.randrange(1, products + 1)
    )
    await connection.execute("UPDATE products SET name = 'Renamed', brand_id = 1 WHERE id = 2")
    await write_listing(connection, 1, make_listing(chance, 9_000), 1)


async def test_a_change_is_shown_once_it_is_followed(pool: asyncpg.Pool, catalogue: Catalogue) -> None:
    product = await catalogue.add_product("Deck")
    listing = await catalogue.add_listing(product, await catalogue.add_shop("labor"))
    offer = await catalogue.add_offer(listing, 4500)
    async with pool.acquire() as connection:
        await touch(connection, product)
        assert await find_ids(connection) == []
        assert (await find_index_lag(connection)).indexed == 0
        assert (await follow_changes(connection))[:2] == (1, 1)
        assert await find_ids(connection, max_amount=45_000) == [product]
        await connection.execute("UPDATE offers SET price_minor = 5000 WHERE id = $1", offer)
        await touch(connection, product)
        assert (await find_index_lag(connection))[2:4] == (2, 1)
        assert (await follow_changes(connection)).position == 2
        assert await find_ids(connection, max_amount=45_000) == []
        assert (await follow_changes(connection)).products == 0


async def test_a_product_that_lost_its_listings_leaves_the_index(
    pool: asyncpg.Pool, catalogue: Catalogue
) -> None:
    old, new = await catalogue.add_product("Old"), await catalogue.add_product("New")
    await catalogue.add_listing(old, await catalogue.add_shop("labor"))
    async with pool.acquire() as connection:
        await rebuild_index(connection)
        assert await find_ids(connection) == [old]
        await connection.execute("UPDATE listings SET product_id = $1", new)
        await touch(connection, old, new)
        await follow_changes(connection)
        assert await find_ids(connection) == [new]


async def test_a_step_that_is_undone_leaves_neither_rows_nor_position(
    pool: asyncpg.Pool, catalogue: Catalogue
) -> None:
    product = await catalogue.add_product("Deck")
    await catalogue.add_listing(product, await catalogue.add_shop("labor"))
    async with pool.acquire() as connection:
        await touch(connection, product)
        transaction = connection.transaction()
        await transaction.start()
        assert (await follow_changes(connection)).position == 1
        await transaction.rollback()
        assert (await find_index_lag(connection)).indexed == 0
        assert await find_ids(connection) == []


@pytest.mark.parametrize("why", ["everything", "pruned"])
async def test_what_cannot_be_followed_is_built_anew(
    pool: asyncpg.Pool, catalogue: Catalogue, why: str
) -> None:
    product = await catalogue.add_product("Deck")
    await catalogue.add_listing(product, await catalogue.add_shop("labor"))
    async with pool.acquire() as connection:
        if why == "everything":
            async with connection.transaction():
                await record_everything_changed(connection)
        else:
            await touch(connection, product)
            await connection.execute("DELETE FROM catalogue_changes")
        assert (await follow_changes(connection)).rebuild
        await begin_build(connection, anew=False)
        assert not (await build_next(connection)).done
        # a process that takes over here goes on, and does not begin anew
        await begin_build(connection, anew=False)
        assert (await build_next(connection)).done
        assert await find_ids(connection) == [product]
        assert not (await follow_changes(connection)).rebuild
        assert (await find_index_lag(connection))[1:4] == (False, 1, 1)


async def test_an_index_that_was_never_built_is_not_taken_for_an_empty_catalogue(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("UPDATE product_index_state SET version = 0, built_to = 0, built_after = 0")
        for read in (find_products(connection, ProductFilter()), find_categories(connection)):
            with pytest.raises(IndexNotBuiltError):
                await read
        assert (await follow_changes(connection)).rebuild


async def test_two_writers_at_once_leave_the_later_truth(pool: asyncpg.Pool, catalogue: Catalogue) -> None:
    product = await catalogue.add_product("Deck")
    listing = await catalogue.add_listing(product, await catalogue.add_shop("labor"))
    await catalogue.add_offer(listing, 1000)

    async def write() -> None:
        async with pool.acquire() as connection, connection.transaction():
            await index_products(connection, [product])

    await asyncio.gather(*(write() for _ in range(5)))
    async with pool.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM indexed_offers") == 1


async def test_brands_and_categories_count_what_is_listed(pool: asyncpg.Pool, catalogue: Catalogue) -> None:
    shop = await catalogue.add_shop("labor")
    for price, stock in ((100, "in_stock"), (200, "out_of_stock")):
        product = await catalogue.add_product("Deck", brand="Quasi", category=1)
        await catalogue.add_offer(await catalogue.add_listing(product, shop), price, 150, stock)
    gone = await catalogue.add_product("Deck", brand="Baker", category=1)
    await catalogue.add_listing(gone, shop, delisted_at=days_ago(1))
    async with pool.acquire() as connection:
        await rebuild_index(connection)
        assert [tuple(brand) for brand in await find_brands(connection)] == [("quasi", "Quasi", 2, 1, 1)]
        categories = {category.slug: category[2:] for category in await find_categories(connection)}
    assert (categories["decks"], categories["shoes"]) == ((2, 1, 1), (0, 0, 0))
    assert len(categories) == 23
