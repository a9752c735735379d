"""What a shop is found to be, asked politely over real HTTP; and that nobody is led into our own network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from tests.crawl_scene import FAST, START_AT, Scene

from skatestock.cli.shop_probes import describe_discovery
from skatestock.crawl.discovery import Discovery, DiscoveryError, Wishes, discover_shop
from skatestock.crawl.errors import CrawlStoppedError
from skatestock.crawl.fetching import open_fetcher
from skatestock.crawl.middlewares import Manners
from skatestock.crawl.shops import load_shops
from skatestock.crawl.spacing import LocalSpacingGate
from skatestock.replica.faults import EVERY_SHOP, Fault
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World
from skatestock.vocabulary.titles import TitleHabit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest_asyncio.fixture(loop_scope="session", params=["shopify"])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    world = World(11, START_AT, listings_per_shop=30)
    async with ReplicaServers(world, platforms={"labor": request.param}) as replica:
        yield Scene.of(replica)


async def discover(
    scene: Scene, *, public_only: bool = False, currency: str | None = None, slug: str = "labor", **said: Any
) -> Discovery:
    manners = Manners(FAST, LocalSpacingGate(), "SkateStock", public_only=public_only)
    async with open_fetcher(manners) as fetcher:
        wishes = Wishes(slug="found", currency=currency, crawl_every_seconds=60, **said)
        return await discover_shop(fetcher.fetch, scene.shop(slug).url, wishes, FAST, NOW)


def fewest_titles(platform: str) -> int:
    """Tell how many titles a look at a shop shows that it needs anyway: a page's, or those of five pages."""
    return 5 if platform == "schema-org" else 24


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
    told = describe_discovery(found, 2.0, 86400)
    assert told["seconds"] == 2 * told["requests"]
    # A request for each of thirty pages, at 2 s: longer than the minute between two crawls.
    assert (told["requests"] > 30) is bool(told["warnings"]) is (platform == "schema-org")
    asked = [record.target for record in scene.asked()]
    assert asked[0] == "/robots.txt"
    assert len(asked) == len(set(asked)) <= 16, "nothing is asked twice"
    assert found.habits.titles >= fewest_titles(platform)
    assert "Labor Skateshop" in found.shop.vendor_is_shop or platform in ("squarespace", "schema-org")
    clear = platform != "schema-org"
    assert found.habits.title_habit is (TitleHabit.DASH_COLOURS if clear else None)
    assert found.shop.title_habit is (TitleHabit.DASH_COLOURS if clear else TitleHabit.PLAIN)


@pytest.mark.parametrize("slug", [shop.slug for shop in load_shops()])
async def test_the_habits_of_each_shop_are_those_of_the_file(scene: Scene, slug: str) -> None:
    found = await discover(scene, currency="USD", slug=slug)
    known = scene.shop(slug)
    assert (found.shop.title_habit, found.habits.title_habit) == (known.title_habit, known.title_habit)
    assert found.shop.vendor_is_shop
    assert set(found.shop.vendor_is_shop) <= set(known.vendor_is_shop)
    named = {known.title_habit: 0}
    for listing in found.sample.observations:
        assert listing.brand not in known.shop_names
        named[known.title_habit] += listing.name != listing.title
    # The five that are shown are read by what was found, not as plain ones.
    assert named[known.title_habit] or known.title_habit is TitleHabit.PLAIN


async def test_what_a_person_says_of_the_habits_counts_and_what_was_found_is_told(scene: Scene) -> None:
    said = TitleHabit.BRAND_DASH
    found = await discover(scene, currency="USD", title_habit=said, vendor_is_shop=())
    assert (found.shop.title_habit, found.shop.vendor_is_shop) == (said, ())
    assert found.habits.title_habit is TitleHabit.DASH_COLOURS
    assert found.habits.vendor_is_shop


@pytest.mark.parametrize("scene", ["schema-org"], indirect=True)
async def test_a_page_that_robots_forbids_does_not_hide_the_shop(scene: Scene) -> None:
    first = scene.replica.world.state_at("labor")[0]
    scene.replica.set_fault(
        Fault(EVERY_SHOP, "robots_disallows", None, None, None, {"disallow": f"/products/{first.handle}"})
    )
    found = await discover(scene)
    assert (found.shop.platform, len(found.sample.observations)) == ("schema-org", 5)
    assert f"/products/{first.handle}" not in {record.target for record in scene.asked()}


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
