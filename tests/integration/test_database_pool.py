"""Connections: their settings, their return, and servers that are not there yet."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from tests.ports import refusing_port

import skatestock
from skatestock.database.errors import DatabaseUnavailableError
from skatestock.database.pool import Pool, connect, create_pool, wait_for_server
from skatestock.database.transactions import is_transient, retry_transient, transaction


@pytest.fixture
async def pool(any_postgres_dsn: str) -> AsyncIterator[Pool]:
    pool = await create_pool(any_postgres_dsn, application_name="pool tests", max_size=2)
    yield pool
    await pool.close()


@pytest.fixture
async def one(database_dsn: str) -> AsyncIterator[Pool]:
    """A pool with a single connection: whatever one loan leaves behind, the next would find."""
    pool = await create_pool(database_dsn, application_name="single", min_size=1, max_size=1)
    yield pool
    await pool.close()


async def test_connections_speak_utc_and_carry_their_name_and_limits(pool: Pool) -> None:
    settings = {
        name: await pool.fetchval("SELECT current_setting($1)", name)
        for name in (
            "timezone",
            "application_name",
            "statement_timeout",
            "idle_in_transaction_session_timeout",
        )
    }
    assert settings == {
        "timezone": "UTC",
        "application_name": "pool tests",
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "5min",
    }


@pytest.mark.parametrize("value", [{"größe": [1, 2.5, None, True]}, [], "text", 0, None, {"a": {"b": "“½”"}}])
async def test_json_goes_in_and_comes_out_as_python_values(pool: Pool, value: object) -> None:
    assert await pool.fetchval("SELECT $1::jsonb", value) == value
    assert await pool.fetchval("SELECT array[$1::jsonb, $1]", value) == [value, value]


async def test_many_json_values_can_be_sent_as_one_array(pool: Pool) -> None:
    # objects only: asyncpg would take lists for further dimensions of the array
    values = [{"Size": "8.25"}, {}, {"sizes": [1]}]
    rows = await pool.fetch("SELECT u FROM unnest($1::jsonb[]) u", values)
    assert [row["u"] for row in rows] == values


async def test_a_connection_given_back_within_a_transaction_is_rolled_back(one: Pool) -> None:
    async with one.acquire() as connection:
        pid = connection.get_server_pid()
        await connection.execute("CREATE TABLE marks (n int)")
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO marks VALUES (1)")
    async with one.acquire() as connection:
        assert connection.get_server_pid() == pid
        assert not connection.is_in_transaction()
        assert await connection.fetchval("SELECT count(*) FROM marks") == 0


async def test_giving_a_connection_back_sends_nothing(one: Pool) -> None:
    query = "SELECT query FROM pg_stat_activity WHERE application_name = 'single'"
    await one.execute("SELECT 'the last statement'")
    watcher = await one.connect_apart()
    try:
        assert await watcher.fetchval(query) == "SELECT 'the last statement'"
    finally:
        await watcher.close()


def test_nothing_of_ours_leaves_state_in_a_session() -> None:
    # what makes it safe to give connections back without resetting them
    leaves_state = re.compile(
        r"pg_(try_)?advisory_lock|\bLISTEN \w|\bSET SESSION\b|WITH HOLD|CREATE TEMP|\.add_listener\("
        r"|set_config\([^()]*, false\)"
    )
    source = Path(skatestock.__file__).parent
    # these have connections of their own, and close them
    apart = {"migrations", "listening.py", "dead_letter_relay.py"}
    files = [path for path in source.rglob("*.py") if not apart & set(path.parts)]
    assert len(files) > 10
    found = [path.name for path in files if leaves_state.search(path.read_text(encoding="utf-8"))]
    assert found == []


async def test_an_error_rolls_the_transaction_back_and_success_commits_it(pool: Pool) -> None:
    await pool.execute("CREATE TABLE marks (n int)")

    async def fail_after_writing() -> None:
        async with transaction(pool) as connection:
            await connection.execute("INSERT INTO marks VALUES (1)")
            raise KeyError

    with pytest.raises(KeyError):
        await fail_after_writing()
    async with transaction(pool) as connection:
        await connection.execute("INSERT INTO marks VALUES (2)")
    assert await pool.fetchval("SELECT array_agg(n) FROM marks") == [2]


async def test_a_statement_that_takes_too_long_is_ended(any_postgres_dsn: str) -> None:
    pool = await create_pool(any_postgres_dsn, application_name="slow", statement_timeout_seconds=0.1)
    try:
        with pytest.raises(asyncpg.QueryCanceledError):
            await pool.execute("SELECT pg_sleep(5)")
    finally:
        await pool.close()


async def test_no_server_is_an_error_that_says_so_in_time() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    told = pytest.raises(DatabaseUnavailableError, match=r"did not answer within 0\.5 s.*database URL")
    with refusing_port() as port, told:
        await create_pool(
            f"postgresql://nobody@127.0.0.1:{port}/none",
            application_name="x",
            connect_timeout_seconds=0.5,
        )
    assert loop.time() - began < 5


async def test_a_wrong_database_name_is_told_at_once(database_dsn: str) -> None:
    dsn = database_dsn.rpartition("/")[0] + "/no_such_database"
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await connect(dsn, application_name="x", connect_timeout_seconds=30)
    assert loop.time() - began < 5


async def test_a_server_that_starts_late_is_waited_for(database_dsn: str) -> None:
    tries = 0

    async def attempt(left_seconds: float) -> str:
        nonlocal tries
        tries += 1
        assert 0 < left_seconds <= 10
        if tries < 3:
            raise asyncpg.CannotConnectNowError("the database system is starting up")
        return "connected"

    assert await wait_for_server(attempt, 10) == "connected"
    assert tries == 3


async def test_the_pool_recovers_when_all_its_connections_were_killed(pool: Pool) -> None:
    killer = await pool.connect_apart()
    try:
        await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.05)") for _ in range(2)))
        await killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pool tests'"
        )
    finally:
        await killer.close()
    values = [await retry_transient(lambda: pool.fetchval("SELECT 7")) for _ in range(4)]
    assert values == [7, 7, 7, 7]


async def test_the_use_of_a_connection_that_was_killed_is_transient(pool: Pool) -> None:
    async with pool.acquire() as connection:
        killer = await pool.connect_apart()
        await killer.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await killer.close()
        for _ in range(2):
            with pytest.raises(
                (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
            ) as caught:
                await connection.fetchval("SELECT 1")
            assert is_transient(caught.value), repr(caught.value)


async def test_a_deadlock_is_retried_until_both_have_done_their_work(pool: Pool) -> None:
    await pool.execute(
        "CREATE TABLE sums (id int PRIMARY KEY, total int); INSERT INTO sums VALUES (1, 0), (2, 0)"
    )
    both_hold_one = asyncio.Barrier(2)
    met = False

    async def add(first: int, second: int) -> None:
        nonlocal met
        async with transaction(pool) as connection:
            await connection.execute("UPDATE sums SET total = total + 1 WHERE id = $1", first)
            if not met:
                await both_hold_one.wait()
                met = True
            await connection.execute("UPDATE sums SET total = total + 1 WHERE id = $1", second)

    await asyncio.gather(
        retry_transient(lambda: add(1, 2)),
        retry_transient(lambda: add(2, 1)),
    )
    assert met
    assert await pool.fetchval("SELECT array_agg(total) FROM sums") == [2, 2]


async def test_errors_that_repeating_cannot_mend_are_raised_at_once(pool: Pool) -> None:
    tries = 0

    async def divide() -> None:
        nonlocal tries
        tries += 1
        await pool.execute("SELECT 1 / 0")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await retry_transient(divide)
    assert tries == 1


async def test_retrying_gives_up_with_the_last_error() -> None:
    tries = 0

    async def fail() -> None:
        nonlocal tries
        tries += 1
        raise ConnectionResetError(f"try {tries}")

    with pytest.raises(ConnectionResetError) as caught:
        await retry_transient(fail, give_up_after_seconds=0.4)
    assert tries > 1
    assert str(caught.value) == f"try {tries}"


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (asyncpg.SerializationError("x"), True),
        (asyncpg.CannotConnectNowError("x"), True),
        (asyncpg.LockNotAvailableError("x"), True),
        (BrokenPipeError(), True),
        (asyncpg.UniqueViolationError("x"), False),
        (asyncpg.QueryCanceledError("x"), False),
        (FileNotFoundError("a handler's own file"), False),
        (asyncpg.InterfaceError("pool is closed"), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_which_errors_are_transient(error: BaseException, transient: bool) -> None:
    assert is_transient(error) is transient


async def test_moments_come_back_aware(pool: Pool) -> None:
    moment = datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)
    found = await pool.fetchval("SELECT $1::timestamptz", moment)
    assert found == moment
    assert found.utcoffset() is not None
