"""Each fault of a shop through the whole pipeline: nothing is lost by it, and nothing invented.

`make test` plays each kind of fault once, the platforms taking turns; `make test-faults` plays every case
(SKATESTOCK_TEST_FAULTS=all).
"""

import os
from datetime import timedelta

import msgspec
import pytest
from tests.e2e.fault_cases import CASES, EVERY_LISTING, FaultCase
from tests.e2e.history import expect_histories, find_differences
from tests.e2e.platform_fault_cases import (
    ALL_CASES,
    LISTINGS,
    MEANINGLESS,
    NOT_OF_THE_WORLD,
    PLATFORM_CASES,
    choose_sample,
)
from tests.e2e.watched_shop import (
    LIVELY,
    QUICK,
    SHOP,
    RestlessClock,
    WatchedShop,
    hurried,
    say_state,
    watch_shop,
)

from skatestock.catalog.freshness import BLOCKED_REASONS, FAILING_AFTER, Freshness
from skatestock.crawl.session import CrawlOutcome
from skatestock.replica.faults import FAULT_KINDS, Fault
from skatestock.replica.truth import OfferKey, fold

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

_HURRIED = hurried(QUICK, 1.5)
# A new listing has no believed price that a hundredfold one could be compared with.
_NO_ARRIVALS = msgspec.structs.replace(LIVELY, new_per_100_listings_per_day=0)
_SILENT = ("slow_drip", "robots_timeout")
_FACTORS = {"zero": 0, "times 100": 100}


PLAYED = list(ALL_CASES) if os.environ.get("SKATESTOCK_TEST_FAULTS") == "all" else choose_sample()


async def test_every_kind_of_fault_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(FAULT_KINDS) - set(NOT_OF_THE_WORLD)
    assert len({case.name for case in ALL_CASES}) == len(ALL_CASES)


async def test_the_sample_has_every_kind_and_every_platform_and_no_two_alike() -> None:
    sample = choose_sample()
    assert sorted(case.kind for case in sample) == sorted({case.kind for case in CASES})
    played = [case.plays for case in sample]
    assert set(played) == {"shopify", *MEANINGLESS}
    assert min(played.count(plays) for plays in MEANINGLESS) >= len(sample) // 8
    assert sample == choose_sample()


@pytest.mark.parametrize("plays", MEANINGLESS)
async def test_every_kind_of_fault_has_a_case_on_every_platform(plays: str) -> None:
    kinds = {case.kind for case in PLATFORM_CASES if case.plays == plays}
    assert kinds | set(MEANINGLESS[plays]) == set(FAULT_KINDS) - set(NOT_OF_THE_WORLD)
    assert kinds.isdisjoint(MEANINGLESS[plays])


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in PLAYED])
async def test_a_fault_invents_nothing_and_the_next_good_crawl_catches_up(
    case: FaultCase, database_dsn: str, valkey_url: str
) -> None:
    rates = _NO_ARRIVALS if case.holds == "times 100" else LIVELY
    listings = LISTINGS.get(case.plays, 50)
    async with watch_shop(database_dsn, valkey_url, rates=rates, listings=listings, plays=case.plays) as shop:
        assert (await shop.crawl()).complete
        assert (await shop.step()).complete
        await shop.check_caught_up()
        fault = shop.replica.set_fault(
            Fault(SHOP, case.kind, None, case.path, case.page, dict(case.parameters))
        )
        blind_at = []
        for number in range(1, case.crawls + 1):
            outcome = await _crawl_faulty(shop, case)
            assert fault.played >= number
            if case.holds is not None:
                blind_at.append(outcome.started_at)
            await shop.check_true(blind_at=blind_at)
            assert (await shop.fetch_status()).freshness(shop.now) is _state_after(case, number)
        held = await shop.fetch_held()
        shop.replica.board.clear()
        assert (await shop.step()).complete
        await shop.check_caught_up()
        await shop.check_true(blind_at=blind_at)
        await _check_nothing_stays_held(shop, held)
        assert (await shop.fetch_status()).freshness(shop.now) is Freshness.FRESH
        if case.sees == "nothing" or case.kind == "bom":
            found = await shop.fetch_histories()
            differences = find_differences(found, expect_histories(shop.truth(), shop.crawled_at))
            assert not differences, "\n".join(differences)


def _state_after(case: FaultCase, crawls: int) -> Freshness:
    """Tell how a shop stands after so many crawls of this kind in a row."""
    if case.is_complete:
        return Freshness.FRESH
    if case.reason in BLOCKED_REASONS:
        return Freshness.BLOCKED
    return Freshness.FAILING if crawls >= FAILING_AFTER else Freshness.STALE


async def _crawl_faulty(shop: WatchedShop, case: FaultCase) -> CrawlOutcome:
    """Crawl the shop in the middle of the fault and check what is said of the crawl and of the listings."""
    misses_before, shown_before = await shop.fetch_misses(), await shop.fetch_shown()
    outcome = await shop.step(_HURRIED if case.kind in _SILENT else None)
    crawl = await shop.fetch_crawl(outcome.crawl_id)
    assert (crawl.reason, crawl.complete) == (case.reason, case.is_complete), crawl.detail
    shown = shop.count_shown()
    rejects = {reason: shown if count == EVERY_LISTING else count for reason, count in case.rejects.items()}
    assert await shop.count_rejected(outcome.crawl_id) == rejects
    assert crawl.rejected == sum(rejects.values())
    _check_seen(case, crawl.listings_seen, shown)
    misses = await shop.fetch_misses()
    if not case.is_complete:
        assert crawl.detail
        # Whoever is seen is missed no more; nobody is missed, let alone delisted, who was not before.
        assert misses.items() <= misses_before.items()
    if case.sees == "nothing":
        assert await shop.fetch_shown() == shown_before
    if case.sees == "all":
        there = {key.listing_id for key in fold(shop.truth(), shop.now)}
        assert there.isdisjoint(misses), "what a crawl has seen is neither missed nor delisted"
    await _check_held(shop, case)
    return outcome


def _check_seen(case: FaultCase, seen: int, shown: int) -> None:
    assert 40 < shown <= 60, "the shop is to have several pages"
    fits = {
        "nothing": seen == 0,
        "part": 0 < seen < shown,
        "all": seen == shown,
        "all but some": 0.7 * shown < seen < shown,
    }
    assert fits[case.sees], f"{seen} of {shown} listings were seen"


async def _check_held(shop: WatchedShop, case: FaultCase) -> None:
    """The prices of a price fault wait for a second look, all of them, and nothing else does."""
    held = await shop.fetch_held()
    if case.holds is None:
        assert held == {}
        return
    factor = _FACTORS[case.holds]
    truth = fold(shop.truth(), shop.now)
    assert held == {key: state.price_minor * factor for key, state in truth.items()}


async def _check_nothing_stays_held(shop: WatchedShop, held: dict[OfferKey, int]) -> None:
    still_held = await shop.fetch_held()
    assert still_held.keys() <= held.keys() - fold(shop.truth(), shop.now).keys()
    discarded = len(held) - len(still_held)
    assert await shop.count_disbelieved() == ({"held_price_discarded": discarded} if discarded else {})


# ---------------------------------------------------------------- faults that meet


@pytest.mark.parametrize("how", ["price_text", "variants_null"])
async def test_a_held_price_is_not_confirmed_by_a_listing_that_cannot_be_read(
    how: str, database_dsn: str, valkey_url: str
) -> None:
    async with watch_shop(database_dsn, valkey_url, rates=_NO_ARRIVALS) as shop:
        await shop.crawl()
        shop.replica.set_fault(Fault(SHOP, "price_times_100", page=1, parameters={"count": 1}))
        doubtful = await shop.step()
        held = await shop.fetch_held()
        assert held
        shop.replica.board.clear()
        shop.replica.set_fault(Fault(SHOP, "bad_product", page=1, parameters={"how": how}))
        assert (await shop.step()).rejected == 1
        assert await shop.fetch_held() == held
        shop.replica.board.clear()
        assert (await shop.step()).complete
        await shop.check_caught_up()
        await shop.check_true(blind_at=[doubtful.started_at])


async def test_what_a_crawl_saw_before_it_failed_is_in_the_history(
    database_dsn: str, valkey_url: str
) -> None:
    async with watch_shop(database_dsn, valkey_url) as shop:
        await shop.crawl()
        shop.replica.set_fault(Fault(SHOP, "unavailable", page=3))
        shop.move_on()
        outcome = await shop.crawl()
        seen = {str(listing.listing_id) for listing in shop.replica.world.state_at(SHOP)[:40]}
        truth = {key: say_state(state) for key, state in fold(shop.truth(), shop.now).items()}
        shown = await shop.fetch_shown()
        assert not outcome.complete
        assert {key: state for key, state in shown.items() if key.listing_id in seen} == {
            key: state for key, state in truth.items() if key.listing_id in seen
        }


@pytest.mark.parametrize(("arrivals", "reason"), [(2, "complete"), (20, "drifted")])
async def test_a_shop_that_changes_while_it_is_paged_is_never_misread(
    arrivals: int, reason: str, database_dsn: str, valkey_url: str
) -> None:
    rates = msgspec.structs.replace(LIVELY, new_per_100_listings_per_day=arrivals)
    async with watch_shop(database_dsn, valkey_url, rates=rates) as shop:
        await shop.crawl()
        shop.worker.clock = RestlessClock(shop, timedelta(hours=2))
        reasons = {(await shop.crawl()).reason.value for _ in range(6)}
        assert reason in reasons
        assert reasons <= {"complete", "drifted"}
        await shop.check_true()
        shop.worker.clock = shop.clock
        assert (await shop.step()).complete
        await shop.check_true()
        await shop.check_caught_up()
