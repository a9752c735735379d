"""Catalogue rows written by plain SQL, for tests that read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import asyncpg

from skatestock.catalog.commands_index import rebuild_index

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""The present of every test that reads the catalogue."""


def days_ago(days: float) -> datetime:
    """Tell a moment before the tests' present."""
    return NOW - timedelta(days=days)


class Catalogue:
    """Writes shops, products, listings, offers and price points, with defaults for what a test leaves out."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add_shop(self, slug: str, *, name: str | None = None, demo: bool = False) -> int:
        return await self._insert(
            "INSERT INTO shops (slug, name, city, region, url, currency, platform, demo) "
            "VALUES ($1, $2, 'Albany', 'NY', $3, 'USD', 'shopify', $4) RETURNING id",
            slug,
            name or slug.replace("-", " ").title(),
            f"https://{slug}.example",
            demo,
        )

    async def add_crawl(
        self, shop: int, ended_at: datetime, *, complete: bool = True, reason: str = "complete"
    ) -> None:
        await self._insert(
            "INSERT INTO crawls (crawl_id, shop_id, started_at, completed_at, complete, reason) "
            "VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
            f"{shop}-{ended_at.isoformat()}",
            shop,
            ended_at - timedelta(minutes=1),
            ended_at,
            complete,
            reason,
        )

    async def add_product(
        self,
        name: str,
        *,
        brand: str | None = None,
        category: int | None = None,
        colourway: str | None = None,
    ) -> int:
        brand_id = None
        if brand is not None:
            brand_id = await self._insert(
                "INSERT INTO brands (slug, name) VALUES (lower($1), $1) "
                "ON CONFLICT (slug) DO UPDATE SET name = excluded.name RETURNING id",
                brand,
            )
        return await self._insert(
            "INSERT INTO products (name, brand_id, category_id, colourway, created_at) "
            "VALUES ($1, $2, $3, $4, $5) RETURNING id",
            name,
            brand_id,
            category,
            colourway,
            days_ago(30),
        )

    async def add_listing(
        self,
        product: int,
        shop: int,
        *,
        title: str = "A listing",
        brand: str | None = None,
        image_url: str | None = None,
        currency: str = "USD",
        delisted_at: datetime | None = None,
    ) -> int:
        return await self._insert(
            "INSERT INTO listings (shop_id, listing_id, product_id, url, handle, title, name, brand, "
            "image_url, currency, fingerprint, parser, parser_version, first_seen_at, observed_at, seen_at, "
            "delisted_at) SELECT $1, 'L' || count(*), $2, 'https://shop.example/' || count(*), "
            "'h' || count(*), $3, $3, $4, $5, $6, '\\x00', 'shopify', 1, $7, $8, $9, $10 "
            "FROM listings RETURNING id",
            shop,
            product,
            title,
            brand,
            image_url,
            currency,
            days_ago(30),
            days_ago(2),
            days_ago(0.01),
            delisted_at,
        )

    async def add_offer(
        self,
        listing: int,
        price: int | None,
        compare_at: int | None = None,
        availability: str = "in_stock",
        *,
        title: str = "9",
        since_at: datetime | None = None,
        held: int | None = None,
        barcode: str | None = None,
    ) -> int:
        return await self._insert(
            "INSERT INTO offers (listing_id, offer_id, title, options, sku, position, price_minor, "
            "compare_at_minor, availability, since_at, held_price_minor, held_at, held_crawl_id, barcode) "
            "SELECT $1, 'O' || count(*), $2, $3::text::jsonb, 'sku', count(*), $4, $5, $6, $7, $8, $9, "
            "$10, $11 "
            "FROM offers RETURNING id",
            listing,
            title,
            json.dumps({"Size": title}),
            price,
            compare_at,
            availability,
            since_at or days_ago(2),
            held,
            days_ago(1) if held is not None else None,
            "c" if held is not None else None,
            barcode,
        )

    async def add_point(
        self,
        offer: int,
        at: datetime,
        price: int,
        compare_at: int | None = None,
        availability: str = "in_stock",
        changes: tuple[str, ...] = ("price_down",),
    ) -> None:
        await self._pool.execute(
            "INSERT INTO price_points VALUES ($1, $2, $3, $4, $5, $6, 'c')",
            offer,
            at,
            price,
            compare_at,
            availability,
            list(changes),
        )

    async def index(self) -> None:
        """Build the product index, as its process would."""
        async with self._pool.acquire() as connection:
            await rebuild_index(connection)

    async def _insert(self, sql: str, *arguments: object) -> int:
        number: int = await self._pool.fetchval(sql, *arguments)
        return number
