"""Partitions made ahead, late, twice and while others write: every row is there, once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from functools import partial

import asyncpg
import pytest

from skatestock.database.errors import PartitionError
from skatestock.database.partitions import (
    Partition,
    ensure_day_partitions,
    ensure_month_partitions,
    find_default_partition,
    find_partitions,
    lock_partitioning,
)
from skatestock.database.pool import Connection, Pool, create_pool
from skatestock.database.transactions import retry_transient, transaction

OCTOBER, NOVEMBER, DECEMBER = date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)
EDGE = datetime(2026, 11, 1, tzinfo=UTC)

INSERT = """
    INSERT INTO price_points (offer_id, observed_at, price_minor, availability, changes, crawl_id)
    VALUES ($1, $2, 6000, 'in_stock', '{first_seen}', 'a crawl')
"""


@pytest.fixture
async def pool(any_postgres_dsn: str) -> AsyncIterator[Pool]:
    pool = await create_pool(any_postgres_dsn, application_name="partition tests")
    yield pool
    await pool.close()


async def make_months(pool: Pool, *months: date) -> list[str]:
    async with transaction(pool) as connection:
        return await ensure_month_partitions(connection, "price_points", months)


async def fetch_places(pool: Pool) -> dict[int, str]:
    rows = await pool.fetch("SELECT offer_id, tableoid::regclass::text AS place FROM price_points")
    assert len(rows) == len({row["offer_id"] for row in rows}), "a row stands twice"
    return {row["offer_id"]: row["place"] for row in rows}


async def test_months_are_made_once_and_named_after_themselves(pool: Pool) -> None:
    assert await make_months(pool, date(2026, 12, 31), NOVEMBER) == [
        "price_points_2026_11",
        "price_points_2026_12",
    ]
    assert await make_months(pool, NOVEMBER, DECEMBER) == []
    async with pool.acquire() as connection:
        assert await find_partitions(connection, "price_points") == [
            Partition("price_points_2026_11", EDGE, datetime(2026, 12, 1, tzinfo=UTC)),
            Partition(
                "price_points_2026_12", datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
            ),
        ]
        assert await find_default_partition(connection, "price_points") == "price_points_default"


async def test_months_that_stand_are_ensured_beside_one_who_makes_others(pool: Pool) -> None:
    await make_months(pool, NOVEMBER)
    async with transaction(pool) as making, transaction(pool) as ensuring:
        await lock_partitioning(making, "price_points")
        made = ensure_month_partitions(ensuring, "price_points", [NOVEMBER])
        assert await asyncio.wait_for(made, timeout=2) == []
        assert await ensuring.fetchval("SHOW statement_timeout") == "30s"


async def test_the_edges_are_utc_whatever_time_zone_the_session_has(pool: Pool) -> None:
    async with transaction(pool) as connection:
        await connection.execute("SET LOCAL timezone = 'America/New_York'")
        await ensure_month_partitions(connection, "price_points", [OCTOBER, NOVEMBER])
        assert (await find_partitions(connection, "price_points"))[1].from_at == EDGE
    for offer_id, moment in enumerate((EDGE - timedelta(seconds=1), EDGE)):
        await pool.execute(INSERT, offer_id, moment)
    assert await fetch_places(pool) == {0: "price_points_2026_10", 1: "price_points_2026_11"}


async def test_the_edges_are_read_whatever_way_the_server_writes_dates(any_postgres_dsn: str) -> None:
    connection = await asyncpg.connect(any_postgres_dsn)
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'")
    await connection.close()
    pool = await create_pool(any_postgres_dsn, application_name="partition tests")
    try:
        await make_months(pool, OCTOBER, NOVEMBER)
        assert await make_months(pool, OCTOBER, NOVEMBER) == []
    finally:
        await pool.close()


async def test_rows_that_came_before_their_partition_are_moved_into_it(pool: Pool) -> None:
    moments = [EDGE + timedelta(seconds=seconds) for seconds in (-86400, -1, 0, 1, 86400 * 29, 86400 * 30)]
    for offer_id, moment in enumerate(moments):
        await pool.execute(INSERT, offer_id, moment)
    assert set((await fetch_places(pool)).values()) == {"price_points_default"}
    before = await pool.fetch("SELECT * FROM price_points ORDER BY offer_id")
    assert await make_months(pool, NOVEMBER) == ["price_points_2026_11"]
    november, default = "price_points_2026_11", "price_points_default"
    assert await fetch_places(pool) == dict(
        enumerate([default, default, november, november, november, default])
    )
    assert await pool.fetch("SELECT * FROM price_points ORDER BY offer_id") == before


async def test_the_default_partition_can_stand_aside_again_and_again_and_keeps_its_rules(pool: Pool) -> None:
    for number in range(6):
        await pool.execute(INSERT, number, datetime(2026, 1 + number, 15, tzinfo=UTC))
    for number in range(6):
        assert len(await make_months(pool, date(2026, 1 + number, 1))) == 1
    await pool.execute(INSERT, 100, datetime(2027, 5, 1, tzinfo=UTC))
    assert (await fetch_places(pool))[100] == "price_points_default"
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute(INSERT, 100, datetime(2027, 5, 1, tzinfo=UTC))
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute(INSERT, 3, datetime(2026, 4, 15, tzinfo=UTC))
    plan = await pool.fetch(
        "EXPLAIN SELECT * FROM price_points WHERE offer_id = 1 AND observed_at > '2027-01-01'"
    )
    assert "price_points_2026" not in str(plan)


async def test_columns_added_later_move_by_name(pool: Pool) -> None:
    await pool.execute("ALTER TABLE price_points ADD note text")
    await pool.execute(INSERT, 1, EDGE)
    await pool.execute("UPDATE price_points SET note = 'kept'")
    await pool.execute("ALTER TABLE price_points DROP crawl_id; ALTER TABLE price_points ADD crawl_id text")
    await make_months(pool, NOVEMBER)
    rows = await pool.fetch("SELECT note, price_minor, crawl_id FROM price_points")
    assert [tuple(row) for row in rows] == [("kept", 6000, None)]


async def test_an_interrupted_making_leaves_everything_as_it_was(pool: Pool) -> None:
    await pool.execute(INSERT, 1, EDGE)

    async def fail_after_making() -> None:
        async with transaction(pool) as connection:
            await ensure_month_partitions(connection, "price_points", [NOVEMBER])
            raise KeyError

    with pytest.raises(KeyError):
        await fail_after_making()
    assert await fetch_places(pool) == {1: "price_points_default"}


async def test_days_are_made_across_months_and_leap_days(pool: Pool) -> None:
    async with transaction(pool) as connection:
        made = await ensure_day_partitions(
            connection, "eventlog_records", [date(2028, 2, 28) + timedelta(days=n) for n in range(3)]
        )
    assert made == [
        "eventlog_records_2028_02_28",
        "eventlog_records_2028_02_29",
        "eventlog_records_2028_03_01",
    ]


async def test_many_at_once_make_each_month_once(pool: Pool) -> None:
    results = await asyncio.gather(
        *(retry_transient(lambda: make_months(pool, OCTOBER, NOVEMBER, DECEMBER)) for _ in range(6))
    )
    assert sorted(name for made in results for name in made) == [
        "price_points_2026_10",
        "price_points_2026_11",
        "price_points_2026_12",
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_rows_written_around_the_edges_while_partitions_are_made_all_stand_once(
    pool: Pool, seed: int
) -> None:
    dice = random.Random(seed)
    stop = asyncio.Event()
    written: list[int] = []
    ids = iter(range(1_000_000))

    async def write_on(writer: Connection) -> None:
        while not stop.is_set():
            batch = [
                (next(ids), EDGE + timedelta(days=dice.randint(-40, 40), seconds=dice.choice((-1, 0, 1))))
                for _ in range(dice.randint(1, 20))
            ]
            async with writer.transaction():
                # as ingest does: read, then write, in one transaction
                await writer.fetchval("SELECT count(*) FROM price_points WHERE offer_id = $1", batch[0][0])
                await writer.executemany(INSERT, batch[:-1])
                await writer.execute(INSERT, *batch[-1])
            written.extend(offer_id for offer_id, _ in batch)

    async def write_with_own_connection() -> None:
        async with pool.acquire() as writer:
            await write_on(writer)

    writers = [asyncio.create_task(write_with_own_connection()) for _ in range(3)]
    for month in (NOVEMBER, OCTOBER, date(2026, 9, 1), DECEMBER):
        await asyncio.sleep(0.1)
        make = partial(make_months, pool, month)
        await asyncio.gather(retry_transient(make), retry_transient(make))
    await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*writers)
    assert len(written) > 100
    assert set(await fetch_places(pool)) == set(written)
    assert await pool.fetchval("SELECT count(*) FROM price_points_default") == 0
    assert await pool.fetchval("SELECT count(*) FROM price_points_2026_11") > 0


async def test_a_row_that_is_not_committed_yet_is_waited_for_and_moved(pool: Pool) -> None:
    async with pool.acquire() as writer, writer.transaction():
        await writer.execute(INSERT, 1, EDGE)
        making = asyncio.create_task(make_months(pool, NOVEMBER))
        await asyncio.sleep(0.3)
        assert not making.done()
    assert await making == ["price_points_2026_11"]
    assert await fetch_places(pool) == {1: "price_points_2026_11"}


async def test_a_writer_that_has_read_before_never_deadlocks_with_the_making(pool: Pool) -> None:
    await pool.execute(INSERT, 1, EDGE)
    async with pool.acquire() as writer, writer.transaction():
        assert await writer.fetchval("SELECT count(*) FROM price_points") == 1
        await writer.execute(INSERT, 2, EDGE)
        making = asyncio.create_task(make_months(pool, NOVEMBER))
        await asyncio.sleep(0.3)
        await writer.execute(INSERT, 3, EDGE)
        assert await writer.fetchval("SELECT count(*) FROM price_points") == 3
    assert await making == ["price_points_2026_11"]
    assert set(await fetch_places(pool)) == {1, 2, 3}


async def test_a_table_that_stays_busy_is_left_for_later(pool: Pool) -> None:
    async with pool.acquire() as reader:
        await reader.execute("BEGIN; SELECT * FROM price_points")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await make_months(pool, NOVEMBER)
        await reader.execute("ROLLBACK")
    assert len(await make_months(pool, NOVEMBER)) == 1


async def test_nothing_is_locked_when_nothing_is_missing(pool: Pool) -> None:
    await make_months(pool, NOVEMBER)
    async with pool.acquire() as writer, writer.transaction():
        await writer.execute(INSERT, 1, EDGE)
        assert await asyncio.wait_for(make_months(pool, NOVEMBER), 2) == []


@pytest.mark.parametrize("name", ["price_points; DROP TABLE shops", 'price"points', "Price", "", "x" * 60])
async def test_a_name_that_is_none_of_ours_is_refused(pool: Pool, name: str) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(PartitionError):
            await ensure_month_partitions(connection, name, [NOVEMBER])


async def test_a_table_without_partitions_is_refused(pool: Pool) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(PartitionError, match="not partitioned"):
            await ensure_month_partitions(connection, "shops", [NOVEMBER])
