"""docs/DATA_SOURCES.md says what the code does: every code, shop, key and limit."""

from __future__ import annotations

import re
from pathlib import Path

from skatestock.crawl.conditional import MAX_AGE
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.reasons import CrawlReason, RejectReason
from skatestock.crawl.shops import Shop, load_shops

TEXT = (Path(__file__).parents[2] / "docs" / "DATA_SOURCES.md").read_text("utf-8")


def first_column(heading: str) -> list[str]:
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_every_reason_is_explained_and_no_other() -> None:
    assert first_column("How a crawl ends") == [reason.value for reason in CrawlReason]
    assert first_column("What is rejected") == [reason.value for reason in RejectReason]


def test_every_shop_with_its_habit_and_every_key_of_the_file_is_named() -> None:
    shops = load_shops()
    assert first_column("The shops") == [shop.slug for shop in shops] + [
        name for name in first_column("The shops") if name in Shop.__struct_fields__
    ]
    assert set(Shop.__struct_fields__) <= set(first_column("The shops"))
    for shop in shops:
        (line,) = (line for line in TEXT.splitlines() if line.startswith(f"| `{shop.slug}` "))
        assert shop.name in line
        assert shop.url.removeprefix("https://") in line
        assert f"`{shop.title_habit}`" in line


def test_the_limits_are_those_of_the_code() -> None:
    limits = Politeness()
    rules = TEXT.split("## Politeness\n")[1].split("\n## ")[0]
    assert f"At least {limits.spacing_seconds:.0f} s lie between" in rules
    assert f"A pause over {limits.max_retry_after_seconds / 60:.0f} minutes" in rules
    assert f"one over {limits.longest_pause_seconds / 86400:.0f} days is taken for a mistake" in rules
    assert f"at least once in {MAX_AGE.total_seconds() / 3600:.0f} hours" in rules
    assert f"A request may take {limits.request_timeout_seconds:.0f} s" in rules
    assert (
        f"{limits.max_compressed_bytes >> 20} MiB on the wire and {limits.max_body_bytes >> 20} MiB" in rules
    )
    assert f"robots.txt {limits.max_robots_bytes >> 10} KiB" in rules
    assert (limits.blocked_pause_seconds, limits.crawl_timeout_seconds) == (6 * 3600, 3600)
    assert (limits.retries, limits.backoff_seconds, limits.max_redirects) == (3, 5, 5)
    assert f"no end after {limits.max_pages} pages" in TEXT
    assert f"Pages of {limits.page_limit} products" in TEXT
