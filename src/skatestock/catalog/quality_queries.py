"""Reads about data quality: which shops' data has changed since it was checked, counts, and issues."""

from datetime import datetime
from typing import Any

import msgspec

from skatestock.catalog.quality import QualityKind, Severity
from skatestock.database.pool import Connection

# What an ended crawl has changed is complete with its row: the crawl's end is the last of its events.
_MARKS = """
SELECT s.slug, last.mark FROM shops s
LEFT JOIN LATERAL (
    SELECT c.crawl_id AS mark FROM crawls c WHERE c.shop_id = s.id AND c.completed_at IS NOT NULL
    ORDER BY c.started_at DESC, c.id DESC LIMIT 1
) AS last ON true
ORDER BY s.slug
"""

_COUNTS = """
SELECT s.slug AS shop, q.kind, q.severity, count(*) FILTER (WHERE q.resolved_at IS NULL) AS open,
    count(q.resolved_at) AS resolved
FROM quality_issues q JOIN shops s ON s.id = q.shop_id
WHERE ($1 OR q.resolved_at IS NULL) AND ($2::text IS NULL OR s.slug = $2)
    AND ($3::text IS NULL OR q.kind = $3) AND ($4::text IS NULL OR q.severity = $4)
GROUP BY 1, 2, 3
ORDER BY array_position('{error,warning,info}'::text[], q.severity), s.slug, q.kind
"""

_ISSUES = """
SELECT q.kind, q.severity, s.slug AS shop, q.listing_id, q.offer_id, l.title, o.title AS offer_title, l.url,
    q.detail, q.first_seen_at, q.last_seen_at, q.resolved_at
FROM quality_issues q JOIN shops s ON s.id = q.shop_id
LEFT JOIN listings l ON l.shop_id = q.shop_id AND l.listing_id = q.listing_id
LEFT JOIN offers o ON o.listing_id = l.id AND o.offer_id = q.offer_id
WHERE ($1 OR q.resolved_at IS NULL) AND ($2::text IS NULL OR s.slug = $2)
    AND ($3::text IS NULL OR q.kind = $3) AND ($4::text IS NULL OR q.severity = $4)
ORDER BY q.resolved_at IS NOT NULL, array_position('{error,warning,info}'::text[], q.severity),
    q.first_seen_at DESC, q.id
LIMIT $5
"""


class QualityFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which issues are meant; without words, all that are open."""

    shop: str | None = None
    kind: QualityKind | None = None
    severity: Severity | None = None
    resolved: bool = False
    """Those that are resolved as well."""


class IssueCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many issues of a kind a shop has."""

    shop: str
    kind: str
    severity: str
    open: int
    resolved: int
    """Zero unless the resolved ones were asked for."""


class QualityIssue(msgspec.Struct, frozen=True, kw_only=True):
    """One issue, with its listing where the catalogue has it."""

    kind: str
    severity: str
    shop: str
    listing_id: str | None
    offer_id: str | None
    title: str | None
    offer_title: str | None
    url: str | None
    detail: dict[str, Any]
    first_seen_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None


async def fetch_quality_marks(connection: Connection) -> dict[str, str | None]:
    """Return, by shop, a word that changes with every crawl that ends; None before the first."""
    return {row[0]: row[1] for row in await connection.fetch(_MARKS)}


async def count_quality_issues(connection: Connection, wanted: QualityFilter) -> list[IssueCount]:
    """Count issues by shop and kind, the gravest first."""
    return [IssueCount(**row) for row in await connection.fetch(_COUNTS, *_arguments(wanted))]


async def find_quality_issues(
    connection: Connection, wanted: QualityFilter, *, limit: int
) -> list[QualityIssue]:
    """Find issues, the open, grave and new ones first."""
    rows = await connection.fetch(_ISSUES, *_arguments(wanted), limit)
    return [QualityIssue(**row) for row in rows]


def _arguments(wanted: QualityFilter) -> tuple[Any, ...]:
    return (wanted.resolved, wanted.shop, wanted.kind, wanted.severity)
