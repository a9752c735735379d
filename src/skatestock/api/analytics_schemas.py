"""The shapes of analytics: how prices and stock went by day, what discounts look like, and what there is."""

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from skatestock.api.questions import BrandSlug, CategorySlug, Shops
from skatestock.api.schemas import Currency, Price, ShopSlug

_MOMENT = "in UTC, whole seconds"

Events = Annotated[int, Meta(description="How often it happened to an offer.", examples=[12], ge=0)]
Since = Annotated[
    datetime, Meta(description=f"The window's beginning, {_MOMENT}.", examples=["2026-02-01T00:00:00Z"])
]
Until = Annotated[
    datetime, Meta(description=f"The window's end: now, {_MOMENT}.", examples=["2026-03-02T09:00:00Z"])
]
Days = Annotated[int, Meta(description="How many days back, today included.", examples=[30], ge=1, le=90)]
Brands = Annotated[
    tuple[BrandSlug, ...], Meta(description="Only these brands.", examples=[["adidas"]], max_length=20)
]
Categories = Annotated[
    tuple[CategorySlug, ...],
    Meta(description="Only these categories.", examples=[["shoes"]], max_length=23),
]


class TrendsQuestion(Struct, frozen=True, kw_only=True):
    """Which days, of which offers, told apart how."""

    days: Days = 30
    shop: Shops = ()
    brand: Brands = ()
    category: Categories = ()
    by: Annotated[
        Literal["shop", "brand", "category"] | UnsetType,
        Meta(
            description="Tell these apart; without it, all is one series a currency.", examples=["category"]
        ),
    ] = UNSET


class DiscountsQuestion(Struct, frozen=True, kw_only=True):
    """Which days, of which offers."""

    days: Days = 30
    shop: Shops = ()
    brand: Brands = ()
    category: Categories = ()


class TrendDay(Struct, frozen=True, kw_only=True):
    """One day of a series."""

    day: Annotated[date, Meta(description="The day in UTC.", examples=["2026-03-01"])]
    offers_in_stock: Annotated[
        int, Meta(description="Offers in stock as the day ended, or now.", examples=[812], ge=0)
    ]
    lowest_price: Annotated[Price | None, Meta(description="The lowest of their prices.")]
    median_price: Annotated[
        Price | None, Meta(description="The median of their prices; of two middle ones, the lower.")
    ]
    price_drops: Events
    price_rises: Events
    restocks: Events
    sold_out: Events
    first_seen: Events


class TrendSeries(Struct, frozen=True, kw_only=True):
    """The days of one shop, brand or category, or of all, in one currency."""

    key: Annotated[
        str | None,
        Meta(
            description="The slug of what `by` tells apart; null without `by`, and for what has none.",
            examples=["shoes"],
        ),
    ]
    name: Annotated[str | None, Meta(description="Its name.", examples=["Shoes"])]
    currency: Currency
    days: Annotated[tuple[TrendDay, ...], Meta(description="Every day of the window, in order.")]


class Trends(Struct, frozen=True, kw_only=True):
    """How prices and stock went, day by day."""

    since: Since
    until: Until
    by: Annotated[
        Literal["shop", "brand", "category"] | None,
        Meta(description="What the series tell apart.", examples=["category"]),
    ]
    series: Annotated[
        tuple[TrendSeries, ...], Meta(description="By key and currency; 100 at most, by their offers.")
    ]


class DepthBucket(Struct, frozen=True, kw_only=True):
    """Offers by how far they are below their compare-at price now."""

    from_percent: Annotated[int, Meta(description="The least discount.", examples=[10], ge=0)]
    to_percent: Annotated[int, Meta(description="The greatest discount.", examples=[19], le=100)]
    offers: Annotated[int, Meta(description="How many offers.", examples=[73], ge=0)]


class WeekdayCount(Struct, frozen=True, kw_only=True):
    """What happened on a day of the week."""

    weekday: Annotated[int, Meta(description="1 is Monday, 7 is Sunday, in UTC.", examples=[5], ge=1, le=7)]
    price_drops: Events
    discounts_begun: Annotated[
        int, Meta(description="Discounts that began then within the window.", examples=[9], ge=0)
    ]


class DiscountDurations(Struct, frozen=True, kw_only=True):
    """How long discounts lasted that began in the window, after we knew the offer."""

    begun: Annotated[int, Meta(description="How many began.", examples=[120], ge=0)]
    ended: Annotated[int, Meta(description="How many of these have ended.", examples=[80], ge=0)]
    lower_quartile_seconds: Annotated[
        int | None, Meta(description="A quarter of those that ended lasted no longer.", examples=[172800])
    ]
    median_seconds: Annotated[
        int | None, Meta(description="Half of those that ended lasted no longer.", examples=[604800])
    ]
    upper_quartile_seconds: Annotated[
        int | None,
        Meta(description="Three quarters of those that ended lasted no longer.", examples=[1209600]),
    ]


class DiscountPatterns(Struct, frozen=True, kw_only=True):
    """What discounts look like."""

    since: Since
    until: Until
    offers: Annotated[
        int, Meta(description="Offers with a price that shops list now.", examples=[9120], ge=0)
    ]
    discounted: Annotated[
        int, Meta(description="How many of these are below their compare-at price.", examples=[1430], ge=0)
    ]
    depths: Annotated[tuple[DepthBucket, ...], Meta(description="These by depth, in steps of ten percent.")]
    weekdays: Annotated[tuple[WeekdayCount, ...], Meta(description="The days of the week, from Monday.")]
    durations: Annotated[DiscountDurations, Meta(description="How long discounts last.")]


class Counts(Struct, frozen=True, kw_only=True):
    """What the catalogue holds."""

    shops: Annotated[int, Meta(description="Shops.", examples=[5], ge=0)]
    products: Annotated[int, Meta(description="Products that a shop lists now.", examples=[1967], ge=0)]
    listings: Annotated[int, Meta(description="Listings that shops have now.", examples=[2011], ge=0)]
    delisted: Annotated[int, Meta(description="Listings that they have no more.", examples=[310], ge=0)]
    offers: Annotated[int, Meta(description="Offers of the listings they have.", examples=[9120], ge=0)]
    offers_in_stock: Annotated[int, Meta(description="Of these, in stock.", examples=[5200], ge=0)]
    price_points: Annotated[
        int, Meta(description="Price points: every change of any offer.", examples=[48122], ge=0)
    ]
    price_points_estimated: Annotated[
        bool,
        Meta(
            description="Whether `price_points` is the database's estimate: up to 100,000 are counted.",
            examples=[False],
        ),
    ]
    first_point_at: Annotated[
        datetime | None,
        Meta(description=f"The moment of the first, {_MOMENT}.", examples=["2025-11-02T08:00:00Z"]),
    ]


class IndexState(Struct, frozen=True, kw_only=True):
    """How far the product index is behind the catalogue."""

    changes_behind: Annotated[int, Meta(description="Commits that it does not show yet.", examples=[0], ge=0)]
    behind_seconds: Annotated[float, Meta(description="How old the first of these is.", examples=[0.0], ge=0)]
    building: Annotated[bool, Meta(description="Whether it is being built anew.", examples=[False])]


class ShopMetrics(Struct, frozen=True, kw_only=True):
    """How well we know a shop."""

    shop: ShopSlug
    state: Annotated[
        Literal["never crawled", "fresh", "stale", "blocked", "failing", "disabled"],
        Meta(description="Its state, as in `GET /shops`.", examples=["fresh"]),
    ]
    listings: Annotated[int, Meta(description="Listings that it has now.", examples=[402], ge=0)]
    seconds_since_complete: Annotated[
        int | None,
        Meta(description="How long ago it was last seen whole; null if never.", examples=[840]),
    ]
    crawls: Annotated[int, Meta(description="Crawls that ended in the last 24 hours.", examples=[48], ge=0)]
    complete_crawls: Annotated[int, Meta(description="Of these, complete.", examples=[47], ge=0)]
    errors: Annotated[int, Meta(description="Open issues of its data that are errors.", examples=[0], ge=0)]
    warnings: Annotated[int, Meta(description="Open issues that are warnings.", examples=[3], ge=0)]
    infos: Annotated[int, Meta(description="Open issues worth a look.", examples=[12], ge=0)]


class Metrics(Struct, frozen=True, kw_only=True):
    """What there is, how fresh it is, and what is wrong with it."""

    at: Annotated[datetime, Meta(description=f"Now, {_MOMENT}.", examples=["2026-03-02T09:00:00Z"])]
    counts: Annotated[Counts, Meta(description="What the catalogue holds.")]
    index: Annotated[IndexState, Meta(description="How far lists of products are behind.")]
    shops: Annotated[tuple[ShopMetrics, ...], Meta(description="The shops, by slug.")]
