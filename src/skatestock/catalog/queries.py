"""What the faces read from the catalogue: a fixed number of statements each, however much they return.

A product's summary (price, availability, shops) rests on its live listings; where none is left, on the
delisted ones. It is read from the catalogue's own tables, so that it is never behind.
"""

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache

import asyncpg
import msgspec

from skatestock.catalog.freshness import SILENT_REASONS, Standing
from skatestock.catalog.summaries import summarise
from skatestock.catalog.views import (
    HeldPrice,
    Label,
    ListingState,
    OfferHistory,
    OfferState,
    PriceStep,
    ProductDetail,
    ProductName,
    ProductSummary,
    ShopListings,
    ShopName,
    ShopState,
)
from skatestock.database.pool import Connection
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import Money

# What a summary rests on; `page` is a relation of product ids.
_SUMMARIES = """
considered AS (
    SELECT l.* FROM page JOIN listings l USING (product_id)
    WHERE l.delisted_at IS NULL OR NOT EXISTS (
        SELECT FROM listings live WHERE live.product_id = l.product_id AND live.delisted_at IS NULL)
),
offered AS (
    SELECT c.product_id, c.currency, o.price_minor, o.compare_at_minor, o.since_at,
           CASE o.availability WHEN 'in_stock' THEN 0 WHEN 'unknown' THEN 1 WHEN 'out_of_stock' THEN 2
               ELSE 3 END AS rank
    FROM considered c JOIN offers o ON o.listing_id = c.id
),
standing AS (
    SELECT product_id, min(rank) AS rank, max(since_at) AS changed_at FROM offered GROUP BY product_id
),
cheapest AS (
    SELECT DISTINCT ON (product_id) product_id, rank, currency, price_minor, compare_at_minor,
           max(price_minor) OVER (PARTITION BY product_id, rank, currency) AS highest_minor
    FROM offered WHERE price_minor IS NOT NULL
    ORDER BY product_id, rank, currency, price_minor, compare_at_minor DESC NULLS LAST
),
pictured AS (
    SELECT DISTINCT ON (product_id) product_id, image_url
    FROM considered WHERE image_url IS NOT NULL ORDER BY product_id, id
),
sold_by AS (
    SELECT product_id, array_agg(id ORDER BY slug) AS ids, array_agg(slug ORDER BY slug) AS slugs,
           array_agg(name ORDER BY slug) AS names,
           array_agg(demo ORDER BY slug) AS demos
    FROM (SELECT DISTINCT c.product_id, s.id, s.slug, s.name, s.demo
          FROM considered c JOIN shops s ON s.id = c.shop_id) AS named
    GROUP BY product_id
),
summaries AS (
    SELECT p.id, p.name, p.colourway, b.slug AS brand_slug, b.name AS brand_name,
           g.slug AS category_slug, g.name AS category_name, i.image_url, t.rank, t.changed_at,
           c.currency, c.price_minor, c.compare_at_minor, c.highest_minor,
           coalesce(y.ids, '{}') AS ids, coalesce(y.slugs, '{}') AS slugs, coalesce(y.names, '{}') AS names,
           coalesce(y.demos, '{}') AS demos
    FROM page JOIN products p ON p.id = page.product_id
    LEFT JOIN brands b ON b.id = p.brand_id
    LEFT JOIN categories g ON g.id = p.category_id
    LEFT JOIN standing t ON t.product_id = p.id
    LEFT JOIN cheapest c ON c.product_id = p.id AND c.rank = t.rank
    LEFT JOIN pictured i ON i.product_id = p.id
    LEFT JOIN sold_by y ON y.product_id = p.id
)"""

FIND_PRODUCT = """
SELECT p.name AS product_name, p.colourway AS product_colourway, b.slug AS brand_slug, b.name AS brand_name,
       g.slug AS category_slug, g.name AS category_name, s.id AS shop_id, s.slug, s.name AS shop_name, s.demo,
       (SELECT c.completed_at FROM crawls c WHERE c.shop_id = s.id AND c.complete
        ORDER BY c.completed_at DESC LIMIT 1) AS last_complete_crawl_at,
       l.id AS listing_key, l.listing_id, l.url, l.title AS listing_title, l.colourway, l.image_url,
       l.currency, l.first_seen_at, l.observed_at, l.seen_at, l.delisted_at,
       o.id, o.offer_id, o.title, o.options::text AS options, o.size, o.sku, o.barcode,
       o.price_minor, o.compare_at_minor, o.availability, o.since_at,
       o.held_price_minor, o.held_compare_at_minor, o.held_at
FROM products p
LEFT JOIN brands b ON b.id = p.brand_id
LEFT JOIN categories g ON g.id = p.category_id
LEFT JOIN listings l ON l.product_id = p.id
LEFT JOIN shops s ON s.id = l.shop_id
LEFT JOIN offers o ON o.listing_id = l.id
WHERE p.id = $1
ORDER BY s.slug, l.delisted_at IS NOT NULL, l.id, o.availability = 'gone', o.position, o.id"""
"""The statement of `find_product`: each offer of a product in a row, with its listing, shop and product."""


async def find_product(connection: Connection, product_id: int) -> ProductDetail | None:
    """Read a product with all its listings and offers as of one moment; None if there is no such product."""
    rows = await connection.fetch(FIND_PRODUCT, product_id)
    if not rows:
        return None
    shops = () if rows[0]["listing_key"] is None else _read_shop_listings(rows)
    return ProductDetail(summary=summarise(_read_product_name(product_id, rows[0]), shops), shops=shops)


_FIND_SUMMARIES = """
WITH page AS (SELECT unnest($1::bigint[]) AS product_id),
{summaries}
SELECT * FROM summaries"""


async def find_summaries(connection: Connection, product_ids: Collection[int]) -> dict[int, ProductSummary]:
    """Read what some products cost now, by their ids; those that there are not are left out."""
    rows = await connection.fetch(_FIND_SUMMARIES.format(summaries=_SUMMARIES), list(set(product_ids)))
    return {row["id"]: _read_summary(row) for row in rows}


_FIND_HISTORY = """
SELECT p.id AS product_id, s.id AS shop_id, s.slug, s.name AS shop_name, s.demo, l.id AS listing_key,
       l.currency, o.id, o.offer_id, o.title, o.options::text AS options, point.*,
       seen.parser, seen.parser_version, seen.evidence
FROM products p
LEFT JOIN (listings l
    JOIN shops s ON s.id = l.shop_id AND ($3::text[] IS NULL OR s.slug = ANY($3))
    JOIN offers o ON o.listing_id = l.id AND ($4::text[] IS NULL OR o.size = ANY ($4))
    CROSS JOIN LATERAL (
        (SELECT observed_at, price_minor, compare_at_minor, availability, changes, crawl_id FROM price_points
         WHERE offer_id = o.id AND observed_at <= $2 ORDER BY observed_at DESC LIMIT 1)
        UNION ALL
        SELECT observed_at, price_minor, compare_at_minor, availability, changes, crawl_id FROM price_points
        WHERE offer_id = o.id AND observed_at > $2) AS point
    LEFT JOIN observations seen ON seen.listing_id = l.id AND seen.observed_at = point.observed_at)
    ON l.product_id = p.id
WHERE p.id = $1
ORDER BY s.slug, l.id, o.position, o.id, point.observed_at"""


async def find_price_history(
    connection: Connection,
    product_id: int,
    *,
    since: datetime,
    shops: tuple[str, ...] = (),
    sizes: tuple[str, ...] = (),
) -> tuple[OfferHistory, ...] | None:
    """Read each offer's price points after `since`, led by the one in force then; None if no such product."""
    rows = await connection.fetch(_FIND_HISTORY, product_id, since, list(shops) or None, list(sizes) or None)
    if not rows:
        return None
    steps: dict[int, list[PriceStep]] = {}
    firsts: dict[int, asyncpg.Record] = {}
    for row in rows:
        if row["id"] is not None:
            firsts.setdefault(row["id"], row)
            steps.setdefault(row["id"], []).append(_read_step(row))
    return tuple(_read_offer_history(row, steps[offer]) for offer, row in firsts.items())


_FIND_SHOPS = """
SELECT s.id, s.slug, s.name, s.city, s.region, s.url, s.currency, s.demo,
       coalesce(n.listings, 0) AS listings, coalesce(n.delisted, 0) AS delisted,
       complete.completed_at AS last_complete_crawl_at, ended.completed_at AS last_crawl_at,
       ended.reason AS last_crawl_reason, s.enabled AND s.disabled_at IS NULL AS enabled,
       s.crawl_every_seconds, telling.reason AS telling_reason,
       EXISTS (SELECT FROM crawls c WHERE c.shop_id = s.id) AS crawled,
       (SELECT count(*) FROM crawls c WHERE c.shop_id = s.id AND NOT c.complete AND NOT c.reason = ANY ($1)
        AND (complete.started_at IS NULL OR c.started_at > complete.started_at)) AS failures
FROM shops s
LEFT JOIN (SELECT shop_id, count(*) FILTER (WHERE delisted_at IS NULL) AS listings,
                  count(delisted_at) AS delisted
           FROM listings GROUP BY shop_id) AS n ON n.shop_id = s.id
LEFT JOIN LATERAL (SELECT started_at, completed_at FROM crawls WHERE shop_id = s.id AND complete
                   ORDER BY completed_at DESC LIMIT 1) AS complete ON true
LEFT JOIN LATERAL (SELECT reason FROM crawls
                   WHERE shop_id = s.id AND completed_at IS NOT NULL AND NOT reason = ANY ($1)
                   ORDER BY started_at DESC, id DESC LIMIT 1) AS telling ON true
LEFT JOIN LATERAL (SELECT completed_at, reason FROM crawls WHERE shop_id = s.id AND completed_at IS NOT NULL
                   ORDER BY started_at DESC LIMIT 1) AS ended ON true
WHERE $2::text IS NULL OR s.slug = $2
ORDER BY s.slug"""


async def find_shops(connection: Connection) -> tuple[ShopState, ...]:
    """Read every shop with its counts and its freshness, by slug."""
    return tuple(_read_shop(row) for row in await connection.fetch(_FIND_SHOPS, list(SILENT_REASONS), None))


async def find_shop(connection: Connection, slug: str) -> ShopState | None:
    """Read one shop; None if there is no such shop."""
    row = await connection.fetchrow(_FIND_SHOPS, list(SILENT_REASONS), slug)
    return None if row is None else _read_shop(row)


def _read_shop(row: asyncpg.Record) -> ShopState:
    standing = Standing(
        enabled=row["enabled"],
        crawled=row["crawled"],
        last_complete_at=row["last_complete_crawl_at"],
        reason=row["telling_reason"],
        failures=row["failures"],
        crawl_every_seconds=row["crawl_every_seconds"],
    )
    fields = (field for field in ShopState.__struct_fields__ if field != "standing")
    return ShopState(**{field: row[field] for field in fields}, standing=standing)


# A word in a row is looked up for each offer: calling the enumeration costs five times as much.
_AVAILABILITIES: dict[str, Availability] = {word.value: word for word in Availability}
_decode_options = msgspec.json.Decoder(dict[str, str]).decode
# Prices are few, and read for each offer: finding one that is there is cheaper than making one.
_known_money = lru_cache(maxsize=8192)(Money)

_AVAILABILITY_BY_RANK = (
    Availability.IN_STOCK,
    Availability.UNKNOWN,
    Availability.OUT_OF_STOCK,
    Availability.GONE,
)


def _read_summary(row: asyncpg.Record) -> ProductSummary:
    shops = zip(row["ids"], row["slugs"], row["names"], row["demos"], strict=True)
    compare_at = row["compare_at_minor"]
    discounted = compare_at is not None and compare_at > row["price_minor"]
    return ProductSummary(
        id=row["id"],
        name=row["name"],
        brand=_read_label(row["brand_slug"], row["brand_name"]),
        category=_read_label(row["category_slug"], row["category_name"]),
        colourway=row["colourway"],
        image_url=row["image_url"],
        price=_read_money(row["price_minor"], row["currency"]),
        price_highest=_read_money(row["highest_minor"], row["currency"]),
        compare_at=_read_money(compare_at, row["currency"]) if discounted else None,
        availability=Availability.GONE if row["rank"] is None else _AVAILABILITY_BY_RANK[row["rank"]],
        changed_at=row["changed_at"],
        shops=tuple(ShopName(*shop) for shop in shops),
        demo=any(row["demos"]),
    )


def _read_product_name(product_id: int, row: asyncpg.Record) -> ProductName:
    return ProductName(
        id=product_id,
        name=row["product_name"],
        brand=_read_label(row["brand_slug"], row["brand_name"]),
        category=_read_label(row["category_slug"], row["category_name"]),
        colourway=row["product_colourway"],
    )


def _read_shop_listings(rows: list[asyncpg.Record]) -> tuple[ShopListings, ...]:
    """Gather rows, one per offer, which come ordered by shop and listing."""
    shops: list[tuple[asyncpg.Record, list[ListingState]]] = []
    slug, first, offers = None, rows[0], list[OfferState]()
    for row in rows:
        if row["listing_key"] != first["listing_key"]:
            shops[-1][1].append(_read_listing(first, offers))
            first, offers = row, []
        if row["slug"] != slug:
            slug = row["slug"]
            shops.append((row, []))
        if row["id"] is not None:
            offers.append(_read_offer(row))
    shops[-1][1].append(_read_listing(first, offers))
    return tuple(
        [
            ShopListings(
                shop=_read_shop_name(row),
                last_complete_crawl_at=row["last_complete_crawl_at"],
                listings=tuple(listings),
            )
            for row, listings in shops
        ]
    )


def _read_listing(row: asyncpg.Record, offers: list[OfferState]) -> ListingState:
    return ListingState(
        id=row["listing_key"],
        listing_id=row["listing_id"],
        url=row["url"],
        title=row["listing_title"],
        colourway=row["colourway"],
        image_url=row["image_url"],
        currency=row["currency"],
        first_seen_at=row["first_seen_at"],
        observed_at=row["observed_at"],
        seen_at=row["seen_at"],
        delisted_at=row["delisted_at"],
        offers=tuple(offers),
    )


def _read_offer(row: asyncpg.Record) -> OfferState:
    currency, price, compare_at = row["currency"], row["price_minor"], row["compare_at_minor"]
    return OfferState(
        id=row["id"],
        offer_id=row["offer_id"],
        title=row["title"],
        options=_decode_options(row["options"]),
        size=row["size"],
        sku=row["sku"],
        barcode=row["barcode"],
        price=None if price is None else _known_money(price, currency),
        compare_at=None if compare_at is None else _known_money(compare_at, currency),
        availability=_AVAILABILITIES[row["availability"]],
        since_at=row["since_at"],
        held=None if row["held_at"] is None else _read_held(row),
    )


def _read_held(row: asyncpg.Record) -> HeldPrice:
    return HeldPrice(
        price=Money(row["held_price_minor"], row["currency"]),
        compare_at=_read_money(row["held_compare_at_minor"], row["currency"]),
        held_at=row["held_at"],
    )


def _read_offer_history(row: asyncpg.Record, steps: list[PriceStep]) -> OfferHistory:
    return OfferHistory(
        id=row["id"],
        offer_id=row["offer_id"],
        listing_id=row["listing_key"],
        title=row["title"],
        options=_decode_options(row["options"]),
        currency=row["currency"],
        shop=_read_shop_name(row),
        steps=tuple(steps),
    )


def _read_step(row: asyncpg.Record) -> PriceStep:
    return PriceStep(
        at=row["observed_at"],
        price=Money(row["price_minor"], row["currency"]),
        compare_at=_read_money(row["compare_at_minor"], row["currency"]),
        availability=_AVAILABILITIES[row["availability"]],
        changes=tuple(row["changes"]),
        crawl_id=row["crawl_id"],
        parser=row["parser"],
        parser_version=row["parser_version"],
        evidence=row["evidence"],
    )


def _read_shop_name(row: asyncpg.Record) -> ShopName:
    return ShopName(id=row["shop_id"], slug=row["slug"], name=row["shop_name"], demo=row["demo"])


def _read_label(slug: str | None, name: str | None) -> Label | None:
    return None if slug is None or name is None else Label(slug=slug, name=name)


def _read_money(minor: int | None, currency: str) -> Money | None:
    return None if minor is None else Money(minor, currency)
