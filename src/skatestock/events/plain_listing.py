"""Reads a ListingObserved that stands on the log as we write it: straight through its bytes, by no schema.

Nearly every message is one, and following the schema value by value takes most of the time of reading it.
What is not plain (a length below zero, a branch that no union of ours has, too few bytes or too many) is left
to the codec, which follows the schema and says what is wrong. The order is that of the Avro schema; a test
holds the two together.

The reading of a short text stands here again and again: a call for each of the fifty texts of a listing would
take as long as all the rest.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from skatestock.events.model import ListingObserved, OfferObserved
from skatestock.vocabulary.availability import Availability

_FRAME_BYTES = 5
_FINGERPRINT_BYTES = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# A number's sign is in its lowest bit, and the highest says that it goes on in the next byte: a length of up
# to 63 has neither, and is half of its one byte.
_NOT_SHORT = 0x81
_GOES_ON = 0x80
_LONGEST_SHIFT = 56
# The branches of a union with null, as numbers of one byte.
_NULL, _GIVEN = 0, 2
_AVAILABILITIES = {0: Availability.IN_STOCK, 2: Availability.OUT_OF_STOCK, 4: Availability.UNKNOWN}
_FLAGS = {0: False, 1: True}


class _NotPlainError(ValueError):
    """Never leaves this module."""


def find_plain_listing(value: bytes) -> ListingObserved | None:
    """Read a whole message, frame included; None where it is not plain, which need not mean wrong."""
    try:
        return _read_listing(value)
    except (LookupError, ValueError, OverflowError):
        return None


def _read_listing(value: bytes) -> ListingObserved:
    (event_id, shop, crawl_id, listing_id), at = _read_texts(value, _FRAME_BYTES, 4)
    milliseconds, at = _read_number(value, at)
    (url, handle, title, name), at = _read_texts(value, at, 4)
    (vendor, brand, colourway, product_type, image_url), at = _read_optional_texts(value, at, 5)
    (currency,), at = _read_texts(value, at, 1)
    offers, at = _read_offers(value, at)
    offers_complete = _FLAGS[value[at]]
    (parser,), at = _read_texts(value, at + 1, 1)
    parser_version, at = _read_number(value, at)
    fingerprint = value[at : at + _FINGERPRINT_BYTES]
    (evidence,), at = _read_optional_texts(value, at + _FINGERPRINT_BYTES, 1)
    # A slice that reaches behind the last byte is short without a word: it shows here, if not before.
    if at != len(value):
        raise _NotPlainError
    return ListingObserved(
        event_id=event_id,
        shop=shop,
        crawl_id=crawl_id,
        listing_id=listing_id,
        observed_at=_to_moment(milliseconds),
        url=url,
        handle=handle,
        title=title,
        name=name,
        vendor=vendor,
        brand=brand,
        colourway=colourway,
        product_type=product_type,
        image_url=image_url,
        currency=currency,
        offers=offers,
        offers_complete=offers_complete,
        parser=parser,
        parser_version=parser_version,
        fingerprint=fingerprint,
        evidence=evidence,
    )


def _read_offers(value: bytes, at: int) -> tuple[tuple[OfferObserved, ...], int]:
    offers: list[OfferObserved] = []
    while value[at]:
        count, at = _read_count(value, at)
        for _ in range(count):
            offer, at = _read_offer(value, at)
            offers.append(offer)
    return tuple(offers), at + 1


def _read_offer(value: bytes, at: int) -> tuple[OfferObserved, int]:
    size, at = value[at], at + 1
    if size & _NOT_SHORT:
        size, at = _read_size(value, at - 1)
    end = at + (size >> 1)
    offer_id, at = value[at:end].decode(), end
    size, at = value[at], at + 1
    if size & _NOT_SHORT:
        size, at = _read_size(value, at - 1)
    end = at + (size >> 1)
    title, at = value[at:end].decode(), end
    options, at = _read_options(value, at)
    sku = barcode = compare_at_minor = None
    branch, at = value[at], at + 1
    if branch:
        (sku,), at = _read_optional_texts(value, at - 1, 1)
    price_minor, at = _read_number(value, at)
    branch, at = value[at], at + 1
    if branch == _GIVEN:
        compare_at_minor, at = _read_number(value, at)
    elif branch != _NULL:
        raise _NotPlainError
    availability = _AVAILABILITIES[value[at]]
    branch, at = value[at + 1], at + 2
    if branch:
        (barcode,), at = _read_optional_texts(value, at - 1, 1)
    offer = OfferObserved(
        offer_id=offer_id,
        title=title,
        options=options,
        sku=sku,
        price_minor=price_minor,
        compare_at_minor=compare_at_minor,
        availability=availability,
        barcode=barcode,
    )
    return offer, at


def _read_options(value: bytes, at: int) -> tuple[dict[str, str], int]:
    options: dict[str, str] = {}
    while value[at]:
        count, at = _read_count(value, at)
        for _ in range(count):
            size, at = value[at], at + 1
            if size & _NOT_SHORT:
                size, at = _read_size(value, at - 1)
            end = at + (size >> 1)
            name, at = value[at:end].decode(), end
            size, at = value[at], at + 1
            if size & _NOT_SHORT:
                size, at = _read_size(value, at - 1)
            end = at + (size >> 1)
            options[name], at = value[at:end].decode(), end
    return options, at + 1


def _read_texts(value: bytes, at: int, count: int) -> tuple[list[str], int]:
    texts = []
    for _ in range(count):
        size, at = value[at], at + 1
        if size & _NOT_SHORT:
            size, at = _read_size(value, at - 1)
        end = at + (size >> 1)
        texts.append(value[at:end].decode())
        at = end
    return texts, at


def _read_optional_texts(value: bytes, at: int, count: int) -> tuple[list[str | None], int]:
    texts: list[str | None] = []
    for _ in range(count):
        branch, at = value[at], at + 1
        if branch == _NULL:
            texts.append(None)
            continue
        if branch != _GIVEN:
            raise _NotPlainError
        size, at = value[at], at + 1
        if size & _NOT_SHORT:
            size, at = _read_size(value, at - 1)
        end = at + (size >> 1)
        texts.append(value[at:end].decode())
        at = end
    return texts, at


def _read_size(value: bytes, at: int) -> tuple[int, int]:
    """Read a length, doubled as that of a short text is."""
    length, at = _read_count(value, at)
    return 2 * length, at


def _read_count(value: bytes, at: int) -> tuple[int, int]:
    count, at = _read_number(value, at)
    if count < 0:
        # Of a block: its size in bytes follows, which we never write. Of a text: nonsense.
        raise _NotPlainError
    return count, at


def _read_number(value: bytes, at: int) -> tuple[int, int]:
    """Read a number: seven bits a byte, the lowest first, and the sign in the lowest of all."""
    number = shift = 0
    while (byte := value[at]) & _GOES_ON:
        number |= (byte ^ _GOES_ON) << shift
        at, shift = at + 1, shift + 7
        if shift > _LONGEST_SHIFT:
            raise _NotPlainError
    number |= byte << shift
    return (number >> 1) ^ -(number & 1), at + 1


@lru_cache(maxsize=1024)
def _to_moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
