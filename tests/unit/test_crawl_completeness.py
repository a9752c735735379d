"""Whether so many listings can be the whole shop."""

from __future__ import annotations

import pytest

from skatestock.crawl.completeness import EarlierCounts, judge_count


@pytest.mark.parametrize(
    ("seen", "last", "since", "reason"),
    [
        (0, None, (), "empty"),
        (0, 0, (0, 0, 0), "empty"),
        (1, None, (), "complete"),
        (70, 100, (), "complete"),
        (69, 100, (), "implausible"),
        (250, 100, (), "complete"),
        (60, 100, (60, 60), "implausible"),
        (60, 100, (60, 60, 60), "complete"),
        (60, 100, (54, 66, 60), "complete"),
        (60, 100, (53, 60, 60), "implausible"),
        (60, 100, (60, 60, 67), "implausible"),
        (60, 100, (20, 60, 60, 60), "complete"),
        (60, 100, (60, 60, 60, 20), "implausible"),
    ],
)
def test_a_shrunken_shop_is_believed_only_after_three_earlier_crawls_said_so(
    seen: int, last: int | None, since: tuple[int, ...], reason: str
) -> None:
    earlier = EarlierCounts(last_complete=last, implausible_since=since)
    assert judge_count(seen, earlier).reason == reason
