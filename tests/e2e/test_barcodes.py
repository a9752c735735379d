"""Barcodes from the shops' own pages to the API: crawled for real, through the log, into the catalogue."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest
from tests.e2e.platforms import RoundClock, open_test_platform
from tests.e2e.watched_shop import LIVELY, QUICK

from skatestock.api.app import create_app
from skatestock.cli.crawling import CrawlWorker
from skatestock.cli.mixed_world import derive_mixed_shops
from skatestock.cli.processes import ingest_until_idle
from skatestock.database.pool import Connection
from skatestock.replica.marked_pages import is_open_graph
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World
from skatestock.vocabulary.gtin import parse_gtin

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

START_AT = datetime(2026, 9, 14, 6, tzinfo=UTC)
SHOPS = ("labor", "linked-ledge", "meta-manual")
"""One that is asked for each listing, one with JSON-LD, one with microdata and OpenGraph."""

Stored = dict[tuple[str, str, str], tuple[str | None, str | None]]
"""By shop, handle and offer id: a GTIN, or a text that is none."""

_STORED = """
SELECT s.slug, l.handle, o.offer_id, o.barcode, o.invalid_barcode
FROM offers o JOIN listings l ON l.id = o.listing_id JOIN shops s ON s.id = l.shop_id
"""


def truth_of(world: World) -> Stored:
    """Tell what the catalogue should hold."""
    truth: Stored = {}
    for shop in SHOPS:
        for listing in world.every_listing(shop):
            for offer in listing.offers:
                offer_id = "default" if is_open_graph(listing) else str(offer.offer_id)
                barcode = parse_gtin(offer.barcode or "")
                truth[shop, listing.handle, offer_id] = (barcode, None if barcode else offer.barcode)
    return truth


async def fetch_stored(connection: Connection) -> Stored:
    """Read what the catalogue holds."""
    rows = await connection.fetch(_STORED)
    return {(shop, handle, offer_id): (barcode, invalid) for shop, handle, offer_id, barcode, invalid in rows}


async def test_barcodes_of_three_kinds_of_shops_stand_in_the_catalogue_and_in_the_api(
    database_dsn: str, valkey_url: str
) -> None:
    world = World(20260914, START_AT, 18, LIVELY, SHOPS)
    async with ReplicaServers(world) as replica, open_test_platform(database_dsn, valkey_url) as platform:
        clock = RoundClock(START_AT)
        shops = [
            msgspec.structs.replace(shop, barcodes=True) if shop.platform == "shopify" else shop
            for shop in derive_mixed_shops(replica.addresses.shop_urls)
        ]
        worker = CrawlWorker(platform, shops, clock, QUICK)
        await worker.prepare(only=True)
        for hours in (0, 12, 24):
            clock.now = START_AT + timedelta(hours=hours)
            replica.clock.set_to(clock.now)
            for slug in SHOPS:
                outcome = await worker.crawl_now(slug)
                assert outcome is not None
                assert outcome.complete
        await ingest_until_idle(platform, asyncio.Event())
        async with platform.pool.acquire() as connection:
            stored = await fetch_stored(connection)
            ((product_id, barcode),) = await connection.fetch(
                "SELECT l.product_id, o.barcode FROM offers o JOIN listings l ON l.id = o.listing_id "
                "WHERE o.barcode IS NOT NULL ORDER BY o.id LIMIT 1"
            )
        app = create_app(platform.pool, version="1.2.3", clock=clock)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as api:
            product = (await api.get(f"/products/{product_id}")).json()
    truth = truth_of(world)
    assert {key: truth[key] for key in stored} == stored
    for shop in SHOPS:
        told = [state for key, state in stored.items() if key[0] == shop]
        assert any(barcode for barcode, _ in told), f"{shop} has said no barcode"
    assert any(invalid for _, invalid in stored.values())
    offers = [o for shop in product["shops"] for listing in shop["listings"] for o in listing["offers"]]
    assert barcode in [o["barcode"] for o in offers]
