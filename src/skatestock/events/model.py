"""What is said on the log: one struct per event, as the Avro schemas beside this file define them."""

from datetime import datetime

import msgspec

from skatestock.vocabulary.availability import Availability


class OfferObserved(msgspec.Struct, frozen=True, kw_only=True):
    """One buyable variant as one crawl saw it."""

    offer_id: str
    """The shop's own id of the variant, unique within its listing."""
    title: str
    options: dict[str, str] = {}
    """Option name to value, both as the shop writes them; empty where the listing has no options."""
    sku: str | None = None
    price_minor: int
    compare_at_minor: int | None = None
    """As the shop gave it, also when it is zero or below the price; null where it gave none."""
    availability: Availability = Availability.UNKNOWN
    barcode: str | None = None
    """As the shop wrote it, which need be no GTIN; null where it was not said, not where there is none."""


class ListingObserved(msgspec.Struct, frozen=True, kw_only=True):
    """What one crawl saw of one listing with all its offers."""

    event_id: str
    shop: str
    crawl_id: str
    listing_id: str
    """The shop's own id of the listing, unique within the shop."""
    observed_at: datetime
    url: str
    handle: str
    title: str
    name: str
    """The title without brand and colourway, by the shop's own way of writing titles."""
    vendor: str | None = None
    brand: str | None = None
    colourway: str | None = None
    product_type: str | None = None
    image_url: str | None = None
    currency: str
    offers: tuple[OfferObserved, ...]
    offers_complete: bool = True
    """Whether these are all offers of the listing; only then is a missing variant gone."""
    parser: str
    parser_version: int
    fingerprint: bytes
    evidence: str | None = None
    """The key of the page's body among the evidence, for as long as that is kept; null where it was not."""


class RejectedObservation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in a shop's answer that could not become an observation, and why."""

    listing_id: str | None = None
    reason: str
    """A code in snake_case, such as `no_offers`."""
    detail: str
    position: str
    """Where it stood: `page 2, product 17` or `row 5`."""
    excerpt: str = ""
    """The first 2,000 characters of what was rejected."""


class CrawlCompleted(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one visit to one shop."""

    event_id: str
    shop: str
    crawl_id: str
    started_at: datetime
    completed_at: datetime
    complete: bool
    """True only if the whole shop was seen: only then may absence mean that something is gone."""
    reason: str
    """`complete`, or a code that says why not: `blocked`, `robots_unreachable`, `drifted` …"""
    detail: str = ""
    pages: int
    requests: int
    listing_ids: tuple[str, ...]
    """Every listing seen, changed or not."""
    changed: int
    """How many ListingObserved events this crawl appended."""
    rejected: tuple[RejectedObservation, ...] = ()
    rejected_total: int = 0
    """All rejects; `rejected` itself holds at most MAX_REJECTED of them."""


MAX_REJECTED = 1000

Event = ListingObserved | CrawlCompleted
