"""What the API is fuzzed on: a small real catalogue, accounts, and somebody who keeps the endpoints open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import asyncpg
from tests.integration.catalog_rows import Catalogue, days_ago

from skatestock.database.pool import create_pool

EMAIL, PASSWORD = "kareem@example.org", "four words nobody guesses"
"""As in the document's examples, so that what they sign in with is there."""

# A guesser is slowed down and an account holds so many: in a fuzz that would be the only answer.
_KEEP_OPEN = (
    "DELETE FROM sign_in_attempts",
    "DELETE FROM api_keys WHERE created_at < now() - interval '60 seconds' AND name <> 'fuzz'",
    "DELETE FROM saved_searches WHERE created_at < now() - interval '60 seconds'",
    "DELETE FROM wishes WHERE added_at < now() - interval '60 seconds'",
)


async def fill(dsn: str) -> None:
    """Write a few products of two shops, with offers and their history."""
    pool = await create_pool(dsn, application_name="tests")
    try:
        catalogue = Catalogue(pool)
        shops = [await catalogue.add_shop("blacksheep"), await catalogue.add_shop("labor", demo=True)]
        for shop in shops:
            await catalogue.add_crawl(shop, days_ago(0.01))
        shoes = await pool.fetchval("SELECT id FROM categories WHERE slug = 'shoes'")
        for number, name in enumerate(("Busenitz Vulc II", "Team Deck 8.25", "Old Hoodie"), start=1):
            product = await catalogue.add_product(
                name, brand="adidas" if number == 1 else "Krooked", category=shoes, colourway="Navy/White"
            )
            for shop in shops[: 1 + number % 2]:
                listing = await catalogue.add_listing(
                    product, shop, title=name, delisted_at=days_ago(1) if number == 3 else None
                )
                offer = await catalogue.add_offer(listing, 4500, 6000, held=None, barcode="09780201379624")
                await catalogue.add_offer(listing, None, availability="unknown", title="10", held=0)
                await catalogue.add_point(offer, days_ago(20), 6000, changes=("first_seen",))
                await catalogue.add_point(offer, days_ago(2), 4500, 6000)
        await catalogue.index()
    finally:
        await pool.close()


@contextmanager
def kept_open(dsn: str) -> Iterator[None]:
    """Forget failed attempts, and what accounts hold for a minute, for as long as the context lasts."""
    ended = threading.Event()

    async def keep() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            while not ended.is_set():
                for statement in _KEEP_OPEN:
                    # what could not be deleted this time will be the next time
                    with suppress(asyncpg.DeadlockDetectedError):
                        await connection.execute(statement)
                await asyncio.sleep(0.1)
        finally:
            await connection.close()

    keeper = threading.Thread(target=lambda: asyncio.run(keep()))
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
