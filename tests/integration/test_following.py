"""A process that follows the catalogue's changes: every one, in order, once, whatever happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import asyncpg

from skatestock.catalog.change_queries import CatalogueChange, Clock
from skatestock.catalog.commands_changes import Touched, record_change
from skatestock.catalog.following import Follower
from skatestock.database.pool import connect

NAME = "following tests"


class Notes:
    """What a follower said, in its order."""

    def __init__(self) -> None:
        self.changes: list[CatalogueChange] = []
        self.clocks: list[Clock] = []
        self.log: list[int | str] = []

    def on_change(self, change: CatalogueChange) -> None:
        self.changes.append(change)
        self.log.append(change.position)

    def on_confirmed(self, clock: Clock) -> None:
        self.clocks.append(clock)
        self.log.append(f"confirmed {clock.position}")

    @property
    def positions(self) -> list[int]:
        return [change.position for change in self.changes]


@asynccontextmanager
async def following(dsn: str, *, poll_seconds: float = 1.0) -> AsyncIterator[Notes]:
    """Follow from now on, once the catalogue is in sight."""
    notes = Notes()
    follower = Follower(
        partial(connect, dsn, application_name=NAME, connect_timeout_seconds=0.5),
        on_change=notes.on_change,
        on_confirmed=notes.on_confirmed,
        poll_seconds=poll_seconds,
    )
    follower.start()
    try:
        await until(lambda: notes.clocks)
        yield notes
    finally:
        await follower.stop()


async def until(reached: Callable[[], object], *, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not reached():
            await asyncio.sleep(0.01)


async def touch(pool: asyncpg.Pool, *product_ids: int) -> int:
    async with pool.acquire() as connection, connection.transaction():
        position = await record_change(connection, Touched(product_ids=product_ids))
    assert position is not None
    return position


async def test_changes_are_told_in_order_from_the_first_sight_on(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    await touch(pool, 1)
    async with following(database_dsn) as notes:
        for number in range(5):
            await touch(pool, 10 + number)
        await until(lambda: len(notes.changes) == 5)
    assert notes.positions == [2, 3, 4, 5, 6]
    assert [change.product_ids for change in notes.changes] == [(10 + number,) for number in range(5)]


async def test_a_position_is_confirmed_only_after_all_changes_up_to_it(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    async with following(database_dsn) as notes:
        await asyncio.gather(*(touch(pool, number) for number in range(20)))
        await until(lambda: notes.clocks[-1].position == 20)
    told = 0
    for entry in notes.log:
        if isinstance(entry, int):
            assert entry == told + 1
            told = entry
        else:
            assert entry == f"confirmed {told}"


async def test_a_change_is_told_within_a_moment_by_its_notification(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    async with following(database_dsn, poll_seconds=60) as notes:
        await touch(pool, 1)
        await until(lambda: notes.changes, seconds=2)


async def test_a_move_of_the_index_is_told_by_its_notification(pool: asyncpg.Pool, database_dsn: str) -> None:
    await touch(pool, 1)
    async with following(database_dsn, poll_seconds=60) as notes:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("UPDATE catalogue_clock SET indexed = 1")
            await connection.execute("SELECT pg_notify('skatestock_index', '1')")
        await until(lambda: notes.clocks[-1].indexed == 1, seconds=2)


async def test_while_nothing_happens_the_position_is_confirmed_every_second(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    async with following(database_dsn) as notes:
        await asyncio.sleep(3.2)
    assert len(notes.clocks) >= 3
    assert notes.changes == []


async def test_without_any_notification_changes_are_found_all_the_same(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    async with following(database_dsn, poll_seconds=0.2) as notes:
        await pool.execute(
            """
            WITH moved AS (UPDATE catalogue_clock SET position = position + 1 RETURNING position)
            INSERT INTO catalogue_changes (position, changed_at) SELECT position, now() FROM moved
            """
        )
        await until(lambda: notes.changes, seconds=2)


async def test_what_was_missed_while_the_connection_was_lost_is_told_afterwards(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    async with following(database_dsn) as notes:
        for number in range(6):
            await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", NAME
            )
            await touch(pool, number)
            await touch(pool, number)
            await asyncio.sleep(0.3)
        await until(lambda: len(notes.changes) == 12)
    assert notes.positions == list(range(1, 13))


async def test_nothing_is_confirmed_while_the_database_does_not_answer(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    async with pool.acquire() as connection:
        blocker = connection.transaction()
        async with following(database_dsn) as notes:
            await blocker.start()
            await connection.execute("LOCK TABLE catalogue_clock IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(0.5)
            said = len(notes.clocks)
            await asyncio.sleep(3)
            assert len(notes.clocks) == said
            await blocker.rollback()
            await until(lambda: len(notes.clocks) > said)


async def test_where_changes_were_pruned_meanwhile_everything_is_told_to_have_changed(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    async with following(database_dsn) as notes:
        await touch(pool, 1)
        await until(lambda: notes.changes)
        async with pool.acquire() as connection, connection.transaction():
            for number in range(3):
                await record_change(connection, Touched(product_ids=[number]))
            await connection.execute("DELETE FROM catalogue_changes WHERE position IN (2, 3)")
        await until(lambda: notes.clocks[-1].position == 4)
        missed, last = notes.changes[1:]
        assert (missed.position, missed.everything) == (3, True)
        assert (last.position, last.everything) == (4, False)

        async with pool.acquire() as connection, connection.transaction():
            await record_change(connection, Touched(product_ids=[1]))
            await connection.execute("DELETE FROM catalogue_changes")
        await until(lambda: notes.clocks[-1].position == 5)
        assert (notes.changes[-1].position, notes.changes[-1].everything) == (5, True)


async def test_a_catalogue_that_goes_back_in_time_has_changed_everything(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    async with following(database_dsn) as notes:
        for number in range(3):
            await touch(pool, number)
        await until(lambda: notes.clocks[-1].position == 3)
        await pool.execute("DELETE FROM catalogue_changes WHERE position > 1")
        await pool.execute("UPDATE catalogue_clock SET position = 1")
        await until(lambda: notes.clocks[-1].position == 1)
        assert (notes.changes[-1].position, notes.changes[-1].everything) == (1, True)
        await touch(pool, 7)
        await until(lambda: notes.positions[-1] == 2)


async def test_tables_that_were_restored_are_another_catalogue(pool: asyncpg.Pool, database_dsn: str) -> None:
    await touch(pool, 1)
    async with following(database_dsn) as notes:
        epoch = notes.clocks[-1].epoch
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("CREATE TABLE kept AS TABLE catalogue_clock")
            await connection.execute("TRUNCATE catalogue_clock")
            await connection.execute("INSERT INTO catalogue_clock TABLE kept")
        await until(lambda: notes.clocks[-1].epoch != epoch)


async def test_following_begins_once_the_database_is_there(pool: asyncpg.Pool, database_dsn: str) -> None:
    notes, tries = Notes(), 0

    async def connect_at_last() -> asyncpg.Connection:
        nonlocal tries
        tries += 1
        # nothing listens there
        dsn = "postgresql://nobody@127.0.0.1:9/none" if tries < 3 else database_dsn
        return await connect(dsn, application_name=NAME, connect_timeout_seconds=0.1)

    await touch(pool, 1)
    follower = Follower(connect_at_last, on_change=notes.on_change, on_confirmed=notes.on_confirmed)
    follower.start()
    await until(lambda: notes.clocks)
    await follower.stop()
    await follower.stop()
    assert (tries, notes.changes, notes.clocks[0].position) == (3, [], 1)
