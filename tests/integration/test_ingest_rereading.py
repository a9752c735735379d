"""An observation that a newer parser reads otherwise takes the place of the first reading, and no more."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec
import pytest
from tests.ingest_shop import (
    OUT,
    SHOP,
    UNKNOWN,
    Point,
    dump,
    ended,
    find_rows,
    ingest,
    offer,
    points,
    read_one,
    seen,
)

from skatestock.catalog.observation_queries import find_observed_listings
from skatestock.events.model import Event, ListingObserved, OfferObserved
from skatestock.ingest.comparing import SAME_VERSION, Obstacle, compare_reading, find_obstacle


def reread(
    event: ListingObserved, *offers: OfferObserved, version: int = 2, **fields: Any
) -> ListingObserved:
    """Make the same observation as a newer version of its parser reads it."""
    digest = bytes([version]) + event.fingerprint[1:]
    fields = {"offers": offers or event.offers, "parser_version": version, "fingerprint": digest} | fields
    return msgspec.structs.replace(event, **fields)


@pytest.mark.parametrize("batch", [1, 100])
async def test_a_price_read_anew_leaves_the_history_as_if_it_had_been_read_so_at_once(
    pool: asyncpg.Pool, shop: asyncpg.Pool, batch: int
) -> None:
    wrong = seen(10, offer(5000), offer(5500, OUT, offer_id="b"))
    right = reread(wrong, offer(6000, compare=7000), offer(6000, offer_id="b"))
    await ingest(
        shop, seen(0, offer(), offer(offer_id="b")), wrong, ended(9, "1", crawl="10"), right, batch=batch
    )
    assert await points(shop) == [
        Point(0, 6000, None, "in_stock", ["first_seen"]),
        Point(10, 6000, 7000, "in_stock", ["compare_at_changed"]),
    ]
    # What never changed has no point at all.
    assert await points(shop, offer_id="b") == [Point(0, 6000, None, "in_stock", ["first_seen"])]
    listing = await read_one(shop, "listings", listing_id="1")
    assert (listing["parser_version"], listing["fingerprint"]) == (2, right.fingerprint)


STORIES: dict[str, tuple[list[Event], ListingObserved, ListingObserved]] = {}


def story(
    what: str, before: list[Event], wrong: ListingObserved, *offers: OfferObserved, **fields: Any
) -> None:
    STORIES[what] = (before, wrong, reread(wrong, *offers, **fields))


BASE = seen(0, offer(), offer(offer_id="b"))
story("a price", [BASE], seen(10, offer(5000), offer(offer_id="b")), offer(5800), offer(offer_id="b"))
story("stock", [BASE], seen(10, offer(6000, OUT), offer(offer_id="b")), offer(), offer(offer_id="b"))
story(
    "words",
    [BASE],
    seen(10, title="Decc", name="Decc"),
    offer(),
    offer(offer_id="b"),
    title="Deck",
    name="Deck",
)
story("a jump", [BASE], seen(10, offer(60), offer(offer_id="b")), offer(), offer(offer_id="b"))
story("into a jump", [BASE], seen(10, offer(5000), offer(offer_id="b")), offer(60), offer(offer_id="b"))
story("an offer that was not seen", [BASE], seen(10, offer()), offer(), offer(offer_id="b"))
story("an offer that is not there", [BASE], seen(10, offer(), offer(offer_id="b")), offer())
story("the first look", [], seen(10, offer(5000), offer(0, offer_id="b")), offer(), offer(4000, offer_id="b"))
story("the first look at nothing", [], seen(10, offer(5000)), offer(0))
story(
    "unknown stock",
    [BASE],
    seen(10, offer(6000, OUT), offer(offer_id="b")),
    offer(6000, UNKNOWN),
    offer(offer_id="b"),
)
story(
    "a return",
    [BASE, seen(5, offer())],
    seen(10, offer(), offer(7000, offer_id="b")),
    offer(),
    offer(offer_id="b"),
)


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("name", STORIES)
async def test_after_a_rereading_everything_is_as_if_the_first_reading_had_never_been(
    pool: asyncpg.Pool, shop: asyncpg.Pool, name: str, batch: int
) -> None:
    before, wrong, right = STORIES[name]
    await ingest(shop, *before, wrong, right, batch=batch)
    found = await dump(shop)
    await pool.execute(
        "TRUNCATE listings, offers, price_points, observations, products, crawls, rejected_observations,"
        " wishes"
    )
    await ingest(shop, *before, right, batch=batch)
    assert found == await dump(shop)


# That a newer parser does not know the stock any more is no news of the stock.
@pytest.mark.parametrize("name", sorted(STORIES.keys() - {"unknown stock"}))
async def test_what_replay_compares_with_is_what_was_observed_last(
    pool: asyncpg.Pool, shop: asyncpg.Pool, name: str
) -> None:
    before, wrong, right = STORIES[name]
    await ingest(shop, *before, wrong)

    async def compare(event: ListingObserved) -> tuple[int, Obstacle | None]:
        async with pool.acquire() as connection:
            (known,) = (await find_observed_listings(connection, SHOP, event.crawl_id)).values()
        return len(compare_reading(known, event)), find_obstacle(known, event)

    assert await compare(wrong) == (0, SAME_VERSION)
    changes, obstacle = await compare(right)
    assert (changes > 0, obstacle) == (True, None)
    await ingest(shop, right)
    assert await compare(right) == (0, SAME_VERSION)


async def test_a_rereading_said_twice_or_older_than_another_changes_nothing(shop: asyncpg.Pool) -> None:
    wrong = seen(10, offer(5000))
    second, third = reread(wrong, offer(5500)), reread(wrong, offer(5800), version=3)
    await ingest(shop, seen(0), wrong, third)
    found = await dump(shop)
    handler = await ingest(shop, wrong, second, third)
    assert handler.tally.outcomes == {"late": 3}
    assert await dump(shop) == found


async def test_only_the_last_observation_can_be_read_anew(shop: asyncpg.Pool) -> None:
    wrong = seen(10, offer(5000))
    await ingest(shop, seen(0), wrong, seen(20, offer(5500)))
    found = await dump(shop)
    assert (await ingest(shop, reread(wrong, offer(5800)))).tally.outcomes == {"late": 1}
    other = msgspec.structs.replace(reread(seen(20, offer(1)), offer(5800)), parser="woocommerce")
    assert (await ingest(shop, other)).tally.outcomes == {"late": 1}
    assert await dump(shop) == found


async def test_a_listing_that_is_gone_since_is_not_read_anew(shop: asyncpg.Pool) -> None:
    wrong = seen(10, offer(5000))
    await ingest(shop, wrong, ended(20), ended(30))
    found = await dump(shop)
    assert (await ingest(shop, reread(wrong, offer(6000)))).tally.outcomes == {"late": 1}
    assert await dump(shop) == found


async def test_a_price_that_crawls_have_confirmed_as_unchanged_is_mended_from_its_first_sighting(
    shop: asyncpg.Pool,
) -> None:
    wrong = seen(10, offer(60))
    # The page read the same an hour later, so that the jump was believed.
    await ingest(shop, seen(0), wrong, ended(9, "1", crawl="10"), ended(60, "1"))
    assert [point.price for point in await points(shop)] == [6000, 60]
    await ingest(shop, reread(wrong, offer(6000)))
    assert await points(shop) == [Point(0, 6000, None, "in_stock", ["first_seen"])]


async def test_every_price_point_of_an_observation_leads_to_parser_and_page(
    pool: asyncpg.Pool, shop: asyncpg.Pool
) -> None:
    first = seen(0, evidence="2026-03-02/aa")
    wrong = seen(10, offer(5000), evidence="2026-03-02/bb")
    await ingest(shop, first, wrong, reread(wrong, offer(5500)), ended(20), ended(30), batch=1)
    rows = await pool.fetch(
        """
        SELECT p.price_minor, p.crawl_id, seen.crawl_id AS seen_by, seen.parser, seen.parser_version,
            seen.evidence
        FROM price_points p JOIN offers o ON o.id = p.offer_id
        LEFT JOIN observations seen ON seen.listing_id = o.listing_id AND seen.observed_at = p.observed_at
        ORDER BY p.observed_at
        """
    )
    assert [tuple(row) for row in rows] == [
        (6000, "labor-0", "labor-0", "shopify", 1, "2026-03-02/aa"),
        (5500, "labor-10", "labor-10", "shopify", 2, "2026-03-02/bb"),
        # That it is gone was concluded, and no page says it.
        (5500, "labor-30", None, None, None, None),
    ]
    assert find_rows((await dump(shop))["listings"], listing_id="1")[0]["parser_version"] == 2
