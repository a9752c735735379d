"""Rows that are sent to PostgreSQL in its own binary form are those that were meant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
import pytest
from tests.ingest_shop import BEGIN

from skatestock.catalog.copy_rows import copy_observations, copy_points
from skatestock.catalog.model import Change, ListingState, Observation, OfferState, PricePoint
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import MAX_MINOR

MOMENTS = [
    datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    BEGIN,
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
]
CRAWLS = ["labor-1", "Größe/🛹", "x" * 255]


def make_offer(number: int) -> OfferState:
    """Make an offer of which only the number matters."""
    return OfferState(number, str(number), "", {}, None, 0, None, None, Availability.UNKNOWN, BEGIN)


def make_points() -> list[tuple[OfferState, PricePoint]]:
    """Make points that differ in every column from some other one."""
    states = [(0, None), (1, 0), (MAX_MINOR, MAX_MINOR), (6000, 8000)]
    changes: Sequence[list[Change]] = ([], [Change.FIRST_SEEN], list(Change))
    return [
        (
            make_offer(2**62 + place if place % 7 == 0 else place),
            PricePoint(
                MOMENTS[place % len(MOMENTS)],
                *states[place % len(states)],
                list(Availability)[place % len(Availability)],
                changes[place % len(changes)],
                CRAWLS[place % len(CRAWLS)],
            ),
        )
        for place in range(1, 85)
    ]


async def test_a_price_point_is_stored_as_it_was_made(pool: asyncpg.Pool) -> None:
    points = make_points()
    async with pool.acquire() as connection:
        await copy_points(connection, points)
    rows = await pool.fetch(
        "SELECT offer_id, observed_at, price_minor, compare_at_minor, availability, changes, crawl_id "
        "FROM price_points ORDER BY offer_id"
    )
    assert [tuple(row) for row in rows] == sorted(
        (
            *(offer.id, point.observed_at, point.price_minor, point.compare_at_minor),
            *(str(point.availability), [str(change) for change in point.changes], point.crawl_id),
        )
        for offer, point in points
    )


async def test_an_observation_is_stored_as_it_was_made(pool: asyncpg.Pool) -> None:
    keys = [None, "2026-03-01/" + "ab" * 32, "é"]
    observations = [
        (
            ListingState(place, str(place), 0, "USD", BEGIN, BEGIN),
            Observation(
                moment, CRAWLS[place % 3], f"parser-{place % 2}", 2**31 - place, keys[place % 3], False
            ),
        )
        for place, moment in enumerate(MOMENTS * 3, start=1)
    ]
    async with pool.acquire() as connection:
        await copy_observations(connection, observations)
    rows = await pool.fetch(
        "SELECT listing_id, observed_at, crawl_id, parser, parser_version, evidence "
        "FROM observations ORDER BY listing_id"
    )
    assert [tuple(row) for row in rows] == [(listing.id, *seen[:5]) for listing, seen in observations]


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1000, 12_345])
async def test_any_number_of_rows_arrives(pool: asyncpg.Pool, count: int) -> None:
    point = PricePoint(BEGIN, 6000, None, Availability.IN_STOCK, [Change.FIRST_SEEN], "labor-1")
    async with pool.acquire() as connection:
        await copy_points(connection, [(make_offer(number), point) for number in range(count)])
    assert await pool.fetchval("SELECT count(DISTINCT offer_id) FROM price_points") == count


async def test_values_that_the_database_refuses_are_refused_and_the_connection_stays_good(
    pool: asyncpg.Pool,
) -> None:
    twice = [(make_offer(1), PricePoint(BEGIN, 1, None, Availability.IN_STOCK, [], "labor-1"))] * 2
    negative = [(make_offer(1), PricePoint(BEGIN, -1, None, Availability.IN_STOCK, [], "labor-1"))]
    surrogate = [(make_offer(1), PricePoint(BEGIN, 1, None, Availability.IN_STOCK, [], "\ud800"))]
    nul = [(make_offer(1), PricePoint(BEGIN, 1, None, Availability.IN_STOCK, [], "\0"))]
    for refused, points in (
        (asyncpg.UniqueViolationError, twice),
        (asyncpg.CheckViolationError, negative),
        (UnicodeEncodeError, surrogate),
        (asyncpg.DataError, nul),
    ):
        async with pool.acquire() as connection:
            with pytest.raises(refused):
                await copy_points(connection, points)
            assert await connection.fetchval("SELECT count(*) FROM price_points") == 0
