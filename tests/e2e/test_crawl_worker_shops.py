"""A running crawl worker and the shops that are added, disabled and enabled beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest
import pytest_asyncio
from tests.e2e.platforms import open_test_platform

from skatestock.catalog.commands_shops import add_shop, disable_shop
from skatestock.cli.crawling import KIND, CrawlWorker, job_of
from skatestock.cli.platform import Platform
from skatestock.cli.shop_list import define_shop, fetch_watched_shops, join_shops, shop_records
from skatestock.crawl.shops import Shop, derive_demo_shops, load_shops
from skatestock.database.transactions import transaction
from skatestock.jobs.commands import ensure_jobs
from skatestock.jobs.model import Job
from skatestock.jobs.queries import fetch_now, find_jobs
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]


@pytest_asyncio.fixture(loop_scope="session")
async def shops() -> AsyncIterator[tuple[Shop, ...]]:
    async with ReplicaServers(World(7, datetime(2026, 5, 1, tzinfo=UTC), 10)) as replica:
        yield derive_demo_shops(load_shops(), replica.addresses.shop_urls)


async def add(platform: Platform, shop: Shop, *, allow_private: bool) -> None:
    async with transaction(platform.pool) as connection:
        (record,) = shop_records([shop])
        await add_shop(connection, record, define_shop(shop, allow_private=allow_private))
        await ensure_jobs(connection, KIND, {job_of(shop.slug): 1800}, await fetch_now(connection))


async def find_job(platform: Platform, slug: str) -> Job:
    async with platform.pool.acquire() as connection:
        (job,) = [job for job in await find_jobs(connection, KIND) if job.job == job_of(slug)]
    return job


def renamed(shop: Shop, slug: str) -> Shop:
    return msgspec.structs.replace(shop, slug=slug)


async def test_a_running_worker_takes_up_what_is_added_and_guards_it(
    shops: tuple[Shop, ...], database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skatestock.cli.crawling._LOOK_FOR_SHOPS_EVERY_SECONDS", 0.1)
    async with open_test_platform(database_dsn, None) as platform:
        watched = join_shops(shops[:1], ())
        worker, stop = CrawlWorker(platform, watched.shops, watched=watched), asyncio.Event()
        await worker.prepare(only=True)
        # What the worker reads as the file is the five real shops, which must not be asked.
        monkeypatch.setattr("skatestock.cli.shop_list.load_shops", lambda _: shops[:1])
        running = asyncio.create_task(worker.run(stop))
        await add(platform, renamed(shops[1], "allowed"), allow_private=True)
        await add(platform, renamed(shops[2], "guarded"), allow_private=False)
        async with asyncio.timeout(60):
            while None in [(await find_job(platform, slug)).last_outcome for slug in ("allowed", "guarded")]:
                await asyncio.sleep(0.2)
        stop.set()
        await asyncio.wait_for(running, 20)
        assert (await find_job(platform, "allowed")).last_outcome == "complete"
        assert (await find_job(platform, "guarded")).last_outcome == "private_address"


async def test_a_worker_that_starts_disables_no_added_shop_and_wakes_no_resting_one(
    shops: tuple[Shop, ...], database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skatestock.cli.shop_list.load_shops", lambda _: shops[:2])
    async with open_test_platform(database_dsn, None) as platform:
        await add(platform, renamed(shops[2], "added"), allow_private=True)
        async with transaction(platform.pool) as connection:
            first = join_shops(shops[:2], ())
            worker = CrawlWorker(platform, first.shops, watched=first)
        await worker.prepare(only=True)
        async with transaction(platform.pool) as connection:
            await disable_shop(connection, shops[0].slug, await fetch_now(connection), "operator")
            watched = await fetch_watched_shops(connection, platform.settings)
        assert watched.resting == {shops[0].slug}
        chosen = [shop for shop in watched.shops if shop.slug not in watched.resting]
        await CrawlWorker(platform, chosen, watched=watched).prepare(only=True)
        enabled = {shop.slug: (await find_job(platform, shop.slug)).enabled for shop in watched.shops}
        assert enabled == {shops[0].slug: False, shops[1].slug: True, "added": True}


async def test_where_file_and_table_name_one_shop_the_file_wins(shops: tuple[Shop, ...]) -> None:
    same_slug = msgspec.structs.replace(shops[1], slug=shops[0].slug, name="Other")
    same_url = msgspec.structs.replace(shops[0], slug="other")
    other = renamed(shops[1], "one-more")
    definitions = [define_shop(shop, allow_private=False) for shop in (same_slug, same_url, other)]
    watched = join_shops(shops[:1], [*definitions, {"slug": "broken"}])
    assert watched.shops == (shops[0], other)
    assert watched.shadowed == (shops[0].slug, "other")
    assert watched.added == watched.public_only == frozenset({"one-more"})


@pytest.mark.parametrize(
    "keys",
    [
        {"platform": "shopify", "barcodes": True, "barcodes_per_crawl": 7},
        {"platform": "woocommerce"},
        {"platform": "squarespace", "store_path": "/store"},
        {"platform": "schema-org", "sitemap_path": "/map.xml", "product_paths": ("/p/",)},
    ],
)
async def test_a_definition_reads_back_as_the_shop_that_it_defines(
    shops: tuple[Shop, ...], keys: dict[str, object]
) -> None:
    shop = msgspec.structs.replace(shops[0], **keys)
    assert join_shops((), [define_shop(shop, allow_private=True)]).shops == (shop,)
