"""Writes about shops, and what new listings refer to: brands and categories."""

from collections.abc import Collection, Iterable, Mapping

from skatestock.catalog.commands_changes import Touched, record_change
from skatestock.catalog.model import ShopRecord
from skatestock.database.pool import Connection

_UPSERT_SHOPS = """
INSERT INTO shops (slug, name, city, region, url, currency, platform, demo, crawl_every_seconds)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::bool[], $9::int[])
ON CONFLICT (slug) DO UPDATE SET
    name = EXCLUDED.name, city = EXCLUDED.city, region = EXCLUDED.region, url = EXCLUDED.url,
    currency = EXCLUDED.currency, platform = EXCLUDED.platform, demo = EXCLUDED.demo,
    crawl_every_seconds = EXCLUDED.crawl_every_seconds, enabled = true
WHERE (shops.name, shops.city, shops.region, shops.url, shops.currency, shops.platform, shops.demo,
    shops.crawl_every_seconds, shops.enabled)
    IS DISTINCT FROM
    (EXCLUDED.name, EXCLUDED.city, EXCLUDED.region, EXCLUDED.url, EXCLUDED.currency, EXCLUDED.platform,
     EXCLUDED.demo, EXCLUDED.crawl_every_seconds, true)
RETURNING id
"""

_DISABLE_OTHERS = """
UPDATE shops SET enabled = false WHERE enabled AND definition IS NULL AND NOT slug = ANY ($1::text[])
RETURNING id
"""

# One transaction adds brands at a time: two that add the same ones in other orders would deadlock.
_LOCK_BRANDS = "LOCK TABLE brands IN SHARE ROW EXCLUSIVE MODE"
_ADD_BRANDS = """
INSERT INTO brands (slug, name) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT (slug) DO NOTHING
"""


async def ensure_shops(
    connection: Connection, shops: Iterable[ShopRecord], *, disable_others: bool = False
) -> None:
    """Add the shops or bring them up to date; all of them count as watched. Idempotent.

    `disable_others` marks those that are not named as no longer watched, unless they were added by command;
    what they listed stays as it was. What changed is recorded: the last act of a transaction, if in one.
    """
    ordered = sorted(shops, key=lambda shop: shop.slug)
    fields = ("slug", "name", "city", "region", "url", "currency", "platform", "demo", "crawl_every_seconds")
    columns = [[getattr(shop, field) for shop in ordered] for field in fields]
    async with connection.transaction():
        changed = await connection.fetch(_UPSERT_SHOPS, *columns)
        disabled = await connection.fetch(_DISABLE_OTHERS, columns[0]) if disable_others else []
        # What a shop is called is read beside the index, and each page says which shops it shows.
        await record_change(connection, Touched(shop_ids=[row["id"] for row in (*changed, *disabled)]))


async def ensure_brands(connection: Connection, names_by_slug: Mapping[str, str]) -> dict[str, int]:
    """Return the ids of brands by slug, adding those that are new; a known brand keeps its first name."""
    if not names_by_slug:
        return {}
    ids = await _fetch_brand_ids(connection, names_by_slug)
    missing = names_by_slug.keys() - ids.keys()
    if missing:
        await connection.execute(_LOCK_BRANDS)
        slugs = sorted(missing)
        await connection.execute(_ADD_BRANDS, slugs, [names_by_slug[slug] for slug in slugs])
        ids |= await _fetch_brand_ids(connection, missing)
    return ids


async def _fetch_brand_ids(connection: Connection, slugs: Collection[str]) -> dict[str, int]:
    rows = await connection.fetch("SELECT slug, id FROM brands WHERE slug = ANY ($1)", list(slugs))
    return {row[0]: row[1] for row in rows}
