"""The ingest process: it drains the log, bears a database that drops it, and finishes what it has in hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from prometheus_client import REGISTRY
from tests.ingest_shop import add_shop, offer, points, seen

from skatestock.database.pool import Pool, create_pool
from skatestock.eventlog.port import Batch, Connection, Message
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.events.codec import encode
from skatestock.events.model import Event
from skatestock.ingest import consumer as ingest_consumer
from skatestock.ingest.consumer import GROUP, TOPIC, IngestHandler, run_ingest


@pytest.fixture
async def ingest_pool(database_dsn: str) -> AsyncIterator[Pool]:
    """A pool of the process's own, so that its connections can be told from the test's."""
    pool = await create_pool(database_dsn, application_name="ingest under test")
    yield pool
    await pool.close()


@pytest.fixture
async def log(ingest_pool: Pool) -> AsyncIterator[PostgresEventLog]:
    log = PostgresEventLog(ingest_pool, topics={TOPIC: 6})
    await log.ensure_topics()
    await add_shop(ingest_pool)
    await add_shop(ingest_pool, "premier")
    yield log
    await log.close()


async def append(log: PostgresEventLog, *events: Event) -> None:
    await log.append(TOPIC, [Message(key=event.shop, value=encode(event)) for event in events])


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_everything_that_is_appended_is_ingested_until_told_to_stop(
    log: PostgresEventLog, pool: asyncpg.Pool
) -> None:
    stop, counts = asyncio.Event(), list[int]()
    running = asyncio.create_task(run_ingest(log, stop, max_records=3, on_batch=counts.append))
    before = metric("skatestock_ingest_price_points_total", change="price_down")
    await append(log, *(seen(number, offer(6000 - number)) for number in range(8)))
    await append(log, seen(0, shop="premier"))
    await until(lambda: sum(counts) == 9)
    stop.set()
    await asyncio.wait_for(running, 5)
    assert len(await points(pool)) == 8
    assert len(await points(pool, shop="premier")) == 1
    assert max(counts) == 3
    assert metric("skatestock_ingest_price_points_total", change="price_down") == before + 7
    assert [part.lag for part in await log.fetch_lag(GROUP, TOPIC)] == [0] * 6


async def test_a_database_that_drops_every_connection_delays_but_loses_and_doubles_nothing(
    log: PostgresEventLog, pool: asyncpg.Pool
) -> None:
    stop, counts = asyncio.Event(), list[int]()
    running = asyncio.create_task(run_ingest(log, stop, max_records=1, on_batch=counts.append))
    await append(log, *(seen(number, offer(6000 - number)) for number in range(40)))
    for dropped in (5, 15, 25):
        await until(lambda dropped=dropped: sum(counts) >= dropped)  # type: ignore[misc]
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'ingest under test%' AND pid <> pg_backend_pid()"
        )
    # Not the batches heard of: the answer to a COMMIT may be lost with its connection.
    async with asyncio.timeout(20):
        while len(await points(pool)) < 40:
            await asyncio.sleep(0.02)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert [point.price for point in await points(pool)] == [6000 - number for number in range(40)]


async def test_a_batch_in_hand_is_finished_when_told_to_stop(
    log: PostgresEventLog, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stop = asyncio.Event(), asyncio.Event()

    class SlowHandler(IngestHandler):
        async def __call__(self, connection: Connection, batch: Batch) -> None:
            begun.set()
            await asyncio.sleep(0.3)
            await super().__call__(connection, batch)

    monkeypatch.setattr(ingest_consumer, "IngestHandler", SlowHandler)
    running = asyncio.create_task(run_ingest(log, stop))
    await append(log, seen(0))
    await asyncio.wait_for(begun.wait(), 5)
    stop.set()
    await asyncio.wait_for(running, 5)
    assert len(await points(pool)) == 1


async def test_several_members_share_the_work_and_every_event_counts_once(
    log: PostgresEventLog, pool: asyncpg.Pool
) -> None:
    slugs = [f"shop-{number}" for number in range(8)]
    for slug in slugs:
        await add_shop(pool, slug)
    stop, counts = asyncio.Event(), list[int]()
    running = [
        asyncio.create_task(run_ingest(log, stop, max_records=4, on_batch=counts.append)) for _ in range(3)
    ]
    # all shops name one new brand at the same time
    for minute in range(10):
        await append(log, *(seen(minute, offer(6000 - minute), shop=slug, brand="New") for slug in slugs))
    await until(lambda: sum(counts) == 80)
    stop.set()
    await asyncio.gather(*running)
    for slug in slugs:
        assert [point.price for point in await points(pool, shop=slug)] == [
            6000 - number for number in range(10)
        ]


async def test_what_waiting_cannot_mend_ends_the_process_and_buries_nothing(
    log: PostgresEventLog, pool: asyncpg.Pool
) -> None:
    await pool.execute("DROP TABLE price_points CASCADE")
    await append(log, seen(0))
    with pytest.raises(asyncpg.UndefinedTableError):
        await asyncio.wait_for(run_ingest(log, asyncio.Event()), 10)
    assert await pool.fetchval("SELECT count(*) FROM dead_letters") == 0
    assert await pool.fetchval("SELECT sum(next_offset) FROM consumer_offsets") == 0
