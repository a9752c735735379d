"""Pages that a sitemap names and the shop does not show: gone ones are passed over, a wall ends the crawl."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest
from tests.crawl_ports import HandClock, LogCounts, LogFingerprints, MemoryLog, new_crawl_id

from skatestock.crawl.conditional import Fetched
from skatestock.crawl.errors import CrawlStoppedError
from skatestock.crawl.filter import UnchangedFilter
from skatestock.crawl.politeness import Answer, Politeness, Stop, judge_answer
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.shops import load_shops
from skatestock.crawl.walk import CrawlOutcome, ShopCrawl

SHOP = msgspec.structs.replace(
    load_shops()[0], url="https://shop.example", platform="schema-org", product_paths=("/products/",)
)
PATHS = [f"/products/{number}" for number in range(5)]
OFFER = {"price": 60, "priceCurrency": SHOP.currency}
PAGE = json.dumps({"@type": "Product", "name": "Deck", "offers": OFFER})
WALL = "<html><title>Just a moment...</title></html>"


async def crawl(
    page_of: Callable[[str], str], foresee: Callable[[int], None] = lambda requests: None
) -> tuple[CrawlOutcome, MemoryLog]:
    """Crawl a shop whose sitemap names five pages."""
    log = MemoryLog()
    crawl_id = new_crawl_id()
    unchanged = await UnchangedFilter.open(None, SHOP.slug, crawl_id, None, LogFingerprints(log))
    walk = ShopCrawl(
        SHOP, crawl_id, unchanged=unchanged, publisher=log, lease=None, clock=HandClock(), after=None
    )

    async def fetch(url: str, tag: str | None) -> Fetched:
        path = url.removeprefix(SHOP.url)
        page = page_of(path)
        if path == "/sitemap.xml":
            rows = "".join(f"<url><loc>{SHOP.url}{known}</loc></url>" for known in PATHS)
            return Fetched(body=f"<urlset>{rows}</urlset>".encode())
        return Fetched(body=page.encode())

    judgement = await walk.read_shop(fetch, LogCounts(log), Politeness(), foresee=foresee)
    return await walk.complete(judgement, 6), log


def product(path: str) -> str:
    return f'<html><script type="application/ld+json">{PAGE}</script></html>'


def refusing(path: str, *, gone: bool) -> Callable[[str], str]:
    def page_of(asked: str) -> str:
        if asked == path:
            raise CrawlStoppedError(CrawlReason.REFUSED, f"{asked} answered", gone=gone)
        return product(asked)

    return page_of


async def test_a_page_that_is_gone_is_passed_over_and_its_listing_was_not_seen() -> None:
    outcome, log = await crawl(refusing(PATHS[2], gone=True))
    assert (outcome.reason, outcome.complete, outcome.listings) == ("complete", True, 4)
    assert "products/2" not in log.completed()[-1].listing_ids


async def test_a_page_that_is_refused_ends_the_crawl() -> None:
    with pytest.raises(CrawlStoppedError) as caught:
        await crawl(refusing(PATHS[2], gone=False))
    assert caught.value.reason == "refused"


async def test_a_sitemap_that_is_gone_ends_the_crawl() -> None:
    with pytest.raises(CrawlStoppedError) as caught:
        await crawl(refusing("/sitemap.xml", gone=True))
    assert caught.value.gone


async def test_a_wall_in_a_pages_place_asks_for_the_pause_of_a_blocked_crawl() -> None:
    with pytest.raises(CrawlStoppedError) as caught:
        await crawl(lambda path: WALL if path == PATHS[3] else product(path))
    assert caught.value.reason == "blocked"
    assert caught.value.retry_after_seconds == Politeness().blocked_pause_seconds


@pytest.mark.parametrize(("status", "gone"), [(404, True), (410, True), (403, False), (401, False)])
def test_only_404_and_410_mean_that_a_page_is_gone(status: int, gone: bool) -> None:
    verdict = judge_answer(
        Answer(url="https://x.example/p", status=status, headers={}), Politeness(), HandClock()()
    )
    assert isinstance(verdict, Stop)
    assert (verdict.reason, verdict.gone) == ("refused", gone)


def disallowing(*paths: str) -> Callable[[str], str]:
    """Serve a shop whose robots.txt disallows some of its pages."""

    def page_of(asked: str) -> str:
        if asked in paths:
            raise CrawlStoppedError(CrawlReason.ROBOTS_DISALLOWED, f"robots.txt disallows {asked}")
        return product(asked)

    return page_of


async def test_a_page_that_robots_forbids_is_told_and_its_listing_counts_as_there() -> None:
    outcome, log = await crawl(disallowing(PATHS[1], PATHS[3]))
    assert (outcome.reason, outcome.complete, outcome.listings, outcome.rejected) == ("complete", True, 5, 2)
    assert outcome.pages == 4, "a page that was not read is no page"
    assert "2 pages that robots.txt disallows" in outcome.detail
    end = log.completed()[-1]
    assert [(one.listing_id, one.reason) for one in end.rejected] == [
        ("products/1", "robots_disallowed"),
        ("products/3", "robots_disallowed"),
    ]
    assert set(log.fold(SHOP.slug)) == {"products/0", "products/2", "products/4"}


async def test_a_shop_that_forbids_all_its_pages_does_not_want_us() -> None:
    outcome, log = await crawl(disallowing(*PATHS))
    assert (outcome.reason, outcome.complete) == ("robots_disallowed", False)
    assert log.fold(SHOP.slug) == {}


async def test_a_sitemap_that_robots_forbids_ends_the_crawl() -> None:
    with pytest.raises(CrawlStoppedError) as caught:
        await crawl(disallowing("/sitemap.xml"))
    assert caught.value.reason == "robots_disallowed"


async def test_the_requests_that_a_sitemap_foretells_are_told_as_soon_as_it_was_read() -> None:
    told: list[int] = []
    await crawl(product, told.append)
    assert told == [1, *[6] * 5]
