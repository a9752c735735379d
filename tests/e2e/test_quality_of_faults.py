"""What a replica shop gets wrong is an issue of data quality, and is resolved when the shop is well again."""

import msgspec
import pytest
from tests.e2e.fault_cases import FaultCase
from tests.e2e.platform_fault_cases import ALL_CASES, LISTINGS, NOT_OF_THE_WORLD
from tests.e2e.watched_shop import LIVELY, SHOP, WatchedShop, say_state, watch_shop

from skatestock.catalog.commands_quality import QualityCheck, check_shop_quality
from skatestock.catalog.freshness import Freshness
from skatestock.catalog.quality import QualityKind
from skatestock.catalog.quality_queries import QualityFilter, count_quality_issues, find_quality_issues
from skatestock.replica.faults import Fault
from skatestock.replica.truth import fold
from skatestock.vocabulary.normaliser import current_normaliser

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

# Crawls of this shop are twelve hours apart: the second one in a row that fails is to make it stale.
_EVERY_SECONDS = 6 * 3600
_NO_ARRIVALS = msgspec.structs.replace(LIVELY, new_per_100_listings_per_day=0)
# What the shop's listings are like without any fault: it writes compare-at prices that are none.
_USUAL = {
    "compare_at_below_price",
    "invalid_barcode",
    "missing_image",
    "unknown_brand",
    "unknown_category",
    "unknown_size",
}

_KINDS = {
    "price_zero": "price_zero",
    "price_times_100": "price_jump_held",
    "short_catalogue": "implausible_crawl",
    "listing_missing position=5 count=30": "implausible_crawl",
    "security_rejection": "stale_shop",
    "bad_product": "no_offers",
    "bad_product how=price_text": "unreadable_price",
    "schema-org bad_product how=not_an_object on /products/gift-card": "soft_404",
    "open-graph bad_product how=not_an_object on /products/gift-card": "soft_404",
    "woocommerce bad_product how=other_currency": "mixed_currency",
    "squarespace bad_product how=other_currency": "mixed_currency",
    "schema-org bad_product how=other_currency on /products/gift-card": "mixed_currency",
    "recipe bad_product how=other_currency": "mixed_currency",
    "schema-org robots_disallows disallow=/products/gift-card": "rejected_product",
}
"""The kind of issue by the name of the case."""


async def check(shop: WatchedShop) -> QualityCheck:
    async with shop.platform.pool.acquire() as connection:
        await connection.execute("UPDATE shops SET crawl_every_seconds = $1", _EVERY_SECONDS)
        return await check_shop_quality(connection, SHOP, shop.now, current_normaliser())


async def count(shop: WatchedShop) -> dict[str, int]:
    async with shop.platform.pool.acquire() as connection:
        counts = await count_quality_issues(connection, QualityFilter())
    return {one.kind: one.open for one in counts}


def find_case(name: str) -> FaultCase:
    (case,) = (case for case in ALL_CASES if case.name == name)
    return case


@pytest.mark.parametrize(("fault", "kind"), _KINDS.items())
async def test_a_fault_is_an_issue_that_resolves_by_itself(
    fault: str, kind: str, database_dsn: str, valkey_url: str
) -> None:
    case = find_case(fault)
    plays, listings = case.plays, LISTINGS.get(case.plays, 50)
    async with watch_shop(
        database_dsn, valkey_url, rates=_NO_ARRIVALS, listings=listings, plays=plays
    ) as shop:
        assert (await shop.crawl()).complete
        await check(shop)
        assert (await count(shop)).keys() <= _USUAL, "a sound shop has no other issue"
        shop.replica.set_fault(Fault(SHOP, case.kind, None, case.path, case.page, dict(case.parameters)))
        # the second blocked crawl is a day after the last complete one
        for _ in range(2 if kind == "stale_shop" else 1):
            await shop.step()
        await check(shop)
        found = await count(shop)
        assert found.keys() - _USUAL == {kind}
        if kind in ("price_zero", "price_jump_held"):
            assert found[kind] == len(await shop.fetch_held())
        elif case.rejects:
            assert found[kind] == sum(case.rejects.values())
        assert await check(shop) == QualityCheck(sum(found.values()), 0, 0)
        shop.replica.board.clear()
        # A listing that was withdrawn meanwhile is delisted after two crawls without it.
        for _ in range(2):
            assert (await shop.step()).complete
        await check(shop)
        assert (await count(shop)).keys() <= _USUAL
        async with shop.platform.pool.acquire() as connection:
            past = await find_quality_issues(connection, QualityFilter(resolved=True), limit=1000)
        assert {one.kind for one in past if one.resolved_at is not None} >= {kind}


@pytest.mark.parametrize("plays", ["shopify", "woocommerce", "squarespace", "recipe"])
async def test_a_product_that_a_shop_copied_is_a_duplicate_until_it_is_gone(
    plays: str, database_dsn: str, valkey_url: str
) -> None:
    assert set(NOT_OF_THE_WORLD) == {"listing_twin"}
    async with watch_shop(database_dsn, valkey_url, rates=_NO_ARRIVALS, plays=plays) as shop:
        assert (await shop.crawl()).complete
        await check(shop)
        usual = await count(shop)
        assert usual.keys() <= _USUAL
        before = await shop.fetch_shown()
        shop.replica.set_fault(Fault(SHOP, "listing_twin", parameters={"position": 3}))
        # It is still there in a second crawl, and nothing else is any other for it.
        for _ in range(2):
            assert (await shop.step()).complete
            await check(shop)
        async with shop.platform.pool.acquire() as connection:
            (issue,) = await find_quality_issues(
                connection, QualityFilter(kind=QualityKind.DUPLICATE_LISTING), limit=9
            )
        assert issue.listing_id not in {key.listing_id for key in before}
        assert issue.detail["same_as"] in {key.listing_id for key in before}
        truth = {key: say_state(state) for key, state in fold(shop.truth(), shop.now).items()}
        shown = await shop.fetch_shown()
        assert {key: state for key, state in shown.items() if key.listing_id != issue.listing_id} == truth
        assert (await shop.fetch_status()).freshness(shop.now) is Freshness.FRESH
        shop.replica.board.clear()
        assert (await shop.step()).complete
        await check(shop)
        assert "duplicate_listing" in await count(shop), "one miss is none"
        assert (await shop.step()).complete
        await check(shop)
        assert (await count(shop)).keys() <= _USUAL
        await shop.check_caught_up()


async def test_issues_of_a_listing_are_those_that_its_shop_shows(database_dsn: str, valkey_url: str) -> None:
    async with watch_shop(database_dsn, valkey_url) as shop:
        for _ in range(3):
            await shop.step()
            await check(shop)
            async with shop.platform.pool.acquire() as connection:
                found = await find_quality_issues(connection, QualityFilter(), limit=1000)
            said = {(one.listing_id, one.offer_id) for one in found if one.kind == "compare_at_below_price"}
            shown = await shop.fetch_shown()
            true = {
                (key.listing_id, key.offer_id)
                for key, (price, compare_at, _) in shown.items()
                if price and compare_at and compare_at < price
            }
            assert said == true
