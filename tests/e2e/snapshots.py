"""The whole content of a database in a form that two runs can be compared by."""

import asyncio
from typing import Any

import asyncpg

# What is compared: everything that readers see, without surrogate keys and the times of processing.
_QUERIES = {
    "listings": """
        SELECT s.slug, l.listing_id, l.title, l.name, l.brand, l.colourway, l.url, l.fingerprint,
            l.first_seen_at, l.observed_at, l.seen_at, l.missed, l.delisted_at
        FROM listings l JOIN shops s ON s.id = l.shop_id ORDER BY 1, 2
    """,
    "offers": """
        SELECT s.slug, l.listing_id, o.offer_id, o.title, o.price_minor, o.compare_at_minor, o.availability,
            o.since_at, o.held_price_minor, o.held_at
        FROM offers o JOIN listings l ON l.id = o.listing_id JOIN shops s ON s.id = l.shop_id ORDER BY 1, 2, 3
    """,
    "price_points": """
        SELECT s.slug, l.listing_id, o.offer_id, p.observed_at, p.price_minor, p.compare_at_minor,
            p.availability, p.changes
        FROM price_points p JOIN offers o ON o.id = p.offer_id JOIN listings l ON l.id = o.listing_id
        JOIN shops s ON s.id = l.shop_id ORDER BY 1, 2, 3, 4
    """,
    "crawls": """
        SELECT crawl_id, started_at, completed_at, complete, reason, listings_seen, rejected
        FROM crawls ORDER BY 1
    """,
    "rejected": "SELECT crawl_id, ordinal, reason, position FROM rejected_observations ORDER BY 1, 2, 4",
    "products": "SELECT name, count(*) FROM products GROUP BY 1 ORDER BY 1",
    "dead_letters": 'SELECT topic, partition, "offset", error_kind, state FROM dead_letters ORDER BY 1, 2, 3',
}


def take_snapshot(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    """Read the content of a database, table by table."""
    return asyncio.run(_read(dsn))


async def _read(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    connection = await asyncpg.connect(dsn)
    try:
        return {
            name: [tuple(row.values()) for row in await connection.fetch(query)]
            for name, query in _QUERIES.items()
        }
    finally:
        await connection.close()
