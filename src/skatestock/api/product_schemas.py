"""The shapes of answers about products: lists with their facets, details by shop and by size, histories."""

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta, Struct

from skatestock.api.schemas import (
    AvailabilityWord,
    CompareAt,
    Currency,
    Demo,
    Discount,
    ListingsOfShop,
    NamedShop,
    OfferHistory,
    Price,
    ProductId,
    ProductItem,
    ShopSlug,
)

_MOMENT = "in UTC, whole seconds"

Count = Annotated[int, Meta(description="How many products.", examples=[120], ge=0)]


class FoundProduct(ProductItem, frozen=True, kw_only=True):
    """A product of a list, with what the list's filters found of it."""

    matching_price: Annotated[
        Price | None,
        Meta(
            description="The lowest price of the offers that match the filters: of those in stock; where "
            "none is, "
            "of those whose stock is unknown, then of those sold out. Null where they have no price."
        ),
    ]
    matching_in_stock: Annotated[
        bool, Meta(description="Whether an offer that matches the filters is in stock.", examples=[True])
    ]


class FacetValue(Struct, frozen=True, kw_only=True):
    """One value of a filter, and what it would find."""

    value: Annotated[str, Meta(description="The value, as the parameter takes it.", examples=["shoes"])]
    name: Annotated[
        str | None, Meta(description="Its name for people; null where the value is one.", examples=["Shoes"])
    ]
    count: Annotated[
        int,
        Meta(
            description="How many products a list with this value in place of the filter's own would hold.",
            examples=[120],
            ge=0,
        ),
    ]


FacetValues = Annotated[
    tuple[FacetValue, ...], Meta(description="The values, the most frequent first; 200 at most.")
]


class PriceRange(Struct, frozen=True, kw_only=True):
    """The bounds of the prices of the offers that match but for `min_price` and `max_price`."""

    lowest: Annotated[
        str | None,
        Meta(
            description="The lowest, as a decimal in its own currency; null where there is none.",
            examples=["9.95"],
        ),
    ]
    highest: Annotated[
        str | None,
        Meta(
            description="The highest, as a decimal in its own currency; null where there is none.",
            examples=["189"],
        ),
    ]


class Facets(Struct, frozen=True, kw_only=True):
    """For every filter, what each of its values would find while all other filters stay as they are."""

    shop: FacetValues
    brand: FacetValues
    category: FacetValues
    size: FacetValues
    colour: FacetValues
    in_stock: FacetValues
    on_sale: FacetValues
    min_discount: FacetValues
    new_since: FacetValues
    price: Annotated[PriceRange, Meta(description="The bounds of the prices.")]


class ProductList(Struct, frozen=True, kw_only=True):
    """One page of products."""

    items: Annotated[tuple[FoundProduct, ...], Meta(description="The products in the order asked for.")]
    total: Annotated[int, Meta(description="How many products match on all pages.", examples=[1967], ge=0)]
    page: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="This page's number; null where a cursor was followed.", examples=[1]),
    ]
    limit: Annotated[int, Meta(description="How many products a page holds.", examples=[24], ge=1)]
    next_cursor: Annotated[
        str | None,
        Meta(description="The `cursor` of what follows; null at the end.", examples=["gqFrzgAAAAGhcBI"]),
    ]
    facets: Annotated[Facets | None, Meta(description="Only where `facets=true` asks for them.")]


class SizeOffer(Struct, frozen=True, kw_only=True):
    """What one shop asks for a size."""

    shop: ShopSlug
    listing: Annotated[int, Meta(description="Our id of the listing.", examples=[5120], ge=1)]
    offer: Annotated[int, Meta(description="Our id of the offer.", examples=[88017], ge=1)]
    url: Annotated[
        str, Meta(description="The listing's page.", examples=["https://shop.example/products/busenitz"])
    ]
    price: Annotated[Price | None, Meta(description="The price; null until a first price is confirmed.")]
    compare_at: CompareAt
    discount_percent: Discount
    availability: AvailabilityWord


class OfferedSize(Struct, frozen=True, kw_only=True):
    """One size, and who offers it."""

    size: Annotated[
        str | None,
        Meta(
            description="The size in one way of writing for all shops; null holds the offers whose size "
            "no rule reads.",
            examples=["M 9.5"],
        ),
    ]
    in_stock: Annotated[bool, Meta(description="Whether a shop has it in stock.", examples=[True])]
    offers: Annotated[
        tuple[SizeOffer, ...],
        Meta(description="The shops' offers: those in stock first, the cheapest first among equals."),
    ]


class Product(Struct, frozen=True, kw_only=True):
    """A product with the listings and offers of every shop."""

    product: Annotated[ProductItem, Meta(description="The product, as in the list of products.")]
    shops: Annotated[tuple[ListingsOfShop, ...], Meta(description="The listings, by shop.")]
    sizes: Annotated[
        tuple[OfferedSize, ...],
        Meta(description="What shops list now, by size; sizes in the order in which shops show them."),
    ]


class DailyLow(Struct, frozen=True, kw_only=True):
    """The least that it cost on a day."""

    day: Annotated[date, Meta(description="The day in UTC.", examples=["2026-03-01"])]
    price: Annotated[
        Price,
        Meta(description="The lowest price at which it was in stock on that day, if only for a moment."),
    ]


class LowSeries(Struct, frozen=True, kw_only=True):
    """The daily lows at one shop, or at all."""

    shop: Annotated[NamedShop | None, Meta(description="The shop; null for all shops together.")]
    currency: Currency
    days: Annotated[
        tuple[DailyLow, ...],
        Meta(description="In order of time; a day on which nothing was in stock is left out."),
    ]


class PriceHistory(Struct, frozen=True, kw_only=True):
    """How the prices and the stock of a product's offers went."""

    product_id: ProductId
    since: Annotated[
        datetime, Meta(description=f"The window's beginning, {_MOMENT}.", examples=["2025-12-02T09:00:00Z"])
    ]
    until: Annotated[
        datetime, Meta(description=f"The window's end: now, {_MOMENT}.", examples=["2026-03-02T09:00:00Z"])
    ]
    daily_lows: Annotated[
        tuple[LowSeries, ...],
        Meta(description="The lowest price of each day: of all shops first, then of each shop, by currency."),
    ]
    offers: Annotated[tuple[OfferHistory, ...], Meta(description="Every offer, by shop and listing.")]
    demo: Demo


class LabelCount(Struct, frozen=True, kw_only=True):
    """A brand or a category, and how many of its products the shops list."""

    slug: Annotated[str, Meta(description="Its short name in addresses and filters.", examples=["shoes"])]
    name: Annotated[str, Meta(description="Its name.", examples=["Shoes"])]
    products: Annotated[int, Meta(description="How many products shops list now.", examples=[120], ge=0)]
    in_stock: Annotated[int, Meta(description="How many of these are in stock.", examples=[95], ge=0)]
    on_sale: Annotated[
        int,
        Meta(description="How many of these have an offer below its compare-at price.", examples=[14], ge=0),
    ]


class BrandList(Struct, frozen=True, kw_only=True):
    """Every brand of which a shop lists something."""

    items: Annotated[tuple[LabelCount, ...], Meta(description="The brands, by slug.")]


class CategoryList(Struct, frozen=True, kw_only=True):
    """Every category."""

    items: Annotated[tuple[LabelCount, ...], Meta(description="The categories, in their own order.")]
