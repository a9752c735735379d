"""What an event must fulfil beyond its schema: checked before it is said, and again when it is heard."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from skatestock.events.model import (
    MAX_REJECTED,
    CrawlCompleted,
    Event,
    ListingObserved,
    OfferObserved,
    RejectedObservation,
)
from skatestock.events.size import (
    MAX_LISTING_IDS_BYTES,
    MAX_REJECTED_BYTES,
    measure_reject,
    measure_text,
)
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.identifiers import MAX_IDENTIFIER_LENGTH, check_slug
from skatestock.vocabulary.money import MAX_MINOR, check_currency
from skatestock.vocabulary.text import has_control_characters

MAX_TITLE_LENGTH = 1000
MAX_URL_LENGTH = 4096
MAX_LABEL_LENGTH = 500
MAX_DETAIL_LENGTH = 2000
MAX_EXCERPT_LENGTH = 2000
MAX_OFFERS = 5000
MAX_OPTIONS = 20
MAX_OFFER_CHARACTERS = 1_500_000
"""In all words of a listing's offers together: with at most four bytes each, 20 options an offer and every
number at its longest, no ListingObserved reaches MAX_EVENT_BYTES."""
FINGERPRINT_LENGTH = 32

_MAX_INT = 2**31 - 1
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_TOLERATED_FUTURE = timedelta(days=1)
_LINE_BREAKS = str.maketrans("", "", "\t\n\r")

# There are few of them, and each stands in thousands of events; what is refused is not remembered.
_check_slug = lru_cache(maxsize=1024)(check_slug)
_check_currency = lru_cache(maxsize=256)(check_currency)


class _NonsenseError(InvalidValueError):
    """Says what makes no sense; never leaves this module."""


def find_nonsense(event: Event, now: datetime | None = None) -> str | None:
    """Tell what makes no sense in an event, or None; without `now` no moment is in the future."""
    try:
        if isinstance(event, ListingObserved):
            _check_listing(event, now)
        else:
            _check_crawl(event, now)
    except InvalidValueError as error:
        return str(error)
    return None


def _check_listing(event: ListingObserved, now: datetime | None) -> None:
    _check_slug(event.shop)
    _check_currency(event.currency)
    _check_moment("observed_at", event.observed_at, now)
    evidence = () if event.evidence is None else (event.evidence,)
    _check_identifiers((event.event_id, event.crawl_id, event.listing_id, event.parser, *evidence))
    _check_texts((event.title, event.name), MAX_TITLE_LENGTH)
    _check_texts((event.url, event.image_url or "-"), MAX_URL_LENGTH)
    labels = (event.vendor, event.brand, event.colourway, event.product_type)
    _check_texts([event.handle, *[label for label in labels if label is not None]], MAX_LABEL_LENGTH)
    if not 1 <= event.parser_version <= _MAX_INT:
        raise _NonsenseError(f"parser_version {event.parser_version} is no version")
    if len(event.fingerprint) != FINGERPRINT_LENGTH:
        raise _NonsenseError(f"the fingerprint has {len(event.fingerprint)} bytes, not {FINGERPRINT_LENGTH}")
    _check_offers(event.offers)


def _check_offers(offers: tuple[OfferObserved, ...]) -> None:
    if not 1 <= len(offers) <= MAX_OFFERS:
        raise _NonsenseError(f"a listing with {len(offers)} offers")
    ids = [offer.offer_id for offer in offers]
    if len(set(ids)) != len(ids):
        raise _NonsenseError("an offer id stands twice")
    _check_identifiers(ids)
    labels: list[str] = []
    for offer in offers:
        _check_offer(offer)
        labels.append(offer.title)
        labels.extend(offer.options)
        labels.extend(offer.options.values())
        if offer.sku:
            labels.append(offer.sku)
        if offer.barcode:
            labels.append(offer.barcode)
    # In one call for all offers: the checks cost less than calling them.
    characters = sum(map(len, ids)) + _check_texts(labels, MAX_LABEL_LENGTH, may_be_empty=True)
    if characters > MAX_OFFER_CHARACTERS:
        raise _NonsenseError(f"offers with {characters} characters, over {MAX_OFFER_CHARACTERS}")


def _check_offer(offer: OfferObserved) -> None:
    if not (0 <= offer.price_minor <= MAX_MINOR and 0 <= (offer.compare_at_minor or 0) <= MAX_MINOR):
        raise _NonsenseError(
            f"offer {offer.offer_id} asks {offer.price_minor}, compared with {offer.compare_at_minor or 0}"
        )
    if len(offer.options) > MAX_OPTIONS:
        raise _NonsenseError(f"offer {offer.offer_id} has {len(offer.options)} options")
    if offer.availability is Availability.GONE:
        raise _NonsenseError(f"offer {offer.offer_id} was observed to be gone, which is no observation")


def _check_crawl(event: CrawlCompleted, now: datetime | None) -> None:
    _check_slug(event.shop)
    _check_moment("started_at", event.started_at, now)
    _check_moment("completed_at", event.completed_at, now)
    if event.completed_at < event.started_at:
        raise _NonsenseError("the crawl was completed before it started")
    _check_identifiers((event.event_id, event.crawl_id, event.reason))
    if event.complete != (event.reason == "complete"):
        raise _NonsenseError(f"complete is {event.complete} and the reason is {event.reason}")
    _check_texts((event.detail,), MAX_DETAIL_LENGTH, may_be_empty=True)
    for count in (event.pages, event.requests, event.changed, event.rejected_total):
        if not 0 <= count <= _MAX_INT:
            raise _NonsenseError(f"{count} is no count")
    _check_listing_ids(event.listing_ids)
    _check_rejected(event)


def _check_listing_ids(listing_ids: tuple[str, ...]) -> None:
    size = sum(map(measure_text, listing_ids))
    if size > MAX_LISTING_IDS_BYTES:
        raise _NonsenseError(f"listing ids of {size} bytes")
    if len(set(listing_ids)) != len(listing_ids):
        raise _NonsenseError("a listing id stands twice")
    _check_identifiers(listing_ids)


def _check_rejected(event: CrawlCompleted) -> None:
    if len(event.rejected) > MAX_REJECTED or len(event.rejected) > event.rejected_total:
        raise _NonsenseError(f"{len(event.rejected)} rejects are listed of {event.rejected_total}")
    size = sum(map(measure_reject, event.rejected))
    if size > MAX_REJECTED_BYTES:
        raise _NonsenseError(f"rejects of {size} bytes")
    for rejected in event.rejected:
        _check_reject(rejected)


def _check_reject(rejected: RejectedObservation) -> None:
    _check_identifiers((rejected.reason,))
    if rejected.listing_id is not None:
        _check_identifiers((rejected.listing_id,))
    _check_texts((rejected.detail,), MAX_DETAIL_LENGTH, may_be_empty=True)
    _check_texts((rejected.position,), MAX_LABEL_LENGTH, may_be_empty=True)
    excerpt = rejected.excerpt.translate(_LINE_BREAKS)
    _check_texts((excerpt,), MAX_EXCERPT_LENGTH, may_be_empty=True)


def _check_moment(name: str, moment: datetime, now: datetime | None) -> None:
    if moment.tzinfo is None or moment.microsecond:
        raise _NonsenseError(f"{name} {moment} is not in whole seconds with a time zone")
    if moment < _EARLIEST:
        raise _NonsenseError(f"{name} {moment} is before 2000")
    if now is not None and moment > now + _TOLERATED_FUTURE:
        raise _NonsenseError(f"{name} {moment} is in the future")


def _check_identifiers(texts: Sequence[str]) -> None:
    for text in texts:
        # Inlined from check_identifier, whose call costs more than its checks: this runs for every id seen.
        if not text or len(text) > MAX_IDENTIFIER_LENGTH or not text.isprintable():
            raise _NonsenseError(f"{text[:60]!r} cannot be an identifier")


def _check_texts(texts: Sequence[str], max_length: int, *, may_be_empty: bool = False) -> int:
    """Refuse a text that is too long, empty or unprintable; return how many characters all have together."""
    # Asked of all texts at once, and only if that fails of each: nearly always nothing is wrong.
    together = "".join(texts)
    if (
        together.isprintable()
        # What all have together, none has alone.
        and (len(together) <= max_length or max(map(len, texts)) <= max_length)
        and (may_be_empty or all(texts))
    ):
        return len(together)
    for text in texts:
        if len(text) > max_length:
            raise _NonsenseError(f"a text of {len(text)} characters: {text[:60]!r}…")
        if not text and not may_be_empty:
            raise _NonsenseError("a text that must not be empty is empty")
        if has_control_characters(text):
            raise _NonsenseError(f"a text holds control characters: {text[:60]!r}")
    return len(together)
