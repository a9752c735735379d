"""Whether what a crawl saw can be the whole shop (decision 3: only then may absence mean anything)."""

import msgspec

from skatestock.crawl.reasons import CrawlReason

_SAME_COUNTS_NEEDED = 3


class EarlierCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many listings earlier crawls of a shop saw."""

    last_complete: int | None = None
    """By the last complete crawl; None if there was none."""
    implausible_since: tuple[int, ...] = ()
    """By the crawls since then that ended as `implausible`, the newest last."""


class Judgement(msgspec.Struct, frozen=True):
    """What to say of a crawl that read every page."""

    reason: CrawlReason
    detail: str = ""


def judge_count(seen: int, earlier: EarlierCounts) -> Judgement:
    """Judge a crawl that saw `seen` listings: over 30 % fewer than the last complete one is implausible.

    Three implausible crawls in a row that saw about as few (within 10 %) are believed: the shop has shrunk.
    """
    if seen == 0:
        return Judgement(CrawlReason.EMPTY, "the shop lists nothing")
    last = earlier.last_complete
    if last is None or 10 * seen >= 7 * last:
        return Judgement(CrawlReason.COMPLETE)
    recent = earlier.implausible_since[-_SAME_COUNTS_NEEDED:]
    if len(recent) == _SAME_COUNTS_NEEDED and all(_is_about(seen, count) for count in recent):
        return Judgement(CrawlReason.COMPLETE, f"{seen} listings instead of {last}, for the fourth time")
    return Judgement(CrawlReason.IMPLAUSIBLE, f"{seen} listings, the last complete crawl saw {last}")


def _is_about(count: int, other: int) -> bool:
    return 10 * abs(count - other) <= max(count, other)
