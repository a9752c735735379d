"""Crawls of shops that a sitemap names page by page: time enough for all of them, and robots.txt for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
import pytest_asyncio
from tests.crawl_scene import FAST, START_AT, Scene

from skatestock.crawl.politeness import Politeness
from skatestock.crawl.session import CrawlOutcome
from skatestock.replica.faults import Fault
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

LISTINGS = 40
SITEMAPS = 4
SLOW = 0.05
"""Seconds between two requests: forty pages take two seconds at least."""
HASTY = msgspec.structs.replace(
    FAST, spacing_seconds=SLOW, crawl_timeout_seconds=1.0, answer_seconds=0.2, longest_crawl_seconds=60.0
)


@pytest_asyncio.fixture(loop_scope="session")
async def scene() -> AsyncIterator[Scene]:
    world = World(11, START_AT, listings_per_shop=LISTINGS)
    async with ReplicaServers(world, platforms={"labor": "schema-org"}) as replica:
        made = Scene.of(replica)
        labor = msgspec.structs.replace(
            made.shops["labor"], platform="schema-org", product_paths=("/products/",)
        )
        made.shops["labor"] = labor
        yield made


async def test_a_shop_gets_the_time_that_its_sitemap_foretells(scene: Scene) -> None:
    outcome = await scene.crawl(politeness=HASTY)
    assert (outcome.reason, outcome.listings) == ("complete", LISTINGS), outcome.detail
    arrivals = [record.monotonic_seconds for record in scene.asked()]
    assert arrivals[-1] - arrivals[0] > HASTY.crawl_timeout_seconds


async def test_the_longest_time_holds_whatever_the_sitemap_says(scene: Scene) -> None:
    brief = msgspec.structs.replace(HASTY, longest_crawl_seconds=1.2)
    outcome = await scene.crawl(politeness=brief)
    assert (outcome.reason, outcome.complete) == ("timed_out", False)
    assert 0 < outcome.listings < LISTINGS
    assert f"of some {LISTINGS + SITEMAPS} requests" in outcome.detail


async def crawl_forbidden(scene: Scene, paths: Sequence[str], limits: Politeness = FAST) -> CrawlOutcome:
    """Crawl the shop while its robots.txt disallows something."""
    for path in paths:
        scene.replica.set_fault(Fault("labor", "robots_disallows", None, None, None, {"disallow": path}))
    return await scene.crawl(politeness=limits)


async def test_a_page_that_robots_forbids_is_not_asked_for_and_costs_nothing_else(scene: Scene) -> None:
    shown = {f"products/{one.handle}" for one in scene.replica.world.state_at("labor")}
    outcome = await crawl_forbidden(scene, ["/products/gift-card"])
    assert (outcome.reason, outcome.complete, outcome.rejected) == ("complete", True, 1), outcome.detail
    assert "/products/gift-card" not in {record.target for record in scene.asked()}
    end = scene.log.completed()[-1]
    assert set(end.listing_ids) == shown
    assert [one.listing_id for one in end.rejected] == ["products/gift-card"]
    assert set(scene.log.fold("labor")) == shown - {"products/gift-card"}


async def test_a_shop_whose_pages_are_all_forbidden_is_asked_for_none(scene: Scene) -> None:
    outcome = await crawl_forbidden(scene, ["/products/"])
    assert (outcome.reason, outcome.complete) == ("robots_disallowed", False)
    assert not [record for record in scene.asked() if record.target.startswith("/products/")]
