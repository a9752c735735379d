"""Keeps how prices and stock went on finished days, so that nobody has to read the whole history for it."""

from datetime import UTC, date, datetime, time, timedelta

from skatestock.catalog.trend_queries import EVENTS, LONGEST_DAYS
from skatestock.database.pool import Connection

_SETTLES_AFTER = timedelta(hours=3)
"""A day is reckoned as it ends, and again when crawls that were under way then have all been written."""

# The newest first: it is what most ask for.
_FIND_NEXT = """
SELECT day FROM (
    SELECT day, (day + 1)::timestamp AT TIME ZONE 'UTC' + $4::interval AS settled_at
    FROM (SELECT $1::date - n AS day FROM generate_series(1, $2::integer) AS n) AS days) AS ended
LEFT JOIN trend_days t USING (day)
WHERE t.day IS NULL OR (t.reckoned_at < settled_at AND settled_at <= $3)
ORDER BY day DESC LIMIT 1"""
_TAKE_OUT_ONE = "DELETE FROM trend_days WHERE day = $1"
_ADD_DAY = "INSERT INTO trend_days (day, reckoned_at) VALUES ($1, $2)"
_FORGET = "DELETE FROM trend_days WHERE day < $1"
_BEGAN = "SELECT min(observed_at) < $1 FROM price_points"
# An offer that has not moved since the day's end stood as it stands; of the others the history tells.
_RECKON = f"""
WITH offer AS MATERIALIZED (
    SELECT o.id, l.shop_id, p.brand_id, p.category_id, l.currency, o.availability, o.price_minor, o.since_at
    FROM offers o JOIN listings l ON l.id = o.listing_id JOIN products p ON p.id = l.product_id
),
stood AS (
    SELECT shop_id, brand_id, category_id, currency, price_minor FROM offer
    WHERE since_at < $3 AND availability = 'in_stock' AND price_minor IS NOT NULL
    UNION ALL
    SELECT o.shop_id, o.brand_id, o.category_id, o.currency, p.price_minor
    FROM offer o CROSS JOIN LATERAL (
        SELECT availability, price_minor FROM price_points p
        WHERE p.offer_id = o.id AND p.observed_at < $3 ORDER BY p.observed_at DESC LIMIT 1) AS p
    WHERE o.since_at >= $3 AND p.availability = 'in_stock'
),
stock AS (
    SELECT CASE 0 WHEN grouping(shop_id) THEN 'shop' WHEN grouping(brand_id) THEN 'brand'
               WHEN grouping(category_id) THEN 'category' ELSE 'all' END AS told_by,
           coalesce(shop_id, brand_id, category_id, 0) AS key_id, currency, count(*) AS offers_in_stock,
           min(price_minor) AS lowest_minor,
           percentile_disc(0.5) WITHIN GROUP (ORDER BY price_minor) AS median_minor
    FROM stood
    GROUP BY GROUPING SETS ((currency), (shop_id, currency), (brand_id, currency), (category_id, currency))
),
happened AS (
    SELECT CASE 0 WHEN grouping(shop_id) THEN 'shop' WHEN grouping(brand_id) THEN 'brand'
               WHEN grouping(category_id) THEN 'category' ELSE 'all' END AS told_by,
           coalesce(shop_id, brand_id, category_id, 0) AS key_id, currency, {EVENTS}
    FROM price_points p JOIN offer o ON o.id = p.offer_id
    WHERE p.observed_at >= $2 AND p.observed_at < $3
    GROUP BY GROUPING SETS ((currency), (shop_id, currency), (brand_id, currency), (category_id, currency))
)
INSERT INTO trends (day, told_by, key_id, currency, offers_in_stock, lowest_minor, median_minor,
    price_drops, price_rises, restocks, sold_out, first_seen)
SELECT $1::date, told_by, key_id, currency, coalesce(offers_in_stock, 0), lowest_minor, median_minor,
       coalesce(price_drops, 0), coalesce(price_rises, 0), coalesce(restocks, 0), coalesce(sold_out, 0),
       coalesce(first_seen, 0)
FROM stock FULL JOIN happened USING (told_by, key_id, currency)"""  # noqa: S608 - columns of ours
# Fails where days were taken out after this transaction began: what it reckoned may be one of them.
_CONFIRM = "SELECT taken_out FROM trend_state FOR UPDATE"
_MARK = "UPDATE trend_state SET taken_out = taken_out + 1"
_TAKE_OUT = "DELETE FROM trend_days WHERE day >= $1"
_EARLIEST = """
SELECT least(min(moment), (SELECT min(first_seen_at) FROM listings WHERE id = ANY ($2::bigint[])))
FROM unnest($1::timestamptz[]) AS moment"""


async def reckon_next_day(connection: Connection, now: datetime) -> date | None:
    """Reckon the latest finished day that is not, and return it; None when all of the longest window are.

    Raises a serialization failure, which may be tried again, when its history changes meanwhile.
    """
    async with connection.transaction(isolation="repeatable_read"):
        today = now.astimezone(UTC).date()
        day = await connection.fetchval(_FIND_NEXT, today, LONGEST_DAYS - 1, now, _SETTLES_AFTER)
        if day is None:
            return None
        begins_at = datetime.combine(day, time(), UTC)
        ends_at = begins_at + timedelta(days=1)
        await connection.execute(_TAKE_OUT_ONE, day)
        await connection.execute(_ADD_DAY, day, now)
        if await connection.fetchval(_BEGAN, ends_at):
            await connection.execute(_RECKON, day, begins_at, ends_at)
        await connection.execute(_FORGET, today - timedelta(days=LONGEST_DAYS))
        await connection.execute(_CONFIRM)
    found: date = day
    return found


async def take_out_days(
    connection: Connection, moments: list[datetime], new_listing_ids: list[int], today: date
) -> None:
    """Take out the days that price points of these moments, and of new listings, change; in a transaction."""
    earliest = await connection.fetchval(_EARLIEST, moments, new_listing_ids)
    if earliest is not None and earliest.astimezone(UTC).date() < today:
        await take_out_from(connection, earliest.astimezone(UTC).date())


async def take_out_from(connection: Connection, day: date) -> None:
    """Take out all days from one on; in a transaction."""
    await connection.execute(_MARK)
    await connection.execute(_TAKE_OUT, day)
