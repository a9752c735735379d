"""The JSON feeds of sale collections that the earlier system wrote, one file per shop and day. Pure.

A feed is no complete crawl: what is missing from it is off sale or gone, and nobody knows which.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from hashlib import sha256
from pathlib import PurePath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from skatestock.crawl.errors import CrawlError, FeedError
from skatestock.crawl.observing import ListingRead, Sighting, make_excerpt, observe_listing
from skatestock.crawl.reasons import CrawlReason, RejectReason
from skatestock.crawl.shops import Shop
from skatestock.events.identity import crawl_event_id
from skatestock.events.model import (
    MAX_REJECTED,
    CrawlCompleted,
    Event,
    ListingObserved,
    OfferObserved,
    RejectedObservation,
)
from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.identifiers import check_identifier
from skatestock.vocabulary.money import Money
from skatestock.vocabulary.prices import Price, parse_price_pair
from skatestock.vocabulary.text import clean_optional_text, clean_text

PARSER = "recorded_feed"
PARSER_VERSION = 1
ONLY_OFFER = "default"
"""The offer of a listing whose rows do not tell variants apart."""

_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})_([a-z0-9-]+)\.json\Z")
# What the earlier system wrote where it found nothing: "No title found", "No product type found".
_NOTHING_FOUND = re.compile(r"no [a-z ]{1,30}found\Z", re.IGNORECASE)
_MAX_LABEL = 500


class FeedRow(NamedTuple):
    """One row as it was read: one offer of one listing."""

    place: int
    raw: Mapping[str, Any]
    handle: str
    offer_id: str
    price_minor: int
    compare_at_minor: int | None
    notes: tuple[str, ...]


class ParsedFeed(msgspec.Struct, frozen=True, kw_only=True):
    """What one feed says."""

    shop: str
    crawl_id: str
    observed_at: datetime
    observations: tuple[ListingObserved, ...]
    rejected: tuple[RejectedObservation, ...]
    listing_ids: tuple[str, ...]
    """Every listing with a row, those included whose rows were all rejected."""
    rows: int
    notes: Mapping[str, int]
    """How many usable rows lacked what: `no_title`, `no_compare_at`; and `from_price` for "From $24.99"."""


class _RejectedRowError(CrawlError):
    """One row that cannot be used; never leaves this module."""

    def __init__(self, reason: RejectReason, detail: str, handle: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.handle = handle


def parse_feed_name(path: str) -> tuple[date, str]:
    """Read day and shop from a feed's file name, such as `2024-09-10_labor.json`; raises FeedError."""
    match = _NAME.match(PurePath(path).name)
    try:
        if match is not None:
            return date.fromisoformat(match[1]), match[2]
    except ValueError:
        pass
    raise FeedError(f"{path}: the name of a feed is its day and shop, such as 2024-09-10_labor.json")


def parse_feed(body: bytes, shop: Shop, day: date, filename: str) -> ParsedFeed:
    """Read one feed: rows of one listing become one observation, at the beginning of the day.

    The same bytes under the same name give the same events with the same ids. Raises FeedError for a file
    that is no JSON array at all.
    """
    rows = _decode_rows(body, filename)
    name = PurePath(filename).name
    sighting = Sighting(
        shop=shop,
        crawl_id=f"feed-{shop.slug}-{day.isoformat()}-{sha256(body).hexdigest()[:16]}",
        observed_at=datetime.combine(day, time(), UTC),
    )
    rejected: list[RejectedObservation] = []
    by_handle = _group_rows(rows, shop, name, rejected)
    observations = []
    for offers in by_handle.values():
        try:
            observations.extend([_observe(offers, sighting)] if offers else [])
        except InvalidValueError as error:
            rejected += [
                _reject(RejectReason.SENSELESS, str(error), row.raw, row.handle, name, row.place)
                for row in offers
            ]
    return ParsedFeed(
        shop=shop.slug,
        crawl_id=sighting.crawl_id,
        observed_at=sighting.observed_at,
        observations=tuple(observations),
        rejected=tuple(rejected),
        listing_ids=tuple(by_handle),
        rows=len(rows),
        notes=Counter(note for offers in by_handle.values() for row in offers for note in row.notes),
    )


def feed_events(feed: ParsedFeed) -> list[Event]:
    """List a feed's events in the order in which they belong on the log, the end of its crawl last."""
    end = CrawlCompleted(
        event_id=crawl_event_id(feed.crawl_id),
        shop=feed.shop,
        crawl_id=feed.crawl_id,
        started_at=feed.observed_at,
        completed_at=feed.observed_at,
        complete=False,
        reason=CrawlReason.SALE_FEED.value,
        detail=f"{feed.rows} rows of a sale collection that the earlier system recorded",
        pages=1,
        requests=0,
        listing_ids=feed.listing_ids,
        changed=len(feed.observations),
        rejected=feed.rejected[:MAX_REJECTED],
        rejected_total=len(feed.rejected),
    )
    return [*feed.observations, end]


def _decode_rows(body: bytes, filename: str) -> Sequence[Any]:
    try:
        rows = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FeedError(f"{filename}: this is no JSON: {error}") from error
    if not isinstance(rows, list):
        raise FeedError(f"{filename}: a feed is a JSON array of rows")
    return rows


def _group_rows(
    rows: Sequence[Any], shop: Shop, name: str, rejected: list[RejectedObservation]
) -> dict[str, list[FeedRow]]:
    """Sort the usable rows by listing, in the file's order; a listing may end up without any."""
    by_handle: dict[str, list[FeedRow]] = {}
    for place, raw in enumerate(rows, 1):
        try:
            row = _read_row(raw, place, shop)
            offers = by_handle.setdefault(row.handle, [])
            if not _is_repeated(row, offers):
                offers.append(row)
        except _RejectedRowError as error:
            rejected.append(_reject(error.reason, str(error), raw, error.handle, name, place))
            if error.handle is not None:
                by_handle.setdefault(error.handle, [])
    return by_handle


def _is_repeated(row: FeedRow, offers: Sequence[FeedRow]) -> bool:
    for other in offers:
        if other.offer_id != row.offer_id:
            continue
        if (other.price_minor, other.compare_at_minor) == (row.price_minor, row.compare_at_minor):
            return True
        # Neither row is better than the other; the first stands, as it would if the second were missing.
        detail = f"row {other.place} gives this offer another price"
        raise _RejectedRowError(RejectReason.CONFLICTING_OFFERS, detail, row.handle)
    return False


def _read_row(raw: Any, place: int, shop: Shop) -> FeedRow:
    if not isinstance(raw, dict):
        raise _RejectedRowError(RejectReason.NOT_AN_OBJECT, f"the row is a {type(raw).__name__}")
    handle = _read_handle(raw.get("link"))
    price_minor, compare_at_minor, notes = _read_prices(raw, shop, handle)
    if _found(raw.get("title")) is None:
        notes.append("no_title")
    product_id = raw.get("productId")
    has_variant = shop.feed_rows == "variant" and isinstance(product_id, int | str) and product_id != ""
    return FeedRow(
        place,
        raw,
        handle,
        str(product_id) if has_variant else ONLY_OFFER,
        price_minor,
        compare_at_minor,
        tuple(notes),
    )


def _read_handle(link: Any) -> str:
    if not isinstance(link, str):
        raise _RejectedRowError(RejectReason.NO_HANDLE, "the row has no link")
    try:
        folders = urlsplit(link).path.strip("/").split("/")
        # The folder decides: a sale collection also links to pages and to other collections.
        if len(folders) < 2 or folders[-2] != "products":
            raise _RejectedRowError(RejectReason.NOT_A_PRODUCT, f"the link leads to no product: {link[:200]}")
        return check_identifier(unquote(folders[-1]))
    except ValueError as error:
        raise _RejectedRowError(RejectReason.NO_HANDLE, f"the link has no handle: {link[:200]}") from error


def _read_prices(raw: Mapping[str, Any], shop: Shop, handle: str) -> tuple[int, int | None, list[str]]:
    text = _found(raw.get("salePrice", raw.get("price")))
    if text is None:
        raise _RejectedRowError(RejectReason.NO_PRICE, "the row has no price", handle)
    pair = parse_price_pair(text, shop.currency, decimal_separator=".")
    if pair.price is None:
        raise _RejectedRowError(RejectReason.UNREADABLE_PRICE, f"the price is {text[:100]!r}", handle)
    was_text = _found(raw.get("originalPrice"))
    was = pair.compare_at
    if was_text is not None:
        was = parse_price_pair(was_text, shop.currency, decimal_separator=".").price
        if was is None:
            detail = f"the compare-at price is {was_text[:100]!r}"
            raise _RejectedRowError(RejectReason.UNREADABLE_COMPARE_AT_PRICE, detail, handle)
    notes = ["from_price"] if text.casefold().startswith("from ") else []
    notes += ["no_compare_at"] if was is None else []
    return _to_minor(pair.price, shop, handle), None if was is None else _to_minor(was, shop, handle), notes


def _to_minor(price: Price, shop: Shop, handle: str) -> int:
    if price.currency != shop.currency:
        detail = f"the price is in {price.currency}, the shop's in {shop.currency}"
        raise _RejectedRowError(RejectReason.OTHER_CURRENCY, detail, handle)
    try:
        return Money.from_decimal(price.amount, shop.currency).minor
    except InvalidValueError as error:
        raise _RejectedRowError(RejectReason.UNREADABLE_PRICE, str(error), handle) from error


def _observe(rows: Sequence[FeedRow], sighting: Sighting) -> ListingObserved:
    first = rows[0]
    read = ListingRead(
        parser=PARSER,
        parser_version=PARSER_VERSION,
        listing_id=first.handle,
        handle=first.handle,
        url=urlsplit(first.raw["link"])._replace(query="", fragment="").geturl(),
        title=clean_text(_found(first.raw.get("title")) or ""),
        vendor=None,
        product_type=_found(first.raw.get("productType")),
        image_url=_read_image(first.raw.get("image")),
        offers=tuple(_make_offer(row) for row in rows),
        offers_complete=False,
    )
    return observe_listing(read, sighting)


def _make_offer(row: FeedRow) -> OfferObserved:
    return OfferObserved(
        offer_id=row.offer_id, title="", price_minor=row.price_minor, compare_at_minor=row.compare_at_minor
    )


def _read_image(value: Any) -> str | None:
    # Some rows hold the page's template for an address (`…_{width}x.jpg`), which leads nowhere.
    url = _found(value)
    return None if url is None or "{" in url else url


def _found(value: Any) -> str | None:
    text = clean_optional_text(value, _MAX_LABEL) if isinstance(value, str) else None
    return None if text is None or _NOTHING_FOUND.match(text) else text


def _reject(
    reason: RejectReason, detail: str, raw: Any, handle: str | None, name: str, place: int
) -> RejectedObservation:
    return RejectedObservation(
        listing_id=handle,
        reason=reason.value,
        detail=clean_text(detail, _MAX_LABEL),
        position=clean_text(f"{name}, row {place}", 200),
        excerpt=make_excerpt(msgspec.json.encode(raw)),
    )
