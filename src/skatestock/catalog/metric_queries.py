"""What the catalogue holds, and what is known to be wrong with it."""

from datetime import datetime, timedelta
from typing import NamedTuple

from skatestock.database.pool import Connection

_COUNT = """
SELECT (SELECT count(*) FROM shops) AS shops,
       (SELECT count(DISTINCT product_id) FROM listings WHERE delisted_at IS NULL) AS products,
       (SELECT count(*) FROM listings WHERE delisted_at IS NULL) AS listings,
       (SELECT count(delisted_at) FROM listings) AS delisted,
       o.offers, o.offers_in_stock, c.points AS price_points, c.points > $1::bigint AS price_points_estimated,
       (SELECT min(observed_at) FROM price_points) AS first_point_at
FROM (SELECT count(*) AS offers, count(*) FILTER (WHERE availability = 'in_stock') AS offers_in_stock
      FROM offers o JOIN listings l ON l.id = o.listing_id WHERE l.delisted_at IS NULL) AS o,
     -- The history only grows: beyond some, what ANALYZE last found stands for it.
     (SELECT CASE WHEN counted > $1::bigint THEN greatest(counted, (
          SELECT sum(greatest(reltuples, 0))::bigint FROM pg_partition_tree('price_points') t
          JOIN pg_class k ON k.oid = t.relid WHERE t.isleaf)) ELSE counted END AS points
      FROM (SELECT count(*) AS counted
            FROM (SELECT FROM price_points LIMIT $1::bigint + 1) AS few) AS n) AS c"""
_MOST_COUNTED = 100_000
_SHOPS = """
SELECT s.slug, coalesce(c.crawls, 0) AS crawls, coalesce(c.complete_crawls, 0) AS complete_crawls,
       coalesce(q.errors, 0) AS errors, coalesce(q.warnings, 0) AS warnings, coalesce(q.infos, 0) AS infos
FROM shops s
LEFT JOIN (SELECT shop_id, count(*) AS crawls, count(*) FILTER (WHERE complete) AS complete_crawls
           FROM crawls WHERE completed_at > $1 GROUP BY 1) AS c ON c.shop_id = s.id
LEFT JOIN (SELECT shop_id, count(*) FILTER (WHERE severity = 'error') AS errors,
                  count(*) FILTER (WHERE severity = 'warning') AS warnings,
                  count(*) FILTER (WHERE severity = 'info') AS infos
           FROM quality_issues WHERE resolved_at IS NULL GROUP BY 1) AS q ON q.shop_id = s.id"""
_RECENT = timedelta(days=1)


class CatalogueCounts(NamedTuple):
    """What the catalogue holds."""

    shops: int
    products: int
    listings: int
    delisted: int
    offers: int
    """Of listings that shops have."""
    offers_in_stock: int
    price_points: int
    price_points_estimated: bool
    """Whether these are more than are counted one by one."""
    first_point_at: datetime | None


class ShopCounts(NamedTuple):
    """What happened at a shop in the last day, and the open issues of its data by severity."""

    slug: str
    crawls: int
    complete_crawls: int
    errors: int
    warnings: int
    infos: int


async def count_catalogue(connection: Connection) -> CatalogueCounts:
    """Count what the catalogue holds."""
    row = await connection.fetchrow(_COUNT, _MOST_COUNTED)
    assert row is not None
    return CatalogueCounts(*row)


async def count_by_shop(connection: Connection, now: datetime) -> dict[str, ShopCounts]:
    """Count recent crawls and open issues by the shop's slug."""
    return {row["slug"]: ShopCounts(*row) for row in await connection.fetch(_SHOPS, now - _RECENT)}
