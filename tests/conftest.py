"""Fixtures for every test: real servers, a database of its own for each test.

| fixture | what it gives |
|---|---|
| `database_dsn` | a fresh, migrated database on the server(s) chosen by SKATESTOCK_TEST_POSTGRES |
| `empty_database_dsn` | the same without any table of ours |
| `pool` | `skatestock.database.pool` on `database_dsn` |
| `any_postgres_dsn`, `any_empty_database_dsn` | both, on the embedded and on the system's server |
| `valkey_url`, `valkey` | an empty Valkey: its URL, a client |
| `any_cache_url` | the same on Valkey and on the system's Redis |
| `kafka_server` | a Kafka broker's address; mark the file `xdist_group("kafka")`, so that one worker has it |
| `schema_registry_url` | a schema registry's URL; `xdist_group("registry")`, or that of Kafka |
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
from _pytest.nodeid import coerce_node_id
from hypothesis import HealthCheck, settings
from tests.bytecode import keep_bytecode
from tests.folders import make_public_folder
from tests.servers import BOTH, CACHES, PostgresServer, TestServers, chosen_servers
from tests.shared_data import get_shared_data

keep_bytecode()
# How soon examples are made says how busy the machine is, and nothing of what is tested.
settings.register_profile("tests", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Name each test's group in its id, which is what sends the group to one worker.

    pytest-xdist 3.8 writes it where pytest 9.2 does not read it any more: every worker started brokers.
    """
    if not config.getoption("loadgroup", False):
        return
    for item in items:
        group = _find_group(item)
        if group is not None and not item.nodeid.endswith(f"@{group}"):
            item._id = coerce_node_id(f"{item.nodeid}@{group}")


def _find_group(item: pytest.Item) -> str | None:
    """Find which tests a test stays with: those of its mark, else those it shares a module's fixture with.

    What a module starts for all its tests, as a server, would otherwise be started by every worker.
    """
    mark = item.get_closest_marker("xdist_group")
    if mark is not None:
        return str(mark.args[0])
    fixtures = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
    if any(found[-1].scope == "module" for found in fixtures):
        return item.path.stem
    return None


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
    return _emptied(test_servers.valkey().url)


@pytest.fixture(params=CACHES)
def any_cache_url(request: pytest.FixtureRequest, test_servers: TestServers) -> str:
    server = test_servers.valkey() if request.param == "valkey" else test_servers.redis()
    return _emptied(server.url)


@pytest.fixture
def kafka_server(test_servers: TestServers) -> str:
    return test_servers.kafka()


@pytest.fixture
def schema_registry_url(test_servers: TestServers) -> str:
    return test_servers.schema_registry()


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


def _emptied(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


def _database(server: PostgresServer, *, migrated: bool) -> Iterator[str]:
    dsn = server.create_database(migrated=migrated)
    yield dsn
    server.drop_database(dsn)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def crawling_loop() -> AsyncIterator[None]:
    from skatestock.crawl.session import crawling_reactor

    async with crawling_reactor():
        yield
