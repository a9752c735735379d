"""A dead letter that is replayed says what it would have said in its time, if nothing newer was heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.ingest_shop import IN, OUT, SHOP, at, ended, offer, seen

from skatestock.catalog.model import ShopState
from skatestock.events.model import ListingObserved
from skatestock.ingest.model import Outcome, apply_event

# No price is a jump from another, so none is held.
STATE = st.tuples(st.sampled_from((6000, 5000, 4500)), st.sampled_from((IN, OUT)))
WORLDS = st.lists(st.dictionaries(st.sampled_from("123"), STATE, max_size=3), min_size=1, max_size=6)


def tell(worlds: Sequence[dict[str, Any]], buried: int | None, replayed_after: int) -> ShopState:
    """Crawl the worlds with a cache that is never lost; one of the observations becomes a dead letter."""
    shop, said = ShopState(1, SHOP), 0
    cache: dict[str, bytes] = {}
    letter: ListingObserved | None = None
    for number, world in enumerate(worlds):
        for listing_id, (price, availability) in sorted(world.items()):
            event = seen(100 * number + 1, offer(price, availability), crawl=str(number), listing=listing_id)
            if cache.get(listing_id) == event.fingerprint:
                continue
            cache[listing_id] = event.fingerprint
            if said == buried:
                letter = event
            else:
                apply_event(shop, event)
            said += 1
        apply_event(shop, ended(100 * number, *sorted(world), crawl=str(number), until=100 * number + 50))
        if letter is not None and number >= replayed_after:
            apply_event(shop, letter, replayed=True)
            letter = None
    if letter is not None:
        apply_event(shop, letter, replayed=True)
    return shop


def states(shop: ShopState, world: dict[str, Any]) -> dict[str, Any]:
    return {
        listing_id: [(one.price_minor, one.availability) for one in shop.listings[listing_id].offers.values()]
        for listing_id in world
        if listing_id in shop.listings
    }


@given(WORLDS, st.integers(0, 12), st.integers(0, 6))
def test_whatever_is_buried_and_whenever_it_is_replayed_the_shop_stands_as_if_nothing_had_happened(
    worlds: list[dict[str, Any]], buried: int, replayed_after: int
) -> None:
    undisturbed, mended = tell(worlds, None, 0), tell(worlds, buried, replayed_after)
    assert states(mended, worlds[-1]) == states(undisturbed, worlds[-1])


def test_a_replayed_price_is_dated_to_when_it_was_seen_although_later_crawls_found_it_unchanged() -> None:
    shop = tell([{"1": (6000, IN)}, {"1": (4500, IN)}, {"1": (4500, IN)}, {"1": (4500, IN)}], 1, 3)
    listing = shop.listings["1"]
    (one,) = listing.offers.values()
    assert [(point.observed_at, point.price_minor) for point in one.points] == [
        (at(1), 6000),
        (at(101), 4500),
    ]
    assert listing.seen_at == at(300)


def test_a_replayed_observation_does_not_bring_back_what_a_later_crawl_missed() -> None:
    shop = tell([{"1": (6000, IN)}, {"1": (4500, IN)}, {}], 1, 2)
    assert shop.listings["1"].missed == 1
    gone = tell([{"1": (6000, IN)}, {"1": (4500, IN)}, {}, {}], 1, 3)
    assert gone.listings["1"].delisted_at is not None


def test_a_replayed_observation_that_something_newer_followed_is_late() -> None:
    shop = tell([{"1": (6000, IN)}, {"1": (5000, IN)}], None, 0)
    late = seen(50, offer(4500), crawl="between", listing="1")
    assert apply_event(shop, late, replayed=True) is Outcome.LATE
