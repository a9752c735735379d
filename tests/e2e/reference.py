"""What the history of one offer must be by the rules alone: written apart from the pipeline, to judge it."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple


class Seen(NamedTuple):
    """One offer as the world showed it to one complete crawl."""

    price_minor: int
    compare_at_minor: int | None
    available: bool


class Point(NamedTuple):
    """One price point as the history must hold it."""

    at: datetime
    price_minor: int
    compare_at_minor: int | None
    availability: str


def is_doubtful(believed: int, new: int) -> bool:
    """Tell whether a price waits for a second look: zero, or more than 70 % from the believed one."""
    if new == 0:
        return believed != 0
    return believed != 0 and abs(new - believed) / believed > 0.7


class History:
    """The price points of one offer over a sequence of complete crawls of its shop."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._price: int | None = None
        self._compare: int | None = None
        self._availability: str | None = None
        self._held: tuple[datetime, int, int | None] | None = None
        self._missed = 0

    @property
    def held_price_minor(self) -> int | None:
        """Return the price that waits for a second look."""
        return None if self._held is None else self._held[1]

    def miss_listing(self, at: datetime) -> None:
        """A complete crawl did not see the listing."""
        self._missed += 1
        if self._missed == 2:
            self.lose(at)

    def lose(self, at: datetime) -> None:
        """The offer is gone."""
        if self._availability is not None:
            self._availability = "gone"
            self._write(at)

    def see(self, at: datetime, seen: Seen) -> None:
        """A complete crawl saw the offer."""
        self._missed = 0
        compare = seen.compare_at_minor or None
        self._settle_hold(at, seen, compare)
        self._availability = "in_stock" if seen.available else "out_of_stock"
        if self._held is None or self._held[0] != at:
            self._price, self._compare = seen.price_minor, compare
        self._write(at)

    def _settle_hold(self, at: datetime, seen: Seen, compare: int | None) -> None:
        doubtful = (
            seen.price_minor == 0 if self._price is None else is_doubtful(self._price, seen.price_minor)
        )
        held = self._held
        self._held = None
        if not doubtful:
            return
        if held is not None and (held[1] == seen.price_minor or not is_doubtful(held[1], seen.price_minor)):
            self._confirm(held)
            return
        self._held = (at, seen.price_minor, compare)

    def _confirm(self, held: tuple[datetime, int, int | None]) -> None:
        moment, self._price, self._compare = held
        if self.points and self.points[-1].at == moment:
            self.points.pop()
        self._write(moment)

    def _write(self, at: datetime) -> None:
        if self._price is None or self._availability is None:
            return
        point = Point(at, self._price, self._compare, self._availability)
        if not self.points or self.points[-1][1:] != point[1:]:
            self.points.append(point)


def replay(crawls: Iterable[tuple[datetime, bool, Seen | None]]) -> History:
    """Return what becomes of one offer.

    Each crawl is (moment, whether its listing was seen, the offer or None), in order of time. Crawls before
    the offer's first sighting say nothing about it.
    """
    history = History()
    known = False
    for at, listing_seen, seen in crawls:
        if seen is not None:
            known = True
            history.see(at, seen)
        elif known and listing_seen:
            history.lose(at)
        elif known:
            history.miss_listing(at)
    return history
