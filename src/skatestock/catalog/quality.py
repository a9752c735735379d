"""What can be wrong with the data of a shop: the kinds of issues, and how grave each of them is.

`docs/QUALITY.md` lists them; a test holds the two together.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from skatestock.vocabulary.money import Money

_MAX_WORDS = 200


class Severity(StrEnum):
    """How grave an issue is, the gravest first."""

    ERROR = "error"
    """What we show is wrong, or we are blind."""
    WARNING = "warning"
    """Something is missing, or is not believed yet."""
    INFO = "info"
    """What we show is right, but poorer than it could be."""


class QualityKind(StrEnum):
    """What is wrong, in the order of `KINDS`."""

    STALE_SHOP = "stale_shop"
    IMPLAUSIBLE_CRAWL = "implausible_crawl"
    PRICE_ZERO = "price_zero"
    MIXED_CURRENCY = "mixed_currency"
    PRICE_JUMP_HELD = "price_jump_held"
    COMPARE_AT_BELOW_PRICE = "compare_at_below_price"
    DUPLICATE_LISTING = "duplicate_listing"
    SOFT_404 = "soft_404"
    NO_OFFERS = "no_offers"
    UNREADABLE_PRICE = "unreadable_price"
    REJECTED_PRODUCT = "rejected_product"
    MISSING_IMAGE = "missing_image"
    UNKNOWN_BRAND = "unknown_brand"
    UNKNOWN_CATEGORY = "unknown_category"
    UNKNOWN_SIZE = "unknown_size"
    INVALID_BARCODE = "invalid_barcode"


class Meaning(NamedTuple):
    """What a kind of issue is about."""

    severity: Severity
    about: str
    """`shop`, `listing` or `offer`: what one issue names; a rejected product without an id is the shop's."""
    says: str
    resolved_when: str


_NOT_REJECTED = "a complete crawl does not reject it"
_RULE_KNOWS = "a rule knows it, or the shop writes something else"

KINDS: Mapping[QualityKind, Meaning] = {
    QualityKind.STALE_SHOP: Meaning(
        Severity.ERROR,
        "shop",
        "The last complete crawl is over an hour ago, and over three times the time between two.",
        "a crawl is complete",
    ),
    QualityKind.IMPLAUSIBLE_CRAWL: Meaning(
        Severity.ERROR,
        "shop",
        "A crawl saw over 30 % fewer listings than the last complete one, and is not believed.",
        "a crawl is complete",
    ),
    QualityKind.PRICE_ZERO: Meaning(
        Severity.ERROR,
        "offer",
        "The price is zero: held, or confirmed by a second crawl and shown.",
        "another price is seen",
    ),
    QualityKind.MIXED_CURRENCY: Meaning(
        Severity.ERROR,
        "listing",
        "The listing is in another currency than its shop, or was rejected because a price of it is.",
        "both are the same, or " + _NOT_REJECTED,
    ),
    QualityKind.PRICE_JUMP_HELD: Meaning(
        Severity.WARNING,
        "offer",
        "The price jumped by over 70 % and waits for a second crawl; the old one is shown.",
        "the next crawl that reads the listing confirms or discards it",
    ),
    QualityKind.COMPARE_AT_BELOW_PRICE: Meaning(
        Severity.WARNING,
        "offer",
        "The compare-at price is lower than the price, so that it is no discount.",
        "it is gone, or no longer lower",
    ),
    QualityKind.DUPLICATE_LISTING: Meaning(
        Severity.WARNING,
        "listing",
        "Another listing of the shop is the same thing; the one first seen has no issue.",
        "one of the two is delisted or differs",
    ),
    QualityKind.SOFT_404: Meaning(
        Severity.WARNING,
        "listing",
        "A listing's page answers as if it were there, and shows no product or several.",
        _NOT_REJECTED,
    ),
    QualityKind.NO_OFFERS: Meaning(
        Severity.WARNING, "listing", "The shop shows a product with nothing to buy.", _NOT_REJECTED
    ),
    QualityKind.UNREADABLE_PRICE: Meaning(
        Severity.WARNING, "listing", "A price is missing or cannot be read.", _NOT_REJECTED
    ),
    QualityKind.REJECTED_PRODUCT: Meaning(
        Severity.WARNING,
        "listing",
        "A product was rejected for another reason, which the issue names.",
        _NOT_REJECTED,
    ),
    QualityKind.MISSING_IMAGE: Meaning(
        Severity.INFO, "listing", "The listing has no picture that can be shown.", "it has one"
    ),
    QualityKind.UNKNOWN_BRAND: Meaning(Severity.INFO, "listing", "No rule knows the brand.", _RULE_KNOWS),
    QualityKind.UNKNOWN_CATEGORY: Meaning(
        Severity.INFO, "listing", "No rule knows what kind of thing it is.", _RULE_KNOWS
    ),
    QualityKind.UNKNOWN_SIZE: Meaning(
        Severity.INFO, "offer", "The offer names a size that no rule knows.", _RULE_KNOWS
    ),
    QualityKind.INVALID_BARCODE: Meaning(
        Severity.INFO,
        "offer",
        "What the shop gives as barcode is no GTIN: its length or its check digit is not one's.",
        "the shop gives a GTIN",
    ),
}
"""What every kind means, the gravest first."""

REJECT_KINDS: Mapping[str, QualityKind] = {
    "not_a_product": QualityKind.SOFT_404,
    "no_offers": QualityKind.NO_OFFERS,
    "no_price": QualityKind.UNREADABLE_PRICE,
    "unreadable_price": QualityKind.UNREADABLE_PRICE,
    "unreadable_compare_at_price": QualityKind.UNREADABLE_PRICE,
    "other_currency": QualityKind.MIXED_CURRENCY,
}
"""The kind of issue by the reason of a reject; any other is a REJECTED_PRODUCT."""

PAGE_PLATFORMS = ("schema-org",)
"""Platforms where one page is one product: only there a page without one is a soft 404."""


def describe_detail(kind: QualityKind, detail: Mapping[str, Any]) -> str:
    """Say in a few words what was found; the facts of older checks may lack some."""
    match kind:
        case QualityKind.STALE_SHOP:
            since = detail.get("last_complete_at")
            words = f"no complete crawl since {since}" if since else "never seen whole"
            return f"{words}; the last one: {detail.get('reason') or 'under way'}"
        case QualityKind.PRICE_ZERO:
            return "confirmed, and shown" if detail.get("confirmed") else "held, and not shown"
        case QualityKind.PRICE_JUMP_HELD:
            return f"{_money(detail, 'price_minor')} is shown, {_money(detail, 'held_price_minor')} is held"
        case QualityKind.COMPARE_AT_BELOW_PRICE:
            compare_at = _money(detail, "compare_at_minor")
            return f"compare-at price {compare_at}, price {_money(detail, 'price_minor')}"
        case QualityKind.DUPLICATE_LISTING:
            return f"the same as {detail.get('same_as')}: {detail.get('title')}"[:_MAX_WORDS]
    return ", ".join(str(value) for value in detail.values() if value is not None)[:_MAX_WORDS]


def _money(detail: Mapping[str, Any], name: str) -> str:
    minor = detail.get(name)
    return "none" if minor is None else str(Money(minor, detail["currency"]))
