"""`skatestock replay`: a mended parser shows what it would change, changes just that, then nothing more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.platforms import RoundClock, open_test_platform
from tests.e2e.processes import run_command
from tests.ingest_shop import dump, find_rows

from skatestock.cli.crawling import CrawlWorker
from skatestock.cli.demo import format_shops
from skatestock.cli.errors import UsageError
from skatestock.cli.processes import ingest_until_idle
from skatestock.cli.replaying import replay
from skatestock.crawl.platforms import reading, shopify
from skatestock.crawl.platforms.walks import ShopifyWalk
from skatestock.crawl.shops import derive_demo_shops, load_shops
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

SLUG = "labor"
MENDED = "Mended [/] title"
"""It looks like markup, which a table must not obey."""
START_AT = datetime(2026, 9, 15, 8, tzinfo=UTC)


def halve_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the parser, as if it had read a price that is not the one asked."""
    read_amount = shopify._read_amount

    def read_half(value: Any, currency: str) -> int | None:
        amount_minor = read_amount(value, currency)
        return None if amount_minor is None else (amount_minor + 1) // 2

    monkeypatch.setattr(shopify, "_read_amount", read_half)


def raise_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shopify, "PARSER_VERSION", 2)
    monkeypatch.setattr(ShopifyWalk, "parser_version", 2)


class Replays:
    """A catalogue whose last crawl read half of each price, and its evidence."""

    def __init__(self, dsn: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dsn = dsn
        self.environ = {
            "SKATESTOCK_DATABASE_URL": dsn,
            "SKATESTOCK_EVIDENCE_URL": f"file://{folder / 'evidence'}",
            "SKATESTOCK_SHOPS_FILE": str(folder / "shops.toml"),
            "SKATESTOCK_DATA": str(folder / "data"),
        }
        for name, value in self.environ.items():
            monkeypatch.setenv(name, value)

    async def crawl(self, *, wrong: Callable[[pytest.MonkeyPatch], None]) -> dict[str, Any]:
        """Crawl twice, the second time with a parser that is wrong; returns what a right one makes of it."""
        world = World(20260915, START_AT, listings_per_shop=40)
        evidence = self.environ["SKATESTOCK_EVIDENCE_URL"]
        async with ReplicaServers(world) as replica, open_test_platform(self.dsn, None, evidence) as platform:
            shops = derive_demo_shops(load_shops(), replica.addresses.shop_urls)
            Path(self.environ["SKATESTOCK_SHOPS_FILE"]).write_text(format_shops(shops), "utf-8")
            clock = RoundClock(START_AT)
            worker = CrawlWorker(platform, shops, clock)
            await worker.prepare(only=True)
            with pytest.MonkeyPatch.context() as broken:
                wrong(broken)
                outcome = await worker.crawl_now(SLUG)
            assert outcome is not None
            assert outcome.complete
            await ingest_until_idle(platform, asyncio.Event())
            return await dump(platform.pool, SLUG)

    async def dump(self) -> dict[str, Any]:
        async with open_test_platform(self.dsn, None) as platform:
            return await dump(platform.pool, SLUG)


@pytest.fixture
def replays(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replays:
    return Replays(database_dsn, tmp_path, monkeypatch)


async def test_a_mended_parser_is_shown_then_applied_and_then_changes_nothing(
    replays: Replays, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = await replays.crawl(wrong=halve_prices)

    async def call(**options: Any) -> dict[str, Any]:
        capsys.readouterr()
        assert await replay(as_json=True, **options) == 0
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    # As long as its version is the same, the right parser is only told apart.
    same = await call(apply=True, yes=True)
    assert same["written"] == 0
    assert same["counts"]["compared"] == len(wrong["listings"]) == len(same["differences"])
    assert {found["obstacle"] for found in same["differences"]} == {"same_version"}

    raise_version(monkeypatch)
    looked = await call()
    assert looked["written"] == 0
    assert looked["fields"]["offers.price_minor"] == len(wrong["offers"])
    assert await replays.dump() == wrong

    applied = await call(apply=True, yes=True, shop=(SLUG,))
    assert applied["written"] == len(wrong["listings"])
    right = await replays.dump()
    prices = {(row["listing_id"], row["offer_id"]): row["price_minor"] for row in right["offers"]}
    for row in wrong["offers"]:
        assert (prices[row["listing_id"], row["offer_id"]] + 1) // 2 == row["price_minor"]
    assert [point["observed_at"] for point in right["price_points"]] == [
        point["observed_at"] for point in wrong["price_points"]
    ]
    assert {row["parser_version"] for row in right["listings"]} == {2}

    again = await call(apply=True, yes=True)
    assert (again["written"], again["differences"]) == (0, [])
    assert await replays.dump() == right


async def test_one_listing_is_corrected_and_the_others_stay_as_they_are(
    replays: Replays, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await replays.crawl(wrong=lambda _: None)
    chosen = before["listings"][0]
    raise_version(monkeypatch)
    read_title = reading.read_title

    def mend_title(text: str | None) -> str:
        return MENDED if text == chosen["title"] else read_title(text)

    monkeypatch.setattr(shopify, "read_title", mend_title)
    assert await replay(crawl=before["crawls"][0]["crawl_id"], apply=True, yes=True) == 0
    said = capsys.readouterr().out
    assert MENDED in said
    assert "1 listing would change, 1 can be written." in said
    assert "1 correction written." in said
    after = await replays.dump()
    assert find_rows(after["listings"], listing_id=chosen["listing_id"])[0]["title"] == MENDED
    others = [row for row in before["listings"] if row != chosen]
    assert [row for row in after["listings"] if row["listing_id"] != chosen["listing_id"]] == others
    assert after["price_points"] == before["price_points"]


async def test_on_the_command_line_nothing_is_written_without_a_yes(replays: Replays) -> None:
    await replays.crawl(wrong=halve_prices)
    shown = await asyncio.to_thread(run_command, "replay", "--examples", "1", environ=replays.environ)
    assert shown.returncode == 0, shown.stderr
    assert "offers.price_minor: " in shown.stdout
    assert "cannot: the parser's version has not been raised since" in shown.stdout
    assert shown.stdout.endswith("Nothing was written.\n")
    for arguments, code in ((("--apply",), 2), (("--since", "soon"), 2), (("--shop", "nobody"), 1)):
        ended = await asyncio.to_thread(run_command, "replay", *arguments, environ=replays.environ)
        assert (ended.returncode, ended.stderr.count("\n")) == (code, 1), ended.stderr
    later = await asyncio.to_thread(run_command, "replay", "--since", "2026-09-16", environ=replays.environ)
    assert "Nothing would change." in later.stdout


async def test_a_price_point_leads_to_the_page_as_the_shop_sent_it(replays: Replays) -> None:
    await replays.crawl(wrong=lambda _: None)
    async with open_test_platform(replays.dsn, None) as platform:
        key = await platform.pool.fetchval(
            """
            SELECT seen.evidence FROM price_points p JOIN offers o ON o.id = p.offer_id
            JOIN observations seen ON seen.listing_id = o.listing_id AND seen.observed_at = p.observed_at
            WHERE seen.crawl_id = p.crawl_id LIMIT 1
            """
        )
    shown = await asyncio.to_thread(run_command, "evidence", "show", key, environ=replays.environ)
    assert len(json.loads(shown.stdout)["products"]) > 1

    # What is older than the settings say is deleted, and that is told.
    maintained = await asyncio.to_thread(run_command, "maintain", "--once", environ=replays.environ)
    assert maintained.returncode == 0, maintained.stderr
    gone = await asyncio.to_thread(run_command, "evidence", "show", key, environ=replays.environ)
    assert (gone.returncode, "nothing is kept" in gone.stderr) == (1, True)


async def test_apply_needs_somebody_to_ask(replays: Replays) -> None:
    with pytest.raises(UsageError, match="--yes"):
        await replay(apply=True, as_json=True)
