"""Crawls keep the pages that they read; whoever reads these again sees what the crawl saw."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.crawl_scene import FAST, START_AT, Scene
from tests.evidence_storages import FailingStorage

from skatestock.crawl.platforms.recipe_model import parse_recipe
from skatestock.crawl.rereading import CrawlReader
from skatestock.crawl.session import CrawlOutcome, crawl_shop
from skatestock.evidence.address import open_store
from skatestock.evidence.keeping import CrawlEvidence
from skatestock.evidence.model import KeptCrawl
from skatestock.evidence.store import EvidenceStore
from skatestock.replica.marked_pages import RECIPE
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

SLUG = "labor"
KEYS: Mapping[str, Mapping[str, Any]] = {
    "shopify": {},
    "woocommerce": {},
    "squarespace": {"store_path": "/store"},
    "schema-org": {"product_paths": ("/products/",)},
    "recipe": {"recipe": parse_recipe(RECIPE)},
}


@pytest_asyncio.fixture(loop_scope="session", params=list(KEYS))
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    world = World(11, START_AT, listings_per_shop=60)
    async with ReplicaServers(world, platforms={SLUG: request.param}) as replica:
        made = Scene.of(replica)
        shop = made.shops[SLUG]
        made.shops[SLUG] = msgspec.structs.replace(shop, platform=request.param, **KEYS[request.param])
        yield made


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return open_store(None, tmp_path)


async def crawl(scene: Scene, store: EvidenceStore) -> CrawlOutcome:
    """Crawl the shop and keep its pages."""
    request = scene.request(SLUG)
    kept = CrawlEvidence(store, KeptCrawl(START_AT.date(), SLUG, request.crawl_id))
    ports = msgspec.structs.replace(scene.ports, evidence=kept)
    return await crawl_shop(request, ports, FAST, scene.clock)


async def test_kept_pages_read_again_say_just_what_the_crawl_said(scene: Scene, store: EvidenceStore) -> None:
    outcome = await crawl(scene, store)
    assert outcome.complete
    found = KeptCrawl(START_AT.date(), SLUG, outcome.crawl_id)
    assert await store.find_crawls() == [found]
    pages = await store.read_pages(found)
    assert len(pages) == outcome.pages

    reader = CrawlReader(scene.shop(SLUG), outcome.crawl_id)
    events = {}
    for page in pages:
        read = reader.read_page(page, await store.get(page.key))
        events.update({} if read is None else {event.listing_id: event for event in read.observations})
    said = {event.listing_id: event for event in scene.log.observed()}
    assert len(said) == outcome.listings
    # A page that was read twice in one second is kept twice, and said once.
    assert {key: msgspec.structs.replace(event, evidence=None) for key, event in events.items()} == {
        key: msgspec.structs.replace(event, evidence=None) for key, event in said.items()
    }
    keys = {page.key for page in pages}
    assert all(event.evidence in keys for event in said.values())


async def test_a_crawl_without_its_storage_says_the_same_and_no_evidence(scene: Scene) -> None:
    storage = FailingStorage()
    outcome = await crawl(scene, EvidenceStore(storage))
    assert (outcome.complete, storage.tries) == (True, 1)
    assert {event.evidence for event in scene.log.observed()} == {None}


@pytest.mark.parametrize("scene", ["shopify"], indirect=True)
async def test_a_page_that_is_not_believed_is_kept_all_the_same(scene: Scene, store: EvidenceStore) -> None:
    scene.fault("unexpected_json", shape="object")
    outcome = await crawl(scene, store)
    assert (outcome.complete, scene.log.observed()) == (False, [])
    (page,) = await store.read_pages(KeptCrawl(START_AT.date(), SLUG, outcome.crawl_id))
    assert (await store.get(page.key)).startswith(b"{")
