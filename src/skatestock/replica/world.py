"""The world: shops whose prices and stock move with simulated time, and the record of every change."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import NamedTuple

from skatestock.replica.behaviours import DAY, Life, Process, hold_shop_sales, live_prices, live_stock
from skatestock.replica.catalogue import Shelf
from skatestock.replica.chance import seeded_dice
from skatestock.replica.errors import ReplicaError
from skatestock.replica.model import (
    MIXED_SHOP_SLUGS,
    SHOP_SLUGS,
    Listing,
    Offer,
    TruthKind,
    TruthRecord,
)
from skatestock.replica.rates import Rates
from skatestock.vocabulary.time import to_whole_seconds

DEFAULT_LISTINGS_PER_SHOP = 400


class ShopCounts(NamedTuple):
    """How much one shop shows at the moment."""

    listings: int
    offers: int


class World:
    """The simulated world; its state and its truth follow from the seed and the moment alone.

    Time only goes forward. How it is cut into calls of `advance_to` makes no difference. What happens in a
    shop does not depend on which others there are. Raises ReplicaError for a shop that it cannot have.
    """

    def __init__(
        self,
        seed: int,
        start_at: datetime,
        listings_per_shop: int = DEFAULT_LISTINGS_PER_SHOP,
        rates: Rates | None = None,
        shops: Sequence[str] = SHOP_SLUGS,
    ) -> None:
        if listings_per_shop < 1:
            raise ReplicaError("a world needs at least one listing per shop")
        self.shops = _check_shops(shops)
        self.seed = seed
        self.start_at = to_whole_seconds(start_at)
        self.listings_per_shop = listings_per_shop
        self.rates = rates or Rates()
        self.now = self.start_at
        self.versions = dict.fromkeys(self.shops, 0)
        self._truth: list[TruthRecord] = []
        self._listings: dict[str, list[Listing]] = {shop: [] for shop in self.shops}
        self._by_handle: dict[str, dict[str, Listing]] = {shop: {} for shop in self.shops}
        self._state: dict[str, tuple[int, tuple[Listing, ...]]] = {}
        self._lives: dict[str, list[Life]] = {shop: [] for shop in self.shops}
        self._agenda: list[tuple[datetime, int, Process]] = []
        self._turns = 0
        for shop in self.shops:
            self._open_shop(shop)

    def advance_to(self, moment: datetime) -> int:
        """Let everything happen up to and at the moment; returns how many changes that made.

        Raises ReplicaError for a moment before the world's present.
        """
        moment = to_whole_seconds(moment)
        if moment < self.now:
            raise ReplicaError(
                f"the world is at {self.now.isoformat()} and cannot go back to {moment.isoformat()}"
            )
        before = len(self._truth)
        while self._agenda and self._agenda[0][0] <= moment:
            at, _, process = heappop(self._agenda)
            self.now = at
            self._take_turn(process)
        self.now = moment
        return len(self._truth) - before

    def state_at(self, shop: str) -> tuple[Listing, ...]:
        """List what the shop's page shows now, newest first as Shopify does."""
        version, state = self._state.get(shop, (-1, ()))
        if version != self.versions[shop]:
            state = tuple(listing for listing in reversed(self._listings[shop]) if listing.present)
            self._state[shop] = (self.versions[shop], state)
        return state

    def every_listing(self, shop: str) -> tuple[Listing, ...]:
        """List what the shop has ever shown, oldest first."""
        return tuple(self._listings[shop])

    def find_listing(self, shop: str, handle: str) -> Listing | None:
        """Find a listing that the shop shows now by its handle."""
        listing = self._by_handle[shop].get(handle)
        return listing if listing is not None and listing.present else None

    def count_shown(self, shop: str) -> ShopCounts:
        """Count the listings and offers that the shop shows now."""
        state = self.state_at(shop)
        return ShopCounts(len(state), sum(len(listing.present_offers()) for listing in state))

    def truth(self, since: datetime | None = None, shop: str | None = None) -> list[TruthRecord]:
        """List the changes after a moment (all of them without one) in the order they happened."""
        return [
            record
            for record in self._truth
            if (since is None or record.at > since) and (shop is None or record.shop == shop)
        ]

    def count_truth(self) -> int:
        """Count the changes recorded so far."""
        return len(self._truth)

    def truth_from(self, position: int) -> list[TruthRecord]:
        """List the changes from a position in the record on; the record's length is the next position."""
        return self._truth[position:]

    def _open_shop(self, shop: str) -> None:
        self._fill_shelf(shop)
        rng = seeded_dice("sales", self.seed, shop)
        self._schedule(hold_shop_sales(self._lives[shop], rng, self.rates))

    def _fill_shelf(self, shop: str) -> None:
        shelf = Shelf(self.seed, shop)
        for listing in shelf.put_first(self.listings_per_shop, self.start_at):
            self._show(listing, "initial")
        self._schedule(self._receive_goods(shop, shelf))

    def _receive_goods(self, shop: str, shelf: Shelf) -> Process:
        rng = seeded_dice("arrivals", self.seed, shop)
        per_day = self.rates.new_per_100_listings_per_day * self.listings_per_shop / 100
        while per_day > 0:
            yield max(60, int(rng.expovariate(per_day) * DAY))
            self._show(shelf.put(self.now), "new")

    def _show(self, listing: Listing, why: str) -> None:
        self._listings[listing.shop].append(listing)
        self._by_handle[listing.shop][listing.handle] = listing
        for offer in listing.offers:
            self._record(listing, offer, "first_seen", why)
        if not listing.is_goods:
            return
        self._lives[listing.shop].append(self._begin(listing, "prices", live_prices))
        self._begin(listing, "stock", live_stock)

    def _begin(self, listing: Listing, name: str, behaviour: Callable[[Life], Process]) -> Life:
        rng = seeded_dice(name, self.seed, listing.shop, listing.listing_id)
        life = Life(listing, rng, self.rates, self._record)
        self._schedule(behaviour(life))
        return life

    def _schedule(self, process: Process) -> None:
        # A process's first turn only draws how long it waits before anything happens.
        self._take_turn(process)

    def _take_turn(self, process: Process) -> None:
        wait_seconds = next(process, None)
        if wait_seconds is not None:
            self._turns += 1
            heappush(self._agenda, (self.now + timedelta(seconds=wait_seconds), self._turns, process))

    def _record(self, listing: Listing, offer: Offer, kind: TruthKind, why: str) -> None:
        listing.version += 1
        self.versions[listing.shop] += 1
        self._truth.append(
            TruthRecord(
                at=self.now,
                shop=listing.shop,
                listing_id=str(listing.listing_id),
                offer_id=str(offer.offer_id),
                price_minor=offer.price_minor,
                compare_at_minor=offer.compare_at_minor,
                available=offer.available,
                kind=kind,
                why=why,
            )
        )


def _check_shops(shops: Sequence[str]) -> tuple[str, ...]:
    unknown = [shop for shop in shops if shop not in MIXED_SHOP_SLUGS]
    if unknown or not shops or len(set(shops)) < len(shops):
        known = ", ".join(MIXED_SHOP_SLUGS)
        raise ReplicaError(f"a world's shops are different ones of {known}, not {', '.join(shops) or 'none'}")
    return tuple(shops)
