"""How long a shop that cannot be seen whole is left alone, when it is given up, and how it returns. Pure."""

from datetime import datetime, timedelta

from skatestock.crawl.reasons import CrawlReason

LONGEST_BACKOFF = timedelta(hours=6)
"""A failing shop is crawled no more rarely than this, until it is disabled."""
DISABLE_AFTER = timedelta(days=14)
"""A shop is disabled when it has failed for so long ..."""
DISABLE_AFTER_FAILURES = 50
"""... and in so many crawls in a row: a weekend without our own network disables nobody."""
PROBE_EVERY = timedelta(days=1)
"""So often a disabled shop is crawled once, to see whether it is back."""

_SILENT = (CrawlReason.INTERRUPTED, CrawlReason.SALE_FEED)


def has_failed(reason: CrawlReason) -> bool | None:
    """Tell whether a crawl failed; None for one that says nothing of the shop."""
    return None if reason in _SILENT else reason is not CrawlReason.COMPLETE


def backoff_after(failures: int, every_seconds: int) -> timedelta:
    """Compute the pause after so many failures in a row: one interval, then twice as long each time.

    Never over six hours, unless the shop's own interval is longer.
    """
    every = timedelta(seconds=every_seconds)
    doubled: timedelta = every * 2 ** min(max(failures - 1, 0), 20)
    return max(every, min(doubled, LONGEST_BACKOFF))


def is_lost(failures: int, failing_since: datetime, now: datetime) -> bool:
    """Tell whether a shop has failed for so long and so often that it is disabled."""
    return failures >= DISABLE_AFTER_FAILURES and now - failing_since >= DISABLE_AFTER
