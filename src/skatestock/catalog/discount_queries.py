"""What discounts look like: how deep they are now, when they begin, how long they last.

What happened until some moment is kept (see `commands_discounts`). What happened since then, and everything
while nothing is kept, is read out of the price points by the same relations.
"""

from datetime import timedelta
from typing import NamedTuple

from skatestock.catalog.trend_queries import Chosen
from skatestock.database.pool import Connection

_DISCOUNTED = "(coalesce(p.compare_at_minor > p.price_minor, false) AND p.availability <> 'gone')"

READ_OUT = f"""
point AS (
    SELECT o.listing_id, p.offer_id, p.observed_at, 'price_down' = ANY (p.changes) AS dropped,
           {_DISCOUNTED} AS discounted
    FROM price_points p JOIN offers o ON o.id = p.offer_id JOIN chosen c ON c.id = o.listing_id
    WHERE p.observed_at >= $1 AND p.observed_at < $2
),
following AS (
    SELECT *, lag(discounted) OVER (PARTITION BY offer_id ORDER BY observed_at) AS before FROM point
),
turned AS MATERIALIZED (
    SELECT listing_id, offer_id, observed_at, dropped, discounted,
           -- what stood before the first of these points; null where it is the first of all
           coalesce(before, (
               SELECT {_DISCOUNTED} FROM price_points p WHERE p.offer_id = f.offer_id AND p.observed_at < $1
               ORDER BY p.observed_at DESC LIMIT 1)) AS before
    FROM following f
),
new_moves AS (
    SELECT observed_at AS at, listing_id, count(*) FILTER (WHERE dropped) AS price_drops,
           count(*) FILTER (WHERE discounted AND NOT before) AS discounts_begun
    FROM turned WHERE dropped OR (discounted AND NOT before) GROUP BY 1, 2
),
new_ends AS (
    SELECT t.observed_at AS ended_at, t.listing_id, begun.at AS began_at, count(*) AS discounts
    FROM turned t
    CROSS JOIN LATERAL (
        SELECT p.observed_at AS at FROM price_points p
        WHERE p.offer_id = t.offer_id AND p.observed_at < t.observed_at AND NOT {_DISCOUNTED}
        ORDER BY p.observed_at DESC LIMIT 1) AS undiscounted
    CROSS JOIN LATERAL (
        SELECT p.observed_at AS at FROM price_points p
        WHERE p.offer_id = t.offer_id AND p.observed_at > undiscounted.at AND p.observed_at < t.observed_at
        ORDER BY p.observed_at LIMIT 1) AS begun
    WHERE before AND NOT discounted GROUP BY 1, 2, 3
)"""  # noqa: S608 - constants only
"""Relations that tell what the points from $1 on and before $2 did to offers of the listings of `chosen`.

A discount begins with the first point that has one after one that has none, and ends with the next that has
none. One that an offer was first seen with has no known beginning, and is left out.
"""

# The listings asked for; $4 to $6 are slugs of shops, brands and categories. What is null does not filter,
# and a statement that is planned for its values reads nothing for it.
_CHOSEN = """
chosen AS MATERIALIZED (
    SELECT l.id, l.delisted_at FROM listings l LEFT JOIN products p ON p.id = l.product_id
    WHERE ($4::text[] IS NULL OR l.shop_id = ANY (ARRAY(SELECT id FROM shops WHERE slug = ANY ($4))))
        AND ($5::text[] IS NULL OR p.brand_id = ANY (ARRAY(SELECT id FROM brands WHERE slug = ANY ($5))))
        AND ($6::text[] IS NULL
            OR p.category_id = ANY (ARRAY(SELECT id FROM categories WHERE slug = ANY ($6))))
)"""
_STATE = """
SELECT kept_from, kept_until, set_config('plan_cache_mode', 'force_custom_plan', true) FROM discount_state"""
# From $1 on they are read out, before it they are kept; $3 is the beginning of the window.
_PATTERNS = f"""
WITH {_CHOSEN}, {READ_OUT},
depth AS (
    SELECT CASE WHEN o.compare_at_minor > o.price_minor
               THEN least(9, 10 * (o.compare_at_minor - o.price_minor) / o.compare_at_minor) END AS bucket,
           count(*) AS offers
    FROM offers o JOIN chosen c ON c.id = o.listing_id
    WHERE c.delisted_at IS NULL AND o.availability <> 'gone' AND o.price_minor IS NOT NULL GROUP BY 1
),
moved AS MATERIALIZED (
    SELECT extract(isodow FROM at AT TIME ZONE 'UTC') AS weekday, sum(price_drops) AS price_drops,
           sum(discounts_begun) AS discounts_begun
    FROM (SELECT at, price_drops, discounts_begun FROM discount_moves m JOIN chosen c ON c.id = m.listing_id
          WHERE at >= $3 AND at < $1
          UNION ALL SELECT at, price_drops, discounts_begun FROM new_moves) AS moves
    GROUP BY 1
),
lasted AS (
    SELECT extract(epoch FROM ended_at - began_at)::bigint AS seconds, sum(discounts) AS discounts
    FROM (SELECT ended_at, began_at, discounts FROM discount_ends e JOIN chosen c ON c.id = e.listing_id
          WHERE ended_at >= $3 AND ended_at < $1
          UNION ALL SELECT ended_at, began_at, discounts FROM new_ends) AS ends
    WHERE began_at >= $3 GROUP BY 1
),
ranked AS (
    SELECT seconds, sum(discounts) OVER (ORDER BY seconds) AS up_to, sum(discounts) OVER () AS ended
    FROM lasted
),
duration AS (
    SELECT coalesce(max(ended), 0)::bigint AS ended, min(seconds) FILTER (WHERE 4 * up_to >= ended) AS lower,
           min(seconds) FILTER (WHERE 2 * up_to >= ended) AS median,
           min(seconds) FILTER (WHERE 4 * up_to >= 3 * ended) AS upper
    FROM ranked
)
SELECT coalesce(m.price_drops, 0)::bigint AS price_drops,
       coalesce(m.discounts_begun, 0)::bigint AS discounts_begun, d.ended, d.lower, d.median, d.upper,
       (SELECT coalesce(sum(offers), 0)::bigint FROM depth) AS offers,
       ARRAY(SELECT coalesce(offers, 0) FROM generate_series(0, 9) AS bucket LEFT JOIN depth USING (bucket)
             ORDER BY bucket) AS depths
FROM generate_series(1, 7) AS w LEFT JOIN moved m ON m.weekday = w CROSS JOIN duration d ORDER BY w"""  # noqa: S608 - constants only

_TICK = timedelta(microseconds=1)
"""The least by which moments differ."""


class Discounts(NamedTuple):
    """What discounts look like."""

    offers: int
    """Offers with a price, listed now."""
    depths: tuple[int, ...]
    """How many of these are discounted, by tens of percent."""
    weekdays: tuple[tuple[int, int], ...]
    """Price drops and discounts begun, from Monday."""
    ended: int
    """How many of the discounts that began in the window have ended."""
    quartiles_seconds: tuple[int, ...]
    """How long these lasted; empty where none ended."""


async def find_discounts(connection: Connection, chosen: Chosen) -> Discounts:
    """Read how deep discounts are now, and when those of the window began and how long they lasted."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        state = await connection.fetchrow(_STATE)
        assert state is not None, "the migration has made its one row"
        since, end = chosen.since, chosen.until + _TICK
        is_kept = state["kept_from"] <= since
        read_from = max(since, min(state["kept_until"], end)) if is_kept else since
        rows = await connection.fetch(_PATTERNS, read_from, end, since, *chosen.filters())
    first = rows[0]
    return Discounts(
        offers=first["offers"],
        depths=tuple(first["depths"]),
        weekdays=tuple((row["price_drops"], row["discounts_begun"]) for row in rows),
        ended=first["ended"],
        quartiles_seconds=(first["lower"], first["median"], first["upper"]) if first["ended"] else (),
    )
