"""Real servers for tests: started once per test process, and ended with it even when it is killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from tests.folders import MEMORY, make_public_folder, remove_leftovers
from tests.shared_data import missing

from skatestock.embedded.binaries import PostgresBinaries, find_system_postgres, get_postgres
from skatestock.embedded.errors import FetchError, MissingExtraError, ServerNotFoundError
from skatestock.embedded.jars import fetch_bundle, get_bundle
from skatestock.embedded.java import get_java
from skatestock.embedded.kafka import EmbeddedKafka
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.embedded.schema_registry import EmbeddedSchemaRegistry
from skatestock.embedded.valkey import EmbeddedValkey

EMBEDDED = "embedded-18"
SYSTEM = "debian-15"
BOTH = (EMBEDDED, SYSTEM)
CACHES = ("valkey", "redis")

_Result = TypeVar("_Result")
_numbers = itertools.count(1)


def run_apart(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine in a loop of its own, leaving the current thread's loop as it is."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def chosen_servers() -> tuple[str, ...]:
    """Read which PostgreSQL the tests run on: SKATESTOCK_TEST_POSTGRES=embedded|system|both."""
    chosen = os.environ.get("SKATESTOCK_TEST_POSTGRES", "embedded")
    return {"embedded": (EMBEDDED,), "system": (SYSTEM,), "both": BOTH}[chosen]


def jar_cache() -> Path:
    """Give the folder that tests keep Kafka's files in: SKATESTOCK_CACHE, else the checkout's own."""
    configured = os.environ.get("SKATESTOCK_CACHE")
    return Path(configured) if configured else Path(__file__).parents[1] / ".skatestock" / "cache"


def require_kafka() -> Path:
    """Fetch Kafka, its registry and a Java for them, or skip the test; give the cache for a server's `cache`.

    For tests that start a broker or a registry of their own.
    """
    try:
        get_java()
        for name in ("kafka", "registry"):
            run_apart(fetch_bundle(get_bundle(name), jar_cache()))
    except (FetchError, MissingExtraError, ServerNotFoundError) as error:
        missing("kafka", str(error))
    return jar_cache()


class PostgresServer:
    """A PostgreSQL for tests, fast instead of durable, with a migrated template to make databases from."""

    def __init__(self, folder: Path, binaries: PostgresBinaries) -> None:
        self.server = EmbeddedPostgres(
            folder,
            binaries=binaries,
            durable=False,
            settings={
                "max_connections": "200",
                "autovacuum": "off",
                "shared_buffers": "64MB",
                "max_wal_size": "256MB",
            },
        )
        # Copying files ends in a checkpoint, which only memory takes as quickly as pages in the log.
        self._strategy = "file_copy" if folder.is_relative_to(MEMORY) else "wal_log"
        self._template: str | None = None

    def create_database(self, *, migrated: bool = True) -> str:
        """Create a database of its own for one test and give its DSN."""
        template = self._ensure_template() if migrated else "template0"
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY {self._strategy}")
        return self.server.dsn_of(name)

    def drop_database(self, dsn: str) -> None:
        """Drop a test's database, ending whoever is still connected."""
        self._execute(f"DROP DATABASE IF EXISTS {dsn.rpartition('/')[2]} WITH (FORCE)")

    def _ensure_template(self) -> str:
        if self._template is None:
            # Imported here: tests of other rooms need no migrations.
            from skatestock.database.migrations import migrate

            name = f"template_{os.getpid()}"
            self._execute(f"CREATE DATABASE {name} TEMPLATE template0")
            run_apart(migrate(self.server.dsn_of(name)))
            self._template = name
        return self._template

    def _execute(self, statement: str) -> None:
        run_apart(self._execute_once(statement))

    async def _execute_once(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server.dsn_of("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class TestServers:
    """The servers of one test process, each started when it is first asked for."""

    __test__ = False

    def __init__(self) -> None:
        remove_leftovers()
        self._folder = make_public_folder()
        self._postgres: dict[str, PostgresServer] = {}
        self._valkey: EmbeddedValkey | None = None
        self._redis: EmbeddedValkey | None = None
        self._kafka: EmbeddedKafka | None = None
        self._registry: EmbeddedSchemaRegistry | None = None

    def postgres(self, kind: str) -> PostgresServer:
        """Give the PostgreSQL of a kind; skips the test where the machine has none."""
        if kind not in self._postgres:
            server = PostgresServer(self._folder / kind, _get_binaries(kind))
            run_apart(server.server.start())
            self._postgres[kind] = server
        return self._postgres[kind]

    def valkey(self) -> EmbeddedValkey:
        """Give the Valkey."""
        if self._valkey is None:
            server = EmbeddedValkey(self._folder / "valkey", max_memory="64mb")
            run_apart(server.start())
            self._valkey = server
        return self._valkey

    def redis(self) -> EmbeddedValkey:
        """Give a Redis of the system's packages; skips the test where the machine has none."""
        if self._redis is None:
            program = shutil.which("redis-server")
            if program is None:
                missing("redis", "this machine has no redis-server (Debian: apt install redis-server)")
            server = EmbeddedValkey(self._folder / "redis", max_memory="64mb", program=Path(program))
            run_apart(server.start())
            self._redis = server
        return self._redis

    def kafka(self) -> str:
        """Give a broker's address: SKATESTOCK_TEST_KAFKA, or one of our own; skips where none can be had."""
        configured = os.environ.get("SKATESTOCK_TEST_KAFKA")
        if configured:
            return configured
        if self._kafka is None:
            server = EmbeddedKafka(self._folder / "kafka", cache=require_kafka())
            run_apart(server.start())
            self._kafka = server
        return self._kafka.servers

    def schema_registry(self) -> str:
        """Give a registry's URL: SKATESTOCK_TEST_REGISTRY, or one of our own; skips where none can be had."""
        configured = os.environ.get("SKATESTOCK_TEST_REGISTRY")
        if configured:
            return configured
        if self._registry is None:
            server = EmbeddedSchemaRegistry(self._folder / "registry", cache=require_kafka())
            run_apart(server.start())
            self._registry = server
        return self._registry.url

    def stop(self) -> None:
        """Stop everything and remove its files."""
        for server in self._postgres.values():
            run_apart(server.server.stop())
        for other in (self._valkey, self._redis, self._registry, self._kafka):
            if other is not None:
                run_apart(other.stop())
        shutil.rmtree(self._folder, ignore_errors=True)


def _get_binaries(kind: str) -> PostgresBinaries:
    if kind == SYSTEM:
        found = find_system_postgres()
        if found is None:
            missing("postgres15", "this machine's packages have no PostgreSQL 15 or newer")
        return found
    try:
        return get_postgres()
    except ServerNotFoundError as error:
        missing("embedded", str(error))
