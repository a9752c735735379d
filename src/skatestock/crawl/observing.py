"""From what a parser has read to the event: the part that is the same on every platform. Pure."""

import re
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from skatestock.crawl.shops import Shop
from skatestock.events.fingerprint import fingerprint_listing
from skatestock.events.identity import listing_event_id
from skatestock.events.model import ListingObserved, OfferObserved, RejectedObservation
from skatestock.events.sense import find_nonsense
from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.text import clean_text, has_control_characters
from skatestock.vocabulary.titles import read_title

MAX_EXCERPT = 2000
_MAX_URL = 4096
# What nearly every image's address looks like; anything else is taken apart.
_PLAIN_URL = re.compile(r"https?://[a-z0-9][a-z0-9.-]*/")


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Who looked at which shop, when, and at which page."""

    shop: Shop
    crawl_id: str
    observed_at: datetime
    page: int = 1
    evidence: str | None = None
    """The key under which the page's body is kept, if it is."""


class ParsedPage(msgspec.Struct, frozen=True, kw_only=True):
    """What one page showed."""

    observations: tuple[ListingObserved, ...]
    rejected: tuple[RejectedObservation, ...] = ()
    product_count: int
    """All products on the page, the unreadable ones too: a page with fewer than the limit is the last."""
    listing_ids: tuple[str, ...]
    """Every listing on the page in its order, those rejected included where their id could be read."""
    repeated: bool = False
    """Whether the page shows a listing twice."""
    unidentified: int = 0
    """Products without a usable id: any listing that is missing elsewhere may be one of them."""


class ListingRead(msgspec.Struct, frozen=True, kw_only=True):
    """What a parser has read of one listing."""

    parser: str
    parser_version: int
    listing_id: str
    handle: str
    url: str
    title: str
    """May be empty."""
    vendor: str | None
    product_type: str | None
    image_url: str | None
    offers: tuple[OfferObserved, ...]
    offers_complete: bool = True


def observe_listing(read: ListingRead, sighting: Sighting) -> ListingObserved:
    """Make the event of a listing as it was seen; a missing title is made of the handle's words.

    Raises InvalidValueError for what must not be said on the log.
    """
    shop = sighting.shop
    title = read.title or title_from_handle(read.handle)
    image_url = clean_image_url(read.image_url)
    reading = read_title(title, shop.title_habit, read.vendor, shop.shop_names)
    # What enters the fingerprint as it stands also enters the event.
    state: dict[str, Any] = {
        "parser": read.parser,
        "parser_version": read.parser_version,
        "currency": shop.currency,
        "title": title,
        "handle": read.handle,
        "url": read.url,
        "vendor": read.vendor,
        "product_type": read.product_type,
        "image_url": image_url,
        "offers_complete": read.offers_complete,
        "offers": read.offers,
    }
    fingerprint = fingerprint_listing(**state)
    event = ListingObserved(
        event_id=listing_event_id(sighting.crawl_id, shop.slug, read.listing_id, fingerprint),
        shop=shop.slug,
        crawl_id=sighting.crawl_id,
        listing_id=read.listing_id,
        observed_at=sighting.observed_at,
        name=reading.name or title,
        brand=reading.brand,
        colourway=reading.colourway,
        fingerprint=fingerprint,
        evidence=sighting.evidence,
        **state,
    )
    nonsense = find_nonsense(event)
    if nonsense is not None:
        raise InvalidValueError(nonsense)
    return event


def title_from_handle(handle: str) -> str:
    """Make a title of a handle's words (`big-boy-shorts-5` gives `Big Boy Shorts 5`); never empty."""
    words = clean_text(unquote(handle).replace("-", " ").replace("_", " "))
    return " ".join(word[:1].upper() + word[1:] for word in words.split()) or handle


def clean_image_url(url: str | None) -> str | None:
    """Return an image's http(s) address, completed where it begins with `//`; None for anything else."""
    if url is None:
        return None
    url = url.strip()
    url = f"https:{url}" if url.startswith("//") else url
    if len(url) > _MAX_URL or has_control_characters(url):
        return None
    if _PLAIN_URL.match(url):
        return url
    try:
        parts = urlsplit(url)
        return url if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


def make_excerpt(body: bytes) -> str:
    """Return the beginning of what was rejected as clean text."""
    return clean_text(body[: 4 * MAX_EXCERPT].decode("utf-8", "replace"), MAX_EXCERPT)
