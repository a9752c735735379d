"""How a shop stands, in one word: how far what we say about it can be trusted. Pure."""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

BLOCKED_REASONS = ("blocked", "robots_disallowed")
"""The reasons of crawls by which a shop says that it does not want us."""
SILENT_REASONS = ("interrupted", "sale_feed")
"""The reasons of crawls that say nothing of how a shop stands: ours was the end, or it was no visit."""
FAILING_AFTER = 3
"""So many crawls in a row that were not complete are no accident."""

_STALE_INTERVALS = 3
_STALE_AT_LEAST = timedelta(hours=1)


class Freshness(StrEnum):
    """How far what we say about a shop can be trusted."""

    NEVER_CRAWLED = "never crawled"
    FRESH = "fresh"
    STALE = "stale"
    """The last crawl that ended was not complete, or the last complete one is too long ago."""
    BLOCKED = "blocked"
    """The shop turned the last crawl away, by 430, a bot wall or its robots.txt."""
    FAILING = "failing"
    """The last three crawls or more were not complete."""
    DISABLED = "disabled"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a shop's state is judged by."""

    enabled: bool
    crawled: bool
    """Whether a crawl ever began."""
    last_complete_at: datetime | None
    reason: str | None
    """How the last crawl ended that says something of the shop; None if none did."""
    failures: int
    """How many such crawls in a row were not complete."""
    crawl_every_seconds: int


def judge_freshness(standing: Standing, now: datetime) -> Freshness:
    """Tell in one word how a shop stands."""
    if not standing.enabled:
        return Freshness.DISABLED
    if not standing.crawled:
        return Freshness.NEVER_CRAWLED
    if standing.reason in BLOCKED_REASONS:
        return Freshness.BLOCKED
    if standing.failures >= FAILING_AFTER:
        return Freshness.FAILING
    if standing.last_complete_at is None or standing.failures:
        return Freshness.STALE
    age = now - standing.last_complete_at
    return Freshness.FRESH if age <= stale_after(standing.crawl_every_seconds) else Freshness.STALE


def stale_after(crawl_every_seconds: int) -> timedelta:
    """Tell how old a complete crawl may be: three crawls' time, and an hour at least."""
    return max(_STALE_INTERVALS * timedelta(seconds=crawl_every_seconds), _STALE_AT_LEAST)
