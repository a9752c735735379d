"""Events of an invented shop, their way through ingest, and what the catalogue says afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import asyncpg

from skatestock.catalog.commands import ensure_shops
from skatestock.catalog.model import ShopRecord
from skatestock.eventlog.port import Batch, Record
from skatestock.events.codec import encode
from skatestock.events.model import (
    CrawlCompleted,
    Event,
    ListingObserved,
    OfferObserved,
    RejectedObservation,
)
from skatestock.ingest.consumer import TOPIC, IngestHandler
from skatestock.vocabulary.availability import Availability

BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
SHOP = "labor"
IN, OUT, UNKNOWN = Availability.IN_STOCK, Availability.OUT_OF_STOCK, Availability.UNKNOWN

_offsets = itertools.count(1)


def at(minute: int) -> datetime:
    """Return the moment so many minutes after the story begins."""
    return BEGIN + timedelta(minutes=minute)


def minute_of(moment: datetime) -> int:
    """Return the minute of the story at which a moment lies."""
    return int((moment - BEGIN).total_seconds() // 60)


def offer(
    price: int = 6000,
    availability: Availability = IN,
    compare: int | None = None,
    offer_id: str = "a",
    **words: Any,
) -> OfferObserved:
    """Make an offer as a crawl saw it."""
    words = {"title": f"Size {offer_id}", "options": {"Size": offer_id}, "sku": f"S-{offer_id}"} | words
    return OfferObserved(
        offer_id=offer_id, price_minor=price, compare_at_minor=compare, availability=availability, **words
    )


def seen(
    minute: int, *offers: OfferObserved, crawl: str = "", listing: str = "1", shop: str = SHOP, **fields: Any
) -> ListingObserved:
    """Make an observation; without a crawl's name each moment is a crawl of its own."""
    offers = offers or (offer(),)
    words: dict[str, Any] = {
        "url": f"https://shop.example/products/deck-{listing}",
        "handle": f"deck-{listing}",
        "title": f"Krooked - Deck {listing} (Black)",
        "name": f"Deck {listing}",
        "brand": "Krooked",
        "vendor": "Krooked",
        "colourway": "Black",
        "product_type": "Deck",
        "currency": "USD",
    }
    return ListingObserved(
        event_id=f"{shop}-{listing}-{minute}",
        shop=shop,
        crawl_id=f"{shop}-{crawl or minute}",
        listing_id=listing,
        observed_at=at(minute),
        offers=offers,
        parser="shopify",
        parser_version=1,
        fingerprint=sha256(repr((offers, fields)).encode()).digest(),
        **(words | fields),
    )


def ended(
    minute: int,
    *listing_ids: str,
    until: int | None = None,
    crawl: str = "",
    complete: bool = True,
    shop: str = SHOP,
    rejected: Sequence[RejectedObservation] = (),
    **fields: Any,
) -> CrawlCompleted:
    """Make the end of a crawl that began at `minute`."""
    defaults: dict[str, Any] = {
        "reason": "complete" if complete else "blocked",
        "pages": 1,
        "requests": 2,
        "changed": 0,
        "rejected_total": len(rejected),
    }
    return CrawlCompleted(
        event_id=f"{shop}-end-{minute}",
        shop=shop,
        crawl_id=f"{shop}-{crawl or minute}",
        started_at=at(minute),
        completed_at=at(minute + 5 if until is None else until),
        complete=complete,
        **(defaults | fields),
        listing_ids=listing_ids,
        rejected=tuple(rejected),
    )


async def add_shop(pool: asyncpg.Pool, slug: str = SHOP) -> None:
    """Put the shop into the catalogue."""
    shop = ShopRecord(
        slug=slug, name=slug.title(), url="https://shop.example/", currency="USD", platform="shopify"
    )
    async with pool.acquire() as connection:
        await ensure_shops(connection, [shop])


async def ingest(
    pool: asyncpg.Pool, *events: Event | bytes, batch: int = 2000, handler: IngestHandler | None = None
) -> IngestHandler:
    """Hand events to ingest as consecutive records, in batches of at most so many."""
    handler = handler or IngestHandler()
    for first in range(0, len(events), batch):
        async with pool.acquire() as connection, connection.transaction():
            await handler(connection, make_batch(*events[first : first + batch]))
    return handler


def make_batch(*events: Event | bytes) -> Batch:
    """Make one batch of consecutive records."""
    return Batch(topic=TOPIC, partition=0, records=tuple(_record(event) for event in events))


def _record(event: Event | bytes) -> Record:
    value, key = (event, SHOP) if isinstance(event, bytes) else (encode(event), event.shop)
    return Record(
        topic=TOPIC, partition=0, offset=next(_offsets), key=key, value=value, headers={}, appended_at=BEGIN
    )


class Point(NamedTuple):
    """A price point as tests read it."""

    minute: int
    price: int
    compare: int | None
    availability: str
    changes: list[str]


async def points(
    pool: asyncpg.Pool, listing: str = "1", offer_id: str = "a", shop: str = SHOP
) -> list[Point]:
    """Read an offer's history."""
    return (await all_points(pool, shop)).get((listing, offer_id), [])


async def all_points(pool: asyncpg.Pool, shop: str = SHOP) -> dict[tuple[str, str], list[Point]]:
    """Read a shop's histories by listing and offer."""
    rows = await pool.fetch(
        """
        SELECT l.listing_id, o.offer_id, p.observed_at, p.price_minor, p.compare_at_minor, p.availability,
            p.changes
        FROM price_points p JOIN offers o ON o.id = p.offer_id JOIN listings l ON l.id = o.listing_id
        JOIN shops s ON s.id = l.shop_id WHERE s.slug = $1 ORDER BY p.observed_at
        """,
        shop,
    )
    found: dict[tuple[str, str], list[Point]] = {}
    for listing_id, offer_id, observed_at, *state in rows:
        found.setdefault((listing_id, offer_id), []).append(Point(minute_of(observed_at), *state))
    return found


_TABLES = {
    "crawls": """
        SELECT c.crawl_id, c.started_at, c.completed_at, c.complete, c.reason, c.detail, c.pages, c.requests,
            c.listings_seen, c.changed, c.rejected
        FROM crawls c JOIN shops s ON s.id = c.shop_id WHERE s.slug = $1 ORDER BY c.crawl_id
    """,
    "listings": """
        SELECT l.listing_id, l.url, l.handle, l.title, l.name, l.vendor, l.brand, l.colourway,
            l.product_type, l.image_url, l.currency, l.fingerprint, l.parser, l.parser_version,
            l.first_seen_at, l.observed_at, l.seen_at, l.missed, l.delisted_at, p.name AS product,
            b.name AS product_brand, c.slug AS category, p.colourway AS product_colourway, p.created_at
        FROM listings l JOIN shops s ON s.id = l.shop_id JOIN products p ON p.id = l.product_id
        LEFT JOIN brands b ON b.id = p.brand_id LEFT JOIN categories c ON c.id = p.category_id
        WHERE s.slug = $1 ORDER BY l.listing_id
    """,
    "offers": """
        SELECT l.listing_id, o.offer_id, o.title, o.options, o.sku, o.position, o.price_minor,
            o.compare_at_minor, o.availability, o.since_at, o.held_price_minor, o.held_compare_at_minor,
            o.held_at, o.held_crawl_id, o.barcode, o.invalid_barcode
        FROM offers o JOIN listings l ON l.id = o.listing_id JOIN shops s ON s.id = l.shop_id
        WHERE s.slug = $1 ORDER BY l.listing_id, o.offer_id
    """,
    "price_points": """
        SELECT l.listing_id, o.offer_id, p.observed_at, p.price_minor, p.compare_at_minor, p.availability,
            p.changes, p.crawl_id
        FROM price_points p JOIN offers o ON o.id = p.offer_id JOIN listings l ON l.id = o.listing_id
        JOIN shops s ON s.id = l.shop_id WHERE s.slug = $1 ORDER BY l.listing_id, o.offer_id, p.observed_at
    """,
    "rejected": """
        SELECT r.crawl_id, r.ordinal, r.listing_id, r.reason, r.detail, r.position, r.excerpt, r.rejected_at
        FROM rejected_observations r JOIN shops s ON s.id = r.shop_id
        WHERE s.slug = $1 ORDER BY r.rejected_at, r.crawl_id, r.ordinal, r.listing_id, r.position
    """,
}


async def dump(pool: asyncpg.Pool, shop: str = SHOP) -> dict[str, list[dict[str, Any]]]:
    """Read everything the catalogue holds of a shop, without the database's own numbers."""
    return {name: [dict(row) for row in await pool.fetch(query, shop)] for name, query in _TABLES.items()}


async def read_one(pool: asyncpg.Pool, table: str, **where: Any) -> dict[str, Any]:
    """Return the one row of a shop's table that has these values."""
    (row,) = find_rows((await dump(pool))[table], **where)
    return row


def find_rows(rows: Iterable[dict[str, Any]], **where: Any) -> list[dict[str, Any]]:
    """Return the rows that have these values."""
    return [row for row in rows if all(row[column] == value for column, value in where.items())]
