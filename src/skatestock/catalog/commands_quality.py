"""Checks a shop's stored data: opens issues that are new, moves on those that stay, resolves the others."""

from datetime import datetime
from typing import NamedTuple

from skatestock.catalog.freshness import stale_after
from skatestock.catalog.quality import KINDS, PAGE_PLATFORMS, REJECT_KINDS, QualityKind
from skatestock.database.pool import Connection
from skatestock.vocabulary.normaliser import Normaliser

KEPT_DAYS = 180
"""How long an issue is kept after it was resolved."""

_SHOP = "SELECT id, crawl_every_seconds FROM shops WHERE slug = $1"

# Only offers whose size no rule knew: reading the names of all options would cost more than the check.
_OPTION_NAMES = """
SELECT DISTINCT jsonb_object_keys(o.options) FROM offers o JOIN listings l ON l.id = o.listing_id
WHERE l.shop_id = $1 AND l.delisted_at IS NULL AND o.size IS NULL
"""

# The last complete crawl and what ended after it: only a complete crawl takes back what one before it said.
_SCOPE = """
shop AS (SELECT id, currency, platform, enabled FROM shops WHERE id = $1),
whole AS (
    SELECT started_at, completed_at FROM crawls WHERE shop_id = $1 AND complete
    ORDER BY started_at DESC LIMIT 1
),
spoken AS MATERIALIZED (
    SELECT crawl_id, complete, reason, detail, started_at, completed_at, listings_seen, rejected FROM crawls
    WHERE shop_id = $1 AND completed_at IS NOT NULL
        AND started_at >= coalesce((SELECT started_at FROM whole), '-infinity')
    ORDER BY complete DESC, started_at DESC LIMIT 21
),
listed AS MATERIALIZED (
    SELECT l.id, l.listing_id, l.title, l.brand, l.product_type, l.image_url, l.currency, l.brand_id,
        l.category_id, l.rules_version, l.first_seen_at, l.seen_at
    FROM listings l WHERE l.shop_id = $1 AND l.delisted_at IS NULL
),
sold AS MATERIALIZED (
    SELECT l.id AS listing, l.listing_id, l.currency, l.seen_at, l.rules_version, o.offer_id, o.options,
        o.sku, o.size, o.price_minor, o.compare_at_minor, o.held_price_minor, o.invalid_barcode
    FROM listed l JOIN offers o ON o.listing_id = l.id WHERE o.availability <> 'gone'
),
-- how often one crawl rejected the same thing; the last crawl that did tells of it
refused AS MATERIALIZED (
    SELECT DISTINCT ON (kind, listing_id) kind, listing_id, reason, rejected_at, detail, position,
        count(*) OVER (PARTITION BY kind, listing_id, crawl_id) AS times
    FROM (
        SELECT CASE WHEN r.reason = 'not_a_product' AND s.platform <> ALL ($7::text[])
                THEN 'rejected_product' ELSE coalesce(k.kind, 'rejected_product') END AS kind,
            r.listing_id, r.reason, r.rejected_at, r.detail, r.position, r.crawl_id, r.ordinal
        FROM spoken c CROSS JOIN shop s
        JOIN rejected_observations r ON r.crawl_id = c.crawl_id AND r.ordinal IS NOT NULL
        LEFT JOIN unnest($5::text[], $6::text[]) AS k (reason, kind) ON k.reason = r.reason
    ) AS named
    ORDER BY kind, listing_id, rejected_at DESC, ordinal
),
"""

# Two ways of being the same thing, both strict: the same codes on the same variants; or the same words and
# picture on the same variants, with no codes that differ. A picture's address is read without its version.
_DUPLICATES = """
described AS MATERIALIZED (
    SELECT l.id, l.listing_id, l.title AS shown, l.seen_at, l.first_seen_at,
        lower(regexp_replace(l.title, '\\s+', ' ', 'g')) AS title, lower(coalesce(l.brand, '')) AS brand,
        lower(coalesce(l.product_type, '')) AS product_type,
        split_part(coalesce(l.image_url, ''), '?', 1) AS picture, v.variants, v.skus, v.coded
    FROM listed l JOIN (
        SELECT listing, array_agg(DISTINCT options) AS variants,
            array_agg(DISTINCT sku) FILTER (WHERE sku <> '') AS skus,
            bool_and(coalesce(length(sku) >= 6 AND sku ~ '[0-9]', false)) AS coded
        FROM sold GROUP BY listing
    ) AS v ON v.listing = l.id
),
same_codes AS (
    SELECT listing_id, shown, seen_at, first_value(listing_id) OVER w AS same_as
    FROM described WHERE coded
    WINDOW w AS (PARTITION BY skus, variants ORDER BY first_seen_at, id)
),
same_words AS (
    SELECT listing_id, shown, seen_at, skus, first_value(listing_id) OVER w AS same_as,
        first_value(skus) OVER w AS skus_of_first
    FROM described
    WINDOW w AS (PARTITION BY title, brand, product_type, picture, variants ORDER BY first_seen_at, id)
),
doubled AS (
    SELECT listing_id, shown, seen_at, same_as FROM same_codes WHERE listing_id <> same_as
    UNION
    SELECT listing_id, shown, seen_at, same_as FROM same_words WHERE listing_id <> same_as
        AND (skus IS NULL OR skus_of_first IS NULL OR skus && skus_of_first)
),
"""

# One query per kind; `seen_at` is the crawl that showed it last.
_FINDINGS = """
findings (kind, listing_id, offer_id, seen_at, detail) AS (
    SELECT 'stale_shop', NULL::text, NULL::text, $2::timestamptz, jsonb_build_object(
        'last_complete_at', to_char(w.completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'reason', last.reason)
    FROM shop s LEFT JOIN whole w ON true
    CROSS JOIN LATERAL (
        SELECT reason, started_at FROM crawls WHERE shop_id = s.id ORDER BY started_at DESC, id DESC LIMIT 1
    ) AS last
    WHERE s.enabled AND coalesce(w.completed_at, (SELECT min(started_at) FROM crawls WHERE shop_id = s.id))
        < $2 - make_interval(secs => $3)
    UNION ALL
    SELECT 'implausible_crawl', NULL, NULL, max(completed_at),
        jsonb_build_object('detail', (array_agg(detail ORDER BY started_at DESC))[1])
    FROM spoken WHERE reason = 'implausible' AND (SELECT enabled FROM shop) HAVING count(*) > 0
    UNION ALL
    SELECT 'price_zero', listing_id, offer_id, seen_at, jsonb_build_object(
        'confirmed', price_minor IS NOT DISTINCT FROM 0)
    FROM sold WHERE price_minor = 0 OR held_price_minor = 0
    UNION ALL
    SELECT 'mixed_currency', l.listing_id, NULL, l.seen_at,
        jsonb_build_object('currency', l.currency, 'shop_currency', s.currency)
    FROM listed l JOIN shop s ON l.currency <> s.currency
    UNION ALL
    SELECT 'price_jump_held', listing_id, offer_id, seen_at, jsonb_build_object(
        'price_minor', price_minor, 'held_price_minor', held_price_minor, 'currency', currency)
    FROM sold WHERE held_price_minor > 0
    UNION ALL
    SELECT 'compare_at_below_price', listing_id, offer_id, seen_at, jsonb_build_object(
        'price_minor', price_minor, 'compare_at_minor', compare_at_minor, 'currency', currency)
    FROM sold WHERE compare_at_minor > 0 AND compare_at_minor < price_minor
    UNION ALL
    SELECT 'duplicate_listing', listing_id, NULL, seen_at,
        jsonb_build_object('same_as', same_as, 'title', shown)
    FROM doubled
    UNION ALL
    SELECT kind, listing_id, NULL, rejected_at, jsonb_build_object(
        'reason', reason, 'detail', left(detail, 300), 'position', position, 'times', times)
    FROM refused
    UNION ALL
    SELECT 'missing_image', listing_id, NULL, seen_at, '{}' FROM listed WHERE image_url IS NULL
    UNION ALL
    SELECT 'unknown_brand', listing_id, NULL, seen_at, jsonb_build_object('words', coalesce(brand, title))
    FROM listed WHERE brand_id IS NULL AND rules_version IS NOT NULL
    UNION ALL
    SELECT 'unknown_category', listing_id, NULL, seen_at,
        jsonb_build_object('words', coalesce(product_type, title))
    FROM listed WHERE category_id IS NULL AND rules_version IS NOT NULL
    UNION ALL
    SELECT 'unknown_size', listing_id, offer_id, seen_at, jsonb_build_object('words', option.value)
    FROM sold CROSS JOIN LATERAL jsonb_each_text(options) AS option
    WHERE size IS NULL AND rules_version IS NOT NULL AND option.key = ANY ($4::text[]) AND option.value <> ''
    UNION ALL
    SELECT 'invalid_barcode', listing_id, offer_id, seen_at, jsonb_build_object('barcode', invalid_barcode)
    FROM sold WHERE invalid_barcode IS NOT NULL
),
found AS MATERIALIZED (
    SELECT DISTINCT ON (f.kind, listing_id, offer_id)
        f.kind, k.severity, listing_id, offer_id, seen_at, detail
    FROM findings f JOIN unnest($8::text[], $9::text[]) AS k (kind, severity) ON k.kind = f.kind
    ORDER BY f.kind, listing_id, offer_id, seen_at DESC, detail
),
"""

# A row that says the same already is not written again. NOT IN is hashed whatever the planner thinks of the
# table, where an anti-join may compare thousands of issues pair by pair; no identifier is empty.
# A crawl that rejected more than it tells may have rejected any of those that it does not name.
_SETTLE = """
put AS (
    INSERT INTO quality_issues AS q
        (kind, severity, shop_id, listing_id, offer_id, detail, first_seen_at, last_seen_at)
    SELECT kind, severity, $1, listing_id, offer_id, detail, seen_at, seen_at FROM found
    ON CONFLICT (shop_id, kind, listing_id, offer_id) WHERE resolved_at IS NULL DO UPDATE SET
        severity = EXCLUDED.severity, detail = EXCLUDED.detail,
        last_seen_at = greatest(q.last_seen_at, EXCLUDED.last_seen_at)
    WHERE q.last_seen_at < EXCLUDED.last_seen_at
        OR (q.severity, q.detail) IS DISTINCT FROM (EXCLUDED.severity, EXCLUDED.detail)
    RETURNING xmax = 0 AS opened
),
untold AS (
    SELECT FROM spoken c WHERE c.rejected > (
        SELECT count(*) FROM rejected_observations r WHERE r.crawl_id = c.crawl_id AND r.ordinal IS NOT NULL)
),
gone AS (
    UPDATE quality_issues q SET resolved_at = greatest($2, q.last_seen_at)
    WHERE q.shop_id = $1 AND q.resolved_at IS NULL
        AND (q.kind, coalesce(q.listing_id, ''), coalesce(q.offer_id, '')) NOT IN (
            SELECT kind, coalesce(listing_id, ''), coalesce(offer_id, '') FROM found)
        AND NOT (q.detail ? 'reason' AND q.kind = ANY ($6::text[] || '{rejected_product}')
            AND EXISTS (SELECT FROM untold))
    RETURNING q.id
)
SELECT (SELECT count(*) FROM found) AS found, (SELECT count(*) FROM put WHERE opened) AS opened,
    (SELECT count(*) FROM gone) AS resolved
"""

_CHECK_SHOP = "WITH" + _SCOPE + _DUPLICATES + _FINDINGS + _SETTLE

_PRUNE = "DELETE FROM quality_issues WHERE resolved_at < $1::timestamptz - make_interval(days => $2)"


class QualityCheck(NamedTuple):
    """What a check of a shop found and changed."""

    found: int
    opened: int
    resolved: int


async def check_shop_quality(
    connection: Connection, shop: str, now: datetime, normaliser: Normaliser
) -> QualityCheck:
    """Bring a shop's issues to what its stored data shows now; idempotent, and nothing for an unknown shop.

    One statement finds and settles all of them, so it sees one moment of the catalogue and never waits for
    ingest. Two checks of one shop at a time must be kept apart by the caller.
    """
    known = await connection.fetchrow(_SHOP, shop)
    if known is None:
        return QualityCheck(0, 0, 0)
    shop_id, crawl_every_seconds = known
    names = [row[0] for row in await connection.fetch(_OPTION_NAMES, shop_id)]
    row = await connection.fetchrow(
        _CHECK_SHOP,
        shop_id,
        now,
        stale_after(crawl_every_seconds).total_seconds(),
        [name for name in names if normaliser.sizes.is_size_option(name)],
        list(REJECT_KINDS),
        list(REJECT_KINDS.values()),
        list(PAGE_PLATFORMS),
        list(QualityKind),
        [KINDS[kind].severity for kind in QualityKind],
    )
    assert row is not None
    return QualityCheck(*row)


async def prune_quality_issues(connection: Connection, now: datetime, *, days: int = KEPT_DAYS) -> int:
    """Delete the issues that were resolved over so many days ago; returns how many."""
    return int((await connection.execute(_PRUNE, now, days)).removeprefix("DELETE "))
