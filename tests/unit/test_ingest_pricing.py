"""The pure rules of one offer's history."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from tests.ingest_shop import IN, OUT, UNKNOWN, at, ended, offer, seen

from skatestock.catalog.model import Change, CrawlEnd, ListingState, OfferState, ShopDemand, merge_changes
from skatestock.events.model import OfferObserved
from skatestock.ingest.consumer import read_demands
from skatestock.ingest.pricing import observe_offer, open_offer, price_changes
from skatestock.vocabulary.plausibility import is_price_jump

PRICES = st.one_of(st.sampled_from((0, 1, 100, 171, 1000)), st.integers(0, 10**7))
SIGHTS = st.builds(
    offer,
    PRICES,
    st.sampled_from((IN, OUT, UNKNOWN)),
    st.one_of(st.none(), PRICES),
)


def tell(sights: list[OfferObserved]) -> OfferState:
    """Let each sight be that of a crawl of its own."""
    state = open_offer(sights[0], 0, at(0), "crawl-0")
    for number, sight in enumerate(sights[1:], start=1):
        observe_offer(state, sight, at(number), f"crawl-{number}")
    return state


@given(st.lists(SIGHTS, min_size=1, max_size=12))
def test_price_points_are_in_order_and_each_differs_from_the_one_before(sights: list[OfferObserved]) -> None:
    points = tell(sights).points
    for before, after in pairwise(points):
        assert before.observed_at < after.observed_at
        assert (before.price_minor, before.compare_at_minor, before.availability) != (
            after.price_minor,
            after.compare_at_minor,
            after.availability,
        )
    assert [point.changes for point in points[:1]] in ([], [[Change.FIRST_SEEN]])


@given(st.lists(SIGHTS, min_size=1, max_size=12))
def test_no_jump_is_believed_on_the_word_of_one_crawl(sights: list[OfferObserved]) -> None:
    points = tell(sights).points
    for before, after in pairwise(points):
        if after.price_minor == before.price_minor or not is_price_jump(
            before.price_minor, after.price_minor
        ):
            continue
        place = next(number for number in range(len(sights)) if at(number) == after.observed_at)
        confirmed_by = sights[place + 1].price_minor
        assert confirmed_by == after.price_minor or not is_price_jump(after.price_minor, confirmed_by)


@given(st.lists(SIGHTS, min_size=1, max_size=12))
def test_the_state_is_that_of_the_last_price_point(sights: list[OfferObserved]) -> None:
    state = tell(sights)
    if not state.points:
        assert state.price_minor is None
        assert state.hold is not None
        return
    last = state.points[-1]
    assert (last.price_minor, last.compare_at_minor) == (state.price_minor, state.compare_at_minor)
    assert (last.availability, last.observed_at) == (state.availability, state.since_at)


@given(st.lists(SIGHTS, min_size=1, max_size=12))
def test_every_price_that_is_believed_was_observed_then(sights: list[OfferObserved]) -> None:
    observed = {at(number): sight for number, sight in enumerate(sights)}
    believed = None
    for point in tell(sights).points:
        if point.price_minor != believed:
            assert observed[point.observed_at].price_minor == point.price_minor
        believed = point.price_minor


@given(st.lists(st.sampled_from(list(Change))), st.lists(st.sampled_from(list(Change))))
def test_changes_of_one_moment_are_named_once_and_in_one_order(
    earlier: list[Change], later: list[Change]
) -> None:
    merged = merge_changes(earlier, later)
    assert set(merged) == {*earlier, *later}
    assert merged == merge_changes(later, earlier)
    assert len(merged) == len(set(merged))


def test_a_price_that_stays_with_its_compare_at_price_names_no_change() -> None:
    assert price_changes(6000, None, 6000, None) == []
    assert price_changes(6000, 7000, 5000, None) == [Change.PRICE_DOWN, Change.COMPARE_AT_CHANGED]
    assert price_changes(None, None, 5000, 6000) == [Change.FIRST_SEEN]


def test_a_batch_demands_what_its_events_name() -> None:
    demands = read_demands(
        [seen(30, listing="1"), seen(10, listing="2"), ended(20, "1", "2"), seen(5, shop="premier")]
    )
    assert demands["labor"] == ShopDemand(
        at(10),
        {"1", "2"},
        {"labor-30", "labor-10", "labor-20"},
        [CrawlEnd(frozenset({"1", "2"}), complete=True)],
    )
    assert demands["premier"].earliest_at == at(5)


def test_offers_are_needed_where_the_end_of_a_crawl_may_delist_or_bring_back() -> None:
    whole, partial = CrawlEnd(frozenset({"there"}), complete=True), CrawlEnd(frozenset(), complete=False)

    def listing(listing_id: str, missed: int = 0, *, delisted: bool = False) -> ListingState:
        return ListingState(
            1, listing_id, 1, "USD", at(0), at(0), missed=missed, delisted_at=at(1) if delisted else None
        )

    once, twice = ShopDemand(at(0), crawl_ends=[whole]), ShopDemand(at(0), crawl_ends=[whole, whole])
    assert not once.needs_offers(listing("away"))
    assert once.needs_offers(listing("away", missed=1))
    assert twice.needs_offers(listing("away"))
    assert not twice.needs_offers(listing("there"))
    assert once.needs_offers(listing("there", missed=2, delisted=True))
    assert not once.needs_offers(listing("away", missed=2, delisted=True))
    assert not ShopDemand(at(0), crawl_ends=[partial]).needs_offers(listing("away", missed=1))
