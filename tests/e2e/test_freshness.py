"""After a price changes in a shop, every surface of every process shows it within five seconds of the commit.

Two processes answer behind warm caches of their own and one that they share; a third keeps the product index.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import httpx
import psutil
import pytest
import redis.asyncio
from tests.e2e.held_answers import HeldAnswers
from tests.forwarding import Forwarder
from tests.ingest_shop import SHOP, add_shop, at, ended, ingest, offer, seen
from tests.integration.api_process import find_port, served
from tests.integration.event_client import Listener, listening
from tests.servers import PostgresServer, TestServers

from skatestock.database.pool import create_pool
from skatestock.vocabulary.time import format_moment

FRESH_SECONDS = 5.0
WARM_SECONDS = 60.0

_minutes = itertools.count(10, 10)


class Web(NamedTuple):
    """Two processes that answer, and what they work on."""

    pool: asyncpg.Pool
    addresses: tuple[str, str]
    listeners: tuple[Listener, Listener]
    cache: redis.asyncio.Redis
    way: Forwarder
    """To the cache."""
    database: HeldAnswers
    """The processes' way to the database."""
    product: int
    client: httpx.AsyncClient

    async def change(self, price: int) -> tuple[int, float]:
        """Commit another price and the end of its crawl; returns its minute, and when it was committed."""
        minute = next(_minutes)
        await ingest(self.pool, seen(minute, offer(price)), ended(minute, "1", "2", until=minute + 1))
        return minute, time.monotonic()

    async def get(self, address: str, path: str) -> httpx.Response:
        answer = await self.client.get(address + path)
        assert answer.status_code == 200, answer.text
        return answer


Shows = Callable[[Any, int, int], bool]


def surfaces(product: int) -> dict[str, Shows]:
    """Tell, for each address, whether an answer shows a price and the crawl that saw it."""

    def shop_is_fresh(shop: Any, minute: int) -> bool:
        return bool(shop["last_complete_crawl_at"] == format_moment(at(minute + 1)))

    return {
        f"/products/{product}": lambda body, price, minute: (
            body["product"]["price"]["minor"] == price and shop_is_fresh(body["shops"][0], minute)
        ),
        f"/products/{product}/price-history?days=3650": lambda body, price, _minute: (
            body["offers"][0]["steps"][-1]["price"]["minor"] == price
        ),
        f"/products?shop={SHOP}&sort=price": lambda body, price, _minute: any(
            item["id"] == product and item["price"]["minor"] == price for item in body["items"]
        ),
        "/shops": lambda body, _price, minute: shop_is_fresh(body["items"][0], minute),
        f"/shops/{SHOP}": lambda body, _price, minute: shop_is_fresh(body, minute),
    }


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[str]:
    dsn = postgres_server.create_database(migrated=True)
    yield dsn
    postgres_server.drop_database(dsn)


class Processes(NamedTuple):
    """What runs for all tests of this file."""

    dsn: str
    addresses: tuple[str, str]
    cache_url: str
    cache_port: int
    database_port: int


@pytest.fixture(scope="module")
def processes(database: str, test_servers: TestServers) -> Iterator[Processes]:
    cache_port, database_port = find_port(), find_port()
    cache_url = test_servers.valkey().url
    through = f"redis://127.0.0.1:{cache_port}/0"
    parts = urlsplit(database)
    netloc = f"{parts.username}:{parts.password}@127.0.0.1:{database_port}"
    dsn = parts._replace(netloc=netloc).geturl()
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SKATESTOCK_")},
        "SKATESTOCK_DATABASE_URL": database,
        "SKATESTOCK_DATA": "/nonexistent",
    }
    with ExitStack() as stack:
        index = subprocess.Popen([sys.executable, "-m", "skatestock", "index"], env=environ)
        stack.callback(index.wait)
        stack.callback(index.kill)
        addresses = [
            stack.enter_context(served(dsn, redis_url=through, rate_limit_address=0))[1] for _ in range(2)
        ]
        yield Processes(database, (addresses[0], addresses[1]), cache_url, cache_port, database_port)


@pytest.fixture
async def web(processes: Processes) -> AsyncIterator[Web]:
    pool = await create_pool(processes.dsn, application_name="tests", max_size=4)
    way = Forwarder(processes.cache_url, processes.cache_port)
    database = HeldAnswers(processes.dsn, processes.database_port)
    await way.open()
    await database.open()
    cache = redis.asyncio.Redis.from_url(processes.cache_url)
    await add_shop(pool)
    await ingest(pool, seen(0), seen(0, listing="2"), ended(0, "1", "2", until=1))
    product = await pool.fetchval("SELECT product_id FROM listings WHERE listing_id = '1'")
    first, second = processes.addresses
    async with httpx.AsyncClient(timeout=20) as client:
        listeners = Listener(f"{first}/events"), Listener(f"{second}/events")
        # in threads of their own: the ways to the servers are kept open by this one
        await asyncio.gather(*(asyncio.to_thread(listener.start) for listener in listeners))
        yield Web(pool, processes.addresses, listeners, cache, way, database, product, client)
        for listener in listeners:
            listener.stop()
    await cache.aclose()
    await way.cut()
    await database.cut()
    await pool.close()


async def warm(web: Web, price: int, minute: int) -> None:
    """Ask until both processes answer every address from what they keep, with what is true now."""
    async with asyncio.timeout(WARM_SECONDS):
        for path, shows in surfaces(web.product).items():
            for address in web.addresses:
                while True:
                    answer = await web.get(address, path)
                    if shows(answer.json(), price, minute) and answer.headers["x-cache"].startswith("hit"):
                        break
                    await asyncio.sleep(0.02)


async def measure(web: Web, price: int, minute: int, committed_at: float) -> dict[str, float]:
    """Tell for each surface of each process how long after the commit it showed the change, to stay so."""

    async def watch(address: str, path: str, shows: Shows) -> float:
        while not shows((await web.get(address, path)).json(), price, minute):
            assert time.monotonic() - committed_at < WARM_SECONDS, f"{address}{path} never showed it"
            await asyncio.sleep(0.02)
        shown_at = time.monotonic()
        for _ in range(20):
            assert shows((await web.get(address, path)).json(), price, minute), (
                "what was fresh is stale again"
            )
            await asyncio.sleep(0.02)
        return shown_at - committed_at

    async def listen(listener: Listener) -> float:
        while not any(
            one.name == "price_changed" and one.data["now"]["price"]["minor"] == price
            for one in listener.heard
        ):
            assert time.monotonic() - committed_at < WARM_SECONDS, "the event was never heard"
            await asyncio.sleep(0.02)
        return time.monotonic() - committed_at

    watches: dict[str, Awaitable[float]] = {
        f"{number}{path}": watch(address, path, shows)
        for number, address in enumerate(web.addresses)
        for path, shows in surfaces(web.product).items()
    }
    watches |= {f"{number}/events": listen(listener) for number, listener in enumerate(web.listeners)}
    return dict(zip(watches, await asyncio.gather(*watches.values()), strict=True))


async def prove_fresh(
    web: Web, price: int, *, trouble: Callable[[], Awaitable[object]] | None = None
) -> None:
    """Warm the caches, make trouble, commit a price, and see it everywhere in time."""
    before = price + 1
    minute, _ = await web.change(before)
    await warm(web, before, minute)
    if trouble is not None:
        await trouble()
    minute, committed_at = await web.change(price)
    late = await measure(web, price, minute, committed_at)
    assert {name: seconds for name, seconds in late.items() if seconds >= FRESH_SECONDS} == {}


async def test_a_changed_price_is_shown_everywhere_in_time(web: Web) -> None:
    for price in (5000, 4800, 5200):
        await prove_fresh(web, price)


async def test_a_changed_price_is_shown_in_time_when_the_processes_lose_sight_just_before(web: Web) -> None:
    async def blind() -> None:
        killed = await web.pool.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'skatestock api changes'"
        )
        assert killed == 2

    await prove_fresh(web, 5300, trouble=blind)


async def test_a_changed_price_is_shown_in_time_when_redis_is_emptied(web: Web) -> None:
    await prove_fresh(web, 5400, trouble=web.cache.flushall)


async def test_a_changed_price_is_shown_in_time_when_redis_is_away(web: Web) -> None:
    await prove_fresh(web, 5500, trouble=web.way.cut)
    for address in web.addresses:
        health = (await web.get(address, "/health")).json()
        (told,) = [part for part in health["dependencies"] if part["name"] == "redis"]
        assert (health["status"], told["status"]) == ("degraded", "away")
        assert "limits count per process" in told["detail"]
        assert (await web.get(address, "/health/ready")).json() == {"status": "ok"}


async def test_an_answer_that_was_begun_before_the_commit_is_not_kept_as_fresh(web: Web) -> None:
    minute, _ = await web.change(5600)
    await warm(web, 5600, minute)
    # what is kept is outdated by another commit, so that the next to ask makes its process read anew
    await web.change(5601)
    path = f"/products/{web.product}"
    async with asyncio.timeout(30):
        while (await web.get(web.addresses[0], path)).json()["product"]["price"]["minor"] != 5601:
            await asyncio.sleep(0.05)
        await web.cache.flushall()
        await web.change(5602)
        await until_confirmed(web)
        web.database.hold()
        asking = [asyncio.create_task(web.get(address, path)) for address in web.addresses]
        while web.database.held < 2:
            assert not any(one.done() for one in asking)
            await asyncio.sleep(0.02)
        minute, committed_at = await web.change(5603)
        # both processes hear of it, as what their followers are told is not held up
        await asyncio.sleep(1.5)
        web.database.release()
        for answer in await asyncio.gather(*asking):
            # they were read when nothing else was true yet
            assert answer.json()["product"]["price"]["minor"] == 5602
    late = await measure(web, 5603, minute, committed_at)
    assert max(late.values()) < FRESH_SECONDS


async def until_confirmed(web: Web) -> None:
    """Wait until both processes have told all that was committed."""
    price = await web.pool.fetchval("SELECT price_minor FROM offers ORDER BY since_at DESC LIMIT 1")
    while not all(
        listener.heard and listener.heard[-1].data["now"]["price"]["minor"] == price
        for listener in web.listeners
    ):
        await asyncio.sleep(0.02)


async def test_a_listener_loses_and_doubles_nothing_while_its_server_is_killed(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    await add_shop(pool)
    await ingest(pool, seen(1, offer(1000)))
    with served(database_dsn, workers=1) as (process, url), listening(f"{url}/events") as client:
        kills, rested_at = 0, 0.0
        for turn in range(1, 61):
            await ingest(pool, seen(1 + turn, offer(1000 + turn)))
            if turn in (10, 30, 50):
                # what was committed while nobody answered comes afterwards
                await asyncio.to_thread(client.wait_until_connected, kills + 1)
                # two deaths within five and a half seconds are a crash loop, which ends the server
                await asyncio.sleep(rested_at - time.monotonic())
                kill_workers(process)
                kills, rested_at = kills + 1, time.monotonic() + 6
            await asyncio.sleep(0.1)
        await asyncio.to_thread(client.wait, lambda: len(client.heard) >= 60, 60)
        await asyncio.sleep(0.5)
    assert [one.data["now"]["price"]["minor"] for one in client.heard] == [
        1000 + turn for turn in range(1, 61)
    ]
    assert len({one.id for one in client.heard}) == 60
    assert client.connections >= 4


def kill_workers(process: psutil.Process) -> None:
    """Kill whatever answers; the process that watches it starts another."""
    workers = [child for child in process.children() if "resource_tracker" not in " ".join(child.cmdline())]
    assert workers
    for worker in workers:
        worker.kill()
