"""Writes about shops, and what new listings refer to: brands and categories."""

from collections.abc import Collection, Iterable, Mapping

from skatestock.catalog.errors import UnknownShopError
from skatestock.catalog.model import ShopRecord
from skatestock.database.pool import Connection

_UPSERT_SHOPS = """
INSERT INTO shops (slug, name, city, region, url, currency, platform, demo)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::bool[])
ON CONFLICT (slug) DO UPDATE SET
    name = EXCLUDED.name, city = EXCLUDED.city, region = EXCLUDED.region, url = EXCLUDED.url,
    currency = EXCLUDED.currency, platform = EXCLUDED.platform, demo = EXCLUDED.demo
WHERE (shops.name, shops.city, shops.region, shops.url, shops.currency, shops.platform, shops.demo)
    IS DISTINCT FROM
    (EXCLUDED.name, EXCLUDED.city, EXCLUDED.region, EXCLUDED.url, EXCLUDED.currency, EXCLUDED.platform,
     EXCLUDED.demo)
"""

# Sorted, so that two transactions that add the same brands wait for each other instead of deadlocking.
_ADD_BRANDS = """
INSERT INTO brands (slug, name)
SELECT * FROM unnest($1::text[], $2::text[]) AS added (slug, name) ORDER BY slug
ON CONFLICT (slug) DO NOTHING
"""


async def ensure_shops(connection: Connection, shops: Iterable[ShopRecord]) -> None:
    """Add the shops or bring them up to date; idempotent, and a disabled shop stays disabled."""
    ordered = sorted(shops, key=lambda shop: shop.slug)
    fields = ("slug", "name", "city", "region", "url", "currency", "platform", "demo")
    columns = [[getattr(shop, field) for shop in ordered] for field in fields]
    await connection.execute(_UPSERT_SHOPS, *columns)


async def set_shop_enabled(connection: Connection, slug: str, *, enabled: bool) -> None:
    """Switch the crawling of a shop on or off; raises UnknownShopError."""
    changed = await connection.fetchval(
        "UPDATE shops SET enabled = $2 WHERE slug = $1 RETURNING id", slug, enabled
    )
    if changed is None:
        raise UnknownShopError(f"there is no shop {slug!r}")


async def ensure_brands(connection: Connection, names_by_slug: Mapping[str, str]) -> dict[str, int]:
    """Return the ids of brands by slug, adding those that are new; a known brand keeps its first name."""
    if not names_by_slug:
        return {}
    ids = await _fetch_brand_ids(connection, names_by_slug)
    missing = names_by_slug.keys() - ids.keys()
    if missing:
        slugs = sorted(missing)
        await connection.execute(_ADD_BRANDS, slugs, [names_by_slug[slug] for slug in slugs])
        ids |= await _fetch_brand_ids(connection, missing)
    return ids


async def _fetch_brand_ids(connection: Connection, slugs: Collection[str]) -> dict[str, int]:
    rows = await connection.fetch("SELECT slug, id FROM brands WHERE slug = ANY ($1)", list(slugs))
    return {row[0]: row[1] for row in rows}
