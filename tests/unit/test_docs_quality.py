"""docs/QUALITY.md lists the kinds of issues as the code has them; rejects and kinds fit together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from skatestock.catalog.commands_quality import KEPT_DAYS
from skatestock.catalog.quality import (
    KINDS,
    PAGE_PLATFORMS,
    REJECT_KINDS,
    QualityKind,
    Severity,
    describe_detail,
)
from skatestock.crawl.reasons import RejectReason
from skatestock.crawl.shops import Shop

PAGE = (Path(__file__).parents[2] / "docs" / "QUALITY.md").read_text("utf-8")


def test_the_page_lists_every_kind_with_what_it_means_and_when_it_is_resolved() -> None:
    table = [
        [cell.strip() for cell in line[1:-1].split(" | ")]
        for line in PAGE.splitlines()
        if line.startswith("| `")
    ]
    assert table == [
        [f"`{kind}`", meaning.severity, meaning.about, meaning.says, meaning.resolved_when]
        for kind, meaning in KINDS.items()
    ]


def test_the_kinds_stand_in_one_order_the_gravest_first() -> None:
    assert list(KINDS) == list(QualityKind)
    graves = [list(Severity).index(meaning.severity) for meaning in KINDS.values()]
    assert graves == sorted(graves)
    assert {meaning.about for meaning in KINDS.values()} == {"shop", "listing", "offer"}


def test_the_page_says_how_long_resolved_issues_are_kept() -> None:
    assert f"{KEPT_DAYS} days" in PAGE
    assert re.findall(r"platform `(.+?)`", PAGE) == list(PAGE_PLATFORMS)


def test_the_reasons_that_have_a_kind_of_their_own_are_those_of_crawls() -> None:
    assert REJECT_KINDS.keys() <= set(RejectReason)
    assert set(PAGE_PLATFORMS) <= set(get_args(get_type_hints(Shop)["platform"]))


DETAILS = [
    ("stale_shop", {"last_complete_at": "2026-03-02T12:05:00Z", "reason": "blocked"}, "blocked"),
    ("stale_shop", {"last_complete_at": None, "reason": None}, "never seen whole; the last one: under way"),
    ("price_zero", {"confirmed": True}, "confirmed, and shown"),
    ("price_zero", {"confirmed": False}, "held, and not shown"),
    (
        "price_jump_held",
        {"price_minor": 6000, "held_price_minor": 600_000, "currency": "USD"},
        "60.00 USD is shown, 6000.00 USD is held",
    ),
    (
        "compare_at_below_price",
        {"price_minor": 6000, "compare_at_minor": 5999, "currency": "JPY"},
        "compare-at price 5999 JPY, price 6000 JPY",
    ),
    ("duplicate_listing", {"same_as": "7", "title": "Deck"}, "the same as 7: Deck"),
    ("missing_image", {}, ""),
    ("unknown_size", {"words": "Huge"}, "Huge"),
    ("no_offers", {"reason": "no_offers", "detail": "", "position": "p", "times": 1}, "no_offers"),
]


@pytest.mark.parametrize(("kind", "detail", "words"), DETAILS)
def test_an_issue_says_in_words_what_was_found(kind: str, detail: dict[str, object], words: str) -> None:
    assert words in describe_detail(QualityKind(kind), detail)


@pytest.mark.parametrize("kind", QualityKind)
def test_facts_that_an_older_check_left_out_are_no_error(kind: QualityKind) -> None:
    assert isinstance(describe_detail(kind, {}), str)
