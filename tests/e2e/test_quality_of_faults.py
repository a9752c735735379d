"""What a replica shop gets wrong is an issue of data quality, and is resolved when the shop is well again."""

import msgspec
import pytest
from tests.e2e.fault_cases import CASES, FaultCase
from tests.e2e.watched_shop import LIVELY, SHOP, WatchedShop, watch_shop

from skatestock.catalog.commands_quality import QualityCheck, check_shop_quality
from skatestock.catalog.quality_queries import QualityFilter, count_quality_issues, find_quality_issues
from skatestock.replica.faults import Fault
from skatestock.vocabulary.normaliser import current_normaliser

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

# Crawls of this shop are twelve hours apart: the second one in a row that fails is to make it stale.
_EVERY_SECONDS = 6 * 3600
_NO_ARRIVALS = msgspec.structs.replace(LIVELY, new_per_100_listings_per_day=0)
# What the shop's listings are like without any fault: it writes compare-at prices that are none.
_USUAL = {"compare_at_below_price", "missing_image", "unknown_brand", "unknown_category", "unknown_size"}

_KINDS = {
    "price_zero": "price_zero",
    "price_times_100": "price_jump_held",
    "short_catalogue": "implausible_crawl",
    "listing_missing": "implausible_crawl",
    "security_rejection": "stale_shop",
    "bad_product": "no_offers",
}


async def check(shop: WatchedShop) -> QualityCheck:
    async with shop.platform.pool.acquire() as connection:
        await connection.execute("UPDATE shops SET crawl_every_seconds = $1", _EVERY_SECONDS)
        return await check_shop_quality(connection, SHOP, shop.now, current_normaliser())


async def count(shop: WatchedShop) -> dict[str, int]:
    async with shop.platform.pool.acquire() as connection:
        counts = await count_quality_issues(connection, QualityFilter())
    return {one.kind: one.open for one in counts}


def find_case(kind: str) -> FaultCase:
    reasons = ("implausible", "blocked") if kind in ("short_catalogue", "listing_missing") else ()
    return next(case for case in CASES if case.kind == kind and (not reasons or case.reason in reasons))


@pytest.mark.parametrize(("fault", "kind"), _KINDS.items())
async def test_a_fault_is_an_issue_that_resolves_by_itself(
    fault: str, kind: str, database_dsn: str, valkey_url: str
) -> None:
    case = find_case(fault)
    async with watch_shop(database_dsn, valkey_url, rates=_NO_ARRIVALS) as shop:
        assert (await shop.crawl()).complete
        await check(shop)
        assert (await count(shop)).keys() <= _USUAL, "a sound shop has no other issue"
        shop.replica.set_fault(Fault(SHOP, fault, None, None, case.page, dict(case.parameters)))
        # the second blocked crawl is a day after the last complete one
        for _ in range(2 if kind == "stale_shop" else 1):
            await shop.step()
        await check(shop)
        found = await count(shop)
        assert found.keys() - _USUAL == {kind}
        if kind in ("price_zero", "price_jump_held"):
            assert found[kind] == len(await shop.fetch_held())
        elif kind == "no_offers":
            assert found[kind] == case.rejects["no_offers"]
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
