"""What whoever adds a shop is told of the time that its crawls take."""

from __future__ import annotations

import pytest

from skatestock.cli.shop_probes import find_warnings

A_DAY = 86400


@pytest.mark.parametrize(
    ("seconds", "every", "said"),
    [
        (1800, 1800, []),
        (1801, 1800, ["--every-seconds 3602"]),
        (A_DAY, A_DAY, []),
        (A_DAY + 1, 3 * A_DAY, ["SKATESTOCK_CRAWL_LONGEST_SECONDS"]),
        (5 * A_DAY, 1800, [f"--every-seconds {7 * A_DAY}", "SKATESTOCK_CRAWL_LONGEST_SECONDS"]),
    ],
)
def test_a_crawl_that_takes_too_long_is_warned_of(seconds: int, every: int, said: list[str]) -> None:
    warnings = find_warnings(seconds, every, A_DAY)
    assert len(warnings) == len(said)
    assert all(words in warning for words, warning in zip(said, warnings, strict=True))
