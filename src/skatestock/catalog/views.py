"""What the faces are shown of the catalogue: the results of its queries, without any word of the web."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from skatestock.catalog.freshness import Standing
from skatestock.vocabulary import money
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import Money


class ShopName(msgspec.Struct, frozen=True):
    """A shop, as far as one needs to name it."""

    id: int
    slug: str
    name: str
    demo: bool


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """A brand or a category."""

    slug: str
    name: str


class ProductName(NamedTuple):
    """What a product is, whatever it costs."""

    id: int
    name: str
    brand: Label | None
    category: Label | None
    colourway: str | None


class ProductSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A product with what it costs now."""

    id: int
    name: str
    brand: Label | None
    category: Label | None
    colourway: str | None
    image_url: str | None
    price: Money | None
    """The lowest price of the offers with the best availability; never one of an offer that is sold out while
    another can be bought. Where shops sell in several currencies: in the first by its code."""
    price_highest: Money | None
    """The highest price of the same offers, in the same currency."""
    compare_at: Money | None
    """The compare-at price of the offer with the lowest price, if it is above that price."""
    availability: Availability
    changed_at: datetime | None
    """When an offer last changed its price, compare-at price or availability."""
    shops: tuple[ShopName, ...]
    demo: bool
    matching_price: Money | None = None
    """In a list: the lowest price of the offers that match its filters, of the best availability."""
    matching_in_stock: bool = False
    """In a list: whether an offer that matches its filters is in stock."""


class ProductPlace(NamedTuple):
    """A place in an order of products, right after one of them."""

    key: int
    """What the order goes up by, at that product."""
    product_id: int


class ProductPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of products, and how many there are on all pages."""

    items: tuple[ProductSummary, ...]
    total: int
    next: ProductPlace | None = None
    """Where the next page begins; None after the last."""


class HeldPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A price that was seen once and that nobody believes until another crawl sees it too."""

    price: Money
    compare_at: Money | None
    held_at: datetime


class OfferState(msgspec.Struct, frozen=True, kw_only=True):
    """An offer as it stands."""

    id: int
    offer_id: str
    title: str
    options: dict[str, str]
    size: str | None
    """In our one way of writing it; None where no rule knows it."""
    sku: str | None
    barcode: str | None
    """A GTIN in fourteen digits."""
    price: Money | None
    compare_at: Money | None
    """As the shop says it, also when it is below the price."""
    availability: Availability
    since_at: datetime
    held: HeldPrice | None


class ListingState(msgspec.Struct, frozen=True, kw_only=True):
    """A listing with its offers in the shop's order."""

    id: int
    listing_id: str
    url: str
    title: str
    colourway: str | None
    image_url: str | None
    currency: str
    first_seen_at: datetime
    observed_at: datetime
    seen_at: datetime
    delisted_at: datetime | None
    offers: tuple[OfferState, ...]


class ShopListings(msgspec.Struct, frozen=True, kw_only=True):
    """What one shop lists of a product."""

    shop: ShopName
    last_complete_crawl_at: datetime | None
    listings: tuple[ListingState, ...]


class ProductDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A product with every listing, the live ones of each shop first."""

    summary: ProductSummary
    shops: tuple[ShopListings, ...]


class PriceStep(msgspec.Struct, frozen=True, kw_only=True):
    """A price point: what held from a moment on."""

    at: datetime
    price: Money
    compare_at: Money | None
    availability: Availability
    changes: tuple[str, ...]
    crawl_id: str
    parser: str | None
    """What read the observation that this is from; None where a crawl's end made the point."""
    parser_version: int | None
    evidence: str | None
    """The key of the page that said so; it is kept for some days only."""


class OfferHistory(msgspec.Struct, frozen=True, kw_only=True):
    """The price points of one offer in their order; the first may be the one in force as the window began."""

    id: int
    offer_id: str
    listing_id: int
    title: str
    options: dict[str, str]
    currency: str
    shop: ShopName
    steps: tuple[PriceStep, ...]


class ShopState(msgspec.Struct, frozen=True, kw_only=True):
    """A shop, what it lists, and how fresh that is."""

    id: int
    slug: str
    name: str
    city: str | None
    region: str | None
    url: str
    currency: str
    demo: bool
    listings: int
    delisted: int
    last_complete_crawl_at: datetime | None
    last_crawl_at: datetime | None
    last_crawl_reason: str | None
    """`complete`, or why the last crawl that ended was not."""
    standing: Standing
    """What its state is judged by."""


def discount_percent(price: Money | None, compare_at: Money | None) -> int | None:
    """Tell by how many whole percent one offer's price is below its own compare-at price, if it is."""
    if price is None or compare_at is None:
        return None
    return money.discount_percent(price.minor, compare_at.minor)
