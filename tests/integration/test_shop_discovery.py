"""What a shop is found to be, asked politely over real HTTP; and that nobody is led into our own network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from tests.crawl_scene import FAST, START_AT, Scene

from skatestock.crawl.discovery import Discovery, DiscoveryError, Wishes, discover_shop
from skatestock.crawl.errors import CrawlStoppedError
from skatestock.crawl.fetching import open_fetcher
from skatestock.crawl.middlewares import Manners
from skatestock.crawl.spacing import LocalSpacingGate
from skatestock.replica.faults import EVERY_SHOP, Fault
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest_asyncio.fixture(loop_scope="session", params=["shopify"])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    world = World(11, START_AT, listings_per_shop=30)
    async with ReplicaServers(world, platforms={"labor": request.param}) as replica:
        yield Scene.of(replica)


async def discover(scene: Scene, *, public_only: bool = False, currency: str | None = None) -> Discovery:
    manners = Manners(FAST, LocalSpacingGate(), "SkateStock", public_only=public_only)
    async with open_fetcher(manners) as fetcher:
        wishes = Wishes(slug="found", currency=currency)
        return await discover_shop(fetcher.fetch, scene.shop().url, wishes, FAST, NOW)


@pytest.mark.parametrize("scene", ["shopify", "woocommerce", "squarespace", "schema-org"], indirect=True)
async def test_the_platform_is_found_and_five_products_are_understood(
    scene: Scene, request: pytest.FixtureRequest
) -> None:
    platform = request.node.callspec.params["scene"]
    found = await discover(scene, currency="USD" if platform == "shopify" else None)
    sample = found.sample
    shown = {listing.title for listing in scene.replica.world.state_at("labor")}
    assert (found.shop.platform, found.shop.currency, found.shop.slug) == (platform, "USD", "found")
    assert found.shop.name.startswith("Labor")
    assert len(sample.observations) == 5
    assert {listing.title for listing in sample.observations} <= shown
    assert sample.listings == 30
    asked = [record.target for record in scene.asked()]
    assert asked[0] == "/robots.txt"
    assert len(asked) == len(set(asked)) <= 16, "nothing is asked twice"


@pytest.mark.parametrize("scene", ["recipe"], indirect=True)
async def test_a_shop_on_no_platform_needs_a_recipe(scene: Scene) -> None:
    with pytest.raises(DiscoveryError, match="recipe") as told:
        await discover(scene)
    assert "shopify: " in str(told.value)


async def test_without_a_currency_the_shop_is_not_guessed(scene: Scene) -> None:
    with pytest.raises(DiscoveryError, match="--currency"):
        await discover(scene)


async def test_a_shop_at_a_private_address_is_asked_nothing(scene: Scene) -> None:
    with pytest.raises(CrawlStoppedError, match="private_address"):
        await discover(scene, public_only=True)
    assert scene.asked() == []


async def test_a_name_of_a_private_address_is_refused_where_it_is_connected_to(scene: Scene) -> None:
    url = scene.shop().url.replace("127.0.0.1", "localhost")
    manners = Manners(FAST, LocalSpacingGate(), "SkateStock", public_only=True)
    async with open_fetcher(manners) as fetcher:
        with pytest.raises(CrawlStoppedError, match=r"private_address.*localhost.*(127\.0\.0\.1|::1)"):
            await fetcher.fetch(url + "/", None)
    assert scene.asked() == []


@pytest.mark.parametrize(
    ("kind", "reason"), [("security_rejection", "blocked"), ("robots_5xx", "robots_unreachable")]
)
async def test_a_shop_that_does_not_want_us_is_left_alone_at_once(
    scene: Scene, kind: str, reason: str
) -> None:
    scene.replica.set_fault(Fault(EVERY_SHOP, kind, None, None, None, {}))
    with pytest.raises(CrawlStoppedError, match=reason):
        await discover(scene)
    asked = [record.target.partition("?")[0] for record in scene.asked()]
    # Whatever comes after the refusal would come after this.
    assert not {"/meta.json", "/sitemap.xml"} & set(asked)
    assert asked.count("/products.json") <= 1
