"""Lists of products against a model: every filter, order and facet over random catalogues, in PostgreSQL."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.catalog_rows import NOW
from tests.integration.index_model import (
    BRANDS,
    CATEGORIES,
    COLOURS,
    SHOPS,
    SIZES,
    Product,
    find_expected,
    find_matching,
    make_catalogue,
    write_catalogue,
)

from skatestock.catalog.commands_index import index_products
from skatestock.catalog.facet_queries import NEW_DAYS, find_facets
from skatestock.catalog.index_queries import find_products
from skatestock.catalog.product_filter import ProductFilter, Sort
from skatestock.database.pool import Connection

SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def some(values: Any) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(sorted(values)), min_size=1, max_size=2, unique=True).map(tuple)


CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "shops": some(SHOPS),
    "brands": some(BRANDS),
    "categories": some(CATEGORIES),
    "sizes": some(SIZES),
    "colours": some(COLOURS),
    "min_amount": st.sampled_from((10_000, 20_000, 25_000)),
    "max_amount": st.sampled_from((20_000, 29_990, 45_000, 2_000_000)),
    "min_discount": st.sampled_from((1, 25, 50, 75)),
    "on_sale": st.booleans(),
    "in_stock": st.booleans(),
    "new_since": st.sampled_from([NOW - timedelta(days=days) for days in (1, 3)]),
    "include_delisted": st.just(True),
}
# Few at a time: a dozen filters at once let nothing through, and prove nothing.
FILTERS = (
    st.lists(st.sampled_from(sorted(CHOICES)), max_size=3, unique=True)
    .flatmap(lambda names: st.fixed_dictionaries({name: CHOICES[name] for name in names}))
    .map(lambda chosen: ProductFilter(**chosen))
)
SORTS = st.sampled_from([sort for sort in Sort if sort is not Sort.RELEVANCE])
CATALOGUES = st.builds(
    lambda seed, products: make_catalogue(random.Random(seed), products),
    st.integers(0, 2**32),
    st.integers(4, 12),
)


class Written:
    """A random catalogue in a transaction that is undone."""

    def __init__(self, pool: asyncpg.Pool, products: list[Product]) -> None:
        self._pool = pool
        self._products = products

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool.acquire()
        self._transaction = self._connection.transaction()
        await self._transaction.start()
        await write_catalogue(self._connection, self._products)
        await index_products(self._connection, [product.id for product in self._products])
        return self._connection

    async def __aexit__(self, *_error: object) -> None:
        await self._transaction.rollback()
        await self._pool.release(self._connection)


async def find_ids(connection: Connection, wanted: ProductFilter, sort: Sort) -> list[int]:
    found = await find_products(connection, wanted, sort=sort, limit=100)
    assert found.total == len(found.items)
    return [item.id for item in found.items]


@SLOW
@given(CATALOGUES, st.lists(st.tuples(FILTERS, SORTS), min_size=1, max_size=8))
async def test_filters_and_orders_give_what_the_model_gives(
    pool: asyncpg.Pool, products: list[Product], asked: list[tuple[ProductFilter, Sort]]
) -> None:
    async with Written(pool, products) as connection:
        for wanted, sort in asked:
            assert await find_ids(connection, wanted, sort) == find_expected(products, wanted, sort), wanted


@SLOW
@given(CATALOGUES, FILTERS)
async def test_the_price_shown_is_the_best_of_the_offers_that_match(
    pool: asyncpg.Pool, products: list[Product], wanted: ProductFilter
) -> None:
    by_id = {product.id: product for product in products}
    async with Written(pool, products) as connection:
        for item in (await find_products(connection, wanted, limit=100)).items:
            best = min(find_matching(by_id[item.id], wanted), key=lambda row: row.standing)
            shown = item.matching_price
            assert (None if shown is None else shown.to_decimal()) == best.amount
            assert shown is None or shown.currency == best.listing.currency
            assert item.matching_in_stock == (best.rank == 0)


@settings(SLOW, max_examples=25)
@given(CATALOGUES, FILTERS)
async def test_a_facets_count_is_what_choosing_its_value_finds(
    pool: asyncpg.Pool, products: list[Product], wanted: ProductFilter
) -> None:
    def count(**chosen: Any) -> int:
        return len(find_expected(products, msgspec.structs.replace(wanted, **chosen), Sort.NEWEST))

    async with Written(pool, products) as connection:
        facets = await find_facets(connection, wanted, NOW)
    named = (
        (facets.shop, "shops", SHOPS),
        (facets.brand, "brands", BRANDS),
        (facets.category, "categories", CATEGORIES),
        (facets.size, "sizes", SIZES),
        (facets.colour, "colours", COLOURS),
    )
    for found, name, values in named:
        expected = {value: count(**{name: (value,)}) for value in values}
        assert {value.value: value.count for value in found} == {
            value: number for value, number in expected.items() if number
        }, name
    flags = {"true": True, "false": False}
    assert {v.value: v.count for v in facets.in_stock} == {t: count(in_stock=f) for t, f in flags.items()}
    assert {v.value: v.count for v in facets.on_sale} == {t: count(on_sale=f) for t, f in flags.items()}
    for value in facets.min_discount:
        assert value.count == count(min_discount=int(value.value))
    assert [value.count for value in facets.new_since] == [
        count(new_since=NOW - timedelta(days=days)) for days in NEW_DAYS
    ]
    unbounded = msgspec.structs.replace(wanted, min_amount=None, max_amount=None)
    amounts = [
        row.amount * 1000
        for product in products
        for row in find_matching(product, unbounded)
        if row.amount is not None
    ]
    assert facets.lowest_amount == min(amounts, default=None)
    assert facets.highest_amount == max(amounts, default=None)


@settings(SLOW, max_examples=25)
@given(CATALOGUES, FILTERS, SORTS, st.integers(1, 4))
async def test_cursors_read_every_product_once_in_order(
    pool: asyncpg.Pool, products: list[Product], wanted: ProductFilter, sort: Sort, limit: int
) -> None:
    async with Written(pool, products) as connection:
        read: list[int] = []
        place = None
        while True:
            page = await find_products(connection, wanted, sort=sort, limit=limit, after=place)
            read.extend(item.id for item in page.items)
            assert len(page.items) == limit or page.next is None
            place = page.next
            if place is None:
                break
    assert read == find_expected(products, wanted, sort)


async def test_several_filters_hold_for_one_offer(pool: asyncpg.Pool) -> None:
    """Each filter is met by some offer of the product, and no offer meets them all."""
    (product,) = make_catalogue(random.Random(0), 1)
    offers: tuple[tuple[str, str, int, str], ...] = (
        ("premier", '8.5"', 5000, "in_stock"),
        ("nj", '8.25"', 5000, "in_stock"),
    )
    offers = (*offers, ("premier", '8.25"', 7000, "in_stock"), ("premier", '8.25"', 5000, "out_of_stock"))
    from tests.integration.index_model import Listing, Offer

    product.listings = [
        Listing(n, shop, "USD", None, NOW, True, (Offer(size, None, price, None, stock, NOW),))
        for n, (shop, size, price, stock) in enumerate(offers, start=1)
    ]
    wanted = ProductFilter(shops=("premier",), sizes=('8.25"',), max_amount=60_000, in_stock=True)
    async with Written(pool, [product]) as connection:
        assert await find_ids(connection, wanted, Sort.NEWEST) == []
        dearer = msgspec.structs.replace(wanted, max_amount=int(Decimal("70") * 1000))
        assert await find_ids(connection, dearer, Sort.NEWEST) == [product.id]


@pytest.mark.parametrize("sort", list(Sort))
async def test_an_empty_catalogue_is_an_empty_page(pool: asyncpg.Pool, sort: Sort) -> None:
    async with pool.acquire() as connection:
        found = await find_products(connection, ProductFilter(search="deck"), sort=sort)
    assert (found.items, found.total, found.next) == ((), 0, None)
