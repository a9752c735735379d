"""The catalogue's state as ingest works on it: loaded for a batch, changed in memory, recorded at once.

Flags say what must be written; whoever changes a state sets them through the methods here.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.gtin import parse_gtin


class ShopRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A shop as it is written into the catalogue."""

    slug: str
    name: str
    url: str
    currency: str
    platform: str
    city: str | None = None
    region: str | None = None
    demo: bool = False
    crawl_every_seconds: int = 1800


class Change(StrEnum):
    """What happened at a price point, in the order in which one point lists several."""

    FIRST_SEEN = "first_seen"
    BACK = "back"
    PRICE_UP = "price_up"
    PRICE_DOWN = "price_down"
    COMPARE_AT_CHANGED = "compare_at_changed"
    OUT_OF_STOCK = "out_of_stock"
    BACK_IN_STOCK = "back_in_stock"
    DELISTED = "delisted"


_CHANGE_ORDER = {change: place for place, change in enumerate(Change)}


def merge_changes(earlier: Iterable[Change], later: Iterable[Change]) -> list[Change]:
    """Join what happened at one moment, each word once and in the order of `Change`."""
    return sorted({*earlier, *later}, key=_CHANGE_ORDER.__getitem__)


class PricePoint(msgspec.Struct, gc=False):
    """An offer's state from `observed_at` on."""

    observed_at: datetime
    price_minor: int
    compare_at_minor: int | None
    availability: Availability
    changes: list[Change]
    crawl_id: str
    stored: bool = False
    """Whether the database holds it already."""
    revised: bool = False
    """Whether a stored one has changed since it was loaded."""


class Hold(NamedTuple):
    """A price that nobody believes yet."""

    price_minor: int
    compare_at_minor: int | None
    held_at: datetime
    crawl_id: str
    availability: Availability
    """What was in force when the price was first observed."""


class OfferState(msgspec.Struct, gc=False):
    """One offer: its words, its state since the last price point, and the points that matter now."""

    id: int
    """The database's id; 0 while the offer is new."""
    offer_id: str
    title: str
    options: dict[str, str]
    sku: str | None
    position: int
    price_minor: int | None
    compare_at_minor: int | None
    availability: Availability
    since_at: datetime
    hold: Hold | None = None
    points: list[PricePoint] = []
    """In order: those of this batch, and those stored ones that a rule may still look at or revise."""
    retracted: list[PricePoint] = []
    """Stored points that were never so: the observation that made them has been read anew."""
    ended_from: Availability | None = None
    """The availability that the offer had when this batch concluded that it is gone."""
    words_changed: bool = False
    state_changed: bool = False
    hold_changed: bool = False
    barcode: str | None = None
    """A GTIN in fourteen digits."""
    invalid_barcode: str | None = None
    """What stands where a barcode should, and is no GTIN."""

    def put_point(self, moment: datetime, changes: list[Change], crawl_id: str) -> None:
        """Record the present state as a price point; two at one moment become one."""
        self.state_changed = True
        self.since_at = moment
        last = self.points[-1] if self.points else None
        if last is None or last.observed_at != moment:
            self.points.append(self._point_now(moment, changes, crawl_id))
            return
        assert self.price_minor is not None
        last.price_minor = self.price_minor
        last.compare_at_minor = self.compare_at_minor
        last.availability = self.availability
        last.changes = merge_changes(last.changes, changes)
        last.revised = True

    def put_barcode(self, text: str) -> None:
        """Take over a barcode as the shop wrote it: as GTIN, or as the text that is none."""
        barcode = parse_gtin(text)
        invalid = text if barcode is None else None
        if (barcode, invalid) != (self.barcode, self.invalid_barcode):
            self.barcode, self.invalid_barcode = barcode, invalid
            self.words_changed = True

    def _point_now(self, moment: datetime, changes: list[Change], crawl_id: str) -> PricePoint:
        assert self.price_minor is not None, "an offer without a believed price has no price points"
        return PricePoint(
            moment, self.price_minor, self.compare_at_minor, self.availability, changes, crawl_id
        )

    def availability_before_gone(self) -> Availability:
        """Tell the last availability that was observed before the offer was concluded to be gone."""
        if self.ended_from is not None:
            return self.ended_from
        for point in reversed(self.points):
            if point.availability is not Availability.GONE:
                return point.availability
        return Availability.UNKNOWN


class ListingWords(NamedTuple):
    """What a listing says of itself, as it was last observed."""

    url: str
    handle: str
    title: str
    name: str
    vendor: str | None
    brand: str | None
    colourway: str | None
    product_type: str | None
    image_url: str | None


class Sighting(NamedTuple):
    """What is stored of the last observation that was applied, beside its words and offers."""

    fingerprint: bytes
    parser: str
    parser_version: int


class Observation(NamedTuple):
    """Where the price points of one moment of a listing are from."""

    observed_at: datetime
    crawl_id: str
    parser: str
    parser_version: int
    evidence: str | None
    is_reread: bool
    """Whether it stands in the place of a stored one."""


class ListingState(msgspec.Struct, gc=False):
    """One listing, with its offers where a rule needs them."""

    id: int
    """The database's id; 0 while the listing is new."""
    listing_id: str
    product_id: int
    currency: str
    observed_at: datetime
    seen_at: datetime
    missed: int = 0
    delisted_at: datetime | None = None
    words: ListingWords | None = None
    """None where the batch does not observe the listing, so that its words do not matter."""
    sighting: Sighting | None = None
    """Set once an observation of this batch is applied."""
    observations: dict[datetime, Observation] = {}
    """Those of this batch by their moment; one of them may stand in the place of a stored one."""
    parser: str = ""
    """What read the last observation that was applied."""
    parser_version: int = 0
    offers: dict[str, OfferState] = {}
    first_seen_at: datetime | None = None
    """Set for a new listing only."""
    words_changed: bool = False
    touched: bool = False
    """Whether `seen_at`, `missed` or `delisted_at` changed."""
    standing_changed: bool = False
    """Whether the listing was delisted or came back."""


class CrawlState(msgspec.Struct):
    """One crawl's row."""

    crawl_id: str
    started_at: datetime
    completed_at: datetime | None = None
    complete: bool | None = None
    reason: str | None = None
    detail: str = ""
    pages: int = 0
    requests: int = 0
    listings_seen: int = 0
    changed: int = 0
    rejected: int = 0
    touched: bool = False


class RejectedRow(NamedTuple):
    """One thing that was not believed, and why."""

    crawl_id: str
    ordinal: int | None
    listing_id: str | None
    reason: str
    detail: str
    position: str
    excerpt: str
    rejected_at: datetime


class ShopState(msgspec.Struct):
    """What a batch needs of one shop, and what it says about it."""

    id: int
    slug: str
    listings: dict[str, ListingState] = {}
    crawls: dict[str, CrawlState] = {}
    rejected: list[RejectedRow] = []
    foreign_crawl_ids: set[str] = set()
    """Crawl ids that the batch names for this shop although they are another shop's."""
    seen_whole_at: datetime | None = None
    """When the latest of the shop's complete crawls began."""


class CrawlEnd(NamedTuple):
    """What the end of a crawl demands of the states."""

    listing_ids: frozenset[str]
    complete: bool


class ShopDemand(msgspec.Struct):
    """What a batch says about one shop, so that the states it needs can be loaded at once."""

    earliest_at: datetime
    listing_ids: set[str] = set()
    crawl_ids: set[str] = set()
    crawl_ends: list[CrawlEnd] = []

    def needs_offers(self, listing: ListingState) -> bool:
        """Tell whether a crawl's end may change a listing's offers: by delisting it or bringing it back."""
        if listing.delisted_at is not None:
            return any(listing.listing_id in end.listing_ids for end in self.crawl_ends)
        misses = sum(end.complete and listing.listing_id not in end.listing_ids for end in self.crawl_ends)
        return listing.missed + misses >= MISSES_THAT_DELIST


MISSES_THAT_DELIST = 2
"""Complete crawls in a row without a listing that mean it is gone."""
