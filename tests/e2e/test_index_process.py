"""`skatestock index` as processes: how soon a commit shows, and who takes over from one that is killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import asyncpg
import pytest
from tests.e2e.processes import command_environ, run_command
from tests.integration.catalog_rows import Catalogue

from skatestock.catalog.commands_changes import Touched, record_change

_TAKEOVER_SECONDS = 10.0


class IndexProcesses:
    """Starts index processes on a database, and ends them."""

    def __init__(self, dsn: str, stack: ExitStack) -> None:
        self._environ = command_environ({"SKATESTOCK_DATABASE_URL": dsn})
        self._stack = stack

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "skatestock", "index"], env=self._environ)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process


@pytest.fixture
def processes(database_dsn: str) -> Iterator[IndexProcesses]:
    with ExitStack() as stack:
        yield IndexProcesses(database_dsn, stack)


async def touch(pool: asyncpg.Pool, product: int) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await record_change(connection, Touched(product_ids=[product]))


async def wait_for_index(pool: asyncpg.Pool, within_seconds: float) -> float:
    """Wait until the index shows every change, and tell for how long that took."""
    began = time.monotonic()
    while await pool.fetchval("SELECT position > indexed FROM catalogue_clock"):
        assert time.monotonic() - began < within_seconds, f"no index after {within_seconds} s"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_a_commit_shows_within_a_second_and_a_killed_index_is_replaced_within_ten(
    pool: asyncpg.Pool, processes: IndexProcesses
) -> None:
    catalogue = Catalogue(pool)
    product = await catalogue.add_product("Deck")
    await catalogue.add_listing(product, await catalogue.add_shop("labor"))
    first = processes.start()
    await touch(pool, product)
    await wait_for_index(pool, 30)
    delays = []
    for _ in range(20):
        await touch(pool, product)
        delays.append(await wait_for_index(pool, 10))
    assert sorted(delays)[18] < 1.0, delays
    processes.start()
    await asyncio.sleep(3)
    first.send_signal(signal.SIGKILL)
    await touch(pool, product)
    assert await wait_for_index(pool, 30) < _TAKEOVER_SECONDS
    assert await pool.fetchval("SELECT count(*) FROM indexed_products") == 1


async def test_days_that_have_ended_are_reckoned_beside_the_index(
    pool: asyncpg.Pool, processes: IndexProcesses
) -> None:
    processes.start()
    began = time.monotonic()
    while await pool.fetchval("SELECT count(*) FROM trend_days") < 89:
        assert time.monotonic() - began < 30
        await asyncio.sleep(0.05)
    ended = "SELECT max(day) = (now() AT TIME ZONE 'UTC')::date - 1 FROM trend_days"
    assert await pool.fetchval(ended)


async def test_discounts_are_read_out_of_the_history_beside_the_index(
    pool: asyncpg.Pool, processes: IndexProcesses
) -> None:
    catalogue = Catalogue(pool)
    listing = await catalogue.add_listing(
        await catalogue.add_product("Deck"), await catalogue.add_shop("labor")
    )
    offer = await catalogue.add_offer(listing, 4000)
    now = await pool.fetchval("SELECT date_trunc('second', now())")
    for days, compare_at in ((30, None), (20, 5000), (10, None)):
        await catalogue.add_point(offer, now - timedelta(days=days), 4000, compare_at)
    processes.start()
    async with asyncio.timeout(30):
        while not await pool.fetchval("SELECT kept_until > now() - interval '1 hour' FROM discount_state"):
            await asyncio.sleep(0.05)
    ended = await pool.fetch("SELECT began_at, ended_at, discounts FROM discount_ends")
    assert [tuple(row) for row in ended] == [(now - timedelta(days=20), now - timedelta(days=10), 1)]


async def test_an_index_that_is_stopped_gives_way_at_once(
    pool: asyncpg.Pool, processes: IndexProcesses
) -> None:
    first = processes.start()
    await touch(pool, 1)
    await wait_for_index(pool, 30)
    processes.start()
    await asyncio.sleep(3)
    first.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait, 10) == 0
    await touch(pool, 1)
    assert await wait_for_index(pool, 10) < 4.0


async def test_a_catalogue_from_before_the_index_is_built_by_itself_and_by_command(
    pool: asyncpg.Pool, database_dsn: str, processes: IndexProcesses
) -> None:
    catalogue = Catalogue(pool)
    shop = await catalogue.add_shop("labor")
    for number in range(30):
        await catalogue.add_listing(await catalogue.add_product(f"Deck {number}"), shop)
    await pool.execute("UPDATE product_index_state SET version = 0, built_to = 0, built_after = 0")
    processes.start()
    async with asyncio.timeout(30):
        while not await pool.fetchval("SELECT version FROM product_index_state"):
            await asyncio.sleep(0.05)
    assert await pool.fetchval("SELECT count(*) FROM indexed_products") == 30
    await pool.execute("DELETE FROM indexed_products")
    environ = {"SKATESTOCK_DATABASE_URL": database_dsn}
    ended = await asyncio.to_thread(run_command, "index", "--rebuild", environ=environ)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "built: 30 products" in ended.stdout
    assert await pool.fetchval("SELECT count(*) FROM indexed_products") == 30
