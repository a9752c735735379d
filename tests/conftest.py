"""Fixtures for every test: real PostgreSQL and Valkey, a database of its own for each test.

| fixture | what it gives |
|---|---|
| `database_dsn` | a fresh, migrated database on the server(s) chosen by SKATESTOCK_TEST_POSTGRES |
| `empty_database_dsn` | the same without any table of ours |
| `pool` | `skatestock.database.pool` on `database_dsn` |
| `any_postgres_dsn`, `any_empty_database_dsn` | both, on the embedded and on the system's server |
| `valkey_url`, `valkey` | an empty Valkey: its URL, a client |
| `data_folder` | an empty folder that servers can be started in, also by root (unlike `tmp_path`) |
| `crawling_loop` | Twisted's reactor in the loop; mark the test `asyncio(loop_scope="session")` |
| `shared_data` | the recorded real data, or the test is skipped |
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
import redis
import redis.asyncio
from tests.servers import BOTH, PostgresServer, TestServers, chosen_servers, make_public_folder
from tests.shared_data import get_shared_data


@pytest.fixture(scope="session")
def test_servers() -> Iterator[TestServers]:
    servers = TestServers()
    yield servers
    servers.stop()


@pytest.fixture(scope="session", params=chosen_servers())
def postgres_server(request: pytest.FixtureRequest, test_servers: TestServers) -> PostgresServer:
    return test_servers.postgres(request.param)


@pytest.fixture(scope="session", params=BOTH)
def any_postgres_server(request: pytest.FixtureRequest, test_servers: TestServers) -> PostgresServer:
    return test_servers.postgres(request.param)


@pytest.fixture
def database_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    yield from _database(postgres_server, migrated=True)


@pytest.fixture
def empty_database_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    yield from _database(postgres_server, migrated=False)


@pytest.fixture
def any_postgres_dsn(any_postgres_server: PostgresServer) -> Iterator[str]:
    yield from _database(any_postgres_server, migrated=True)


@pytest.fixture
def any_empty_database_dsn(any_postgres_server: PostgresServer) -> Iterator[str]:
    yield from _database(any_postgres_server, migrated=False)


@pytest.fixture
async def pool(database_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    from skatestock.database.pool import create_pool

    pool = await create_pool(database_dsn, application_name="tests")
    yield pool
    await pool.close()


@pytest.fixture
def valkey_url(test_servers: TestServers) -> str:
    url = test_servers.valkey().url
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.Redis.from_url(valkey_url)
    yield client
    await client.aclose()


@pytest.fixture
def data_folder() -> Iterator[Path]:
    folder = make_public_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    return get_shared_data()


def _database(server: PostgresServer, *, migrated: bool) -> Iterator[str]:
    dsn = server.create_database(migrated=migrated)
    yield dsn
    server.drop_database(dsn)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def crawling_loop() -> AsyncIterator[None]:
    from skatestock.crawl.session import crawling_reactor

    async with crawling_reactor():
        yield
