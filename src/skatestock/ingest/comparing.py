"""What another reading of a listing's last observation would change. Pure.

A reading is compared with what the catalogue holds, since that is what a correction replaces. Where the
catalogue rightly holds something else than was observed, that is no difference: a price that is held counts
as observed, and an availability that nobody said stays what it was.
"""

from collections.abc import Iterator

import msgspec

from skatestock.catalog.observation_queries import ObservedListing, ObservedOffer
from skatestock.events.model import ListingObserved, OfferObserved
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.gtin import parse_gtin

_WORDS = (
    *("title", "name", "brand", "colourway", "vendor", "product_type"),
    *("handle", "url", "image_url", "currency"),
)
_OFFER_WORDS = ("title", "options", "sku", "price_minor")

Value = str | int | dict[str, str] | None


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One field that would read differently."""

    field: str
    """Of the listing, or with `offers.` in front of one of its offers."""
    offer_id: str | None = None
    before: Value
    after: Value


class Obstacle(msgspec.Struct, frozen=True):
    """Why a difference cannot be written."""

    code: str
    text: str


SAME_VERSION = Obstacle("same_version", "the parser's version has not been raised since")
OTHER_PARSER = Obstacle("other_parser", "the shop is read by another parser today")
OTHER_CURRENCY = Obstacle("other_currency", "a listing never changes its currency")
MOVED_ON = Obstacle(
    "moved_on", "the listing is gone since, or was: its history goes on from the first reading"
)


def compare_reading(stored: ObservedListing, event: ListingObserved) -> list[FieldChange]:
    """Tell what would change if this were what the listing's last observation said; empty for nothing."""
    changes = [
        FieldChange(field=name, before=getattr(stored, name), after=getattr(event, name))
        for name in _WORDS
        if getattr(stored, name) != getattr(event, name)
    ]
    known = {offer.offer_id: offer for offer in stored.offers}
    for seen in event.offers:
        changes += _compare_offer(known.pop(seen.offer_id, None), seen)
    if event.offers_complete:
        changes += [
            _availability(offer.offer_id, offer.availability, Availability.GONE.value)
            for offer in known.values()
            if offer.availability != Availability.GONE
        ]
    return changes


def find_obstacle(stored: ObservedListing, event: ListingObserved) -> Obstacle | None:
    """Tell why ingest would not take this reading in the place of the stored one, or None."""
    if stored.parser != event.parser:
        return OTHER_PARSER
    if stored.currency != event.currency:
        return OTHER_CURRENCY
    if stored.parser_version >= event.parser_version:
        return SAME_VERSION
    return MOVED_ON if stored.has_moved_on else None


def _compare_offer(stored: ObservedOffer | None, seen: OfferObserved) -> Iterator[FieldChange]:
    if stored is None or stored.availability == Availability.GONE:
        yield _availability(
            seen.offer_id, None if stored is None else Availability.GONE.value, seen.availability
        )
        return
    for name in _OFFER_WORDS:
        before, after = getattr(stored, name), getattr(seen, name)
        if before != after:
            yield FieldChange(field=f"offers.{name}", offer_id=seen.offer_id, before=before, after=after)
    # Zero and missing say the same: that there is none.
    compare_at_minor = seen.compare_at_minor or None
    if (stored.compare_at_minor or None) != compare_at_minor:
        yield FieldChange(
            field="offers.compare_at_minor",
            offer_id=seen.offer_id,
            before=stored.compare_at_minor,
            after=compare_at_minor,
        )
    if seen.barcode:
        barcode = parse_gtin(seen.barcode) or seen.barcode
        if stored.barcode != barcode:
            yield FieldChange(
                field="offers.barcode", offer_id=seen.offer_id, before=stored.barcode, after=barcode
            )
    if seen.availability not in (Availability.UNKNOWN, stored.availability):
        yield _availability(seen.offer_id, stored.availability, seen.availability.value)


def _availability(offer_id: str, before: str | None, after: str) -> FieldChange:
    return FieldChange(field="offers.availability", offer_id=offer_id, before=before, after=after)
