"""SIGTERM to processes at work: what is in hand is finished, soon, and nothing is left half done."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from tests.e2e.processes import command_environ, run_command
from tests.ingest_shop import add_shop, offer, points, seen

from skatestock.cli.demo import format_shops
from skatestock.cli.event_topics import TOPICS
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.shops import derive_demo_shops, load_shops
from skatestock.database.pool import Pool
from skatestock.eventlog.port import Message
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.events.codec import decode, encode
from skatestock.events.model import CrawlCompleted
from skatestock.ingest.consumer import TOPIC
from skatestock.replica.faults import EVERY_SHOP, Fault
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

_EVENTS = 30


@asynccontextmanager
async def process(*arguments: str, environ: Mapping[str, str]) -> AsyncIterator[subprocess.Popen[str]]:
    """Run one of our commands, and leave nothing of it behind."""
    started = subprocess.Popen(
        [sys.executable, "-m", "skatestock", *arguments],
        env=command_environ(environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        await asyncio.to_thread(started.communicate)


async def end(started: subprocess.Popen[str]) -> float:
    """Wait for a process to end well, and return how long that took."""
    began = time.monotonic()
    _, said = await asyncio.to_thread(started.communicate, timeout=60)
    assert started.returncode == 0, said
    assert "Traceback" not in said
    return time.monotonic() - began


async def wait_for_lock(pool: asyncpg.Pool) -> None:
    """Wait until ingest holds a batch that somebody else's lock keeps it from storing."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'skatestock ingest' AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(30):
        while not await pool.fetchval(waiting):
            await asyncio.sleep(0.05)


async def test_ingest_stores_the_batch_in_hand_before_it_ends(database_dsn: str, pool: Pool) -> None:
    environ = {"SKATESTOCK_DATABASE_URL": database_dsn}
    ended = await asyncio.to_thread(run_command, "migrate", environ=environ)
    assert ended.returncode == 0, ended.stderr
    await add_shop(pool)
    log = PostgresEventLog(pool, topics=TOPICS)
    events = [seen(minute, offer(6000 - minute)) for minute in range(_EVENTS)]
    await log.append(TOPIC, [Message(key=event.shop, value=encode(event)) for event in events])
    async with process("ingest", environ=environ) as ingest:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE listings IN SHARE MODE")
            await wait_for_lock(pool)
            ingest.send_signal(signal.SIGTERM)
            await asyncio.sleep(1)
            assert ingest.poll() is None, "a batch is in hand"
        seconds = await end(ingest)
    assert seconds < 10
    assert len(await points(pool)) == _EVENTS
    assert await pool.fetchval("SELECT sum(next_offset) FROM consumer_offsets") == _EVENTS


async def test_a_crawl_that_is_stopped_says_on_the_log_that_it_was_interrupted(
    database_dsn: str, pool: Pool, tmp_path: Path
) -> None:
    async with ReplicaServers(World(7, datetime(2026, 5, 1, tzinfo=UTC), 12)) as replica:
        shops = derive_demo_shops(load_shops(), replica.addresses.shop_urls)
        file = tmp_path / "shops.toml"
        file.write_text(format_shops(shops))
        environ = {"SKATESTOCK_DATABASE_URL": database_dsn, "SKATESTOCK_SHOPS_FILE": str(file)}
        ended = await asyncio.to_thread(run_command, "migrate", environ=environ)
        assert ended.returncode == 0, ended.stderr
        replica.set_fault(Fault(shop=EVERY_SHOP, kind="slow_drip"))
        async with process("crawl", environ=environ) as crawl:
            async with asyncio.timeout(60):
                while not replica.log.requests():
                    # as soon as there are jobs, nobody waits for their turn
                    await pool.execute("UPDATE job_leases SET due_at = now() WHERE holder IS NULL")
                    await asyncio.sleep(0.1)
            crawl.send_signal(signal.SIGTERM)
            seconds = await end(crawl)
    assert seconds < 15
    endings = [decode(row["value"]) for row in await pool.fetch("SELECT value FROM eventlog_records")]
    assert endings
    for event in endings:
        assert isinstance(event, CrawlCompleted)
        assert (event.complete, event.reason) == (False, CrawlReason.INTERRUPTED.value)
    assert await pool.fetchval("SELECT count(*) FROM job_leases WHERE holder IS NOT NULL") == 0
