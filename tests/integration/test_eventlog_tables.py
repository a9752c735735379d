"""What only the event log on tables promises: its transactions, its wake-ups, its topics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from skatestock.database.pool import Connection, Pool, create_pool
from skatestock.database.transactions import is_transient, transaction
from skatestock.eventlog.errors import ConsumerClosedError, PartitionCountError, UnknownTopicError
from skatestock.eventlog.port import Batch, Message, Position
from skatestock.eventlog.postgres import PostgresEventLog

TOPIC = "listing-observations"
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'table tests apart'"


@pytest.fixture
async def pool(database_dsn: str) -> AsyncIterator[Pool]:
    pool = await create_pool(database_dsn, application_name="table tests", max_size=4)
    yield pool
    await pool.close()


@pytest.fixture
async def log(pool: Pool) -> AsyncIterator[PostgresEventLog]:
    log = PostgresEventLog(pool, topics={TOPIC: 1})
    await log.ensure_topics()
    yield log
    await log.close()


def message(value: str, key: str = "labor") -> Message:
    return Message(key=key, value=value.encode())


async def ignore(_connection: Connection, _batch: Batch) -> None:
    """Process a batch by doing nothing with it."""


async def fetch_listener_pids(pool: Pool) -> list[int]:
    for _ in range(200):
        if pids := [row["pid"] for row in await pool.fetch(LISTENERS)]:
            return pids
        await asyncio.sleep(0.02)
    raise AssertionError("nobody listens")


async def test_an_append_that_the_database_refuses_half_way_leaves_no_gap(log: PostgresEventLog) -> None:
    with pytest.raises(asyncpg.CharacterNotInRepertoireError):
        await log.append(TOPIC, [message("a"), message("b", key="nul \x00"), message("c")])
    assert await log.fetch_records(TOPIC, 0, 0, 10) == []
    assert await log.append(TOPIC, [message("d")]) == [Position(0, 0)]


async def test_an_append_whose_connection_is_killed_leaves_nothing(pool: Pool, log: PostgresEventLog) -> None:
    async def append_and_die() -> None:
        async with transaction(pool) as connection:
            await log.append_within(connection, TOPIC, [message("a")])
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            await pool.execute("SELECT pg_terminate_backend($1)", pid)
            await connection.execute("SELECT 1")

    with pytest.raises(Exception) as caught:  # noqa: PT011 - which error it is, is what is asserted
        await append_and_die()
    assert is_transient(caught.value), repr(caught.value)
    assert await log.append(TOPIC, [message("b")]) == [Position(0, 0)]


async def test_an_append_within_a_transaction_commits_or_vanishes_with_it(
    pool: Pool, log: PostgresEventLog
) -> None:
    async def fail_after_appending() -> None:
        async with transaction(pool) as connection:
            assert await log.append_within(connection, TOPIC, [message("a")]) == [Position(0, 0)]
            raise KeyError

    with pytest.raises(KeyError):
        await fail_after_appending()
    async with transaction(pool) as connection:
        await log.append_within(connection, TOPIC, [message("b")])
        assert await log.fetch_records(TOPIC, 0, 0, 10) == []
    assert [record.value for record in await log.fetch_records(TOPIC, 0, 0, 10)] == [b"b"]


async def test_records_become_visible_in_the_order_of_their_offsets(
    pool: Pool, log: PostgresEventLog
) -> None:
    async with transaction(pool) as connection:
        await log.append_within(connection, TOPIC, [message("first")])
        second = asyncio.create_task(log.append(TOPIC, [message("second")]))
        await asyncio.sleep(0.2)
        # were it visible now, a consumer would pass over the first for ever
        assert not second.done()
        assert await log.fetch_records(TOPIC, 0, 0, 10) == []
    assert await second == [Position(0, 1)]


async def test_records_are_read_from_an_offset_on(log: PostgresEventLog) -> None:
    await log.append(TOPIC, [message(str(number)) for number in range(5)])
    assert [record.value for record in await log.fetch_records(TOPIC, 0, 2, 2)] == [b"2", b"3"]
    assert await log.fetch_records(TOPIC, 0, 5, 2) == []
    with pytest.raises(UnknownTopicError):
        await log.fetch_records("no-such-topic", 0, 0, 1)


async def test_huge_records_come_in_smaller_batches(log: PostgresEventLog) -> None:
    huge = bytes(6_000_000)
    await log.append(TOPIC, [Message(key="labor", value=huge) for _ in range(4)])
    consumer = await log.open_consumer("readers", TOPIC)
    sizes = [await consumer.process(ignore, max_records=100, wait_seconds=0) for _ in range(3)]
    assert sizes == [3, 1, 0]
    await log.append(TOPIC, [Message(key="labor", value=huge * 3)])
    assert await consumer.process(ignore, max_records=100, wait_seconds=0) == 1


async def test_records_that_are_missing_in_between_are_passed_over_and_none_is_handed_out_twice(
    pool: Pool, log: PostgresEventLog
) -> None:
    await log.append(TOPIC, [message(str(number)) for number in range(6)])
    # a group that joins late meets what retention has left: whole days that another group had not read
    await pool.execute('DELETE FROM eventlog_records WHERE "offset" IN (2, 3)')
    consumer = await log.open_consumer("latecomers", TOPIC)
    values: list[bytes] = []

    async def read(_connection: Connection, batch: Batch) -> None:
        values.extend(record.value for record in batch.records)

    counts = [await consumer.process(read, max_records=3, wait_seconds=0) for _ in range(3)]
    assert (values, counts) == ([b"0", b"1", b"4", b"5"], [3, 1, 0])


async def test_topics_are_set_up_once_by_many(pool: Pool) -> None:
    logs = [PostgresEventLog(pool, topics={"a": 3, "b": 1}) for _ in range(5)]
    await asyncio.gather(*(log.ensure_topics() for log in logs))
    assert await pool.fetchval("SELECT count(*) FROM eventlog_ends WHERE topic IN ('a', 'b')") == 4


async def test_a_topic_cannot_change_its_partitions(pool: Pool, log: PostgresEventLog) -> None:
    with pytest.raises(PartitionCountError, match="has 1 partitions and cannot have 6"):
        await PostgresEventLog(pool, topics={TOPIC: 6}).ensure_topics()
    assert await pool.fetchval("SELECT count(*) FROM eventlog_ends WHERE topic = $1", TOPIC) == 1


async def test_a_topic_that_was_never_set_up_says_how_to(pool: Pool) -> None:
    log = PostgresEventLog(pool, topics={"new": 2})
    with pytest.raises(UnknownTopicError, match="migrate"):
        await log.append("new", [message("a")])
    # it would serve none of the partitions that are set up later
    with pytest.raises(UnknownTopicError, match="migrate"):
        await log.open_consumer("readers", "new")


async def test_the_wake_up_comes_back_after_its_connection_was_lost(
    pool: Pool, log: PostgresEventLog
) -> None:
    consumer = await log.open_consumer("readers", TOPIC)
    (lost,) = await fetch_listener_pids(pool)
    await pool.execute("SELECT pg_terminate_backend($1)", lost)
    waiting = asyncio.create_task(consumer.process(ignore, max_records=10, wait_seconds=20))
    await log.append(TOPIC, [message("while nobody listened")])
    assert await waiting == 1
    for _ in range(300):
        if (found := await pool.fetch(LISTENERS)) and found[0]["pid"] != lost:
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("nobody listens again")
    await asyncio.sleep(0.2)
    loop = asyncio.get_running_loop()
    delays = []
    for _ in range(3):
        waiting = asyncio.create_task(consumer.process(ignore, max_records=10, wait_seconds=20))
        await asyncio.sleep(0.1)
        await log.append(TOPIC, [message("heard")])
        appended = loop.time()
        assert await waiting == 1
        delays.append(loop.time() - appended)
    assert sorted(delays)[1] < 0.4, delays


async def test_a_connection_that_dies_while_it_is_set_up_does_not_end_the_wake_ups(
    pool: Pool, log: PostgresEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_apart, attempts = pool.connect_apart, 0

    async def fail_at_first() -> asyncpg.Connection:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise asyncpg.InternalClientError(
                "cannot switch to state 15; another operation (2) is in progress"
            )
        return await connect_apart()

    monkeypatch.setattr(pool, "connect_apart", fail_at_first)
    await log.open_consumer("readers", TOPIC)
    assert await fetch_listener_pids(pool)


async def test_a_lost_wake_up_is_made_good_by_looking(pool: Pool, log: PostgresEventLog) -> None:
    consumer = await log.open_consumer("readers", TOPIC)
    waiting = asyncio.create_task(consumer.process(ignore, max_records=10, wait_seconds=20))
    await asyncio.sleep(0.2)
    await pool.execute(
        "WITH moved AS (UPDATE eventlog_ends SET next_offset = 1) "
        "INSERT INTO eventlog_records VALUES ($1, 0, 0, date_trunc('second', now()), 'labor', '')",
        TOPIC,
    )
    assert await asyncio.wait_for(waiting, 10) == 1


async def test_all_consumers_of_a_process_share_one_listening_connection(
    pool: Pool, log: PostgresEventLog
) -> None:
    consumers = [await log.open_consumer(f"group-{number}", TOPIC) for number in range(3)]
    await fetch_listener_pids(pool)
    waiting = [
        asyncio.create_task(consumer.process(ignore, max_records=1, wait_seconds=20))
        for consumer in consumers
    ]
    await asyncio.sleep(0.1)
    await log.append(TOPIC, [message("for all")])
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert len(await fetch_listener_pids(pool)) == 1


async def test_closing_the_log_ends_its_listening_connection(pool: Pool, log: PostgresEventLog) -> None:
    await log.open_consumer("readers", TOPIC)
    await fetch_listener_pids(pool)
    await log.close()
    await log.close()
    for _ in range(200):
        if not await pool.fetch(LISTENERS):
            return
        await asyncio.sleep(0.02)
    pytest.fail("the listening connection is still open")


async def test_a_closed_consumer_stops_waiting_and_refuses_work(log: PostgresEventLog) -> None:
    consumer = await log.open_consumer("readers", TOPIC)
    waiting = asyncio.create_task(consumer.process(ignore, max_records=1, wait_seconds=20))
    await asyncio.sleep(0.1)
    await consumer.close()
    with pytest.raises(ConsumerClosedError):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(ConsumerClosedError):
        await consumer.process(ignore, max_records=1, wait_seconds=0)


async def test_a_batch_must_have_room_for_a_record(log: PostgresEventLog) -> None:
    consumer = await log.open_consumer("readers", TOPIC)
    with pytest.raises(ValueError, match="at least 1"):
        await consumer.process(ignore, max_records=0, wait_seconds=0)


async def test_a_partition_held_by_one_member_is_passed_over_by_another(
    pool: Pool, log: PostgresEventLog
) -> None:
    await log.append(TOPIC, [message("only")])
    first, second = [await log.open_consumer("readers", TOPIC) for _ in range(2)]
    holding, release = asyncio.Event(), asyncio.Event()

    async def hold(_connection: Connection, _batch: Batch) -> None:
        holding.set()
        await release.wait()

    held = asyncio.create_task(first.process(hold, max_records=1, wait_seconds=5))
    await asyncio.wait_for(holding.wait(), 10)
    assert await second.process(ignore, max_records=1, wait_seconds=0.2) == 0
    release.set()
    assert await held == 1
    assert await second.process(ignore, max_records=1, wait_seconds=0) == 0
