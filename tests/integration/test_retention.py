"""Retention: whole days go once they are old and read by everybody, and nobody stumbles over the gap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest

from skatestock.database.partitions import find_partitions
from skatestock.database.pool import Connection, Pool, create_pool
from skatestock.eventlog.port import Batch, Message
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.eventlog.retention import enforce_retention, ensure_log_partitions

TOPIC = "listing-observations"
FIRST = date(2026, 9, 1)


@pytest.fixture
async def pool(any_postgres_dsn: str) -> AsyncIterator[Pool]:
    pool = await create_pool(any_postgres_dsn, application_name="retention tests")
    yield pool
    await pool.close()


@pytest.fixture
async def log(pool: Pool) -> AsyncIterator[PostgresEventLog]:
    log = PostgresEventLog(pool, topics={TOPIC: 1})
    await log.ensure_topics()
    yield log
    await log.close()


async def append_on(pool: Pool, log: PostgresEventLog, day: date, *values: str) -> None:
    """Append as if it were another day."""
    positions = await log.append(TOPIC, [Message(key="labor", value=value.encode()) for value in values])
    await pool.execute(
        'UPDATE eventlog_records SET appended_at = $1 WHERE "offset" = ANY($2::bigint[])',
        datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC),
        [position.offset for position in positions],
    )


async def read(log: PostgresEventLog, group: str, *, at_most: int = 1000) -> list[str]:
    values: list[str] = []

    async def keep(_connection: Connection, batch: Batch) -> None:
        values.extend(record.value.decode() for record in batch.records)

    consumer = await log.open_consumer(group, TOPIC)
    while len(values) < at_most and await consumer.process(keep, max_records=1, wait_seconds=0):
        pass
    await consumer.close()
    return values


async def fetch_left(pool: Pool) -> list[str]:
    rows = await pool.fetch('SELECT value FROM eventlog_records ORDER BY "offset"')
    return [row["value"].decode() for row in rows]


async def write_three_days(pool: Pool, log: PostgresEventLog) -> None:
    await ensure_log_partitions(pool, today=FIRST, days_ahead=2)
    for number in range(3):
        await append_on(pool, log, FIRST + timedelta(days=number), f"{number}a", f"{number}b")


async def test_days_are_made_ahead_once(pool: Pool) -> None:
    assert len(await ensure_log_partitions(pool, today=FIRST, days_ahead=3)) == 4
    assert await ensure_log_partitions(pool, today=FIRST, days_ahead=3) == []
    assert await ensure_log_partitions(pool, today=FIRST + timedelta(days=1), days_ahead=3) == [
        "eventlog_records_2026_09_05"
    ]


async def test_what_is_appended_now_goes_to_the_day_that_was_made_for_it(
    pool: Pool, log: PostgresEventLog
) -> None:
    today = datetime.now(UTC).date()
    await ensure_log_partitions(pool, today=today, days_ahead=1)
    await log.append(TOPIC, [Message(key="labor", value=b"now")])
    place = await pool.fetchval("SELECT tableoid::regclass::text FROM eventlog_records")
    assert place in {f"eventlog_records_{today + timedelta(days=n):%Y_%m_%d}" for n in (0, 1)}


async def test_only_days_that_are_old_and_read_are_dropped(pool: Pool, log: PostgresEventLog) -> None:
    await write_three_days(pool, log)
    await read(log, "ingest")
    retained = await enforce_retention(pool, days=7, today=FIRST + timedelta(days=9))
    assert retained.dropped == ("eventlog_records_2026_09_01", "eventlog_records_2026_09_02")
    assert retained.kept_unread == ()
    assert await fetch_left(pool) == ["2a", "2b"]
    assert (await enforce_retention(pool, days=7, today=FIRST + timedelta(days=9))).dropped == ()


async def test_a_day_of_which_one_record_is_unread_is_kept_whole(pool: Pool, log: PostgresEventLog) -> None:
    await write_three_days(pool, log)
    await read(log, "ingest", at_most=3)
    retained = await enforce_retention(pool, days=7, today=FIRST + timedelta(days=30))
    assert retained.dropped == ("eventlog_records_2026_09_01",)
    assert retained.kept_unread == ("eventlog_records_2026_09_02", "eventlog_records_2026_09_03")
    assert await read(log, "ingest") == ["1b", "2a", "2b"]


async def test_every_group_must_have_read_it(pool: Pool, log: PostgresEventLog) -> None:
    await write_three_days(pool, log)
    await read(log, "ingest")
    slow = await log.open_consumer("slow", TOPIC)
    await slow.close()
    assert (await enforce_retention(pool, days=7, today=FIRST + timedelta(days=30))).dropped == ()
    await read(log, "slow", at_most=2)
    retained = await enforce_retention(pool, days=7, today=FIRST + timedelta(days=30))
    assert retained.dropped == ("eventlog_records_2026_09_01",)


async def test_what_a_group_has_read_of_another_log_counts_for_nothing(
    pool: Pool, log: PostgresEventLog
) -> None:
    await write_three_days(pool, log)
    await read(log, "ingest", at_most=1)
    for other, offset in (("ahead", 1_000_000), ("behind", 0)):
        await pool.execute(
            "INSERT INTO consumer_offsets (consumer_group, log, topic, partition, next_offset) "
            "VALUES ('ingest', $1, $2, 0, $3)",
            other,
            TOPIC,
            offset,
        )
    retained = await enforce_retention(pool, days=0, today=FIRST + timedelta(days=2))
    assert (retained.dropped, len(retained.kept_unread)) == ((), 2)
    await read(log, "ingest")
    retained = await enforce_retention(pool, days=0, today=FIRST + timedelta(days=2))
    assert (len(retained.dropped), retained.kept_unread) == (2, ())


async def test_what_nobody_has_ever_read_waits_for_its_first_reader(
    pool: Pool, log: PostgresEventLog
) -> None:
    await write_three_days(pool, log)
    await append_on(pool, log, FIRST - timedelta(days=1), "default")
    retained = await enforce_retention(pool, days=7, today=FIRST + timedelta(days=30))
    assert (retained.dropped, retained.deleted_records) == ((), 0)
    assert len(await fetch_left(pool)) == 7


async def test_an_empty_old_day_is_dropped(pool: Pool, log: PostgresEventLog) -> None:
    await ensure_log_partitions(pool, today=FIRST, days_ahead=0)
    await enforce_retention(pool, days=7, today=FIRST + timedelta(days=30))
    async with pool.acquire() as connection:
        assert await find_partitions(connection, "eventlog_records") == []


async def test_the_default_partition_loses_by_the_same_rule(pool: Pool, log: PostgresEventLog) -> None:
    for number, day in enumerate((FIRST, FIRST + timedelta(days=1), FIRST + timedelta(days=20))):
        await append_on(pool, log, day, f"{number}a", f"{number}b")
    await read(log, "ingest", at_most=3)
    retained = await enforce_retention(pool, days=7, today=FIRST + timedelta(days=21))
    assert retained.deleted_records == 3
    assert await fetch_left(pool) == ["1b", "2a", "2b"]
    assert await read(log, "ingest") == ["1b", "2a", "2b"]
    assert (await enforce_retention(pool, days=7, today=FIRST + timedelta(days=21))).deleted_records == 1


async def test_a_group_that_comes_after_retention_reads_what_is_left(
    pool: Pool, log: PostgresEventLog
) -> None:
    await write_three_days(pool, log)
    await read(log, "ingest")
    await enforce_retention(pool, days=7, today=FIRST + timedelta(days=9))
    assert await read(log, "late") == ["2a", "2b"]
    assert sum(lag.lag for lag in await log.fetch_lag("late", TOPIC)) == 0


async def test_a_group_for_which_nothing_is_left_goes_on_with_the_next_append(
    pool: Pool, log: PostgresEventLog
) -> None:
    await write_three_days(pool, log)
    await read(log, "ingest")
    await enforce_retention(pool, days=7, today=FIRST + timedelta(days=30))
    assert await fetch_left(pool) == []
    assert await read(log, "late") == []
    assert sum(lag.lag for lag in await log.fetch_lag("late", TOPIC)) == 0
    (position,) = await log.append(TOPIC, [Message(key="labor", value=b"next")])
    assert position.offset == 6
    assert await read(log, "late") == ["next"]
