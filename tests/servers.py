"""Real servers for tests: started once per test process, and ended with it even when it is killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from tests.shared_data import missing

from skatestock.embedded.binaries import PostgresBinaries, find_system_postgres, get_postgres
from skatestock.embedded.errors import ServerNotFoundError
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.embedded.valkey import EmbeddedValkey

EMBEDDED = "embedded-18"
SYSTEM = "debian-15"
BOTH = (EMBEDDED, SYSTEM)

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


def make_public_folder() -> Path:
    """Make a temporary folder that PostgreSQL's account can enter: root's tmp_path is none."""
    folder = Path(tempfile.mkdtemp(prefix="skatestock-test-"))
    folder.chmod(0o755)
    return folder


def chosen_servers() -> tuple[str, ...]:
    """Read which PostgreSQL the tests run on: SKATESTOCK_TEST_POSTGRES=embedded|system|both."""
    chosen = os.environ.get("SKATESTOCK_TEST_POSTGRES", "embedded")
    return {"embedded": (EMBEDDED,), "system": (SYSTEM,), "both": BOTH}[chosen]


class PostgresServer:
    """A PostgreSQL for tests, fast instead of durable, with a migrated template to make databases from."""

    def __init__(self, folder: Path, binaries: PostgresBinaries) -> None:
        self.server = EmbeddedPostgres(
            folder,
            binaries=binaries,
            durable=False,
            settings={"max_connections": "200", "autovacuum": "off", "shared_buffers": "64MB"},
        )
        self._template: str | None = None

    def create_database(self, *, migrated: bool = True) -> str:
        """Create a database of its own for one test and give its DSN."""
        template = self._ensure_template() if migrated else "template0"
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY wal_log")
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
        self._folder = make_public_folder()
        self._postgres: dict[str, PostgresServer] = {}
        self._valkey: EmbeddedValkey | None = None

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

    def stop(self) -> None:
        """Stop everything and remove its files."""
        for server in self._postgres.values():
            run_apart(server.server.stop())
        if self._valkey is not None:
            run_apart(self._valkey.stop())
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
