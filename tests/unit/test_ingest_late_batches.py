"""What a dead crawl appended last may reach the log at any later time: it changes nothing that is not true.

A crawl dies with one append under way. The crawls after it say everything they see until one has seen the
whole shop, and only then compare with the last states again, as the cache or the catalogue knows them.
Whenever the append arrives, the catalogue must say what it would say had the append never arrived.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.ingest_shop import IN, OUT, SHOP, at, ended, offer, seen

from skatestock.catalog.model import ShopState
from skatestock.events.model import Event, ListingObserved
from skatestock.ingest.model import Outcome, apply_event

World = Mapping[str, tuple[int, Any]]
"""What the shop shows: price and availability by listing."""

PAGE = 2
LISTINGS = ("1", "2", "3", "4", "5")
# 500 is a jump from the others, so it is held.
STATES = st.tuples(st.sampled_from((6000, 4500, 500)), st.sampled_from((IN, OUT)))
WORLDS = st.dictionaries(st.sampled_from(LISTINGS), STATES, max_size=5)


class Later(NamedTuple):
    """A crawl after the dead one."""

    world: World
    pages: int | None = None
    """After how many it ends, not complete; None for all."""
    cached: bool = True
    """Whether the cache is still there."""


LATER = st.builds(Later, WORLDS, st.one_of(st.none(), st.none(), st.integers(0, 2)), st.booleans())


class Story:
    """Crawls of one shop, and the catalogue that hears of them at once."""

    def __init__(self, arrives_at: int | None) -> None:
        self.shop = ShopState(1, SHOP)
        self.cache: dict[str, bytes] | None = {}
        self.under_way: list[Event] = []
        self.appends = 0
        self.died_at = at(0)
        self.was_late = False
        """Whether what was under way arrived after the end of a complete crawl."""
        self._arrives_at = arrives_at
        self._crawls = 0

    def hear(self, events: Sequence[Event]) -> list[Outcome]:
        return [apply_event(self.shop, event) for event in events]

    def append(self, events: Sequence[Event]) -> None:
        """Append after the dead crawl: what it had under way may arrive just before."""
        if self.appends == self._arrives_at:
            self.was_late = self.shop.seen_whole_at is not None and self.shop.seen_whole_at > self.died_at
            self.hear(self.under_way)
        self.appends += 1
        self.hear(events)

    def crawl_and_die(self, world: World, appends: int) -> None:
        """Crawl until the append after so many is under way."""
        for events in self._crawl(Later(world), believes=True):
            if appends == 0:
                self.under_way = list(events)
                self.died_at = at(100 * self._crawls)
                break
            appends -= 1
            self.hear(events)

    def crawl(self, crawl: Later, *, believes: bool = True) -> None:
        if not believes:
            self.cache = {}
        elif not crawl.cached:
            self.cache = None
        for events in self._crawl(crawl, believes=believes):
            self.append(events)
        if self.cache is None and crawl.pages is None:
            self.cache = {seen_id: make(crawl.world, seen_id, 0).fingerprint for seen_id in crawl.world}

    def _crawl(self, crawl: Later, *, believes: bool) -> Iterator[list[Event]]:
        """Yield what is appended, one append at a time; each is decided only when those before it stand."""
        self._crawls += 1
        begin = 100 * self._crawls
        ids = sorted(crawl.world)
        pages = [ids[first : first + PAGE] for first in range(0, len(ids), PAGE)][: crawl.pages]
        changed = 0
        for number, page in enumerate(pages, start=1):
            made = [make(crawl.world, listing_id, begin + number, str(begin)) for listing_id in page]
            news = [event for event in made if not believes or self._known(event) != event.fingerprint]
            if news:
                yield list(news)
            changed += len(news)
            if self.cache is not None:
                self.cache |= {event.listing_id: event.fingerprint for event in news}
        seen_ids = [listing_id for page in pages for listing_id in page]
        whole = crawl.pages is None
        yield [ended(begin, *seen_ids, crawl=str(begin), until=begin + 50, complete=whole, changed=changed)]

    def _known(self, event: ListingObserved) -> bytes | None:
        if self.cache is not None:
            return self.cache.get(event.listing_id)
        listing = self.shop.listings.get(event.listing_id)
        if listing is None or listing.delisted_at is not None or listing.sighting is None:
            return None
        return listing.sighting.fingerprint

    def states(self) -> dict[str, Any]:
        """Say what the catalogue says now of every listing that it does not call gone."""
        return {
            listing.listing_id: [
                (o.price_minor, o.availability, o.hold and o.hold.price_minor) for o in offers
            ]
            for listing in self.shop.listings.values()
            if listing.delisted_at is None and (offers := listing.offers.values())
        }


def make(world: World, listing_id: str, minute: int, crawl: str = "") -> ListingObserved:
    price, availability = world[listing_id]
    return seen(minute, offer(price, availability), crawl=crawl, listing=listing_id)


def tell(
    before: Sequence[World], dying: World, appends: int, after: Sequence[Later], arrives_at: int | None
) -> Story:
    story = Story(arrives_at)
    for world in before:
        story.crawl(Later(world))
    story.appends = 0
    story.crawl_and_die(dying, appends)
    settled = False
    for crawl in after:
        story.crawl(crawl, believes=settled)
        settled = settled or crawl.pages is None
    return story


@settings(max_examples=600, deadline=None)
@given(
    before=st.lists(WORLDS, max_size=3),
    dying=WORLDS,
    appends=st.integers(0, 3),
    after=st.lists(LATER, max_size=4),
    last=WORLDS,
    arrives_at=st.integers(0, 12),
)
# The dead crawl's end comes last: a listing that it saw again, delisted before, and gone for good since.
@example(
    before=[{"1": (6000, IN)}, {}, {}],
    dying={"1": (6000, IN)},
    appends=0,
    after=[Later({"2": (6000, IN)})],
    last={"2": (6000, IN)},
    arrives_at=3,
)
# It saw another state of a listing, which was away when the next crawl saw the shop, and then back as before.
@example(
    before=[{"1": (6000, IN)}],
    dying={"1": (4500, IN)},
    appends=0,
    after=[Later({"2": (6000, IN)}), Later({"1": (6000, IN), "2": (6000, IN)}, cached=False)],
    last={"1": (6000, IN), "2": (6000, IN)},
    arrives_at=3,
)
def test_a_dead_crawl_s_last_append_changes_nothing_whenever_it_arrives(
    before: list[World],
    dying: World,
    appends: int,
    after: list[Later],
    last: World,
    arrives_at: int,
) -> None:
    crawls = [*after, Later(last)]
    never = tell(before, dying, appends, crawls, None)
    late = tell(before, dying, appends, crawls, min(arrives_at, never.appends - 1))
    _expect_seen_alike(last, never, late)
    # Whatever only the dead crawl saw, and nobody since, is missed twice and gone, as anything is.
    for story in (never, late):
        for _ in range(3):
            story.crawl(Later(last))
    assert late.states() == never.states()
    assert set(late.states()) == set(last)


def _expect_seen_alike(last: World, never: Story, late: Story) -> None:
    gone = {listing_id for listing_id, listing in never.shop.listings.items() if listing.delisted_at}
    assert not late.was_late or not gone & late.states().keys()
    for listing_id, (price, availability) in last.items():
        ((believed, stock, held),) = late.states()[listing_id]
        assert stock is availability
        # Where both sights of a jump are true, the price is believed one crawl earlier.
        assert price in (believed, held)
        assert never.states()[listing_id][0][1] is stock
