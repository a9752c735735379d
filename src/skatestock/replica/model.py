"""The things of the simulated world: shops, listings, offers, and the record of what happened to them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

SHOP_SLUGS = ("seasons", "premier", "labor", "nj", "blacksheep")
"""The shops of a world, unless it is told others."""

INVENTED_PLATFORMS = {
    "wooden-wave": "woocommerce",
    "square-wheel": "squarespace",
    "linked-ledge": "schema-org",
    "meta-manual": "schema-org",
    "plain-plaza": "recipe",
}
"""Shops that are nowhere but here, each with the platform that it plays: the other half of a mixed world."""

MIXED_SHOP_SLUGS = (*SHOP_SLUGS, *INVENTED_PLATFORMS)
"""Every shop that a world can have."""

TruthKind = Literal["first_seen", "price", "stock", "compare_at", "vanished", "returned"]


class Design(NamedTuple):
    """What a maker makes and several shops may sell: the thing itself, before any shop's habits."""

    number: int
    category: str
    brand: str
    model: str
    colours: tuple[str, ...]
    sizes: tuple[str, ...]
    price_minor: int
    grams: int

    @property
    def key(self) -> str:
        """Identify the same thing across shops."""
        return f"design-{self.number}"


@dataclass(slots=True)
class Offer:
    """One variant as the shop's server knows it; money in minor units, as the shop says it."""

    offer_id: int
    options: tuple[str, ...]
    sku: str | None
    grams: int
    regular_minor: int
    price_minor: int
    compare_at_minor: int | None
    available: bool
    present: bool = True
    barcode: str | None = None

    @property
    def title(self) -> str:
        """Name the variant as Shopify does: its option values with slashes between."""
        return " / ".join(self.options)


@dataclass(slots=True)
class Listing:
    """One product page of one shop, with everything its server says about it."""

    shop: str
    listing_id: int
    design_key: str | None
    title: str
    handle: str
    vendor: str
    product_type: str
    tags: tuple[str, ...]
    body_html: str
    option_names: tuple[str, ...]
    published_at: datetime
    offers: list[Offer]
    compare_at_habit: str
    is_goods: bool = True
    requires_shipping: bool = True
    present: bool = True
    episode: str | None = None
    copied_from: int | None = None
    """The id of the listing whose picture it shows, if that is another's."""
    version: int = 0
    rendered: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def present_offers(self) -> list[Offer]:
        """List the variants the page shows now."""
        return [offer for offer in self.offers if offer.present]


class TruthRecord(msgspec.Struct, frozen=True, gc=False):
    """One change of one offer, with its whole state after the change.

    `at` is aware UTC in whole seconds; identifiers are text, as everywhere downstream; money is in minor
    units exactly as the shop says it (a compare-at price of 0 and a missing one differ here). For `vanished`
    the state is the last one before. `first_seen` and `returned` make the offer visible, `vanished` hides it.
    """

    at: datetime
    shop: str
    listing_id: str
    offer_id: str
    price_minor: int
    compare_at_minor: int | None
    available: bool
    kind: TruthKind
    why: str
