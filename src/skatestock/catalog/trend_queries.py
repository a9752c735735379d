"""How prices and stock went by day: from the days that are kept, or from the price points themselves."""

from datetime import date, datetime, time
from typing import NamedTuple

from skatestock.database.pool import Connection

MOST_SERIES = 100
"""So many series at most, those with the most offers."""
LONGEST_DAYS = 90
"""The longest window, today included."""

EVENTS = """
    count(*) FILTER (WHERE 'price_down' = ANY (changes)) AS price_drops,
    count(*) FILTER (WHERE 'price_up' = ANY (changes)) AS price_rises,
    count(*) FILTER (WHERE 'back_in_stock' = ANY (changes)) AS restocks,
    count(*) FILTER (WHERE 'out_of_stock' = ANY (changes)) AS sold_out,
    count(*) FILTER (WHERE 'first_seen' = ANY (changes)) AS first_seen"""
"""What happened to offers, counted over price points."""

# The offers asked for; $1 and $2 bound the window, $3 to $5 are slugs of shops, brands and categories.
_OFFERS = """
chosen AS MATERIALIZED (
    SELECT o.id, l.currency, s.slug AS shop_key, s.name AS shop_name, b.slug AS brand_key,
           b.name AS brand_name, g.slug AS category_key, g.name AS category_name
    FROM offers o JOIN listings l ON l.id = o.listing_id JOIN shops s ON s.id = l.shop_id
    JOIN products p ON p.id = l.product_id
    LEFT JOIN brands b ON b.id = p.brand_id LEFT JOIN categories g ON g.id = p.category_id
    WHERE ($3::text[] IS NULL OR s.slug = ANY ($3)) AND ($4::text[] IS NULL OR b.slug = ANY ($4))
        AND ($5::text[] IS NULL OR g.slug = ANY ($5))
)"""
# What was in force at a day's end is the last point until then; steps end where the next one begins.
_TRENDS = """
WITH {offers},
offer AS (SELECT id, currency, {key} AS key, {name} AS name FROM chosen),
point AS MATERIALIZED (
    SELECT c.id, c.key, c.name, c.currency, p.observed_at, p.price_minor, p.availability, p.changes,
           lead(p.observed_at) OVER (PARTITION BY c.id ORDER BY p.observed_at) AS ended_at
    FROM offer c JOIN price_points p ON p.offer_id = c.id WHERE p.observed_at <= $2
),
day AS (
    SELECT d::date AS day, least(d + interval '1 day', $2::timestamptz + interval '1 second') AS ends_at
    FROM generate_series($1::timestamptz, $2::timestamptz, interval '1 day') AS d
),
series AS (
    SELECT key, name, currency, count(DISTINCT id) AS offers FROM point
    WHERE ended_at IS NULL OR ended_at > $1
    GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 3 LIMIT {most}
),
stood AS (
    SELECT p.key, p.currency, d.day, count(*) AS offers_in_stock, min(p.price_minor) AS lowest_minor,
           percentile_disc(0.5) WITHIN GROUP (ORDER BY p.price_minor) AS median_minor
    FROM point p JOIN day d ON p.observed_at < d.ends_at AND (p.ended_at IS NULL OR p.ended_at >= d.ends_at)
    WHERE p.availability = 'in_stock' GROUP BY 1, 2, 3
),
happened AS (
    SELECT p.key, p.currency, (p.observed_at AT TIME ZONE 'UTC')::date AS day,
           {events}
    FROM point p WHERE p.observed_at >= $1 GROUP BY 1, 2, 3
)
SELECT s.key, s.name, s.currency, d.day, coalesce(t.offers_in_stock, 0) AS offers_in_stock, t.lowest_minor,
       t.median_minor, coalesce(h.price_drops, 0) AS price_drops, coalesce(h.price_rises, 0) AS price_rises,
       coalesce(h.restocks, 0) AS restocks, coalesce(h.sold_out, 0) AS sold_out,
       coalesce(h.first_seen, 0) AS first_seen
FROM series s CROSS JOIN day d
LEFT JOIN stood t ON t.key IS NOT DISTINCT FROM s.key AND t.currency = s.currency AND t.day = d.day
LEFT JOIN happened h ON h.key IS NOT DISTINCT FROM s.key AND h.currency = s.currency AND h.day = d.day
ORDER BY s.key NULLS FIRST, s.currency, d.day"""
# Finished days as they were reckoned, and today from the offers as they stand: the history is not read.
_KEPT_TRENDS = """
WITH series AS MATERIALIZED (
    SELECT coalesce({key}, 0) AS key_id, l.currency, count(*) AS offers,
           count(*) FILTER (WHERE o.availability = 'in_stock') AS offers_in_stock,
           min(o.price_minor) FILTER (WHERE o.availability = 'in_stock') AS lowest_minor,
           percentile_disc(0.5) WITHIN GROUP (ORDER BY o.price_minor)
               FILTER (WHERE o.availability = 'in_stock') AS median_minor
    FROM offers o JOIN listings l ON l.id = o.listing_id JOIN products p ON p.id = l.product_id
    WHERE o.price_minor IS NOT NULL AND ($3::integer[] IS NULL OR {key} = ANY ($3))
    GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT {most}
),
happened AS MATERIALIZED (
    SELECT coalesce({key}, 0) AS key_id, l.currency, {events}
    FROM price_points n JOIN offers o ON o.id = n.offer_id JOIN listings l ON l.id = o.listing_id
    JOIN products p ON p.id = l.product_id
    WHERE n.observed_at >= $2 AND ($3::integer[] IS NULL OR {key} = ANY ($3)) GROUP BY 1, 2
),
told AS (
    SELECT day, key_id, currency, offers_in_stock, lowest_minor, median_minor, price_drops, price_rises,
           restocks, sold_out, first_seen
    FROM trends WHERE told_by = '{by}' AND day >= $1 AND ($3::integer[] IS NULL OR key_id = ANY ($3))
    UNION ALL
    SELECT $4::date, key_id, currency, offers_in_stock, lowest_minor, median_minor, price_drops, price_rises,
           restocks, sold_out, first_seen
    FROM series LEFT JOIN happened USING (key_id, currency)
)
SELECT {shown}, s.currency, $1::date + n AS day, coalesce(t.offers_in_stock, 0), t.lowest_minor,
       t.median_minor, coalesce(t.price_drops, 0), coalesce(t.price_rises, 0),
       coalesce(t.restocks, 0), coalesce(t.sold_out, 0), coalesce(t.first_seen, 0)
FROM series s CROSS JOIN generate_series(0, $4::date - $1::date) AS n
LEFT JOIN told t ON t.key_id = s.key_id AND t.currency = s.currency AND t.day = $1::date + n
{named}
ORDER BY 1 NULLS FIRST, s.currency, n"""
_ARE_KEPT = "SELECT count(*) = $2::date - $1::date FROM trend_days WHERE day >= $1 AND day < $2"
_COLUMNS = {"all": "0", "shop": "l.shop_id", "brand": "p.brand_id", "category": "p.category_id"}
_TABLES = {"shop": "shops", "brand": "brands", "category": "categories"}


class Chosen(NamedTuple):
    """Which offers over which time; what is empty does not filter."""

    since: datetime
    until: datetime
    shops: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def filters(self) -> list[list[str] | None]:
        """Give the slugs of shops, brands and categories as statements take them."""
        return [list(slugs) or None for slugs in (self.shops, self.brands, self.categories)]


class TrendDay(NamedTuple):
    """One day of a series, with its series."""

    key: str | None
    name: str | None
    currency: str
    day: date
    offers_in_stock: int
    lowest_minor: int | None
    median_minor: int | None
    price_drops: int
    price_rises: int
    restocks: int
    sold_out: int
    first_seen: int


async def find_trends(connection: Connection, chosen: Chosen, by: str | None) -> tuple[TrendDay, ...]:
    """Read how prices and stock went, day by day and series by series, up to now.

    Days that are kept for just these series are taken as they are; else the history of the offers is read.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        told_by = _find_kept_series(chosen, by)
        days = chosen.since.date(), chosen.until.date()
        if told_by is not None and await connection.fetchval(_ARE_KEPT, *days):
            return await _find_kept_trends(connection, chosen, told_by, by)
        key, name = ("NULL::text", "NULL::text") if by is None else (f"{by}_key", f"{by}_name")
        statement = _TRENDS.format(offers=_OFFERS, key=key, name=name, most=MOST_SERIES, events=EVENTS)
        rows = await connection.fetch(statement, chosen.since, chosen.until, *chosen.filters())
    return tuple(TrendDay(*row) for row in rows)


def _find_kept_series(chosen: Chosen, by: str | None) -> str | None:
    """Tell which series that are kept are those asked for; None where no median is kept for these offers."""
    filters = {"shop": chosen.shops, "brand": chosen.brands, "category": chosen.categories}
    filtered = [name for name, slugs in filters.items() if slugs]
    if not filtered:
        return by or "all"
    (first, *more) = filtered
    return None if more or by not in (None, first) or (by is None and len(filters[first]) > 1) else first


async def _find_kept_trends(
    connection: Connection, chosen: Chosen, told_by: str, by: str | None
) -> tuple[TrendDay, ...]:
    slugs = [*chosen.shops, *chosen.brands, *chosen.categories]
    table = _TABLES.get(told_by)
    ids = None
    if slugs:
        found = await connection.fetch(f"SELECT id FROM {table} WHERE slug = ANY ($1)", slugs)  # noqa: S608
        ids = [row[0] for row in found]
    statement = _KEPT_TRENDS.format(
        key=_COLUMNS[told_by],
        by=told_by,
        most=MOST_SERIES,
        events=EVENTS,
        shown="NULL::text, NULL::text" if by is None else "k.slug, k.name",
        named="" if by is None else f"LEFT JOIN {table} k ON k.id = s.key_id",
    )
    today = datetime.combine(chosen.until.date(), time(), chosen.until.tzinfo)
    rows = await connection.fetch(statement, chosen.since.date(), today, ids, today.date())
    return tuple(TrendDay(*row) for row in rows)
