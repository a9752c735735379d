"""What a price history says after observations: every rule of the history, one by one."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import pytest
from tests.ingest_shop import (
    IN,
    OUT,
    UNKNOWN,
    Point,
    add_shop,
    at,
    dump,
    ended,
    find_rows,
    ingest,
    make_batch,
    offer,
    points,
    read_one,
    seen,
)

from skatestock.ingest.consumer import IngestHandler
from skatestock.vocabulary.availability import Availability


async def test_the_first_sight_of_an_offer_is_a_price_point(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0, offer(6000, IN, 8000)))
    assert await points(shop) == [Point(0, 6000, 8000, "in_stock", ["first_seen"])]


async def test_nothing_is_recorded_when_nothing_changed(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0), seen(30), seen(60))
    assert len(await points(shop)) == 1
    assert (await read_one(shop, "listings"))["observed_at"] == at(60)


async def test_a_price_that_returns_is_three_price_points(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0, offer(6000)), seen(30, offer(4500)), seen(60, offer(6000)))
    assert await points(shop) == [
        Point(0, 6000, None, "in_stock", ["first_seen"]),
        Point(30, 4500, None, "in_stock", ["price_down"]),
        Point(60, 6000, None, "in_stock", ["price_up"]),
    ]


async def test_everything_that_changes_at_once_is_one_price_point(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0, offer(6000, OUT)), seen(30, offer(4500, IN, 6000)))
    assert (await points(shop))[1:] == [
        Point(30, 4500, 6000, "in_stock", ["price_down", "compare_at_changed", "back_in_stock"])
    ]


async def test_stock_that_ends_and_returns_is_recorded(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0), seen(30, offer(6000, OUT)), seen(60))
    assert [point.changes for point in await points(shop)] == [
        ["first_seen"],
        ["out_of_stock"],
        ["back_in_stock"],
    ]


async def test_only_the_offer_that_changed_gets_a_price_point(shop: asyncpg.Pool) -> None:
    first = [offer(offer_id="a"), offer(offer_id="b")]
    await ingest(shop, seen(0, *first), seen(30, offer(offer_id="a"), offer(5000, offer_id="b")))
    assert len(await points(shop, offer_id="a")) == 1
    assert [point.price for point in await points(shop, offer_id="b")] == [6000, 5000]


@pytest.mark.parametrize("none", [None, 0])
async def test_a_compare_at_price_of_zero_is_none(shop: asyncpg.Pool, none: int | None) -> None:
    await ingest(shop, seen(0, offer(compare=0)), seen(30, offer(compare=none)))
    assert await points(shop) == [Point(0, 6000, None, "in_stock", ["first_seen"])]


async def test_offers_that_move_at_several_moments_of_a_batch_keep_their_own(shop: asyncpg.Pool) -> None:
    unpriced = offer(0, IN)
    await ingest(shop, seen(0), seen(0, listing="2"), seen(0, unpriced, listing="3", crawl="long"))
    await ingest(
        shop,
        seen(30, offer(5000, IN, 8000)),
        seen(60, offer(7000, OUT), listing="2"),
        seen(60, offer(0, OUT), listing="3", crawl="long"),
        seen(90, offer(5500)),
    )
    states = {
        row["listing_id"]: (row["price_minor"], row["compare_at_minor"], row["availability"], row["since_at"])
        for row in (await dump(shop))["offers"]
    }
    assert states == {
        "1": (5500, None, "in_stock", at(90)),
        "2": (7000, None, "out_of_stock", at(60)),
        "3": (None, None, "out_of_stock", at(60)),
    }


async def test_a_compare_at_price_below_the_price_is_kept_as_the_shop_said_it(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0, offer(6000)), seen(30, offer(6000, compare=4000)))
    assert (await points(shop))[1:] == [Point(30, 6000, 4000, "in_stock", ["compare_at_changed"])]


@pytest.mark.parametrize("known", [IN, OUT])
async def test_unknown_stock_never_overrides_known_stock(shop: asyncpg.Pool, known: Availability) -> None:
    await ingest(shop, seen(0, offer(6000, known)), seen(30, offer(5000, UNKNOWN)))
    assert (await points(shop))[1:] == [Point(30, 5000, None, known.value, ["price_down"])]


async def test_stock_that_nobody_ever_knew_is_unknown_and_learning_of_it_is_no_change(
    shop: asyncpg.Pool,
) -> None:
    await ingest(shop, seen(0, offer(6000, UNKNOWN)), seen(30, offer(6000, UNKNOWN)), seen(60))
    assert await points(shop) == [
        Point(0, 6000, None, "unknown", ["first_seen"]),
        Point(60, 6000, None, "in_stock", []),
    ]


# ---------------------------------------------------------------- variants


async def test_a_variant_that_is_missing_from_all_offers_is_gone(shop: asyncpg.Pool) -> None:
    both = [offer(offer_id="a"), offer(offer_id="b")]
    await ingest(shop, seen(0, *both), seen(30, both[0]), seen(60, both[0]))
    assert (await points(shop, offer_id="b"))[1:] == [Point(30, 6000, None, "gone", ["delisted"])]
    assert len(await points(shop, offer_id="a")) == 1


async def test_a_variant_that_is_missing_from_some_offers_is_not_gone(shop: asyncpg.Pool) -> None:
    both = [offer(offer_id="a"), offer(offer_id="b")]
    await ingest(shop, seen(0, *both), seen(30, offer(5000), offers_complete=False))
    assert len(await points(shop, offer_id="b")) == 1
    assert (await points(shop, offer_id="a"))[-1].price == 5000


async def test_a_variant_that_returns_is_back(shop: asyncpg.Pool) -> None:
    both = [offer(offer_id="a"), offer(offer_id="b")]
    await ingest(shop, seen(0, *both), seen(30, both[0]), seen(60, both[0], offer(5000, OUT, offer_id="b")))
    assert (await points(shop, offer_id="b"))[-1] == Point(
        60, 5000, None, "out_of_stock", ["back", "price_down"]
    )


async def test_a_variant_that_returns_without_word_of_stock_is_as_it_was(shop: asyncpg.Pool) -> None:
    both = [offer(offer_id="a"), offer(6000, OUT, offer_id="b")]
    await ingest(
        shop, seen(0, *both), seen(30, both[0]), seen(60, both[0], offer(6000, UNKNOWN, offer_id="b"))
    )
    assert (await points(shop, offer_id="b"))[-1] == Point(60, 6000, None, "out_of_stock", ["back"])


async def test_a_new_variant_of_a_known_listing_is_first_seen(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0, offer(offer_id="a")), seen(30, offer(offer_id="a"), offer(offer_id="b")))
    assert await points(shop, offer_id="b") == [Point(30, 6000, None, "in_stock", ["first_seen"])]
    assert (await read_one(shop, "offers", offer_id="b"))["position"] == 1


# ---------------------------------------------------------------- late and repeated


async def test_a_repeated_observation_changes_nothing(shop: asyncpg.Pool) -> None:
    events = [seen(0), seen(30, offer(5000))]
    await ingest(shop, *events)
    before = await dump(shop)
    handler = await ingest(shop, *events)
    assert await dump(shop) == before
    assert handler.tally.outcomes == {"late": 2}


async def test_an_older_observation_changes_nothing(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(60, offer(5000)), seen(30, offer(4000)))
    assert [point.price for point in await points(shop)] == [5000]


async def test_an_observation_from_before_a_crawl_that_saw_the_listing_changes_nothing(
    shop: asyncpg.Pool,
) -> None:
    await ingest(shop, seen(0), ended(30, "1"), seen(20, offer(4000)))
    assert [point.price for point in await points(shop)] == [6000]


async def test_an_observation_that_arrives_after_the_end_of_its_own_crawl_counts(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0), ended(30, "1", crawl="x"), seen(31, offer(5000), crawl="x"))
    assert [point.price for point in await points(shop)] == [6000, 5000]


async def test_an_observation_from_before_a_delisting_does_not_bring_back(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0), ended(0, "1"), ended(30), ended(60, until=70), seen(40, offer(5000)))
    assert (await points(shop))[-1] == Point(70, 6000, None, "gone", ["delisted"])


async def test_the_end_of_a_crawl_counts_once(shop: asyncpg.Pool) -> None:
    end = ended(30)
    await ingest(shop, seen(0), end, end)
    await ingest(shop, end)
    listing = await read_one(shop, "listings")
    assert (listing["missed"], listing["delisted_at"]) == (1, None)


# ---------------------------------------------------------------- words


async def test_a_listing_is_a_product_with_its_brand_and_category(shop: asyncpg.Pool) -> None:
    unnamed, titled = seen(0, listing="3", brand=None, title="Deck 3"), seen(0, listing="4", brand=None)
    await ingest(shop, seen(0), seen(0, listing="2", brand="KROOKED"), unnamed, titled)
    first, second, third, fourth = (await dump(shop))["listings"]
    assert (first["product"], first["category"], first["product_colourway"]) == ("Deck 1", "decks", "Black")
    assert first["product_brand"] == second["product_brand"] == "Krooked"
    assert third["product_brand"] is None
    assert fourth["product_brand"] == "Krooked"
    assert await shop.fetchval("SELECT count(*) FROM products") == 4


async def test_words_that_change_are_taken_over_by_the_listing_and_its_product(shop: asyncpg.Pool) -> None:
    words = {"title": "New title", "name": "Big Hoodie", "brand": "Real", "url": "https://shop.example/new"}
    await ingest(shop, seen(0), seen(30, offer(title="Renamed", options={"Size": "XL"}, sku=None), **words))
    listing = await read_one(shop, "listings")
    assert {word: listing[word] for word in words} == words
    assert (listing["product"], listing["product_brand"]) == ("Big Hoodie", "Real")
    assert listing["category"] == "sweatshirts"
    changed = await read_one(shop, "offers")
    assert (changed["title"], changed["options"], changed["sku"]) == ("Renamed", {"Size": "XL"}, None)
    assert len(await points(shop)) == 1


async def test_a_product_of_several_listings_keeps_its_words(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0), seen(0, listing="2"))
    await shop.execute("UPDATE listings SET product_id = (SELECT min(product_id) FROM listings)")
    await ingest(shop, seen(30, name="Another name"))
    first, second = (await dump(shop))["listings"]
    assert first["name"] == "Another name"
    assert first["product"] == second["product"] == "Deck 1"


async def test_another_order_of_options_is_no_change_of_words(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(0, offer(options={"Size": "8", "Color": "Red"})))
    handler = await ingest(shop, seen(30, offer(options={"Color": "Red", "Size": "8"})))
    assert handler.tally.outcomes == {"unchanged": 1}


async def test_the_fingerprint_is_that_of_the_last_applied_observation(shop: asyncpg.Pool) -> None:
    newest = seen(30, offer(50_000))
    await ingest(shop, seen(0), newest, seen(10, offer(4000)))
    assert (await read_one(shop, "listings"))["fingerprint"] == newest.fingerprint


# ---------------------------------------------------------------- months and crawls


async def test_price_points_lie_in_the_month_of_their_moment_on_both_sides_of_its_edge(
    shop: asyncpg.Pool,
) -> None:
    edge = datetime(2026, 4, 1, tzinfo=UTC)
    minutes = int((edge - at(0)).total_seconds()) // 60
    await ingest(shop, seen(minutes - 1, offer(6000)), seen(minutes, offer(5000)), seen(minutes + 1))
    rows = await shop.fetch(
        "SELECT tableoid::regclass::text, price_minor FROM price_points ORDER BY observed_at"
    )
    tables = [table for table, _ in rows]
    assert [price for _, price in rows] == [6000, 5000, 6000]
    assert tables[0] != tables[1] == tables[2]
    assert "price_points_default" not in tables


async def test_a_month_that_was_made_in_vain_is_made_again(shop: asyncpg.Pool) -> None:
    handler = IngestHandler()
    events = [seen(0, listing=str(number)) for number in range(1200)]
    async with shop.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await handler(connection, make_batch(*events))
        await transaction.rollback()
    await ingest(shop, *events, handler=handler)
    tables = await shop.fetch("SELECT DISTINCT tableoid::regclass::text FROM price_points")
    assert [table for (table,) in tables] == ["price_points_2026_03"]


async def test_a_crawl_begins_with_its_first_event_and_ends_with_its_end(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(31, crawl="x"), seen(32, crawl="x", listing="2"))
    begun = await read_one(shop, "crawls")
    assert (begun["started_at"], begun["completed_at"], begun["complete"]) == (at(31), None, None)
    await ingest(shop, ended(30, "1", "2", "3", crawl="x", changed=2, pages=4, requests=7))
    done = await read_one(shop, "crawls")
    assert (done["started_at"], done["completed_at"], done["complete"]) == (at(30), at(35), True)
    assert (done["listings_seen"], done["changed"], done["pages"], done["requests"]) == (3, 2, 4, 7)


async def test_two_shops_in_one_batch_do_not_touch_each_other(shop: asyncpg.Pool) -> None:
    await add_shop(shop, "premier")
    other = seen(0, offer(9000), shop="premier")
    await ingest(shop, seen(0), other, ended(30), ended(30, "1", shop="premier"), ended(60))
    assert [point.price for point in await points(shop, shop="premier")] == [9000]
    assert (await points(shop))[-1].availability == "gone"
    assert find_rows((await dump(shop, "premier"))["listings"], missed=0)
