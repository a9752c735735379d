"""Prices of a simulated shop that go and come back exactly, found by looking ahead in a like world."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.e2e.watched_shop import SHOP, START_AT

from skatestock.replica.model import TruthRecord
from skatestock.replica.rates import Rates
from skatestock.replica.truth import OfferKey, fold
from skatestock.replica.world import World

# Nothing but flash sales: whoever was reduced is soon exactly what it was before.
FLASH_SALES = Rates(
    price_episode_days=8,
    stock_change_days=10_000,
    new_per_100_listings_per_day=0,
    shop_sale_days=10_000,
    episodes={"flash_sale": 1},
)
_AHEAD = timedelta(days=20)


class Return(NamedTuple):
    """An offer whose price changes at one moment and returns at another."""

    key: OfferKey
    reduced_at: datetime
    restored_at: datetime
    usual_minor: int
    reduced_minor: int

    @property
    def before_at(self) -> datetime:
        """The last second at the usual price."""
        return self.reduced_at - timedelta(seconds=1)


def find_return(seed: int, listings: int) -> Return:
    """Find the first price of a world of flash sales that goes and comes back, its whole listing with it."""
    world = World(seed, START_AT, listings_per_shop=listings, rates=FLASH_SALES)
    world.advance_to(START_AT + _AHEAD)
    truth = world.truth(shop=SHOP)
    return next(found for found in _find_returns(truth) if _is_whole(found, truth))


def _find_returns(truth: Sequence[TruthRecord]) -> Iterator[Return]:
    by_offer: dict[OfferKey, list[TruthRecord]] = defaultdict(list)
    for record in truth:
        by_offer[OfferKey(record.shop, record.listing_id, record.offer_id)].append(record)
    for key, records in by_offer.items():
        for usual, reduced, restored in zip(records, records[1:], records[2:], strict=False):
            if usual.price_minor == restored.price_minor != reduced.price_minor:
                yield Return(key, reduced.at, restored.at, usual.price_minor, reduced.price_minor)


def _is_whole(found: Return, truth: Sequence[TruthRecord]) -> bool:
    before, after = (
        {key: state for key, state in fold(truth, moment).items() if key.listing_id == found.key.listing_id}
        for moment in (found.before_at, found.restored_at)
    )
    return before == after
