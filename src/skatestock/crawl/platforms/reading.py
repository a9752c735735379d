"""What the parsers of all platforms share: loose JSON to texts, identifiers, amounts and a page. Pure."""

import html
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from skatestock.crawl.errors import CrawlError, PageError
from skatestock.crawl.observing import ListingRead, ParsedPage, Sighting, make_excerpt, observe_listing
from skatestock.crawl.reasons import CrawlReason, RejectReason
from skatestock.crawl.walls import is_wall
from skatestock.events.model import ListingObserved, OfferObserved, RejectedObservation
from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.identifiers import check_identifier
from skatestock.vocabulary.money import Money
from skatestock.vocabulary.text import clean_optional_text, clean_text

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_AMOUNT = re.compile(r"\d{1,15}(?:\.\d{1,6})?\Z", re.ASCII)
# Every escape of a JSON text, so that none is taken for a part of another.
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F]..)|.)", re.DOTALL)
_PASSWORD_MARKS = (b"storefront_password", b"template-password", b'action="/password"', b"password-page")
_MAX_LABEL = 500
_SHORT = 32
# The identifiers of every platform fit in 64 bits; digits alone need no further check.
_MAX_NUMBER = 2**63 - 1

Decoded = TypeVar("Decoded")


class RejectedError(CrawlError):
    """One product that cannot be observed; never leaves the parser that raised it."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def decode_body(body: bytes, decode: Callable[[bytes], Decoded]) -> Decoded:
    """Decode a body that must be JSON of one shape; raises PageError that says what it is instead."""
    body = body.removeprefix(_BOM).strip()
    if body.startswith(_UTF16_BOMS) or b"\0" in body[:64]:
        raise PageError(CrawlReason.WRONG_CHARSET, "the body is not UTF-8, as JSON must be")
    if body.startswith(b"<"):
        raise _html_error(body)
    try:
        body.decode("utf-8")
        return decode(body)
    except UnicodeDecodeError as error:
        raise PageError(
            CrawlReason.WRONG_CHARSET, f"the body is not UTF-8, as JSON must be: {error}"
        ) from error
    except msgspec.ValidationError as error:
        raise PageError(CrawlReason.NOT_PRODUCTS, f"{error}: {make_excerpt(body)[:200]}") from error
    except msgspec.DecodeError as error:
        mended = mend_escapes(body)
        if mended != body:
            return decode_body(mended, decode)
        raise _json_error(body, error) from error
    except RecursionError as error:
        raise PageError(CrawlReason.NOT_JSON, f"nested too deeply: {make_excerpt(body)[:200]}") from error


def mend_escapes(body: bytes) -> bytes:
    """Replace every escaped half of a character by the sign for an unreadable one."""
    # One text cut within a character, as software that counts in UTF-16 does, must not cost the whole page.
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match["half"] else match[0], body)


def _html_error(body: bytes) -> PageError:
    if is_wall(body):
        return PageError(CrawlReason.BLOCKED, "a bot wall stands before the shop")
    if any(mark in body for mark in _PASSWORD_MARKS):
        return PageError(CrawlReason.PASSWORD_PAGE, "the shop shows its password page")
    return PageError(CrawlReason.NOT_JSON, f"HTML in place of JSON: {make_excerpt(body)[:200]}")


def _json_error(body: bytes, error: msgspec.DecodeError) -> PageError:
    if "truncated" in str(error) and body.startswith((b"{", b"[")):
        return PageError(CrawlReason.TRUNCATED, f"the JSON ends after {len(body)} bytes")
    return PageError(CrawlReason.NOT_JSON, f"{error}: {make_excerpt(body)[:200]}")


Item = TypeVar("Item")


class ItemReader(msgspec.Struct, frozen=True):
    """How a parser reads one thing on a page."""

    read_id: Callable[[Any], str | None]
    read: Callable[[Any, str], ListingRead]
    """Makes of an item and its id what was read of it; raises RejectedError."""
    excerpt: Callable[[Any], bytes]


def gather_page(items: Sequence[Any], sighting: Sighting, reader: ItemReader) -> ParsedPage:
    """Read every item of a page: one bad one is rejected alone, and counts as seen where its id is known."""
    observations: list[ListingObserved] = []
    rejected: list[RejectedObservation] = []
    listing_ids: dict[str, None] = {}
    repeated = False
    for place, item in enumerate(items, 1):
        listing_id = reader.read_id(item)
        again = listing_id is not None and listing_id in listing_ids
        repeated = repeated or again
        try:
            observations.append(_observe(item, listing_id, sighting, reader, again=again))
        except RejectedError as error:
            position = f"page {sighting.page}, product {place}"
            rejected.append(make_reject(error, listing_id, position, reader.excerpt(item)))
        if listing_id is not None:
            listing_ids[listing_id] = None
    return ParsedPage(
        observations=tuple(observations),
        rejected=tuple(rejected),
        product_count=len(items),
        listing_ids=tuple(listing_ids),
        repeated=repeated,
        unidentified=sum(reject.listing_id is None for reject in rejected),
    )


def _observe(
    item: Any, listing_id: str | None, sighting: Sighting, reader: ItemReader, *, again: bool
) -> ListingObserved:
    if again:
        raise RejectedError(RejectReason.REPEATED_LISTING, "the page shows this listing twice")
    read = reader.read(item, listing_id or "")
    try:
        return observe_listing(read, sighting)
    except InvalidValueError as error:
        raise RejectedError(RejectReason.SENSELESS, str(error)) from error


def make_reject(
    error: RejectedError, listing_id: str | None, position: str, excerpt: bytes
) -> RejectedObservation:
    """Say why something was rejected, where it stood and how it began."""
    return RejectedObservation(
        listing_id=listing_id,
        reason=error.reason,
        detail=clean_text(str(error), _MAX_LABEL),
        position=position,
        excerpt=make_excerpt(excerpt),
    )


def decode_item(raw: msgspec.Raw, decode: Callable[[msgspec.Raw], Decoded]) -> Decoded:
    """Decode one product of a page; raises RejectedError for one of another shape."""
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        raise RejectedError(RejectReason.NOT_AN_OBJECT, str(error)) from error
    except msgspec.DecodeError as error:
        raise RejectedError(RejectReason.SENSELESS, str(error)) from error


class _OnlyId(msgspec.Struct):
    id: Any = None


_decode_id = msgspec.json.Decoder(_OnlyId).decode


def find_raw_id(raw: msgspec.Raw) -> str | None:
    """Find the `id` of a product that may be unreadable otherwise."""
    try:
        return read_identifier(_decode_id(raw).id)
    except msgspec.DecodeError:
        return None


def require_id(listing_id: str) -> str:
    """Return a product's id; raises RejectedError for an empty one."""
    if not listing_id:
        raise RejectedError(RejectReason.NO_ID, "the product has no usable id")
    return listing_id


def require_handle(handle: str | None) -> str:
    """Return a product's handle; raises RejectedError where there is none."""
    if handle is None:
        raise RejectedError(RejectReason.NO_HANDLE, "the product has no handle and so no address")
    return handle


def unique_offers(offers: Iterable[OfferObserved]) -> tuple[OfferObserved, ...]:
    """Drop repeated offers; raises RejectedError for one offer in two states, and for none at all."""
    known: dict[str, OfferObserved] = {}
    for offer in offers:
        first = known.setdefault(offer.offer_id, offer)
        # The same variant twice is one offer; two states of it are none that anyone could believe. A barcode
        # is no state: of two it has neither.
        if first.barcode != offer.barcode:
            offer = msgspec.structs.replace(offer, barcode=None)
            first = known[offer.offer_id] = msgspec.structs.replace(first, barcode=None)
        if first != offer:
            raise RejectedError(
                RejectReason.CONFLICTING_OFFERS, f"variant {offer.offer_id} stands there twice"
            )
    if not known:
        raise RejectedError(RejectReason.NO_OFFERS, "the product has no variants")
    return tuple(known.values())


@lru_cache(maxsize=16_384)
def parse_amount(text: str, currency: str) -> int | None:
    """Read a plain decimal amount (`45.00`) as minor units; None for anything else."""
    if not _AMOUNT.match(text.strip()):
        return None
    try:
        return Money.from_decimal(text.strip(), currency).minor
    except InvalidValueError:
        return None


def round_amount(amount: Decimal, currency: str) -> int | None:
    """Round a number to the currency's minor units; None for what is no possible price."""
    try:
        return Money.from_decimal(amount, currency).minor
    except InvalidValueError:
        return None


def unreadable_price(what: str, value: Any) -> RejectedError:
    """Say that a price is no amount."""
    return RejectedError(RejectReason.UNREADABLE_PRICE, clean_text(f"{what} costs {value!r}", 200))


def unreadable_compare_at(what: str, value: Any) -> RejectedError:
    """Say that a compare-at price is no amount."""
    text = clean_text(f"{what} is compared with {value!r}", 200)
    return RejectedError(RejectReason.UNREADABLE_COMPARE_AT_PRICE, text)


def read_text(value: Any) -> str | None:
    """Return a value as clean text; None where it is no text or nothing is left of it."""
    if not isinstance(value, str):
        return None
    return _short_text(value) if len(value) <= _SHORT else clean_optional_text(value, _MAX_LABEL)


@lru_cache(maxsize=16_384)
def _short_text(text: str) -> str | None:
    # Sizes, colours, makers and types: a shop says the same few thousand words on every page.
    return clean_optional_text(text)


def read_html_text(value: Any) -> str | None:
    """Return a value that is written as HTML (`100&#8217;s`) as clean text; None as for `read_text`."""
    if not isinstance(value, str):
        return None
    return read_text(html.unescape(value)) if "&" in value else read_text(value)


def read_barcode(value: Any) -> str | None:
    """Return a barcode, a text or a whole number, as clean text; None where there is none."""
    return str(value) if type(value) is int and 0 < value <= _MAX_NUMBER else read_text(value)


def read_title(value: Any) -> str:
    """Return a title as clean text, empty where it is none."""
    return clean_text(value) if isinstance(value, str) else ""


def read_identifier(value: Any) -> str | None:
    """Return a shop's own id, a whole number or a text, as text; None for what cannot be one."""
    if type(value) is int and 0 <= value <= _MAX_NUMBER:
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return check_identifier(str(value))
    except ValueError:
        return None


def name_options(pairs: Iterable[tuple[str | None, str | None]]) -> dict[str, str]:
    """Pair option names with values; a name that is missing or stands twice is told apart by its place."""
    options: dict[str, str] = {}
    for place, (name, value) in enumerate(pairs, 1):
        if value is not None:
            name = name or f"Option {place}"
            options[f"{name} {place}" if name in options else name] = value
    return options


def parse_json_number(text: str) -> Decimal | None:
    """Read a number of JSON exactly; None for one beyond all numbers, such as `1e99999999999999999999`."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def to_decimal_text(value: Any) -> str | None:
    """Write a JSON number or text as a plain amount's text; None for anything else, `true` included."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if isinstance(value, int):
        return str(value) if abs(value) <= _MAX_NUMBER else None
    return f"{value:f}" if value.is_finite() and abs(value.adjusted()) <= 20 else None
