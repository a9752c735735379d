"""The endpoints of analytics, on what the catalogue knows."""

from datetime import datetime, time, timedelta
from itertools import groupby

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from msgspec import UnsetType

from skatestock.api import analytics_schemas as schemas
from skatestock.api.answers import to_price
from skatestock.api.context import Context
from skatestock.api.operations import READS_DATABASE, READS_QUERY, Operation, reads
from skatestock.api.questions import NoQuestion, parse_question
from skatestock.api.requests import AnyRequest, mark_demo
from skatestock.api.schemas import Price
from skatestock.api.sharing import CATALOGUE, INDEX, share
from skatestock.catalog.discount_queries import find_discounts
from skatestock.catalog.freshness import judge_freshness
from skatestock.catalog.index_queries import find_index_lag
from skatestock.catalog.metric_queries import ShopCounts, count_by_shop, count_catalogue
from skatestock.catalog.queries import find_shops
from skatestock.catalog.trend_queries import Chosen, TrendDay, find_trends
from skatestock.catalog.views import ShopState
from skatestock.vocabulary.money import Money


@reads(
    "/analytics/trends",
    Operation(
        name="get_trends",
        summary="Show how prices and stock went by day",
        description="Per day: how many offers were in stock as it ended, the lowest and the median of their "
        "prices, and what happened to offers. In one series for each currency, or told apart by shop, "
        "brand or category. Finished days may count offers by the shop, brand and category that they had "
        "then.",
        tag="Analytics",
        question=schemas.TrendsQuestion,
        answer=schemas.Trends,
        problems=(*READS_QUERY, *READS_DATABASE),
    ),
)
async def get_trends(request: AnyRequest, context: NamedDependency[Context]) -> schemas.Trends:
    """Answer with the trends."""
    question = parse_question(schemas.TrendsQuestion, request.scope["query_string"])
    by = None if isinstance(question.by, UnsetType) else question.by
    chosen = _choose(question, context.clock())
    async with context.database.connect() as connection:
        days = await find_trends(connection, chosen, by)
    _share(request, context)
    series = groupby(days, key=lambda day: (day.key, day.name, day.currency))
    return schemas.Trends(
        since=chosen.since,
        until=chosen.until,
        by=by,
        series=tuple(
            schemas.TrendSeries(
                key=key, name=name, currency=currency, days=tuple(_to_day(day) for day in of_series)
            )
            for (key, name, currency), of_series in series
        ),
    )


@reads(
    "/analytics/discount-patterns",
    Operation(
        name="get_discount_patterns",
        summary="Show what discounts look like",
        description="How deep the discounts are that stand now, on which days of the week prices fall and "
        "discounts begin, and how long discounts last that began in the window.",
        tag="Analytics",
        question=schemas.DiscountsQuestion,
        answer=schemas.DiscountPatterns,
        problems=(*READS_QUERY, *READS_DATABASE),
    ),
)
async def get_discount_patterns(
    request: AnyRequest, context: NamedDependency[Context]
) -> schemas.DiscountPatterns:
    """Answer with the patterns."""
    question = parse_question(schemas.DiscountsQuestion, request.scope["query_string"])
    chosen = _choose(question, context.clock())
    async with context.database.connect() as connection:
        found = await find_discounts(connection, chosen)
    _share(request, context)
    quartiles = found.quartiles_seconds or (None, None, None)
    return schemas.DiscountPatterns(
        since=chosen.since,
        until=chosen.until,
        offers=found.offers,
        discounted=sum(found.depths),
        depths=tuple(
            schemas.DepthBucket(
                from_percent=10 * bucket, to_percent=100 if bucket == 9 else 10 * bucket + 9, offers=offers
            )
            for bucket, offers in enumerate(found.depths)
        ),
        weekdays=tuple(
            schemas.WeekdayCount(weekday=weekday, price_drops=drops, discounts_begun=begun)
            for weekday, (drops, begun) in enumerate(found.weekdays, start=1)
        ),
        durations=schemas.DiscountDurations(
            begun=sum(begun for _, begun in found.weekdays),
            ended=found.ended,
            lower_quartile_seconds=quartiles[0],
            median_seconds=quartiles[1],
            upper_quartile_seconds=quartiles[2],
        ),
    )


@reads(
    "/analytics/metrics",
    Operation(
        name="get_metrics",
        summary="Show what there is, how fresh, and what is wrong with it",
        description="Counts of the whole catalogue, how far lists are behind it, and for each shop its "
        "freshness, its crawls of the last day and the open issues of its data.",
        tag="Analytics",
        answer=schemas.Metrics,
        problems=(*READS_QUERY, *READS_DATABASE),
    ),
)
async def get_metrics(request: AnyRequest, context: NamedDependency[Context]) -> schemas.Metrics:
    """Answer with the metrics."""
    parse_question(NoQuestion, request.scope["query_string"])
    now = context.clock()
    async with context.database.connect() as connection:
        counts = await count_catalogue(connection)
        lag = await find_index_lag(connection)
        shops = await find_shops(connection)
        by_shop = await count_by_shop(connection, now)
    mark_demo(request, any(shop.demo for shop in shops))
    share(request, CATALOGUE, INDEX)
    return schemas.Metrics(
        at=now,
        counts=schemas.Counts(**counts._asdict()),
        index=schemas.IndexState(
            changes_behind=lag.position - lag.indexed,
            behind_seconds=round(max(0.0, lag.behind_seconds), 3),
            building=lag.building or not lag.version,
        ),
        shops=tuple(_to_shop(shop, by_shop[shop.slug], now) for shop in shops if shop.slug in by_shop),
    )


ANALYTICS_ENDPOINTS: tuple[HTTPRouteHandler, ...] = (get_trends, get_discount_patterns, get_metrics)
"""The endpoints of this file, in the order of the OpenAPI document."""


def _choose(question: schemas.TrendsQuestion | schemas.DiscountsQuestion, now: datetime) -> Chosen:
    """Begin with a whole day, so that every day but today is told whole."""
    today = datetime.combine(now.date(), time(), tzinfo=now.tzinfo)
    return Chosen(
        since=today - timedelta(days=question.days - 1),
        until=now,
        shops=question.shop,
        brands=question.brand,
        categories=question.category,
    )


def _share(request: AnyRequest, context: Context) -> None:
    mark_demo(request, context.demo)
    share(request, CATALOGUE)


def _to_day(day: TrendDay) -> schemas.TrendDay:
    return schemas.TrendDay(
        day=day.day,
        offers_in_stock=day.offers_in_stock,
        lowest_price=_to_price(day.lowest_minor, day.currency),
        median_price=_to_price(day.median_minor, day.currency),
        price_drops=day.price_drops,
        price_rises=day.price_rises,
        restocks=day.restocks,
        sold_out=day.sold_out,
        first_seen=day.first_seen,
    )


def _to_price(minor: int | None, currency: str) -> Price | None:
    return None if minor is None else to_price(Money(minor, currency))


def _to_shop(shop: ShopState, counts: ShopCounts, now: datetime) -> schemas.ShopMetrics:
    age = None if shop.last_complete_crawl_at is None else now - shop.last_complete_crawl_at
    return schemas.ShopMetrics(
        shop=shop.slug,
        state=judge_freshness(shop.standing, now).value,
        listings=shop.listings,
        seconds_since_complete=None if age is None else max(0, int(age.total_seconds())),
        crawls=counts.crawls,
        complete_crawls=counts.complete_crawls,
        errors=counts.errors,
        warnings=counts.warnings,
        infos=counts.infos,
    )
