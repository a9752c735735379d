"""Applies today's rules to the whole catalogue, a few hundred listings of one shop at a time."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from skatestock.catalog.commands import ensure_brands
from skatestock.catalog.commands_changes import Touched, record_change, record_everything_changed
from skatestock.catalog.normalising import fetch_category_ids, slug_of_brand
from skatestock.catalog.rules_diff import (
    DiffTally,
    Reread,
    RulesDiff,
    ShopWays,
    StoredListing,
    StoredOffer,
    reread_listing,
)
from skatestock.database.pool import Connection, Pool
from skatestock.database.transactions import retry_transient, transaction
from skatestock.vocabulary.normaliser import Normaliser

_AT_ONCE = 500
# From so many products on, to build the whole index anew is the smaller work.
_MOST_TOLD = 20_000

_SHOPS = "SELECT id, slug FROM shops ORDER BY id"
# The lock that ingest takes too: the shop's listings stand still while some are read and written.
_LOCK_SHOP = "SELECT id FROM shops WHERE id = $1 FOR NO KEY UPDATE"

_LISTINGS = """
SELECT l.id, l.product_id,
    NOT EXISTS (SELECT FROM listings o WHERE o.product_id = l.product_id AND o.id <> l.id) AS alone,
    l.title, l.vendor, l.product_type, l.name, l.brand AS word, l.colourway, b.name AS brand,
    c.slug AS category, l.style_code, l.rules_version, p.name AS product_name, pb.name AS product_brand,
    pc.slug AS product_category, p.colourway AS product_colourway
FROM listings l JOIN products p ON p.id = l.product_id
LEFT JOIN brands b ON b.id = l.brand_id LEFT JOIN categories c ON c.id = l.category_id
LEFT JOIN brands pb ON pb.id = p.brand_id LEFT JOIN categories pc ON pc.id = p.category_id
WHERE l.shop_id = $1 AND l.id > $2
ORDER BY l.id LIMIT $3
"""

_OFFERS = """
SELECT listing_id, id, options, sku, size FROM offers WHERE listing_id = ANY ($1::bigint[])
ORDER BY listing_id, position, id
"""

_WRITE_LISTINGS = """
UPDATE listings SET name = new.name, brand = new.word, colourway = new.colourway, brand_id = new.brand_id,
    category_id = new.category_id, style_code = new.style_code, rules_version = new.rules_version
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::int[], $6::smallint[], $7::text[],
    $8::text[])
    AS new (id, name, word, colourway, brand_id, category_id, style_code, rules_version)
WHERE listings.id = new.id
"""

_WRITE_PRODUCTS = """
UPDATE products SET name = new.name, brand_id = new.brand_id, category_id = new.category_id,
    colourway = new.colourway
FROM unnest($1::bigint[], $2::text[], $3::int[], $4::smallint[], $5::text[])
    AS new (id, name, brand_id, category_id, colourway)
WHERE products.id = new.id AND (products.name, products.brand_id, products.category_id, products.colourway)
    IS DISTINCT FROM (new.name, new.brand_id, new.category_id, new.colourway)
"""

_WRITE_SIZES = """
UPDATE offers SET size = new.size FROM unnest($1::bigint[], $2::text[]) AS new (id, size)
WHERE offers.id = new.id
"""

# A brand that was first met in a shop's spelling takes the name that the rules give it.
_NAME_BRANDS = """
UPDATE brands SET name = new.name FROM unnest($1::text[], $2::text[]) AS new (slug, name)
WHERE brands.slug = new.slug AND brands.name <> new.name
RETURNING brands.id
"""
_OF_BRANDS = "SELECT id FROM products WHERE brand_id = ANY ($1::int[]) LIMIT $2"


async def compare_rules(pool: Pool, normaliser: Normaliser, ways: Mapping[str, ShopWays]) -> RulesDiff:
    """Tell what applying the rules would change; takes no lock and writes nothing."""
    tally = DiffTally(normaliser.version)
    async with pool.acquire() as connection:
        for shop in await connection.fetch(_SHOPS):
            async for listings in _pages(connection, shop["id"]):
                for stored in listings:
                    tally.add(reread_listing(stored, normaliser, ways.get(shop["slug"])))
    return tally.finish()


async def apply_rules(pool: Pool, normaliser: Normaliser, ways: Mapping[str, ShopWays]) -> RulesDiff:
    """Bring every listing to what the rules make of it, and return what that changed; idempotent.

    Each few hundred listings of a shop are read and written in a transaction that ingest waits for, so an
    observation is never overwritten; what ingest adds meanwhile has been read by the rules of its process.
    """
    tally = DiffTally(normaliser.version)
    for shop in await pool.fetch(_SHOPS):
        apply_page = partial(_apply_page, pool, normaliser, shop["id"], ways.get(shop["slug"]))
        read = await retry_transient(partial(apply_page, 0))
        while read:
            for reread in read:
                tally.add(reread)
            read = await retry_transient(partial(apply_page, read[-1].stored.id))
    return tally.finish()


async def _apply_page(
    pool: Pool, normaliser: Normaliser, shop_id: int, ways: ShopWays | None, after_id: int
) -> list[Reread]:
    async with transaction(pool) as connection:
        await connection.execute(_LOCK_SHOP, shop_id)
        listings = await _fetch_listings(connection, shop_id, after_id)
        read = [reread_listing(stored, normaliser, ways) for stored in listings]
        changed = [reread for reread in read if reread.is_new(normaliser.version)]
        renamed = await _write(connection, changed, normaliser)
        shown = {reread.stored.product_id for reread in changed if reread.is_reworded() or reread.changes()}
        # products of other shops show the brand's name too
        if renamed:
            shown |= {row[0] for row in await connection.fetch(_OF_BRANDS, renamed, _MOST_TOLD)}
        if len(shown) < _MOST_TOLD:
            await record_change(connection, Touched(product_ids=shown))
        else:
            await record_everything_changed(connection)
    return read


async def _pages(connection: Connection, shop_id: int) -> AsyncIterator[list[StoredListing]]:
    listings = await _fetch_listings(connection, shop_id, 0)
    while listings:
        yield listings
        listings = await _fetch_listings(connection, shop_id, listings[-1].id)


async def _fetch_listings(connection: Connection, shop_id: int, after_id: int) -> list[StoredListing]:
    rows = await connection.fetch(_LISTINGS, shop_id, after_id, _AT_ONCE)
    offers: dict[int, list[StoredOffer]] = {}
    for listing_id, *rest in await connection.fetch(_OFFERS, [row["id"] for row in rows]):
        offers.setdefault(listing_id, []).append(StoredOffer(*rest))
    return [StoredListing(**row, offers=tuple(offers.get(row["id"], ()))) for row in rows]


async def _write(connection: Connection, changed: Sequence[Reread], normaliser: Normaliser) -> list[int]:
    """Write what was read anew, and return the ids of brands that were renamed."""
    if not changed:
        return []
    known = {
        slug_of_brand(reread.reading.brand): reread.reading.brand
        for reread in changed
        if reread.reading.brand
    }
    shown = {slug_of_brand(reread.word): reread.word for reread in changed if reread.word}
    brand_ids = await ensure_brands(connection, shown | known)
    renamed = await connection.fetch(_NAME_BRANDS, list(known), list(known.values()))
    category_ids = await fetch_category_ids(connection)

    def brand_id(name: str | None) -> int | None:
        return None if name is None else brand_ids[slug_of_brand(name)]

    def category_id(reread: Reread) -> int | None:
        return None if reread.reading.category is None else category_ids[reread.reading.category]

    listings = [
        (
            *(reread.stored.id, reread.name, reread.word, reread.colourway, brand_id(reread.reading.brand)),
            *(category_id(reread), reread.style_code, normaliser.version),
        )
        for reread in changed
    ]
    products = [
        (
            *(reread.stored.product_id, reread.reading.name, brand_id(reread.shown_brand)),
            *(category_id(reread), reread.colourway),
        )
        for reread in changed
        if reread.stored.alone
    ]
    await _execute(connection, _WRITE_LISTINGS, listings)
    await _execute(connection, _WRITE_PRODUCTS, products)
    await _execute(connection, _WRITE_SIZES, [pair for reread in changed for pair in reread.changed_sizes])
    return [row[0] for row in renamed]


async def _execute(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        await connection.execute(statement, *zip(*rows, strict=True))
