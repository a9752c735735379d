"""What crawls and their operators ask the catalogue: last fingerprints, listing counts, the shops' status."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from skatestock.catalog.freshness import SILENT_REASONS, Freshness, Standing, judge_freshness
from skatestock.database.pool import Connection

_FINGERPRINTS = """
SELECT l.listing_id, l.fingerprint
FROM listings l JOIN shops s ON s.id = l.shop_id
WHERE s.slug = $1 AND ($2::text[] IS NULL OR l.listing_id = ANY ($2)) AND l.delisted_at IS NULL
"""

_LAST_COMPLETE = """
SELECT c.listings_seen, c.started_at
FROM crawls c JOIN shops s ON s.id = c.shop_id
WHERE s.slug = $1 AND c.complete ORDER BY c.started_at DESC LIMIT 1
"""

_IMPLAUSIBLE_SINCE = """
SELECT c.listings_seen
FROM crawls c JOIN shops s ON s.id = c.shop_id
WHERE s.slug = $1 AND c.reason = $2 AND ($3::timestamptz IS NULL OR c.started_at > $3)
ORDER BY c.started_at DESC
"""

_STATUSES = """
SELECT s.slug, s.name, s.city, s.region, s.url, s.platform, s.enabled, s.demo, s.crawl_every_seconds,
    s.disabled_at, s.disabled_because, last.started_at AS last_crawl_at,
    last.completed_at AS last_completed_at, last.reason AS last_reason, last.detail AS last_detail,
    whole.completed_at AS last_complete_at,
    (SELECT count(*) FROM listings l WHERE l.shop_id = s.id AND l.delisted_at IS NULL) AS listings,
    (SELECT count(*) FROM offers o JOIN listings l ON l.id = o.listing_id
     WHERE l.shop_id = s.id AND o.availability = 'in_stock') AS offers_in_stock,
    (SELECT coalesce(sum(c.rejected), 0) FROM crawls c WHERE c.shop_id = s.id)
    + (SELECT count(*) FROM rejected_observations r WHERE r.shop_id = s.id AND r.ordinal IS NULL) AS rejected,
    ended.reason AS telling_reason,
    (SELECT count(*) FROM crawls c WHERE c.shop_id = s.id AND NOT c.complete AND NOT c.reason = ANY ($1)
     AND (whole.started_at IS NULL OR c.started_at > whole.started_at)) AS failures
FROM shops s
LEFT JOIN LATERAL (
    SELECT * FROM crawls c WHERE c.shop_id = s.id ORDER BY c.started_at DESC, c.id DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT started_at, completed_at FROM crawls c WHERE c.shop_id = s.id AND c.complete
    ORDER BY c.completed_at DESC LIMIT 1
) AS whole ON true
LEFT JOIN LATERAL (
    SELECT reason FROM crawls c
    WHERE c.shop_id = s.id AND c.completed_at IS NOT NULL AND NOT c.reason = ANY ($1)
    ORDER BY c.started_at DESC, c.id DESC LIMIT 1
) AS ended ON true
ORDER BY s.slug
"""

IMPLAUSIBLE = "implausible"
"""The reason of a crawl that saw the whole shop, but far fewer listings than the last complete one."""


class ListingCounts(NamedTuple):
    """How many listings a shop's crawls have seen."""

    last_complete: int | None
    implausible_since: list[int]
    """Of the whole but implausible crawls since then, newest first."""


class ShopStatus(NamedTuple):
    """One shop as `skatestock status` shows it."""

    slug: str
    name: str
    city: str | None
    region: str | None
    url: str
    platform: str
    enabled: bool
    demo: bool
    crawl_every_seconds: int
    disabled_at: datetime | None
    disabled_because: str | None
    """`operator` or `failing`; None while the shop is crawled."""
    last_crawl_at: datetime | None
    last_completed_at: datetime | None
    last_reason: str | None
    last_detail: str | None
    last_complete_at: datetime | None
    listings: int
    offers_in_stock: int
    rejected: int
    telling_reason: str | None
    """How the last crawl ended that says something of the shop."""
    failures: int
    """Of those, how many in a row were not complete."""

    def freshness(self, now: datetime) -> Freshness:
        """Tell in one word how the shop stands."""
        return judge_freshness(
            Standing(
                enabled=self.enabled and self.disabled_at is None,
                crawled=self.last_crawl_at is not None,
                last_complete_at=self.last_complete_at,
                reason=self.telling_reason,
                failures=self.failures,
                crawl_every_seconds=self.crawl_every_seconds,
            ),
            now,
        )


async def fetch_last_fingerprints(
    connection: Connection, shop: str, listing_ids: Collection[str] | None = None
) -> dict[str, bytes]:
    """Return the fingerprint of the last applied observation by listing id, of the whole shop for None.

    A delisted listing has none, so that it looks changed and its return is observed.
    """
    rows = await connection.fetch(_FINGERPRINTS, shop, None if listing_ids is None else list(listing_ids))
    return {row[0]: row[1] for row in rows}


async def fetch_listing_counts(connection: Connection, shop: str) -> ListingCounts:
    """Return what the plausibility of a shop's next crawl is measured against."""
    last = await connection.fetchrow(_LAST_COMPLETE, shop)
    since = None if last is None else last["started_at"]
    rows = await connection.fetch(_IMPLAUSIBLE_SINCE, shop, IMPLAUSIBLE, since)
    return ListingCounts(None if last is None else last["listings_seen"], [row[0] for row in rows])


async def fetch_shop_statuses(connection: Connection) -> list[ShopStatus]:
    """Return every shop's status, by slug."""
    return [ShopStatus(*row) for row in await connection.fetch(_STATUSES, list(SILENT_REASONS))]
