"""What a lost cache and a killed crawl cost: repeats, never a state of the history."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis
from tests.cache_servers import PLAIN, CacheServer, run_cache_server
from tests.e2e.history import expect_histories, find_differences
from tests.e2e.processes import command_environ
from tests.e2e.returning_prices import FLASH_SALES, Return, find_return
from tests.e2e.watched_shop import SHOP, Tripwire, WatchedShop, watch_shop

from skatestock.cli.demo import format_shops
from skatestock.crawl.filter import fingerprints_key
from skatestock.crawl.session import CrawlOutcome
from skatestock.embedded.valkey import EmbeddedValkey
from skatestock.vocabulary.time import utc_now

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

SEED = 3
LISTINGS = 50
_LEASE_SECONDS = 2


@pytest.fixture(scope="module")
def returning() -> Return:
    return find_return(SEED, LISTINGS)


@pytest.fixture(scope="module", params=PLAIN)
def any_cache(request: pytest.FixtureRequest) -> Iterator[CacheServer]:
    with run_cache_server(request.param) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def own_valkey(data_folder: Path) -> AsyncIterator[EmbeddedValkey]:
    """A Valkey that this test may kill."""
    server = EmbeddedValkey(data_folder / "valkey", max_memory="64mb")
    await server.start()
    yield server
    await server.stop()


async def _check_whole_history(shop: WatchedShop) -> None:
    """The history is what it would be had nothing happened."""
    found = await shop.fetch_histories()
    differences = find_differences(found, expect_histories(shop.truth(), shop.crawled_at))
    assert not differences, "\n".join(differences)
    await shop.check_caught_up()


# ---------------------------------------------------------------- a price that returns


@pytest.mark.parametrize("cache", ["kept", "flushed between crawls", "none"])
async def test_a_price_that_goes_and_returns_between_crawls_is_three_price_points(
    cache: str, returning: Return, database_dsn: str, valkey_url: str
) -> None:
    url = None if cache == "none" else valkey_url
    async with watch_shop(database_dsn, url, seed=SEED, rates=FLASH_SALES, listings=LISTINGS) as shop:
        for moment in (returning.before_at, returning.reduced_at, returning.restored_at):
            shop.move_to(moment)
            assert (await shop.crawl()).complete
            if cache == "flushed between crawls":
                _flush(valkey_url)
        points = (await shop.fetch_histories())[returning.key]
        assert [(point.at, point.price_minor) for point in points] == [
            (returning.before_at, returning.usual_minor),
            (returning.reduced_at, returning.reduced_minor),
            (returning.restored_at, returning.usual_minor),
        ]
        await _check_whole_history(shop)


# ---------------------------------------------------------------- a cache that is lost


def _flush(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()


async def _crawl_with_trouble(shop: WatchedShop, strike: Tripwire) -> CrawlOutcome:
    """Move on and crawl while the trouble strikes."""
    usual, shop.replica.log = shop.replica.log, strike
    outcome = await shop.step()
    shop.replica.log = usual
    assert strike.has_struck
    assert outcome.complete
    return outcome


async def _count_news(shop: WatchedShop) -> tuple[int, int]:
    """Crawl twice more: how many listings the first says are new, and how many the one after it."""
    first, second = await shop.crawl(), await shop.crawl()
    return first.changed, second.changed


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_a_cache_flushed_in_the_middle_of_a_crawl_costs_repeats_only(
    page: int, database_dsn: str, any_cache: CacheServer
) -> None:
    _flush(any_cache.url)
    async with watch_shop(database_dsn, any_cache.url) as shop:
        await shop.crawl()
        await _crawl_with_trouble(shop, Tripwire(page, lambda: _flush(any_cache.url)))
        await _check_whole_history(shop)
        assert await _count_news(shop) == (0, 0)
        await shop.step()
        await _check_whole_history(shop)


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_a_cache_killed_in_the_middle_of_a_crawl_and_back_later_costs_repeats_only(
    page: int, database_dsn: str, own_valkey: EmbeddedValkey
) -> None:
    async with watch_shop(database_dsn, own_valkey.url) as shop:
        await shop.crawl()
        await _crawl_with_trouble(shop, Tripwire(page, lambda: _kill(own_valkey)))
        await _check_whole_history(shop)
        # A whole crawl without any cache.
        await shop.step()
        await _check_whole_history(shop)
        await own_valkey.crash()
        await shop.step()
        await _check_whole_history(shop)
        assert await _count_news(shop) == (0, 0)


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("page", [2, 3])
async def test_a_cache_restarted_in_the_middle_of_a_crawl_costs_repeats_only(
    page: int, kind: str, database_dsn: str
) -> None:
    with run_cache_server(kind) as server:
        async with watch_shop(database_dsn, server.url) as shop:
            await shop.crawl()
            await _crawl_with_trouble(shop, Tripwire(page, server.crash_and_return))
            await _check_whole_history(shop)
            await shop.step()
            await _check_whole_history(shop)
            assert await _count_news(shop) == (0, 0)


async def test_a_cache_lost_while_ingest_lags_costs_repeats_only(database_dsn: str, valkey_url: str) -> None:
    async with watch_shop(database_dsn, valkey_url, ingests=False) as shop:
        await shop.crawl()
        _flush(valkey_url)
        # Neither the cache nor the catalogue can vouch for anything: everything is said again.
        repeated = await shop.step()
        assert repeated.changed == repeated.listings
        await shop.store()
        await _check_whole_history(shop)


def _kill(valkey: EmbeddedValkey) -> None:
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)
    while valkey.pid is not None:
        pass


# ---------------------------------------------------------------- a crawl that is killed


@pytest.mark.parametrize("stored", [True, False], ids=["stored at once", "stored later"])
async def test_a_crawl_killed_before_it_recorded_a_price_does_not_hide_the_return_of_the_old_one(
    stored: bool, returning: Return, database_dsn: str, valkey_url: str, tmp_path: Path
) -> None:
    async with watch_shop(
        database_dsn, valkey_url, seed=SEED, rates=FLASH_SALES, listings=LISTINGS, ingests=stored
    ) as shop:
        # The process that is killed tells the real time, so the others do.
        shop.worker.clock = utc_now
        shop.move_to(returning.before_at)
        assert (await shop.crawl()).complete
        known = _fetch_fingerprint(valkey_url, returning)
        assert known is not None
        shop.move_to(returning.reduced_at)
        await _crawl_and_be_killed(shop, valkey_url, tmp_path)
        assert _fetch_fingerprint(valkey_url, returning) == known
        shop.move_to(returning.restored_at)
        assert (await _crawl_when_free(shop)).complete
        await shop.store()
        points = (await shop.fetch_histories())[returning.key]
        prices = [returning.usual_minor, returning.reduced_minor, returning.usual_minor]
        assert [point.price_minor for point in points] == prices
        await shop.check_caught_up()
        unfinished = await shop.fetch("SELECT 1 FROM crawls WHERE completed_at IS NULL")
        assert len(unfinished) == 1


async def _crawl_and_be_killed(shop: WatchedShop, valkey_url: str, folder: Path) -> None:
    """Let another process crawl, and kill it when the log has what it saw, and the cache does not yet."""
    appended = await _count_appended(shop)
    # From the first page on the cache lets nobody write.
    shop.replica.log = Tripwire(1, lambda: _pause_writes(valkey_url))
    process = await asyncio.to_thread(_start_crawl, shop, valkey_url, folder)
    try:
        async with asyncio.timeout(60):
            while await _count_appended(shop) == appended:
                assert process.poll() is None
                await asyncio.sleep(0.005)
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
        with redis.Redis.from_url(valkey_url) as client:
            client.execute_command("CLIENT", "UNPAUSE")


def _start_crawl(shop: WatchedShop, valkey_url: str, folder: Path) -> subprocess.Popen[bytes]:
    shops_file = folder / "shops.toml"
    shops_file.write_text(format_shops(list(shop.worker.shops.values())))
    environ = {
        "SKATESTOCK_DATABASE_URL": shop.platform.database_url,
        "SKATESTOCK_REDIS_URL": valkey_url,
        "SKATESTOCK_SHOPS_FILE": str(shops_file),
        "SKATESTOCK_LEASE_SECONDS": str(_LEASE_SECONDS),
    }
    command = [sys.executable, "-m", "skatestock", "crawl", SHOP, "--data", str(folder / "data")]
    with (folder / "crawl.log").open("wb") as log:
        return subprocess.Popen(command, env=command_environ(environ), stdout=log, stderr=log)


def _pause_writes(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")


async def _count_appended(shop: WatchedShop) -> int:
    (row,) = await shop.fetch("SELECT count(*) FROM eventlog_records")
    return int(row[0])


async def _crawl_when_free(shop: WatchedShop) -> CrawlOutcome:
    """Crawl as soon as the lease of the killed process has run out."""
    async with asyncio.timeout(30):
        while await shop.fetch("SELECT 1 FROM job_leases WHERE leased_until > now()"):
            await asyncio.sleep(0.05)
    return await shop.crawl()


def _fetch_fingerprint(url: str, returning: Return) -> bytes | None:
    with redis.Redis.from_url(url) as client:
        found = client.hget(fingerprints_key(SHOP), returning.key.listing_id)
    assert found is None or isinstance(found, bytes)
    return found


async def test_a_clock_set_back_after_a_crawl_that_died_hides_nothing(
    returning: Return, database_dsn: str, valkey_url: str
) -> None:
    async with watch_shop(database_dsn, valkey_url, seed=SEED, rates=FLASH_SALES, listings=LISTINGS) as shop:
        shop.move_to(returning.before_at)
        assert (await shop.crawl()).complete
        shop.move_to(returning.reduced_at)
        await _crawl_and_die(shop)
        # The shop's prices return; the machine's clock goes back behind what the dead crawl has said.
        shop.replica.clock.set_to(returning.restored_at)
        shop.clock.now = returning.before_at
        assert (await shop.crawl()).complete
        points = (await shop.fetch_histories())[returning.key]
        assert [point.price_minor for point in points] == [
            returning.usual_minor,
            returning.reduced_minor,
            returning.usual_minor,
        ]
        await shop.check_caught_up()


async def _crawl_and_die(shop: WatchedShop) -> None:
    """Crawl like a process that is killed before it can give its lease back, until the lease runs out."""
    lease = await shop.worker._claim(SHOP)
    assert lease is not None
    await shop.worker._visit(shop.worker.shops[SHOP], lease, None)
    await shop.fetch("UPDATE job_leases SET leased_until = now() - interval '1 second'")
