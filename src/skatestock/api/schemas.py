"""The shapes of answers: what is written here is what the OpenAPI document says of them."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from skatestock.vocabulary.availability import Availability

MAX_BIGINT = 2**63 - 1

# Listed, because what `\s` means differs from one dialect of patterns to the next.
_SPACES = r"\u0000-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
SOME_TEXT = rf"^[^\u0000]*[^{_SPACES}][^\u0000]*$"
"""The pattern of a text with something in it besides spaces."""

_MOMENT = "in UTC, whole seconds"

Demo = Annotated[
    bool,
    Meta(description="Whether this is demo data from simulated shops, not from real ones.", examples=[False]),
]
ShopSlug = Annotated[
    str,
    Meta(
        description="A shop's short name in addresses.",
        examples=["blacksheep"],
        pattern="^[a-z0-9]+(-[a-z0-9]+)*$",
        max_length=255,
    ),
]
ProductId = Annotated[int, Meta(description="The product's id.", examples=[1], ge=1, le=MAX_BIGINT)]
Colourway = Annotated[
    str | None,
    Meta(description="The colour as the shop writes it, where it says one.", examples=["Navy/White"]),
]
ImageAddress = Annotated[
    str | None,
    Meta(
        description="An image at the shop, where it shows one.",
        examples=["https://cdn.example/products/busenitz.jpg"],
    ),
]
Currency = Annotated[str, Meta(description="ISO 4217 code.", examples=["USD"])]
Discount = Annotated[
    int | None,
    Meta(
        description="By how many whole percent the price is below the compare-at price of the same offer, "
        "rounded down. Null where there is no compare-at price above the price.",
        examples=[25],
    ),
]
OfferTitle = Annotated[str, Meta(description="The variant as the shop names it.", examples=["9 / Navy"])]
OfferOptions = Annotated[
    dict[str, str],
    Meta(
        description="Option to value, as the shop writes them; empty where there are none.",
        examples=[{"Size": "9", "Color": "Navy"}],
    ),
]
OfferId = Annotated[
    str, Meta(description="The shop's own id of the offer, unique within its listing.", examples=["4401"])
]
AvailabilityWord = Annotated[
    Availability,
    Meta(
        description="`in_stock`, `out_of_stock`, `unknown` where the shop does not say, or `gone`: the shop "
        "no longer lists it.",
        examples=["in_stock"],
    ),
]


class Price(Struct, frozen=True, kw_only=True):
    """An amount of money."""

    minor: Annotated[
        int, Meta(description="The amount in the currency's minor units (cents).", examples=[4500], ge=0)
    ]
    currency: Currency
    decimal: Annotated[
        str, Meta(description="The same amount with exactly the currency's digits.", examples=["45.00"])
    ]


CompareAt = Annotated[
    Price | None,
    Meta(description="The same offer's compare-at price, only where it is above the price."),
]


class NamedShop(Struct, frozen=True, kw_only=True):
    """A shop, as far as one needs to name it."""

    slug: ShopSlug
    name: Annotated[str, Meta(description="The shop's name.", examples=["Black Sheep"])]
    demo: Demo


class Brand(Struct, frozen=True, kw_only=True):
    """Who makes it."""

    slug: Annotated[str, Meta(description="The brand's short name in addresses.", examples=["adidas"])]
    name: Annotated[str, Meta(description="The brand's name.", examples=["Adidas"])]


class ProductCategory(Struct, frozen=True, kw_only=True):
    """What kind of thing it is."""

    slug: Annotated[str, Meta(description="The category's short name in addresses.", examples=["shoes"])]
    name: Annotated[str, Meta(description="The category's name.", examples=["Shoes"])]


class ProductItem(Struct, frozen=True, kw_only=True):
    """A product with what it costs now, across all shops."""

    id: ProductId
    name: Annotated[
        str, Meta(description="The product's name without brand and colour.", examples=["Busenitz Vulc II"])
    ]
    brand: Annotated[Brand | None, Meta(description="The brand, where it is known.")]
    category: Annotated[ProductCategory | None, Meta(description="The category, where it is known.")]
    colourway: Colourway
    image_url: ImageAddress
    price: Annotated[
        Price | None,
        Meta(
            description="The lowest price now of an offer in stock; where none is, of those whose stock is "
            "unknown, then of those sold out, then of those gone. Null where no price is known."
        ),
    ]
    price_highest: Annotated[Price | None, Meta(description="The highest price of the same offers.")]
    compare_at: Annotated[
        Price | None,
        Meta(
            description="The compare-at price of the offer with the lowest price, only where it is above it."
        ),
    ]
    discount_percent: Discount
    availability: Annotated[
        Availability,
        Meta(
            description="The best of any offer: `in_stock`, `unknown`, `out_of_stock` or `gone`.",
            examples=["in_stock"],
        ),
    ]
    in_stock: Annotated[bool, Meta(description="Whether any offer is in stock.", examples=[True])]
    changed_at: Annotated[
        datetime | None,
        Meta(
            description=f"When a price or a stock last changed, {_MOMENT}.", examples=["2026-03-01T12:30:00Z"]
        ),
    ]
    shops: Annotated[tuple[NamedShop, ...], Meta(description="The shops that list it.")]
    demo: Demo


class UnconfirmedPrice(Struct, frozen=True, kw_only=True):
    """A price that was seen once and is not believed until another crawl sees it too."""

    price: Price
    compare_at: CompareAt
    observed_at: Annotated[
        datetime, Meta(description=f"When it was seen, {_MOMENT}.", examples=["2026-03-01T12:30:00Z"])
    ]


class Offer(Struct, frozen=True, kw_only=True):
    """One buyable variant of a listing, as it stands."""

    id: Annotated[
        int, Meta(description="Our id of the offer, the same in its history.", examples=[88017], ge=1)
    ]
    offer_id: OfferId
    title: OfferTitle
    options: OfferOptions
    size: Annotated[
        str | None,
        Meta(
            description="The size in one way of writing for all shops; null where no rule reads it.",
            examples=["M 9.5"],
        ),
    ]
    sku: Annotated[
        str | None, Meta(description="The shop's stock keeping unit, where it says one.", examples=["BV2-09"])
    ]
    barcode: Annotated[
        str | None,
        Meta(
            description="The barcode as a GTIN of fourteen digits, where the shop was asked and says one.",
            examples=["04006381333931"],
        ),
    ]
    price: Annotated[Price | None, Meta(description="The price; null until a first price is confirmed.")]
    compare_at: CompareAt
    discount_percent: Discount
    availability: AvailabilityWord
    since_at: Annotated[
        datetime,
        Meta(
            description=f"Since when price and stock are as they are, {_MOMENT}.",
            examples=["2026-03-01T12:30:00Z"],
        ),
    ]
    unconfirmed: Annotated[
        UnconfirmedPrice | None,
        Meta(
            description="A price far from the last one, or zero, which the next crawl confirms or discards."
        ),
    ]


class Listing(Struct, frozen=True, kw_only=True):
    """One product page at one shop."""

    id: Annotated[int, Meta(description="Our id of the listing.", examples=[5120], ge=1)]
    listing_id: Annotated[str, Meta(description="The shop's own id of the listing.", examples=["7712345"])]
    url: Annotated[
        str,
        Meta(
            description="The listing's page at the shop.", examples=["https://shop.example/products/busenitz"]
        ),
    ]
    title: Annotated[
        str, Meta(description="The title as the shop writes it.", examples=["Busenitz Vulc II - Navy/White"])
    ]
    colourway: Colourway
    image_url: ImageAddress
    currency: Currency
    first_seen_at: Annotated[
        datetime, Meta(description=f"When it was first seen, {_MOMENT}.", examples=["2026-02-01T08:00:00Z"])
    ]
    observed_at: Annotated[
        datetime,
        Meta(
            description=f"When something of it was last seen to have changed, {_MOMENT}.",
            examples=["2026-03-01T12:30:00Z"],
        ),
    ]
    seen_at: Annotated[
        datetime,
        Meta(
            description=f"When it was last seen, changed or not, {_MOMENT}.",
            examples=["2026-03-02T09:00:00Z"],
        ),
    ]
    delisted_at: Annotated[
        datetime | None,
        Meta(
            description=f"When the shop was found not to list it any more, {_MOMENT}. Null while it does.",
            examples=[None],
        ),
    ]
    offers: Annotated[tuple[Offer, ...], Meta(description="The offers in the shop's order, those gone last.")]


class ListingsOfShop(Struct, frozen=True, kw_only=True):
    """What one shop lists of the product, and how fresh that is."""

    slug: ShopSlug
    name: Annotated[str, Meta(description="The shop's name.", examples=["Black Sheep"])]
    demo: Demo
    last_complete_crawl_at: Annotated[
        datetime | None,
        Meta(
            description=f"When a crawl last saw the whole shop, {_MOMENT}. Null if none did.",
            examples=["2026-03-02T09:01:00Z"],
        ),
    ]
    stale: Annotated[
        bool, Meta(description="Whether that is too long ago to rely on, or never was.", examples=[False])
    ]
    listings: Annotated[
        tuple[Listing, ...], Meta(description="The listings, those that the shop no longer has last.")
    ]


class PriceStep(Struct, frozen=True, kw_only=True):
    """What held from a moment on, until the next step."""

    at: Annotated[datetime, Meta(description=f"Since when, {_MOMENT}.", examples=["2026-03-01T12:30:00Z"])]
    price: Price
    compare_at: CompareAt
    discount_percent: Discount
    availability: AvailabilityWord
    changes: Annotated[
        tuple[str, ...],
        Meta(
            description="What happened: `first_seen`, `price_up`, `price_down`, `compare_at_changed`, "
            "`out_of_stock`, `back_in_stock`, `delisted`, `back`.",
            examples=[["price_down"]],
        ),
    ]
    crawl_id: Annotated[
        str,
        Meta(description="The crawl that says so.", examples=["labor-5e0d6c1f2b7a4e7d9a3c8f1e6b2d4a90"]),
    ]
    parser: Annotated[
        str | None,
        Meta(
            description="What read the shop's page; null where no page says it, because a crawl's end "
            "concluded it, or where nobody noted it yet.",
            examples=["shopify"],
        ),
    ]
    parser_version: Annotated[
        int | None, Meta(description="The parser's version; null where `parser` is.", examples=[1])
    ]
    evidence: Annotated[
        str | None,
        Meta(
            description="The key of that page, which is kept for some days; null where it was not kept.",
            examples=["2026-03-01/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        ),
    ]


class OfferHistory(Struct, frozen=True, kw_only=True):
    """One offer's steps."""

    id: Annotated[int, Meta(description="Our id of the offer.", examples=[88017], ge=1)]
    offer_id: OfferId
    listing: Annotated[int, Meta(description="Our id of its listing.", examples=[5120], ge=1)]
    shop: Annotated[NamedShop, Meta(description="The shop that offers it.")]
    title: OfferTitle
    options: OfferOptions
    currency: Currency
    steps: Annotated[
        tuple[PriceStep, ...],
        Meta(
            description="In order of time. The first may be from before `since`: it is the one in force then."
        ),
    ]


class Shop(Struct, frozen=True, kw_only=True):
    """A shop, what it lists, and how fresh that is."""

    slug: ShopSlug
    name: Annotated[str, Meta(description="The shop's name.", examples=["Black Sheep"])]
    city: Annotated[str | None, Meta(description="Where it is, where we know.", examples=["Charlotte"])]
    region: Annotated[str | None, Meta(description="The city's state or country.", examples=["NC"])]
    url: Annotated[str, Meta(description="The shop's own site.", examples=["https://shop.example"])]
    currency: Currency
    listings: Annotated[int, Meta(description="How many listings it has now.", examples=[402], ge=0)]
    delisted: Annotated[
        int, Meta(description="How many listings we knew that it has no more.", examples=[37], ge=0)
    ]
    last_complete_crawl_at: Annotated[
        datetime | None,
        Meta(
            description=f"When a crawl last saw the whole shop, {_MOMENT}. Null if none did.",
            examples=["2026-03-02T09:01:00Z"],
        ),
    ]
    last_crawl_at: Annotated[
        datetime | None,
        Meta(
            description=f"When the last crawl ended, complete or not, {_MOMENT}. Null if none did.",
            examples=["2026-03-02T09:01:00Z"],
        ),
    ]
    last_crawl_reason: Annotated[
        str | None,
        Meta(description="`complete`, or the code of why that crawl was not.", examples=["complete"]),
    ]
    state: Annotated[
        Literal["never crawled", "fresh", "stale", "blocked", "failing", "disabled"],
        Meta(
            description="How far what we say of it can be trusted: `fresh`; `stale`, when its last crawl was "
            "not complete or the last complete one is too long ago; `blocked`, when it turned the last crawl "
            "away; `failing`, when the last three crawls or more were not complete; `disabled`, when it is "
            "not crawled; or `never crawled`.",
            examples=["fresh"],
        ),
    ]
    stale: Annotated[
        bool,
        Meta(description="Whether the last complete crawl is too long ago, or never was.", examples=[False]),
    ]
    demo: Demo


class ShopList(Struct, frozen=True, kw_only=True):
    """Every shop."""

    items: Annotated[tuple[Shop, ...], Meta(description="The shops, by slug.")]


class Dependency(Struct, frozen=True, kw_only=True):
    """A part that this program needs, and how it answered just now."""

    name: Annotated[str, Meta(description="Which part.", examples=["database"])]
    status: Annotated[
        Literal["ok", "away", "behind", "outdated"],
        Meta(
            description="`ok`, `away`, `behind`: it works, but on what was true half a minute ago, or "
            "`outdated`: it answers, but its tables are old.",
            examples=["ok"],
        ),
    ]
    latency_ms: Annotated[
        float,
        Meta(
            description="How long the question took, in milliseconds; for `changes`, since we heard of any.",
            examples=[0.84],
            ge=0,
        ),
    ]
    version: Annotated[str | None, Meta(description="Its version, if it said it.", examples=["18.1"])]
    detail: Annotated[str, Meta(description="More, for a person.", examples=["schema 0002"])]


class Health(Struct, frozen=True, kw_only=True):
    """How this program and what it needs are."""

    status: Annotated[
        Literal["ok", "degraded"], Meta(description="`ok` only if every dependency is.", examples=["ok"])
    ]
    version: Annotated[str, Meta(description="This program's version.", examples=["0.1.0"])]
    at: Annotated[
        datetime, Meta(description=f"When this was asked, {_MOMENT}.", examples=["2026-03-02T09:00:00Z"])
    ]
    demo: Demo
    dependencies: Annotated[tuple[Dependency, ...], Meta(description="Every part it needs.")]


class Alive(Struct, frozen=True, kw_only=True):
    """A plain yes."""

    status: Annotated[Literal["ok"], Meta(description="Always `ok`.", examples=["ok"])]


class Welcome(Struct, frozen=True, kw_only=True):
    """What this is and where to read on."""

    name: Annotated[str, Meta(description="Which service this is.", examples=["SkateStock API"])]
    version: Annotated[str, Meta(description="Its version.", examples=["0.1.0"])]
    documentation: Annotated[str, Meta(description="Where people read on.", examples=["/api-docs"])]
    openapi: Annotated[str, Meta(description="Where programs read on.", examples=["/api-docs/openapi.json"])]
    demo: Demo


class InvalidParameter(Struct, frozen=True, kw_only=True):
    """What is wrong with one parameter, or one field of the body."""

    parameter: Annotated[str, Meta(description="The parameter's or the field's name.", examples=["limit"])]
    message: Annotated[
        str, Meta(description="What is wrong with it.", examples=["must be at most 100, not '5000'"])
    ]


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong, as RFC 9457 writes it."""

    type: Annotated[
        str,
        Meta(description="Names the kind of problem.", examples=["urn:skatestock:problem:invalid_parameter"]),
    ]
    title: Annotated[
        str,
        Meta(
            description="The kind of problem for a person.",
            examples=["A parameter has a value that makes no sense"],
        ),
    ]
    status: Annotated[int, Meta(description="The HTTP status.", examples=[400])]
    code: Annotated[
        str, Meta(description="The kind of problem for a program.", examples=["invalid_parameter"])
    ]
    detail: Annotated[
        str,
        Meta(description="This problem for a person.", examples=["limit must be at most 100, not '5000'"]),
    ]
    request_id: Annotated[
        str,
        Meta(
            description="Finds the request in our logs; also in the header `X-Request-Id`.",
            examples=["0d3f8a52c7e94b1f"],
        ),
    ]
    errors: Annotated[
        tuple[InvalidParameter, ...],
        Meta(description="Each parameter or field at fault; left out where none is."),
    ] = ()
