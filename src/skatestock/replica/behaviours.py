"""Behaviours: what happens to one listing over time, as processes that act and then say how long they wait.

Each process draws from its own seeded source of chance, so what one listing does never depends on another.
A price never moves by more than 70 % in one step, save in `mistake`: markdowns that will be taken back at
once stop at 62 % of the regular price, and round upwards.
"""

from collections.abc import Callable, Generator
from random import Random
from typing import Protocol

from skatestock.replica.catalogue import end_price, say_compare_at
from skatestock.replica.habits import HABITS
from skatestock.replica.model import Listing, Offer, TruthKind
from skatestock.replica.rates import Rates

Process = Generator[int, None, None]
"""Runs until it yields the whole seconds it wants to wait."""

HOUR = 3600
DAY = 24 * HOUR


class Recorder(Protocol):
    """Takes note of an offer's new state; the world's way into the ground truth."""

    def __call__(self, listing: Listing, offer: Offer, kind: TruthKind, why: str) -> None:
        """Record the offer's state as it is now."""


class Life:
    """One listing with its chance and its record: what the behaviours work on."""

    def __init__(self, listing: Listing, rng: Random, rates: Rates, record: Recorder) -> None:
        self.listing = listing
        self.rng = rng
        self.rates = rates
        self.habit = HABITS[listing.shop]
        self._record = record

    def wait(self, low_seconds: int, high_seconds: int) -> int:
        """Draw a waiting time."""
        return self.rng.randint(low_seconds, high_seconds)

    def wait_about(self, mean_days: float) -> int:
        """Draw a waiting time without memory around a mean."""
        return max(60, int(self.rng.expovariate(1 / (mean_days * DAY))))

    def set_price(self, offer: Offer, price_minor: int, compare_at_minor: int | None, why: str) -> None:
        """Change what the shop says of an offer's price; record it if the page shows it and it changed."""
        old = (offer.price_minor, offer.compare_at_minor)
        offer.price_minor, offer.compare_at_minor = price_minor, compare_at_minor
        if offer.present and old != (price_minor, compare_at_minor):
            self._record(self.listing, offer, "price" if old[0] != price_minor else "compare_at", why)

    def mark_down(self, share: float, why: str, *, says_was: bool, offers: list[Offer] | None = None) -> None:
        """Reduce the price to a share of the regular one; with `says_was` that is the compare-at price."""
        for offer in self.listing.offers if offers is None else offers:
            price_minor = min(offer.regular_minor, end_price(int(offer.regular_minor * share), self.habit))
            was_minor = offer.regular_minor if says_was else offer.compare_at_minor
            self.set_price(offer, price_minor, was_minor, why)

    def restore(self, why: str) -> None:
        """Return every offer to its regular price and the listing's usual compare-at price."""
        for offer in self.listing.offers:
            usual = say_compare_at(offer.regular_minor, self.listing.compare_at_habit)
            self.set_price(offer, offer.regular_minor, usual, why)

    def set_available(self, offer: Offer, available: bool, why: str) -> None:
        """Sell an offer out or restock it."""
        if offer.present and offer.available != available:
            offer.available = available
            self._record(self.listing, offer, "stock", why)

    def hide(self, offers: list[Offer], why: str) -> None:
        """Take offers off the page."""
        for offer in offers:
            offer.present = False
            self._record(self.listing, offer, "vanished", why)

    def show(self, offers: list[Offer], why: str) -> None:
        """Put offers back on the page in the state they are in."""
        for offer in offers:
            offer.present = True
            self._record(self.listing, offer, "returned", why)

    def says_was(self) -> bool:
        """Draw whether the shop announces a reduction with a compare-at price."""
        return self.rng.random() < self.habit.marks_was


def live_prices(life: Life) -> Process:
    """Let one thing after another happen to a listing's price, for as long as it is sold."""
    names = list(life.rates.episodes)
    weights = list(life.rates.episodes.values())
    yield life.wait_about(life.rates.price_episode_days)
    while sum(weights) > 0:
        if life.listing.episode is None:
            life.listing.episode = life.rng.choices(names, weights)[0]
            yield from EPISODES[life.listing.episode](life)
            life.listing.episode = None
        yield life.wait_about(life.rates.price_episode_days)


def live_stock(life: Life) -> Process:
    """Sell single sizes out and restock them; now and then the shop takes a sold-out size off the page."""
    while True:
        yield life.wait_about(life.rates.stock_change_days)
        sold_out = [offer for offer in life.listing.present_offers() if not offer.available]
        in_stock = [offer for offer in life.listing.present_offers() if offer.available]
        if life.listing.episode in ("clearance", "withdrawn"):
            continue
        droppable = bool(sold_out and in_stock) and life.listing.episode is None
        if droppable and life.rng.random() < life.rates.size_dropped_share:
            yield from _drop_size(life, life.rng.choice(sold_out))
        elif sold_out and (not in_stock or life.rng.random() < 0.55):
            chosen = sold_out if life.rng.random() < 0.2 else [life.rng.choice(sold_out)]
            for offer in chosen:
                life.set_available(offer, available=True, why="restock")
        elif in_stock:
            life.set_available(life.rng.choice(in_stock), available=False, why="sold_out")


def _drop_size(life: Life, offer: Offer) -> Process:
    life.hide([offer], "size_dropped")
    yield life.wait(2 * DAY, 12 * DAY)
    # While the whole listing is away its sizes are not the shop's to show.
    while not life.listing.present:
        yield life.wait(DAY, 2 * DAY)
    offer.available = True
    life.show([offer], "size_returned")


def change_regular(life: Life) -> Process:
    """Ask a new regular price."""
    factor = life.rng.choice((0.9, 0.94, 1.04, 1.06, 1.1, 1.12))
    for offer in life.listing.offers:
        price_minor = end_price(int(offer.regular_minor * factor), life.habit)
        offer.regular_minor = price_minor
        life.set_price(
            offer, price_minor, say_compare_at(price_minor, life.listing.compare_at_habit), "regular"
        )
    yield 60


def hold_flash_sale(life: Life) -> Process:
    """Reduce the price for some hours; one in five reduces a single size only."""
    share, offers = life.rng.choice((0.65, 0.7, 0.75, 0.8, 0.85)), life.listing.offers
    if life.rng.random() < 0.2:
        offers = [life.rng.choice(offers)]
    life.mark_down(share, "flash_sale", says_was=life.says_was(), offers=offers)
    yield life.wait(2 * HOUR, 14 * HOUR)
    life.restore("flash_sale")


def reduce_gradually(life: Life) -> Process:
    """Reduce the price a little every day or two, stay there, and return."""
    says_was = life.says_was()
    for step in range(1, life.rng.randint(4, 6)):
        life.mark_down(1 - 0.07 * step, "gradual", says_was=says_was)
        yield life.wait(18 * HOUR, 44 * HOUR)
    yield life.wait(3 * DAY, 10 * DAY)
    life.restore("gradual")


def clear(life: Life) -> Process:
    """Reduce step by step while the sizes sell out one by one, until the listing is taken off for good."""
    says_was = life.says_was()
    for share in (0.8, 0.65, 0.5, 0.38):
        life.mark_down(share, "clearance", says_was=says_was)
        for _ in range(max(1, len(life.listing.offers) // 4)):
            yield life.wait(8 * HOUR, 40 * HOUR)
            in_stock = [offer for offer in life.listing.present_offers() if offer.available]
            if in_stock:
                life.set_available(life.rng.choice(in_stock), available=False, why="clearance")
    for offer in life.listing.present_offers():
        life.set_available(offer, available=False, why="clearance")
    yield life.wait(12 * HOUR, 4 * DAY)
    yield from _leave(life)


def _leave(life: Life) -> Process:
    _take_off(life)
    while True:
        # Gone for good: the process sleeps so that the episode never ends.
        yield 3650 * DAY


def _take_off(life: Life) -> None:
    life.listing.present = False
    life.hide(life.listing.present_offers(), "withdrawn")


def withdraw(life: Life) -> Process:
    """Take the listing off the page; some return after hours or days, restocked."""
    hidden = life.listing.present_offers()
    if life.rng.random() < 0.4:
        yield from _leave(life)
    _take_off(life)
    yield life.rng.choice((life.wait(2 * HOUR, 9 * HOUR), life.wait(2 * DAY, 9 * DAY)))
    life.listing.present = True
    if life.rng.random() < 0.5:
        for offer in hidden:
            offer.available = True
    life.show(hidden, "came_back")


def relabel(life: Life) -> Process:
    """Change only what is said to have been the price, for some days."""
    for offer in life.listing.offers:
        was_minor = life.rng.choice(
            (0, None, offer.price_minor, end_price(int(offer.price_minor * 1.2), life.habit))
        )
        life.set_price(offer, offer.price_minor, was_minor, "relabelled")
    yield life.wait(DAY, 6 * DAY)
    life.restore("relabelled")


def make_mistake(life: Life) -> Process:
    """Mistype a price, by a factor of ten or to nothing, and mend it after some hours."""
    offer = life.rng.choice(life.listing.offers)
    wrong_minor = life.rng.choice((offer.regular_minor * 10, offer.regular_minor // 10, 0))
    life.set_price(offer, wrong_minor, offer.compare_at_minor, "mistake")
    yield life.wait(HOUR, 8 * HOUR)
    life.restore("mistake")


EPISODES: dict[str, Callable[[Life], Process]] = {
    "regular": change_regular,
    "flash_sale": hold_flash_sale,
    "gradual": reduce_gradually,
    "clearance": clear,
    "withdrawn": withdraw,
    "relabelled": relabel,
    "mistake": make_mistake,
}


def hold_shop_sales(lives: list[Life], rng: Random, rates: Rates) -> Process:
    """Reduce a good part of one shop for a few days, all at once, every other month or so."""
    while True:
        yield max(DAY, int(rng.expovariate(1 / (rates.shop_sale_days * DAY))))
        share = rng.choice((0.7, 0.75, 0.8))
        idle = [life for life in lives if life.listing.episode is None and life.listing.present]
        chosen = [life for life in idle if rng.random() < 0.3]
        for life in chosen:
            life.listing.episode = "shop_sale"
            life.mark_down(share, "shop_sale", says_was=True)
        yield rng.randint(2 * DAY, 4 * DAY)
        for life in chosen:
            life.restore("shop_sale")
            life.listing.episode = None
