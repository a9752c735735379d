"""Keeps the product index: what lists of products are searched, filtered and sorted by.

The index is recomputed from the catalogue's own tables, product by product, never patched: doing a step again
changes nothing. Whoever writes takes one lock first and reads the catalogue after that, so that of two
writers the later one writes the later truth; leases only spare double work.
"""

from datetime import UTC, date
from typing import NamedTuple

import asyncpg

from skatestock.catalog.commands_changes import INDEX_CHANNEL
from skatestock.catalog.commands_discounts import follow_late_points, forget_discounts
from skatestock.catalog.commands_trends import take_out_days, take_out_from
from skatestock.catalog.product_filter import SOLD_OUT
from skatestock.database.pool import Connection
from skatestock.vocabulary.rules.loading import current_rules

INDEX_VERSION = 1
"""Which way of making the index this is: another one is made anew from all products."""

_MAX_CHANGES = 200
_MAX_PRODUCTS = 2000
# Any number does, as long as every version of SkateStock uses the same.
_INDEX_LOCK = 7_305_814_936_202

# A plan for ten products is a bad one for two thousand: each run is planned for what it is given.
_LOCK = "SELECT pg_advisory_xact_lock($1), set_config('plan_cache_mode', 'force_custom_plan', true)"

# What rows of `shown` say to facets: each value of each product once.
_COUNTED = f"""
told AS (
    SELECT sign, product_id, coalesce(category_id, 0)::smallint AS category_id, facet, value,
           bool_or(standing < {SOLD_OUT})::integer AS in_stock
    FROM shown CROSS JOIN LATERAL (
        VALUES ('shop', shop_id::text), ('brand', brand_id::text), ('category', category_id::text)
        UNION ALL SELECT 'size', unnest(sizes) UNION ALL SELECT 'colour', unnest(colours)
    ) AS said (facet, value)
    WHERE value IS NOT NULL GROUP BY sign, product_id, shown.category_id, facet, value
),
counted AS (
    INSERT INTO facet_counts AS old (category_id, facet, value, products, in_stock)
    SELECT category_id, facet, value, sum(sign), sum(sign * in_stock) FROM told GROUP BY 1, 2, 3
    HAVING sum(sign) <> 0 OR sum(sign * in_stock) <> 0
    ON CONFLICT (facet, category_id, value) DO UPDATE
    SET products = old.products + excluded.products, in_stock = old.in_stock + excluded.in_stock
)"""  # noqa: S608 - a number of ours

# One statement, so that every row is of one moment; $1 are product ids, $2 the words that name colours.
_INDEX = f"""
WITH touched AS (SELECT DISTINCT unnest($1::bigint[]) AS product_id),
listing AS MATERIALIZED (
    SELECT l.id, l.product_id, l.shop_id, l.currency, l.first_seen_at, l.image_url, l.title, l.brand,
           p.brand_id, p.category_id, p.name AS product_name, p.colourway AS product_colourway,
           coalesce(l.colourway, p.colourway, '') AS listing_colourway,
           l.delisted_at IS NULL AS listed,
           bool_or(l.delisted_at IS NULL) OVER (PARTITION BY l.product_id) AS product_listed
    FROM touched JOIN products p ON p.id = touched.product_id JOIN listings l ON l.product_id = p.id
),
spoken AS MATERIALIZED (
    SELECT l.*, coalesce(o.availability, 'gone') AS availability, o.price_minor, o.since_at, o.size,
           standing_of(o.availability, l.currency, o.price_minor) AS standing,
           amount_of(o.price_minor, l.currency) AS amount,
           CASE WHEN o.compare_at_minor > o.price_minor THEN o.compare_at_minor END AS compare_at_minor,
           CASE WHEN o.compare_at_minor > o.price_minor THEN
               (100 * (o.compare_at_minor - o.price_minor) / o.compare_at_minor)::smallint END AS discount,
           -- an offer that names its colour is in that one, and not in its listing's others
           coalesce(o.options ->> 'Color', o.options ->> 'Colour', o.options ->> 'color',
               o.options ->> 'colour', l.listing_colourway) AS offer_colourway
    FROM listing l LEFT JOIN offers o ON o.listing_id = l.id
),
coloured AS MATERIALIZED (
    SELECT colourway, split_colours(colourway, $2) AS colours
    FROM (SELECT DISTINCT offer_colourway AS colourway FROM spoken) AS named
),
offer AS MATERIALIZED (
    SELECT s.*, c.colours AS offer_colours FROM spoken s JOIN coloured c ON c.colourway = s.offer_colourway
),
considered AS (SELECT * FROM offer WHERE listed OR NOT product_listed),
product AS MATERIALIZED (
    SELECT product_id, bool_or(listed) AS listed, min(brand_id) AS brand_id, min(category_id) AS category_id,
           min(standing) AS standing, max(discount) AS discount, max(first_seen_at) AS newest_at,
           max(since_at) AS changed_at, min(amount) AS lowest_amount, max(amount) AS highest_amount,
           array_agg(DISTINCT shop_id) AS shop_ids,
           (array_agg(image_url ORDER BY id) FILTER (WHERE image_url IS NOT NULL))[1] AS image_url
    FROM considered GROUP BY product_id
),
priced AS MATERIALIZED (
    SELECT DISTINCT ON (c.product_id) c.product_id, c.availability, c.currency, c.price_minor,
           c.compare_at_minor,
           max(c.price_minor) OVER (PARTITION BY c.product_id, c.currency) AS highest_minor
    FROM considered c JOIN product p USING (product_id)
    -- of the best availability only
    WHERE c.standing >> 60 = p.standing >> 60
    ORDER BY c.product_id, c.standing, c.currency, c.price_minor, c.compare_at_minor DESC NULLS LAST
),
worded AS MATERIALIZED (
    SELECT product_id, word, CASE WHEN bool_or(own) THEN 'A' ELSE 'B' END AS weight
    FROM (
        SELECT l.product_id, true AS own, unnest(split_words(
            concat_ws(' ', l.product_name, l.product_colourway, b.name, g.name))) AS word
        FROM (SELECT DISTINCT product_id, product_name, product_colourway, brand_id, category_id
              FROM listing) AS l
        LEFT JOIN brands b ON b.id = l.brand_id LEFT JOIN categories g ON g.id = l.category_id
        UNION ALL
        SELECT product_id, false, unnest(split_words(concat_ws(' ', title, brand)))
        FROM listing WHERE listed OR NOT product_listed) AS said
    GROUP BY product_id, word
),
searched AS MATERIALIZED (
    -- words hold neither quotes nor backslashes
    SELECT product_id, string_agg(format('''%s'':1%s', word, weight), ' ')::tsvector AS search
    FROM worded GROUP BY product_id
),
without_products AS (
    DELETE FROM indexed_products i USING touched t
    WHERE i.product_id = t.product_id AND NOT EXISTS (SELECT FROM product p WHERE p.product_id = t.product_id)
),
without_summaries AS (
    DELETE FROM product_summaries i USING touched t
    WHERE i.product_id = t.product_id AND NOT EXISTS (SELECT FROM product p WHERE p.product_id = t.product_id)
),
-- no key stands between what goes and what comes: the same statement may do both
without_offers AS (
    DELETE FROM indexed_offers WHERE product_id = ANY ($1::bigint[])
    RETURNING product_id, listed, shop_id, brand_id, category_id, standing, sizes, colours
),
products_indexed AS (
    INSERT INTO indexed_products AS old (product_id, listed, brand_id, category_id, standing, discount,
        newest_at, changed_at, lowest_amount, highest_amount)
    SELECT product_id, listed, brand_id, category_id, standing, discount, newest_at, changed_at,
        lowest_amount, highest_amount FROM product
    ON CONFLICT (product_id) DO UPDATE SET listed = excluded.listed, brand_id = excluded.brand_id,
        category_id = excluded.category_id, standing = excluded.standing, discount = excluded.discount,
        newest_at = excluded.newest_at, changed_at = excluded.changed_at,
        lowest_amount = excluded.lowest_amount, highest_amount = excluded.highest_amount
    WHERE old IS DISTINCT FROM excluded
),
offers_indexed AS (
    INSERT INTO indexed_offers (product_id, shop_id, listed, brand_id, category_id, standing, amount,
        discount, sizes, colours, first_seen_at, newest_at, changed_at)
    SELECT o.product_id, o.shop_id, o.listed, o.brand_id, o.category_id, o.standing, o.amount, o.discount,
           coalesce(array_agg(DISTINCT o.size) FILTER (WHERE o.size IS NOT NULL), '{{}}'), o.offer_colours,
           o.first_seen_at, p.newest_at, p.changed_at
    FROM offer o JOIN product p USING (product_id)
    GROUP BY o.id, o.product_id, o.shop_id, o.listed, o.brand_id, o.category_id, o.standing, o.amount,
        o.discount, o.offer_colours, o.first_seen_at, p.newest_at, p.changed_at
),
shown AS (
    SELECT -1 AS sign, product_id, shop_id, brand_id, category_id, standing, sizes, colours
    FROM without_offers WHERE listed
    UNION ALL
    SELECT 1, product_id, shop_id, brand_id, category_id, standing, ARRAY[size], offer_colours
    FROM offer WHERE listed
),
{_COUNTED},
words_indexed AS (
    INSERT INTO product_words (word) SELECT DISTINCT word FROM worded ON CONFLICT DO NOTHING
)
INSERT INTO product_summaries AS old (product_id, image_url, availability, currency, price_minor,
    highest_minor, compare_at_minor, shop_ids, search)
SELECT p.product_id, p.image_url, c.availability, c.currency, c.price_minor, c.highest_minor,
       c.compare_at_minor, p.shop_ids, coalesce(s.search, '')
FROM product p JOIN priced c USING (product_id) LEFT JOIN searched s USING (product_id)
ON CONFLICT (product_id) DO UPDATE SET image_url = excluded.image_url, availability = excluded.availability,
    currency = excluded.currency, price_minor = excluded.price_minor, highest_minor = excluded.highest_minor,
    compare_at_minor = excluded.compare_at_minor, shop_ids = excluded.shop_ids, search = excluded.search
WHERE old IS DISTINCT FROM excluded
"""  # noqa: S608 - names of ours

_FIND_CHANGES = """
SELECT position, changed_at, everything, product_ids, new_listing_ids, point_moments FROM catalogue_changes
WHERE position > (SELECT indexed FROM catalogue_clock) ORDER BY position LIMIT $1
"""
_FIND_DELAY = "SELECT extract(epoch FROM clock_timestamp() - $1::timestamptz)::float8"
_FIND_FOLLOWED = "SELECT indexed, position FROM catalogue_clock"
# The clock's row is locked from here to the commit, which comes next.
_MOVE = f"""
WITH moved AS (
    UPDATE catalogue_clock SET indexed = $1 WHERE indexed < $1 RETURNING indexed
)
SELECT pg_notify('{INDEX_CHANNEL}', indexed::text) FROM moved
"""  # noqa: S608 - a name of ours

_FIND_STATE = "SELECT version, built_to, built_after FROM product_index_state"
_BEGIN = """
UPDATE product_index_state SET built_to = 0, built_after = (SELECT position FROM catalogue_clock)
"""
_BUILD_TO = "UPDATE product_index_state SET built_to = $1"
_NEXT_PRODUCTS = "SELECT id FROM products WHERE id > $1 ORDER BY id LIMIT $2"
_SWEEP = (
    "DELETE FROM indexed_offers i WHERE NOT EXISTS (SELECT FROM listings l WHERE l.product_id = "
    "i.product_id)",
    "DELETE FROM indexed_products i "
    "WHERE NOT EXISTS (SELECT FROM listings l WHERE l.product_id = i.product_id)",
    "DELETE FROM product_summaries i "
    "WHERE NOT EXISTS (SELECT FROM listings l WHERE l.product_id = i.product_id)",
    "DELETE FROM product_words w WHERE NOT EXISTS ("
    "SELECT FROM product_summaries s WHERE s.search @@ format('''%s''', w.word)::tsquery)",
    "DELETE FROM facet_counts",
    # counted anew, so that a build mends whatever they were
    f"WITH shown AS (SELECT 1 AS sign, i.* FROM indexed_offers i WHERE listed), {_COUNTED} SELECT",  # noqa: S608
)
_FINISH = "UPDATE product_index_state SET version = $1, built_to = NULL, built_after = NULL"


class Followed(NamedTuple):
    """What one step of following did."""

    position: int
    """Up to where the index has followed now."""
    products: int
    """How many products were made anew."""
    delay_seconds: float | None
    """How long ago the first of these changes was recorded; None where there was none."""
    rebuild: bool
    """Whether everything must be built anew before anything is followed."""
    more: bool
    """Whether more changes wait."""


class Building(NamedTuple):
    """How far a build is."""

    built_to: int
    """Up to which product."""
    products: int
    """How many this step took."""
    done: bool


async def index_products(connection: Connection, product_ids: list[int]) -> None:
    """Make the index of these products anew, in the transaction of the caller; idempotent."""
    await connection.execute(_LOCK, _INDEX_LOCK)
    colours = list(current_rules().titles.colours)
    for start in range(0, len(product_ids), _MAX_PRODUCTS):
        await connection.execute(_INDEX, product_ids[start : start + _MAX_PRODUCTS], colours)


async def follow_changes(connection: Connection) -> Followed:
    """Make the products anew that the next changes touched, and say in the same transaction how far that is.

    Where anything may have changed, or changes are missing, nothing is done but to say so: see `begin_build`.
    """
    async with connection.transaction():
        await connection.execute(_LOCK, _INDEX_LOCK)
        state = await connection.fetchrow(_FIND_STATE)
        indexed, position = await connection.fetchrow(_FIND_FOLLOWED) or (0, 0)
        changes = await connection.fetch(_FIND_CHANGES, _MAX_CHANGES)
        missing = position > indexed and (not changes or changes[0]["position"] != indexed + 1)
        unbuilt = state is None or state["version"] != INDEX_VERSION or state["built_to"] is not None
        if unbuilt or missing or any(change["everything"] for change in changes):
            return Followed(indexed, 0, None, True, True)
        if not changes:
            return Followed(indexed, 0, None, False, False)
        taken, product_ids = _take(changes)
        if product_ids:
            await index_products(connection, sorted(product_ids))
        reached: int = changes[taken - 1]["position"]
        await _follow_history(connection, changes[:taken])
        await connection.execute(_MOVE, reached)
        delay_seconds: float = await connection.fetchval(_FIND_DELAY, changes[0]["changed_at"])
    return Followed(reached, len(product_ids), delay_seconds, False, reached < position)


async def begin_build(connection: Connection, *, anew: bool = True) -> None:
    """Note that every product is to be built; with `anew` false, a build that was begun goes on where it was.

    The index serves meanwhile what it had, unless it never had anything.
    """
    async with connection.transaction():
        await connection.execute(_LOCK, _INDEX_LOCK)
        state = await connection.fetchrow(_FIND_STATE)
        if anew or state is None or state["built_to"] is None:
            await connection.execute(_BEGIN)
            await take_out_from(connection, date.min)
            await forget_discounts(connection)


async def build_next(connection: Connection) -> Building:
    """Build the next products of a build that was begun; after the last one, follow from where it began."""
    async with connection.transaction():
        await connection.execute(_LOCK, _INDEX_LOCK)
        state = await connection.fetchrow(_FIND_STATE)
        if state is None or state["built_to"] is None:
            return Building(0, 0, True)
        rows = await connection.fetch(_NEXT_PRODUCTS, state["built_to"], _MAX_PRODUCTS)
        if rows:
            await index_products(connection, [row["id"] for row in rows])
            await connection.execute(_BUILD_TO, rows[-1]["id"])
            return Building(rows[-1]["id"], len(rows), False)
        for statement in _SWEEP:
            await connection.execute(statement)
        await connection.execute(_FINISH, INDEX_VERSION)
        await connection.execute(_MOVE, state["built_after"])
    return Building(state["built_to"], 0, True)


async def rebuild_index(connection: Connection) -> None:
    """Build the index anew from all products."""
    await begin_build(connection)
    while not (await build_next(connection)).done:
        pass


async def _follow_history(connection: Connection, changes: list[asyncpg.Record]) -> None:
    """Mend what is kept of the history that these changes have changed."""
    moments = [moment for change in changes for moment in change["point_moments"]]
    listing_ids = [listing_id for change in changes for listing_id in change["new_listing_ids"]]
    if moments or listing_ids:
        now = await connection.fetchval("SELECT now()")
        await take_out_days(connection, moments, listing_ids, now.astimezone(UTC).date())
        positions = range(changes[0]["position"], changes[-1]["position"] + 1)
        await follow_late_points(connection, positions, moments, listing_ids)


def _take(changes: list[asyncpg.Record]) -> tuple[int, set[int]]:
    """Take as many changes as touch a bearable number of products, one at least."""
    product_ids: set[int] = set()
    for number, change in enumerate(changes):
        more = product_ids.union(change["product_ids"])
        if number and len(more) > _MAX_PRODUCTS:
            return number, product_ids
        product_ids = more
    return len(changes), product_ids
