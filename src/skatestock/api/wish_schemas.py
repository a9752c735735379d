"""The shapes of wishlists and saved searches."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from skatestock.api.schemas import MAX_BIGINT, SOME_TEXT, Price, ProductId, ProductItem
from skatestock.vocabulary.money import MAX_MINOR

SearchId = Annotated[int, Meta(description="The saved search's id.", examples=[7], ge=1, le=MAX_BIGINT)]
SearchName = Annotated[
    str,
    Meta(
        description="What you call it; no two have the same name.",
        examples=["vulcs in my size"],
        min_length=1,
        max_length=80,
        pattern=SOME_TEXT,
    ),
]
SearchQuery = Annotated[
    str,
    Meta(
        description="The query of `GET /products`, as it stands after the question mark: any of its filters "
        "and its order, but no page, limit or cursor.",
        examples=["shop=blacksheep&in_stock=true"],
        max_length=2000,
    ),
]
ChangedAt = Annotated[
    datetime, Meta(description="When it was last changed.", examples=["2026-03-01T12:30:00Z"])
]
AddedAt = Annotated[datetime, Meta(description="When it was put there.", examples=["2026-03-01T12:30:00Z"])]


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price at which you would buy."""

    minor: Annotated[
        int,
        Meta(
            description="The amount in the currency's minor units (cents).",
            examples=[4500],
            ge=1,
            le=MAX_MINOR,
        ),
    ]
    currency: Annotated[
        str,
        Meta(description="ISO 4217 code.", examples=["USD"], min_length=3, max_length=3, pattern="^[A-Z]{3}"),
    ]


class WishRequest(Struct, frozen=True, kw_only=True):
    """What you wish of the product; all of it may be left out."""

    size: Annotated[
        Annotated[str, Meta(min_length=1, max_length=40, pattern=SOME_TEXT)] | None,
        Meta(description="The size you need, as products show it.", examples=["US 9"]),
    ] = None
    target: Annotated[Target | None, Meta(description="The price at which you would buy.")] = None
    note: Annotated[
        Annotated[str, Meta(min_length=1, max_length=500, pattern=SOME_TEXT)] | None,
        Meta(description="A note for yourself.", examples=["for the summer"]),
    ] = None


class ExportedWish(Struct, frozen=True, kw_only=True):
    """A product that you watch, and what you wish of it."""

    product_id: ProductId
    size: Annotated[str | None, Meta(description="The size you need.", examples=["US 9"])]
    target: Annotated[Price | None, Meta(description="The price at which you would buy.")]
    note: Annotated[str | None, Meta(description="Your note.", examples=["for the summer"])]
    added_at: AddedAt
    changed_at: ChangedAt


class Wish(ExportedWish, frozen=True, kw_only=True):
    """A product that you watch, what you wish of it, and what it costs now."""

    product: Annotated[
        ProductItem | None, Meta(description="The product as it is now; null if we know it no more.")
    ]
    target_met: Annotated[
        bool | None,
        Meta(
            description="Whether a shop has it in stock at your price or below, in any size; null without a "
            "target, and where prices are in another currency.",
            examples=[False],
        ),
    ]


class Wishlist(Struct, frozen=True, kw_only=True):
    """Your whole wishlist, the newest entry first."""

    items: Annotated[tuple[Wish, ...], Meta(description="The entries.")]
    total: Annotated[int, Meta(description="How many there are.", examples=[1], ge=0)]


class SearchRequest(Struct, frozen=True, kw_only=True):
    """Which search to keep, and under which name."""

    name: SearchName
    query: SearchQuery


class SavedSearch(Struct, frozen=True, kw_only=True):
    """A list of products that you ask for again."""

    id: SearchId
    name: SearchName
    query: SearchQuery
    address: Annotated[
        str,
        Meta(
            description="Where to ask for it: anybody may, it needs no token.",
            examples=["/products?shop=blacksheep&in_stock=true"],
        ),
    ]
    created_at: Annotated[datetime, Meta(description="When it was made.", examples=["2026-03-01T12:30:00Z"])]
    changed_at: ChangedAt


class SearchList(Struct, frozen=True, kw_only=True):
    """Your saved searches by their names."""

    items: Annotated[tuple[SavedSearch, ...], Meta(description="The searches.")]
