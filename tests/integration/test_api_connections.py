"""The API's loans of connections, on a pool of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from skatestock.api import connections
from skatestock.api.connections import Database, Loan
from skatestock.api.errors import DatabaseAwayError, DatabaseSlowError, SchemaOutdatedError
from skatestock.database.pool import create_pool

PATIENCE_SECONDS = 10.0


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    async def open_pool() -> asyncpg.Pool:
        return await create_pool(
            database_dsn, application_name="loans", max_size=3, statement_timeout_seconds=0.3
        )

    database = Database(open_pool)
    yield database
    await database.close()


async def count_sessions(pool: asyncpg.Pool) -> int:
    statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loans'"
    count: int = await pool.fetchval(statement)
    return count


async def find_backend(database: Database) -> int:
    async with database.connect() as connection:
        backend: int = await connection.fetchval("SELECT pg_backend_pid()")
        return backend


async def take_all(database: Database) -> list[Loan]:
    loans = [database.connect() for _ in range(3)]
    for loan in loans:
        await loan.__aenter__()
    return loans


async def give_back(loans: list[Loan]) -> None:
    for loan in loans:
        await loan.__aexit__(None, None, None)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


async def test_what_comes_back_in_order_is_lent_again(database: Database) -> None:
    backends = {await find_backend(database) for _ in range(5)}
    assert len(backends) == 1


async def test_never_more_are_lent_than_the_pool_has_and_everybody_gets_one(
    database: Database, pool: asyncpg.Pool
) -> None:
    lent, most = 0, 0

    async def ask(number: int) -> int:
        nonlocal lent, most
        async with database.connect() as connection:
            lent += 1
            most = max(most, lent)
            answer: int = await connection.fetchval("SELECT $1::int FROM pg_sleep(0.005)", number)
            lent -= 1
            return answer

    assert await asyncio.gather(*(ask(number) for number in range(60))) == list(range(60))
    assert (most, await count_sessions(pool)) == (3, 3)


async def test_who_waits_gets_the_next_connection_that_comes_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_ACQUIRE_SECONDS", 5.0)
    taken = await take_all(database)
    waiting = asyncio.create_task(find_backend(database))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await taken.pop().__aexit__(None, None, None)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await waiting
    await give_back(taken)


async def test_without_a_free_connection_the_database_is_said_to_be_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_ACQUIRE_SECONDS", 0.05)
    taken = await take_all(database)
    with pytest.raises(DatabaseAwayError):
        await find_backend(database)
    await give_back(taken)
    assert await find_backend(database)


async def test_an_open_transaction_is_rolled_back_before_the_next_loan(
    database: Database, pool: asyncpg.Pool
) -> None:
    async with database.connect() as connection:
        await connection.execute("BEGIN")
        await connection.execute("CREATE TABLE left_open ()")
    async with database.connect() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("SELECT to_regclass('left_open')") is None
    assert await pool.fetchval("SELECT to_regclass('left_open')") is None


async def test_a_session_that_the_server_ended_is_replaced(database: Database, pool: asyncpg.Pool) -> None:
    backend = await find_backend(database)
    await pool.execute("SELECT pg_terminate_backend($1, 5000)", backend)
    # it may be noticed before the next loan, or by it
    answers = [await asyncio.gather(find_backend(database), return_exceptions=True) for _ in range(2)]
    assert all(isinstance(answer, int | DatabaseAwayError) for (answer,) in answers)
    assert isinstance(answers[-1][0], int)
    assert answers[-1][0] != backend


async def test_who_leaves_in_the_middle_of_a_statement_leaves_no_trace(
    database: Database, pool: asyncpg.Pool
) -> None:
    async def ask_long() -> None:
        async with database.connect() as connection:
            await connection.fetchval("SELECT pg_sleep(0.2)")

    for _ in range(6):
        asking = asyncio.create_task(ask_long())
        await asyncio.sleep(0.03)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert await asyncio.gather(*(find_backend(database) for _ in range(6)))
    assert await count_sessions(pool) <= 3


@pytest.mark.parametrize(
    ("statement", "told"),
    [("SELECT * FROM nowhere", SchemaOutdatedError), ("SELECT pg_sleep(5)", DatabaseSlowError)],
)
async def test_what_goes_wrong_in_a_loan_is_told_in_the_apis_words(
    database: Database, statement: str, told: type[Exception]
) -> None:
    with pytest.raises(told):
        async with database.connect() as connection:
            await connection.execute(statement)
    assert await find_backend(database)


async def test_an_error_that_is_not_the_databases_comes_through_as_it_is(database: Database) -> None:
    with pytest.raises(KeyError):
        async with database.connect():
            raise KeyError("nothing to do with it")
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with database.connect() as connection:
            await connection.execute("SELECT 1 / 0")


async def test_what_nobody_needs_any_more_goes_back_to_the_pool(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_SWEEP_SECONDS", 0.05)
    await asyncio.gather(*(find_backend(database) for _ in range(3)))
    pool = await database._get_pool()
    await until(lambda: pool.get_idle_size() == pool.get_size())
    assert await find_backend(database)


async def test_a_pool_that_its_owner_closes_gets_everything_back_at_once(pool: asyncpg.Pool) -> None:
    database = Database(pool)
    await find_backend(database)
    assert pool.get_idle_size() == pool.get_size()
