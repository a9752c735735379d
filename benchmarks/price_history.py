"""A long price history for the benchmarks' catalogue: listings change prices, and offers their stock."""

from datetime import timedelta

from benchmarks.product_catalogue import NOW

from skatestock.database.partitions import ensure_month_partitions
from skatestock.database.pool import Connection

DAYS = 300
"""How long it is."""

_PRICE_MOVES_OF_LISTING = 4
_STOCK_MOVES_OF_OFFER = 16

# A price moves for all offers of a listing at once; two of five moves leave them on sale.
_PRICE_MOVES = """
CREATE TEMP TABLE price_moves ON COMMIT DROP AS
SELECT l.id AS listing_id, o.id AS offer_id, moves.at, o.price_minor * moves.off / 100 AS price_minor,
       CASE WHEN moves.off < 100 THEN o.price_minor END AS compare_at_minor
FROM listings l
CROSS JOIN LATERAL (
    SELECT $1::timestamptz - make_interval(secs => CASE n WHEN 1 THEN $2::integer * 86400
               ELSE floor(random() * ($2::integer * 86400 - l.id % 2)) END) AS at,
           CASE WHEN n > 1 AND random() < 0.4 THEN 50 + 5 * floor(random() * 9)::integer ELSE 100 END AS off
    FROM generate_series(1, $3::integer) AS n) AS moves
JOIN offers o ON o.listing_id = l.id"""
_STOCK_MOVES = """
CREATE TEMP TABLE stock_moves ON COMMIT DROP AS
SELECT o.id AS offer_id, $1::timestamptz - make_interval(secs => floor(random() * $2::integer * 86400)) AS at,
       CASE WHEN random() < 0.6 THEN 'in_stock' ELSE 'out_of_stock' END AS availability
FROM offers o CROSS JOIN generate_series(1, $3::integer) AS n
WHERE o.id + n > 0"""
_POINTS = """
INSERT INTO price_points (offer_id, observed_at, price_minor, compare_at_minor, availability, changes,
    crawl_id)
WITH moved AS (
    SELECT offer_id, at, price_minor, compare_at_minor, NULL AS availability FROM price_moves
    UNION ALL SELECT offer_id, at, NULL, NULL, availability FROM stock_moves
),
one AS (
    SELECT offer_id, at, max(price_minor) AS price_minor, max(compare_at_minor) AS compare_at_minor,
           max(availability) AS availability
    FROM moved GROUP BY 1, 2
),
numbered AS (
    SELECT *, count(price_minor) OVER w AS price_run, count(availability) OVER w AS stock_run
    FROM one WINDOW w AS (PARTITION BY offer_id ORDER BY at)
),
stood AS (
    SELECT offer_id, at, max(price_minor) OVER p AS price_minor,
           max(compare_at_minor) OVER p AS compare_at_minor,
           coalesce(max(availability) OVER s, 'in_stock') AS availability
    FROM numbered WINDOW p AS (PARTITION BY offer_id, price_run), s AS (PARTITION BY offer_id, stock_run)
),
turned AS (
    SELECT *, lag(price_minor) OVER w AS old_price, lag(compare_at_minor) OVER w AS old_compare_at,
           lag(availability) OVER w AS old_availability
    FROM stood WINDOW w AS (PARTITION BY offer_id ORDER BY at)
)
SELECT offer_id, at, price_minor, compare_at_minor, availability, array_remove(ARRAY[
           CASE WHEN old_price IS NULL THEN 'first_seen' WHEN price_minor < old_price THEN 'price_down'
               WHEN price_minor > old_price THEN 'price_up' END,
           CASE WHEN old_price IS NOT NULL AND compare_at_minor IS DISTINCT FROM old_compare_at
               THEN 'compare_at_changed' END,
           CASE WHEN availability <> old_availability
               THEN CASE availability WHEN 'in_stock' THEN 'back_in_stock' ELSE 'out_of_stock' END END
           ], NULL), 'c'
FROM turned
WHERE (price_minor, compare_at_minor, availability)
    IS DISTINCT FROM (old_price, old_compare_at, old_availability)"""
_STAND = """
UPDATE offers o SET price_minor = p.price_minor, compare_at_minor = p.compare_at_minor,
    availability = p.availability, since_at = p.observed_at
FROM (SELECT DISTINCT ON (offer_id) * FROM price_points ORDER BY offer_id, observed_at DESC) AS p
WHERE o.id = p.offer_id"""


async def write_history(connection: Connection, seed: float = 0.5) -> int:
    """Write about ten price points for each offer of a catalogue, and return how many those are."""
    months = {(NOW - timedelta(days=days)).date() for days in range(DAYS + 1)}
    await ensure_month_partitions(connection, "price_points", months)
    async with connection.transaction():
        await connection.execute("SELECT setseed($1), set_config('work_mem', '256MB', true)", seed)
        await connection.execute(_PRICE_MOVES, NOW, DAYS, _PRICE_MOVES_OF_LISTING)
        await connection.execute(_STOCK_MOVES, NOW, DAYS, _STOCK_MOVES_OF_OFFER)
        await connection.execute(_POINTS)
        await connection.execute(_STAND)
    points: int = await connection.fetchval("SELECT count(*) FROM price_points")
    return points
