"""What a platform is to a crawl: where to begin, how to read an answer, and what to ask next. Pure.

A crawl knows no platform. It asks a walk for requests, hands it what came back, and goes on until nothing is
left to ask; only then may it call the shop seen whole.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.events.model import ListingObserved


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One address that a walk wants to see."""

    url: str
    number: int
    """Its place in the walk, from 1, by which rejects are told."""
    kind: str = "listings"
    """The platform's own word for what the address shows."""
    memory: int | None = None
    """The number under which the page is remembered, the same in every crawl of an unchanged shop; None where
    a 304 may not stand for it, because more than its listings is read from the page."""
    again: bool = False
    """Whether the page was read before in this walk and is looked at once more, to see whether it moved."""
    may_be_gone: bool = False
    """Whether 404 and 410 mean that this page alone is no more, rather than that the shop refuses us."""
    listing_id: str | None = None
    """The one listing that the page shows, where its address tells: if robots.txt disallows the page, that
    listing alone cannot be read."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """What came back for a request."""

    body: bytes
    headers: Mapping[str, str] = {}
    """By lower-case name; at least those of `PAGING_HEADERS` that the answer has."""


BARCODES = "barcodes"
"""The kind of what a `BarcodeSource` reads: it shows no listing."""

PAGING_HEADERS = ("x-wp-total", "x-wp-totalpages")
"""What platforms read of an answer beside its body."""


class Walk(Protocol):
    """One way through one shop; it keeps what the pages so far have said."""

    parser: str
    parser_version: int

    def first_requests(self) -> Sequence[PageRequest]:
        """Return where to begin."""
        ...

    def read_page(self, request: PageRequest, body: Body, sighting: Sighting) -> ParsedPage:
        """Read what came back; raises PageError for what is no such page, or only a part of one."""
        ...

    def find_drift(self, request: PageRequest, page: ParsedPage) -> str | None:
        """Tell what on this page shows that the pages moved while they were read, or None.

        Asked once for every page, also for one that a 304 stood for, before what comes after it.
        """
        ...

    def next_requests(self, request: PageRequest, page: ParsedPage) -> Sequence[PageRequest]:
        """Return what to ask after a page was read, in order."""
        ...


class BarcodeSource(Protocol):
    """Where a platform says the barcodes of one listing, when its pages of listings do not."""

    parser: str
    parser_version: int

    def url_of(self, event: ListingObserved) -> str:
        """Return the address that says a listing's barcodes."""
        ...

    def read_barcodes(self, body: bytes) -> Mapping[str, str]:
        """Read barcodes, as the shop wrote them, by offer id; raises PageError for what is no such body."""
        ...


class Platform(Protocol):
    """One kind of shop."""

    def open_walk(self) -> Walk:
        """Begin a walk from the shop's beginning."""
        ...

    def limit_requests(self) -> int:
        """Return how many requests a walk may take before it is taken for endless."""
        ...

    def estimate_requests(self, listings: int, offers: int) -> int:
        """Estimate how many requests a crawl of so many listings and offers takes, robots.txt left out."""
        ...
