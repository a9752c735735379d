"""The fingerprint of a listing's state: equal exactly when nothing that matters has changed.

`docs/EVENTS.md` says field by field what enters it and why; a test holds the two together.
"""

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from skatestock.events.model import OfferObserved

FINGERPRINT_FIELDS = (
    "parser",
    "parser_version",
    "currency",
    "title",
    "handle",
    "url",
    "vendor",
    "product_type",
    "image_url",
    "offers_complete",
    "offers",
)
"""The fields of ListingObserved that enter the fingerprint, in their order."""

FINGERPRINT_OFFER_FIELDS = (
    "offer_id",
    "title",
    "options",
    "sku",
    "price_minor",
    "compare_at_minor",
    "availability",
)
"""The fields of OfferObserved that enter the fingerprint, in their order."""

FINGERPRINT_VERSION = 1
"""Part of what is hashed: a change of the form changes every fingerprint, once."""

_encoder = msgspec.json.Encoder()


def fingerprint_listing(
    *,
    parser: str,
    parser_version: int,
    currency: str,
    title: str,
    handle: str,
    url: str,
    vendor: str | None,
    product_type: str | None,
    image_url: str | None,
    offers_complete: bool,
    offers: Iterable[OfferObserved],
) -> bytes:
    """Compute the 32 bytes of a listing's state; the order of its offers and of their options is no state.

    The texts must be clean (no lone surrogates), as `clean_text` makes them.
    """
    state = (
        FINGERPRINT_VERSION,
        parser,
        parser_version,
        currency,
        title,
        handle,
        without_query(url),
        vendor,
        product_type,
        None if image_url is None else without_query(image_url),
        offers_complete,
        sorted((_offer_state(offer) for offer in offers), key=_offer_id),
    )
    # A JSON array writes every text quoted and every null apart from "": no two states share a form.
    return sha256(_encoder.encode(state)).digest()


def without_query(url: str) -> str:
    """Return host and path of a URL: its scheme, query and fragment change without the thing behind it."""
    _, separator, rest = url.partition("//")
    return (rest if separator else url).partition("#")[0].partition("?")[0]


OfferState = tuple[str, str, list[tuple[str, str]], str | None, int, int | None, str]


def _offer_id(state: OfferState) -> str:
    return state[0]


def _offer_state(offer: OfferObserved) -> OfferState:
    return (
        offer.offer_id,
        offer.title,
        sorted(offer.options.items()),
        offer.sku,
        offer.price_minor,
        # Zero and missing say the same: that there is none.
        offer.compare_at_minor or None,
        offer.availability.value,
    )
