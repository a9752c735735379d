"""Conditional requests: pages that a shop need not send again because they read as they did. Pure.

A 304 says only that a page reads as it did under its entity tag. Its listings are unchanged if, besides, the
*last* state of each of them is the one that the page showed: a listing that has since shown another state, on
another page or in a crawl that ended early, has none that may be taken for granted. So a page is asked for
conditionally only while the last fingerprints of all its listings are those that it showed.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec

from skatestock.crawl.observing import ParsedPage
from skatestock.crawl.shops import Shop
from skatestock.events.fingerprint import FINGERPRINT_VERSION

MAX_AGE = timedelta(days=1)
"""So often every page is read whole, whatever its tag: a shop whose tags are wrong misleads no longer."""

_ENTITY_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{1,200}"\Z')


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """What a request brought."""

    body: bytes
    tag: str | None = None
    """The entity tag under which the body may be asked for again; None where it has none."""
    unchanged: bool = False
    """Whether the shop said (304) that the page still reads as under the tag it was asked with."""
    url: str = ""
    """Where the body was found, after redirects."""
    headers: Mapping[str, str] = {}
    """What platforms read of an answer beside its body (`PAGING_HEADERS`), by lower-case name."""


class KnownPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page as it was last read whole: what a 304 stands for."""

    tag: str
    reading: str
    """By which rules it was read, and where; see `describe_reading`."""
    read_at: datetime
    listing_ids: tuple[str, ...]
    digest: bytes
    """SHA-256 over the fingerprints of its listings, in their order."""

    def still_stands(self, reading: str, now: datetime, last: Mapping[str, bytes | None]) -> bool:
        """Tell whether a 304 would mean that nothing changed; `last` holds last fingerprints by listing."""
        fingerprints = [last.get(listing_id) for listing_id in self.listing_ids]
        known = [fingerprint for fingerprint in fingerprints if fingerprint is not None]
        return (
            self.reading == reading
            and timedelta(0) <= now - self.read_at < MAX_AGE
            and len(known) == len(fingerprints)
            and sha256(b"".join(known)).digest() == self.digest
        )

    def to_page(self) -> ParsedPage:
        """Make the page that a 304 stands for: every listing seen, none with anything new to say."""
        return ParsedPage(observations=(), product_count=len(self.listing_ids), listing_ids=self.listing_ids)


def to_known_page(page: ParsedPage, tag: str | None, reading: str, read_at: datetime) -> KnownPage | None:
    """Make what to remember of a page that was read; None for one that must be read whole each time.

    That is one without a tag, and one of which anything was rejected: each crawl says so anew.
    """
    if tag is None or page.rejected:
        return None
    fingerprints = b"".join(event.fingerprint for event in page.observations)
    return KnownPage(
        tag=tag,
        reading=reading,
        read_at=read_at,
        listing_ids=page.listing_ids,
        digest=sha256(fingerprints).digest(),
    )


def describe_reading(shop: Shop, url: str, parser: str, parser_version: int) -> str:
    """Name the rules by which a page is read: a change of any of them reads it anew."""
    rules = (FINGERPRINT_VERSION, parser, parser_version, shop, url)
    return sha256(msgspec.json.encode(rules)).hexdigest()


def parse_entity_tag(text: str | None) -> str | None:
    """Return an ETag header's value as it is sent back in If-None-Match; None for anything that is no tag."""
    tag = (text or "").strip()
    return tag if _ENTITY_TAG.match(tag) else None
