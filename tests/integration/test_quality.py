"""Issues of data quality by what ingest stores: each kind appears, stays one row, and resolves by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ingest_shop import BEGIN, SHOP, add_shop, at, ended, ingest, offer, seen

from skatestock.catalog.commands_quality import (
    KEPT_DAYS,
    QualityCheck,
    check_shop_quality,
    prune_quality_issues,
)
from skatestock.catalog.quality import KINDS, QualityKind
from skatestock.catalog.quality_queries import (
    QualityFilter,
    QualityIssue,
    count_quality_issues,
    find_quality_issues,
)
from skatestock.database.pool import Pool
from skatestock.events.model import Event, RejectedObservation
from skatestock.vocabulary.normaliser import current_normaliser

SOUND: dict[str, Any] = {"image_url": "https://shop.example/deck.jpg"}
"""What an observation of the tests lacks to be without any issue."""
WELL: dict[str, Any] = {"options": {"Size": "8.25"}}


@pytest.fixture
async def shop(pool: Pool) -> Pool:
    await add_shop(pool)
    await pool.execute("UPDATE shops SET crawl_every_seconds = 1200")
    return pool


async def check(pool: Pool, minute: int, shop: str = SHOP) -> QualityCheck:
    async with pool.acquire() as connection, connection.transaction():
        return await check_shop_quality(connection, shop, at(minute), current_normaliser())


async def issues(pool: Pool, *, resolved: bool = False, **words: Any) -> list[QualityIssue]:
    async with pool.acquire() as connection:
        return await find_quality_issues(connection, QualityFilter(resolved=resolved, **words), limit=1000)


async def keys(pool: Pool) -> set[tuple[str, str | None, str | None]]:
    return {(issue.kind, issue.listing_id, issue.offer_id) for issue in await issues(pool)}


async def rows(pool: Pool) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await pool.fetch("SELECT * FROM quality_issues ORDER BY id")]


def sight(minute: int, listing: str = "1", **words: Any) -> Event:
    """Make an observation without any issue, but for what the words change."""
    offers = words.pop("offers", (offer(**WELL),))
    return seen(minute, *offers, listing=listing, **(SOUND | words))


def reject(reason: str, listing: str | None = "9", place: int = 0) -> RejectedObservation:
    return RejectedObservation(
        listing_id=listing, reason=reason, detail=f"it is {reason}", position=f"page 1, {place}", excerpt="{}"
    )


SOUND_CRAWL: Sequence[Event] = (sight(30), ended(30, "1"))

# By kind: a crawl that shows it, whose it is, and what the issue says.
CASES: list[Any] = [
    ("price_zero", (sight(0, offers=(offer(0, **WELL),)),), ("1", "a"), {"confirmed": False}),
    (
        "compare_at_below_price",
        (sight(0, offers=(offer(6000, compare=5999, **WELL),)),),
        ("1", "a"),
        {"price_minor": 6000, "compare_at_minor": 5999, "currency": "USD"},
    ),
    ("missing_image", (sight(0, image_url=None),), ("1", None), {}),
    ("unknown_brand", (sight(0, brand="Odd", title="Odd deck", name="Deck"),), ("1", None), {"words": "Odd"}),
    (
        "unknown_category",
        (
            sight(
                0,
                title="Violet - Gadget",
                name="Gadget",
                brand="Violet",
                product_type="Whatnot",
                offers=(offer(options={}),),
            ),
        ),
        ("1", None),
        {"words": "Whatnot"},
    ),
    (
        "unknown_size",
        (sight(0, offers=(offer(options={"Size": "Huge", "Color": "Red"}),)),),
        ("1", "a"),
        {"words": "Huge"},
    ),
]


@pytest.mark.parametrize(("kind", "events", "whose", "detail"), CASES, ids=[case[0] for case in CASES])
async def test_what_a_listing_shows_is_an_issue_until_it_is_gone(
    kind: str, events: Sequence[Event], whose: tuple[str, str | None], detail: dict[str, Any], shop: Pool
) -> None:
    await ingest(shop, *events, ended(0, "1"))
    assert await check(shop, 6) == QualityCheck(1, 1, 0)
    (issue,) = await issues(shop)
    assert (issue.kind, issue.listing_id, issue.offer_id) == (kind, *whose)
    assert issue.detail == detail
    assert issue.severity == KINDS[QualityKind(kind)].severity
    assert issue.url == "https://shop.example/products/deck-1"
    assert (issue.first_seen_at, issue.last_seen_at, issue.resolved_at) == (at(0), at(0), None)

    await ingest(shop, *SOUND_CRAWL)
    assert await check(shop, 40) == QualityCheck(0, 0, 1)
    assert await issues(shop) == []
    (issue,) = await issues(shop, resolved=True)
    assert (issue.last_seen_at, issue.resolved_at) == (at(0), at(40))


REJECTS = {
    "no_offers": "no_offers",
    "unreadable_price": "unreadable_price",
    "unreadable_compare_at_price": "unreadable_price",
    "no_price": "unreadable_price",
    "other_currency": "mixed_currency",
    "conflicting_offers": "rejected_product",
    "not_a_product": "rejected_product",
}


@pytest.mark.parametrize(("reason", "kind"), REJECTS.items())
async def test_a_rejected_product_is_an_issue_until_a_complete_crawl_takes_it(
    reason: str, kind: str, shop: Pool
) -> None:
    await ingest(shop, sight(0), ended(0, "1", "9", rejected=[reject(reason)]))
    await check(shop, 6)
    (issue,) = await issues(shop)
    assert (issue.kind, issue.listing_id, issue.url) == (kind, "9", None)
    assert issue.detail == {
        "reason": reason,
        "detail": f"it is {reason}",
        "position": "page 1, 0",
        "times": 1,
    }

    # A blocked crawl says nothing of it.
    await ingest(shop, ended(30, complete=False))
    await check(shop, 36)
    assert await keys(shop) == {(kind, "9", None)}
    await ingest(shop, ended(60, "1", "9"))
    await check(shop, 66)
    assert await keys(shop) == set()


async def test_a_page_without_its_product_is_a_soft_404_where_a_page_is_a_listing(shop: Pool) -> None:
    await shop.execute("UPDATE shops SET platform = 'schema-org'")
    await ingest(shop, sight(0), ended(0, "1", "9", rejected=[reject("not_a_product")]))
    await check(shop, 6)
    assert await keys(shop) == {("soft_404", "9", None)}


async def test_rejects_without_an_identifier_are_one_issue_of_the_shop_that_counts_them(shop: Pool) -> None:
    rejects = [reject("no_id", None, place) for place in range(3)]
    await ingest(shop, sight(0), ended(0, "1", complete=False, reason="unidentified", rejected=rejects))
    await check(shop, 6)
    (issue,) = await issues(shop)
    assert (issue.kind, issue.listing_id, issue.detail["times"]) == ("rejected_product", None, 3)


async def test_rejects_that_a_crawl_does_not_name_are_not_taken_for_gone(shop: Pool) -> None:
    await ingest(shop, sight(0), ended(0, "1", "9", rejected=[reject("no_offers")]))
    await check(shop, 6)
    await ingest(shop, ended(30, "1", "9", rejected=[reject("no_offers", "8")], rejected_total=2))
    await check(shop, 36)
    assert await keys(shop) == {("no_offers", "9", None), ("no_offers", "8", None)}
    await ingest(shop, ended(60, "1", "9"))
    assert (await check(shop, 66)).resolved == 2


async def test_a_jump_is_an_issue_while_it_is_held_and_a_zero_also_when_it_is_confirmed(shop: Pool) -> None:
    both = (offer(6000, **WELL), offer(6000, offer_id="b", options={"Size": "8.5"}))
    await ingest(shop, sight(0, offers=both), ended(0, "1"))
    assert (await check(shop, 6)).found == 0
    odd = (offer(600_000, **WELL), offer(0, offer_id="b", options={"Size": "8.5"}))
    await ingest(shop, sight(30, offers=odd), ended(30, "1"))
    await check(shop, 36)
    found = {issue.kind: issue for issue in await issues(shop)}
    assert found.keys() == {"price_jump_held", "price_zero"}
    assert found["price_jump_held"].detail == {
        "price_minor": 6000,
        "held_price_minor": 600_000,
        "currency": "USD",
    }
    assert found["price_zero"].detail == {"confirmed": False}
    await ingest(shop, ended(60, "1"))
    assert await check(shop, 66) == QualityCheck(1, 0, 1)
    (zero,) = await issues(shop)
    assert (zero.kind, zero.detail) == ("price_zero", {"confirmed": True})
    assert (zero.first_seen_at, zero.last_seen_at) == (at(30), at(60))


async def test_a_shop_that_changes_its_currency_has_listings_in_another(shop: Pool) -> None:
    await ingest(shop, sight(0), ended(0, "1"))
    await shop.execute("UPDATE shops SET currency = 'CAD'")
    await check(shop, 6)
    (issue,) = await issues(shop)
    assert (issue.kind, issue.detail) == ("mixed_currency", {"currency": "USD", "shop_currency": "CAD"})


async def test_a_shop_is_stale_from_an_hour_after_its_last_complete_crawl(shop: Pool) -> None:
    assert (await check(shop, 0)).found == 0, "a shop that was never crawled is not stale"
    await ingest(shop, sight(0), ended(0, "1"), ended(30, complete=False))
    assert (await check(shop, 65)).found == 0
    await check(shop, 66)
    (issue,) = await issues(shop)
    assert (issue.kind, issue.listing_id, issue.last_seen_at) == ("stale_shop", None, at(66))
    assert issue.detail == {"last_complete_at": "2026-03-02T12:05:00Z", "reason": "blocked"}
    await ingest(shop, ended(70, "1"))
    assert await check(shop, 76) == QualityCheck(0, 0, 1)


async def test_a_shop_that_is_crawled_seldom_is_stale_later(shop: Pool) -> None:
    await shop.execute("UPDATE shops SET crawl_every_seconds = 3600")
    await ingest(shop, sight(0), ended(0, "1"))
    assert (await check(shop, 185)).found == 0
    assert (await check(shop, 186)).found == 1


async def test_a_shop_that_was_never_seen_whole_is_stale_and_a_disabled_one_is_not(shop: Pool) -> None:
    await ingest(shop, ended(0, complete=False))
    await check(shop, 61)
    (issue,) = await issues(shop)
    assert (issue.kind, issue.detail) == ("stale_shop", {"last_complete_at": None, "reason": "blocked"})
    await shop.execute("UPDATE shops SET enabled = false")
    assert await check(shop, 62) == QualityCheck(0, 0, 1)


async def test_an_implausible_crawl_is_an_issue_until_one_is_complete(shop: Pool) -> None:
    await ingest(shop, sight(0), ended(0, "1"))
    few = "1 listing, the last complete crawl saw 9"
    await ingest(shop, ended(30, "1", complete=False, reason="implausible", detail=few))
    await ingest(shop, ended(35, complete=False))
    await check(shop, 40)
    (issue,) = await issues(shop)
    assert (issue.kind, issue.last_seen_at, issue.detail) == ("implausible_crawl", at(35), {"detail": few})
    await ingest(shop, ended(45, "1"))
    assert await check(shop, 50) == QualityCheck(0, 0, 1)


# ---------------------------------------------------------------- the same thing twice

CODED = (offer(sku="KRK-0001-825", **WELL),)
PLAIN = (offer(sku=None, **WELL),)
SAME = {"title": "Krooked - Deck", "name": "Deck"}


@pytest.mark.parametrize(
    ("first", "second", "is_double"),
    [
        ({"offers": CODED}, {"offers": CODED}, True),
        ({"offers": CODED}, {"offers": (offer(sku="KRK-0002-825", **WELL),)}, False),
        ({"offers": CODED}, {"offers": (offer(sku="KRK-0001-825", options={"Size": "8.5"}),)}, False),
        ({"offers": (offer(sku="8.25", **WELL),)}, {"offers": (offer(sku="8.25", **WELL),)}, False),
        ({"offers": PLAIN, **SAME}, {"offers": PLAIN, **SAME, "title": "KROOKED  - Deck"}, True),
        ({"offers": PLAIN, **SAME}, {"offers": CODED, **SAME}, True),
        ({"offers": PLAIN, **SAME}, {"offers": PLAIN}, False),
        ({"offers": PLAIN, **SAME}, {"offers": PLAIN, **SAME, "brand": "Real"}, False),
        ({"offers": PLAIN, **SAME}, {"offers": PLAIN, **SAME, "image_url": "https://shop.example/b"}, False),
        (
            {"offers": PLAIN, **SAME},
            {"offers": PLAIN, **SAME, "image_url": "https://shop.example/deck.jpg?v=2"},
            True,
        ),
        ({"offers": CODED, **SAME}, {"offers": (offer(sku="KRK-0002-825", **WELL),), **SAME}, False),
    ],
    ids=[
        "codes",
        "other codes",
        "other variants",
        "codes that are none",
        "words",
        "words and one code",
        "other words",
        "other brand",
        "other picture",
        "same picture",
        "words but other codes",
    ],
)
async def test_a_listing_is_a_duplicate_only_by_its_codes_or_by_all_its_words(
    first: dict[str, Any], second: dict[str, Any], is_double: bool, shop: Pool
) -> None:
    await ingest(shop, sight(0, "7", **first), sight(1, "3", **second), ended(0, "7", "3"))
    await check(shop, 6)
    found = [issue for issue in await issues(shop) if issue.kind == "duplicate_listing"]
    if not is_double:
        assert found == []
        return
    (issue,) = found
    assert (issue.listing_id, issue.detail["same_as"]) == ("3", "7"), "the one first seen has no issue"


async def test_a_duplicate_is_resolved_when_either_is_delisted(shop: Pool) -> None:
    await ingest(shop, sight(0, "7", offers=CODED), sight(1, "3", offers=CODED), ended(0, "7", "3"))
    await check(shop, 6)
    assert await keys(shop) == {("duplicate_listing", "3", None)}
    await ingest(shop, ended(30, "3"), ended(60, "3"))
    assert await check(shop, 66) == QualityCheck(0, 0, 1)


# ---------------------------------------------------------------- what becomes of issues


async def test_an_issue_that_stays_moves_on_with_the_crawls_and_keeps_its_beginning(shop: Pool) -> None:
    await ingest(shop, sight(0, image_url=None), ended(0, "1"))
    await check(shop, 6)
    await ingest(shop, ended(30, "1"))
    assert await check(shop, 36) == QualityCheck(1, 0, 0)
    (issue,) = await issues(shop)
    assert (issue.first_seen_at, issue.last_seen_at) == (at(0), at(30))


async def test_an_issue_that_comes_back_is_a_new_row_beside_the_old(shop: Pool) -> None:
    for begin in (0, 60):
        await ingest(shop, sight(begin, image_url=None), ended(begin, "1"))
        await check(shop, begin + 6)
        await ingest(shop, sight(begin + 30), ended(begin + 30, "1"))
        await check(shop, begin + 36)
    found = await issues(shop, resolved=True)
    assert [(issue.first_seen_at, issue.resolved_at) for issue in found] == [
        (at(60), at(96)),
        (at(0), at(36)),
    ]
    async with shop.acquire() as connection:
        assert await count_quality_issues(connection, QualityFilter()) == []
        (count,) = await count_quality_issues(connection, QualityFilter(resolved=True))
    assert (count.kind, count.open, count.resolved) == ("missing_image", 0, 2)


async def test_what_is_delisted_or_gone_has_no_issues(shop: Pool) -> None:
    offers = (offer(**WELL), offer(0, offer_id="b", options={"Size": "8.5"}))
    await ingest(shop, sight(0, offers=offers), sight(0, "2", image_url=None), ended(0, "1", "2"))
    await check(shop, 6)
    assert await keys(shop) == {("price_zero", "1", "b"), ("missing_image", "2", None)}
    await ingest(shop, sight(30), ended(30, "1"))
    await check(shop, 36)
    assert await keys(shop) == {("missing_image", "2", None)}, "missed once, it may be there"
    await ingest(shop, ended(60, "1"))
    assert await check(shop, 66) == QualityCheck(0, 0, 1)


async def test_issues_of_one_shop_are_no_other_shops(shop: Pool) -> None:
    await add_shop(shop, "nj")
    await ingest(shop, sight(0, image_url=None), ended(0, "1"))
    await ingest(shop, sight(0, image_url=None, shop="nj"), ended(0, "1", shop="nj"))
    await check(shop, 6)
    await check(shop, 6, "nj")
    await ingest(shop, *SOUND_CRAWL)
    await check(shop, 40)
    await check(shop, 40, "nj")
    assert [issue.shop for issue in await issues(shop)] == ["nj"]
    assert await issues(shop, shop="labor") == []
    assert await check(shop, 40, "nobody") == QualityCheck(0, 0, 0)


async def test_issues_that_were_resolved_months_ago_are_pruned(shop: Pool) -> None:
    await ingest(shop, sight(0, image_url=None), sight(0, "2", image_url=None), ended(0, "1", "2"))
    await check(shop, 6)
    await ingest(shop, sight(30), ended(30, "1", "2"))
    await check(shop, 40)
    async with shop.acquire() as connection:
        for past, pruned in ((timedelta(0), 0), (timedelta(seconds=1), 1)):
            now = at(40) + timedelta(days=KEPT_DAYS) + past
            assert await prune_quality_issues(connection, now) == pruned
    assert await keys(shop) == {("missing_image", "2", None)}


# ---------------------------------------------------------------- any history

_OFFERS = st.builds(
    offer,
    price=st.sampled_from([0, 100, 6000, 6500, 600_000]),
    compare=st.sampled_from([None, 50, 9000]),
    offer_id=st.sampled_from("ab"),
    options=st.sampled_from([{"Size": "8.25"}, {"Size": "Huge"}, {"Size": ""}, {}]),
    sku=st.sampled_from([None, "", "KRK-0001"]),
)
_SIGHTS = st.fixed_dictionaries(
    {
        "listing": st.sampled_from("123"),
        "offers": st.lists(_OFFERS, min_size=1, max_size=2, unique_by=attrgetter("offer_id")),
        "image_url": st.sampled_from([None, "https://shop.example/deck.jpg"]),
        "brand": st.sampled_from(["Krooked", "Odd", None]),
        "title": st.sampled_from(["Krooked - Deck", "Odd thing"]),
    }
)
_REJECTS = st.lists(
    st.tuples(st.sampled_from(["no_offers", "other_currency", "no_id"]), st.sampled_from([None, "1", "9"])),
    max_size=3,
)
_CRAWLS = st.lists(
    st.tuples(
        st.lists(_SIGHTS, max_size=3, unique_by=itemgetter("listing")),
        st.sampled_from(["complete", "complete", "blocked", "implausible"]),
        _REJECTS,
    ),
    min_size=1,
    max_size=4,
)


def _crawl(minute: int, sights: list[dict[str, Any]], reason: str, rejects: list[Any]) -> list[Event]:
    named = [sight["listing"] for sight in sights]
    ids = [*named, *{listing for _, listing in rejects if listing and listing not in named}]
    refused = [reject(word, listing, place) for place, (word, listing) in enumerate(rejects)]
    events: list[Event] = [sight(minute, **dict(words)) for words in sights]
    whole = reason == "complete"
    return [*events, ended(minute, *ids, complete=whole, reason=reason, rejected=refused)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_CRAWLS)
async def test_two_checks_are_one_and_the_open_issues_are_those_of_a_check_that_knows_no_past(
    pool: Pool, crawls: list[Any]
) -> None:
    await pool.execute("TRUNCATE shops, products, price_points CASCADE")
    await add_shop(pool)
    await pool.execute("UPDATE shops SET crawl_every_seconds = 1200")
    minute = 0
    for crawl in crawls:
        await ingest(pool, *_crawl(minute, *crawl))
        first = await check(pool, minute + 10)
        before = await rows(pool)
        again = await check(pool, minute + 10)
        assert again == QualityCheck(first.found, 0, 0)
        assert await rows(pool) == before
        minute += 30
    assert_sound(await issues(pool, resolved=True), at(minute))
    known = await keys(pool)
    await pool.execute("TRUNCATE quality_issues")
    await check(pool, minute - 20)
    assert await keys(pool) == known


def assert_sound(found: list[QualityIssue], now: datetime) -> None:
    for issue in found:
        assert BEGIN <= issue.first_seen_at <= issue.last_seen_at <= (issue.resolved_at or now) <= now
