"""The ingest process: it drains the log, bears a database that drops it, and finishes what it has in hand."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest
from prometheus_client import REGISTRY
from tests.ingest_shop import add_shop, offer, points, seen

from skatestock.database.pool import Pool, close_pool, create_pool
from skatestock.eventlog.errors import FencedError, LogUnavailableError, RegistryUnavailableError
from skatestock.eventlog.measured import MeasuredEventLog, measure_log
from skatestock.eventlog.port import Batch, Connection, Consumer, Handle, Message, Record
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.events.codec import encode
from skatestock.events.model import Event
from skatestock.ingest import consumer as ingest_consumer
from skatestock.ingest.consumer import GROUP, TOPIC, IngestHandler, run_ingest
from skatestock.ingest.lag import watch_lag
from skatestock.ingest.pacing import BatchSizer


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


# ---------------------------------------------------------------- a database that is slow


@asynccontextmanager
async def locked(pool: asyncpg.Pool, table: str) -> AsyncIterator[None]:
    """Let nobody write the table for as long as the block."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield


async def slow_down(pool: asyncpg.Pool, seconds: float) -> None:
    """Let every new price point take so long."""
    await pool.execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;"
        "CREATE TRIGGER dawdle BEFORE INSERT ON price_points FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )


def lag() -> float:
    return sum(metric("skatestock_eventlog_lag", partition=str(number)) for number in range(6))


def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_consumer, "watch_lag", partial(watch_lag, every_seconds=0.05))


async def test_while_the_database_stands_still_lag_shows_memory_stays_and_nothing_is_lost(
    log: PostgresEventLog, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    stop, counts, limit = asyncio.Event(), list[int](), 20
    running = asyncio.create_task(run_ingest(log, stop, max_records=limit, on_batch=counts.append))
    async with locked(pool, "price_points"):
        for minute in range(0, 400, 40):
            await append(log, *(seen(minute + at, offer(60_000 - minute - at)) for at in range(40)))
            await until(lambda minute=minute: lag() == minute + 40)  # type: ignore[misc]
        gc.collect()
        held = sum(1 for one in gc.get_objects() if isinstance(one, Record))
        assert 0 < held <= limit
        assert counts == []
    await until(lambda: lag() == 0 and sum(counts) == 400)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert [point.price for point in await points(pool)] == [60_000 - number for number in range(400)]


async def test_batches_shrink_while_each_record_is_slow_and_grow_again_afterwards(
    log: PostgresEventLog, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_consumer, "BatchSizer", partial(BatchSizer, smallest=4, target_seconds=0.4))
    await slow_down(pool, 0.01)
    await append(log, *(seen(minute, offer(60_000 - minute)) for minute in range(400)))
    stop, counts, limits = asyncio.Event(), list[int](), list[float]()

    def note(count: int) -> None:
        counts.append(count)
        limits.append(metric("skatestock_ingest_batch_limit"))

    running = asyncio.create_task(run_ingest(log, stop, max_records=128, on_batch=note))
    await until(lambda: min(limits, default=128) <= 32)
    await pool.execute("DROP TRIGGER dawdle ON price_points")
    await until(lambda: sum(counts) == 400)
    await append(log, *(seen(minute, offer(60_000 - minute)) for minute in range(400, 1200)))
    await until(lambda: sum(counts) == 1200)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert limits[0] == 128 == limits[-1]
    assert all(count <= limit for count, limit in zip(counts, limits, strict=True))
    assert [point.price for point in await points(pool)] == [60_000 - number for number in range(1200)]


async def test_a_statement_that_runs_out_of_time_is_tried_again_with_fewer_records(
    database_dsn: str, log: PostgresEventLog, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_consumer, "BatchSizer", partial(BatchSizer, smallest=4, target_seconds=0.4))
    impatient = await create_pool(database_dsn, application_name="impatient", statement_timeout_seconds=0.5)
    hurried = PostgresEventLog(impatient, topics={TOPIC: 6})
    stop, counts = asyncio.Event(), list[int]()
    running = asyncio.create_task(run_ingest(hurried, stop, max_records=64, on_batch=counts.append))
    # the first batch makes the month's partition, which may take as long as it needs
    await append(log, seen(0, offer(60_000)))
    await until(lambda: counts == [1])
    await slow_down(pool, 0.02)
    await append(log, *(seen(minute, offer(60_000 - minute)) for minute in range(1, 100)))
    await until(lambda: sum(counts) == 100)
    stop.set()
    await asyncio.wait_for(running, 10)
    await hurried.close()
    await impatient.close()
    assert max(counts) <= 16
    assert [point.price for point in await points(pool)] == [60_000 - number for number in range(100)]
    assert await pool.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_a_batch_that_cannot_be_finished_is_given_up_after_a_while_and_comes_again(
    log: PostgresEventLog, pool: asyncpg.Pool
) -> None:
    await append(log, *(seen(minute, offer(60_000 - minute)) for minute in range(10)))
    stop = asyncio.Event()
    async with locked(pool, "price_points"):
        running = asyncio.create_task(run_ingest(log, stop, finish_within_seconds=0.5))
        await blocked(pool)
        began = time.monotonic()
        stop.set()
        await asyncio.wait_for(running, 10)
        assert 0.4 < time.monotonic() - began < 5
    assert await points(pool) == []
    assert await pool.fetchval("SELECT sum(next_offset) FROM consumer_offsets") == 0
    stop, counts = asyncio.Event(), list[int]()
    running = asyncio.create_task(run_ingest(log, stop, on_batch=counts.append))
    await until(lambda: sum(counts) == 10)
    stop.set()
    await asyncio.wait_for(running, 10)
    assert len(await points(pool)) == 10


async def test_a_database_that_has_frozen_cannot_keep_ingest_from_ending(
    database_dsn: str, log: PostgresEventLog, pool: asyncpg.Pool
) -> None:
    frozen = await create_pool(database_dsn, application_name="ingest under test")
    freezing = PostgresEventLog(frozen, topics={TOPIC: 6})
    await append(log, seen(0, offer()))
    stop = asyncio.Event()
    async with locked(pool, "price_points"):
        running = asyncio.create_task(run_ingest(freezing, stop, finish_within_seconds=0.2))
        backend = await blocked(pool)
        os.kill(backend, signal.SIGSTOP)
        try:
            stop.set()
            await asyncio.wait_for(running, 15)
            await freezing.close()
            async with asyncio.timeout(10):
                await close_pool(frozen, within_seconds=0.2)
        finally:
            os.kill(backend, signal.SIGCONT)
    assert await points(pool) == []


async def blocked(pool: asyncpg.Pool) -> int:
    """Wait until ingest waits for a lock, and return the process of the server that does."""
    waiting = (
        "SELECT pid FROM pg_stat_activity "
        "WHERE application_name = 'ingest under test' AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(20):
        while (pid := await pool.fetchval(waiting)) is None:
            await asyncio.sleep(0.02)
    return int(pid)


# ---------------------------------------------------------------- servers that are away


class TroubledLog(MeasuredEventLog):
    """A log whose servers are away now and then."""

    when_opened: list[Exception]
    when_processed: list[Exception]

    async def open_consumer(self, group: str, topic: str) -> Consumer:
        if self.when_opened:
            raise self.when_opened.pop(0)
        return TroubledConsumer(await super().open_consumer(group, topic), self.when_processed)


class TroubledConsumer:
    def __init__(self, consumer: Consumer, troubles: list[Exception]) -> None:
        self._consumer = consumer
        self._troubles = troubles

    async def process(self, handle: Handle, *, max_records: int, wait_seconds: float) -> int:
        if self._troubles:
            raise self._troubles.pop(0)
        return await self._consumer.process(handle, max_records=max_records, wait_seconds=wait_seconds)

    async def close(self) -> None:
        await self._consumer.close()


async def test_servers_that_are_away_and_lost_partitions_only_delay(
    log: PostgresEventLog, pool: asyncpg.Pool
) -> None:
    troubled = TroubledLog(log)
    troubled.when_opened = [LogUnavailableError("no broker answers")]
    troubled.when_processed = [
        LogUnavailableError("no broker answers"),
        RegistryUnavailableError("the registry does not answer"),
        FencedError("the partition went to another member"),
    ]
    fenced = partial(metric, "skatestock_eventlog_fenced_total", group=GROUP)
    retried = partial(metric, "skatestock_retries_total", part="ingest")
    before = fenced(), retried(kind="LogUnavailableError"), retried(kind="RegistryUnavailableError")
    stop, counts = asyncio.Event(), list[int]()
    running = asyncio.create_task(run_ingest(measure_log(troubled), stop, on_batch=counts.append))
    await append(log, *(seen(minute, offer(6000 - minute)) for minute in range(5)))
    await until(lambda: sum(counts) == 5)
    stop.set()
    await asyncio.wait_for(running, 10)
    after = fenced(), retried(kind="LogUnavailableError"), retried(kind="RegistryUnavailableError")
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 2, 1]
    assert len(await points(pool)) == 5


async def test_a_batch_is_measured_once_it_is_stored(log: PostgresEventLog, pool: asyncpg.Pool) -> None:
    events = [seen(minute, offer(6000 - minute)) for minute in range(7)]
    names = (
        "skatestock_ingest_bytes_total",
        "skatestock_ingest_batch_records_count",
        "skatestock_ingest_batch_records_sum",
        "skatestock_ingest_batch_seconds_count",
        "skatestock_ingest_commit_delay_seconds_count",
    )
    before = [metric(name) for name in names]
    delay = metric("skatestock_ingest_commit_delay_seconds_sum")
    await append(log, *events)
    stop, counts = asyncio.Event(), list[int]()
    running = asyncio.create_task(run_ingest(log, stop, on_batch=counts.append))
    await until(lambda: counts == [7])
    stop.set()
    await asyncio.wait_for(running, 10)
    grown = [metric(name) - then for name, then in zip(names, before, strict=True)]
    assert grown == [sum(len(encode(event)) for event in events), 1, 7, 1, 1]
    assert 0 <= metric("skatestock_ingest_commit_delay_seconds_sum") - delay < 20
