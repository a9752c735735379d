"""Migrations: from nothing to the newest schema, from many processes, against locks, and never half."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from skatestock.database import migrations
from skatestock.database.errors import (
    DatabaseUnavailableError,
    DowngradeRefusedError,
    ExtensionMissingError,
    MigrationBlockedError,
    UnknownRevisionError,
)
from skatestock.database.migrations import MIGRATION_LOCK, current_revision, head_revision, migrate
from skatestock.database.migrations.new import VERSIONS, create_migration
from skatestock.database.migrations.sql import refuse_downgrade
from skatestock.vocabulary.category import Category


async def test_an_empty_database_becomes_current(any_empty_database_dsn: str) -> None:
    dsn = any_empty_database_dsn
    assert await current_revision(dsn) is None
    assert await migrate(dsn) == head_revision()
    assert await current_revision(dsn) == head_revision()


async def test_migrating_a_current_database_changes_nothing(any_postgres_dsn: str) -> None:
    connection = await asyncpg.connect(any_postgres_dsn)
    try:
        await connection.execute("DELETE FROM categories WHERE slug = 'media'")
        assert await migrate(any_postgres_dsn) == head_revision()
        assert await connection.fetchval("SELECT count(*) FROM categories WHERE slug = 'media'") == 0
    finally:
        await connection.close()


async def test_many_at_once_migrate_once(any_empty_database_dsn: str) -> None:
    revisions = await asyncio.gather(*(migrate(any_empty_database_dsn) for _ in range(6)))
    assert revisions == [head_revision()] * 6


async def test_every_category_of_the_vocabulary_stands_with_its_id(database_dsn: str) -> None:
    connection = await asyncpg.connect(database_dsn)
    try:
        rows = await connection.fetch("SELECT id, slug, name FROM categories ORDER BY id")
    finally:
        await connection.close()
    assert {row["slug"] for row in rows} == {category.value for category in Category}
    assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["name"].strip() for row in rows)


async def test_a_migration_that_fails_leaves_nothing_behind(
    any_empty_database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_migrations(tmp_path)
    sql_file, _ = create_migration("break things", folder / "versions")
    sql_file.write_text("CREATE TABLE halves (n int);\nINSERT INTO halves VALUES (1);\nSELECT 1 / 0;\n")
    use_migrations(monkeypatch, folder)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(any_empty_database_dsn)
    assert await current_revision(any_empty_database_dsn) is None
    connection = await asyncpg.connect(any_empty_database_dsn)
    try:
        tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    assert tables == 0


async def test_a_new_migration_runs_on_a_database_with_data(
    any_postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_migrations(tmp_path)
    sql_file, py_file = create_migration("Add the shops' logos!", folder / "versions")
    number = f"{int(head_revision()) + 1:04}"
    assert sql_file.name == f"{number}_add_the_shops_logos.sql"
    assert py_file.name == f"{number}_add_the_shops_logos.py"
    sql_file.write_text("ALTER TABLE shops ADD logo_url text;\nCOMMENT ON COLUMN shops.logo_url IS 'a; b';\n")
    use_migrations(monkeypatch, folder)
    assert await migrate(any_postgres_dsn) == number
    connection = await asyncpg.connect(any_postgres_dsn)
    try:
        assert await connection.fetch("SELECT logo_url FROM shops") == []
        assert await connection.fetchval("SELECT count(*) FROM categories") > 20
    finally:
        await connection.close()


async def test_a_migration_in_progress_elsewhere_is_waited_for_and_then_told(empty_database_dsn: str) -> None:
    other = await asyncpg.connect(
        empty_database_dsn, server_settings={"application_name": "a slow migration"}
    )
    try:
        await other.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        with pytest.raises(MigrationBlockedError, match=r"a slow migration"):
            await migrate(empty_database_dsn, lock_timeout_seconds=0.05)
        migrating = asyncio.create_task(migrate(empty_database_dsn, lock_timeout_seconds=2))
        await asyncio.sleep(0.3)
        assert not migrating.done()
        await other.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)
        assert await migrating == head_revision()
    finally:
        await other.close()


async def test_a_table_that_stays_locked_blocks_the_migration_and_not_its_readers(
    any_postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_migrations(tmp_path)
    sql_file, _ = create_migration("widen shops", folder / "versions")
    sql_file.write_text("ALTER TABLE shops ADD widened text;\n")
    use_migrations(monkeypatch, folder)
    before = await current_revision(any_postgres_dsn)
    reader = await asyncpg.connect(any_postgres_dsn, server_settings={"application_name": "a long report"})
    try:
        await reader.execute("BEGIN; SELECT * FROM shops")
        with pytest.raises(MigrationBlockedError, match="a long report"):
            await migrate(any_postgres_dsn, lock_timeout_seconds=0.05)
        assert await current_revision(any_postgres_dsn) == before
        assert await reader.fetch("SELECT * FROM shops") == []
        await reader.execute("COMMIT")
    finally:
        await reader.close()
    assert await migrate(any_postgres_dsn) > str(before)


async def test_a_database_from_the_future_is_left_alone(database_dsn: str) -> None:
    connection = await asyncpg.connect(database_dsn)
    try:
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(UnknownRevisionError, match="9999"):
            await migrate(database_dsn)
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == "9999"
    finally:
        await connection.close()


async def test_no_server_is_told() -> None:
    with pytest.raises(DatabaseUnavailableError):
        await migrate("postgresql://nobody@127.0.0.1:1/none", connect_timeout_seconds=0.2)


def test_downgrades_say_what_to_do_instead() -> None:
    with pytest.raises(DowngradeRefusedError, match="restore the backup"):
        refuse_downgrade()


def test_every_revision_is_a_pair_of_files_in_one_unbroken_line() -> None:
    numbers = sorted(path.name[:4] for path in VERSIONS.glob("*.py"))
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    assert head_revision() == numbers[-1]
    assert {path.stem for path in VERSIONS.glob("*.py")} == {path.stem for path in VERSIONS.glob("*.sql")}


def test_the_command_for_a_new_migration_wants_a_name() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "skatestock.database.migrations.new", " - "],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert run.returncode == 2
    assert "make migration NAME=" in run.stderr
    assert run.stdout == ""


def copy_migrations(folder: Path) -> Path:
    copied = folder / "migrations"
    shutil.copytree(VERSIONS.parent, copied, ignore=shutil.ignore_patterns("__pycache__"))
    return copied


def use_migrations(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(migrations, "SCRIPT_LOCATION", str(folder))


@pytest.mark.parametrize("owns", [True, False])
async def test_a_databases_owner_needs_no_superuser_for_its_extension(
    any_empty_database_dsn: str, owns: bool
) -> None:
    dsn = urlsplit(any_empty_database_dsn)
    role = f"owner_{os.getpid()}_{uuid4().hex[:8]}"
    superuser = await asyncpg.connect(any_empty_database_dsn)
    try:
        await superuser.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'plain'")
        await superuser.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
        if owns:
            await superuser.execute(f"ALTER DATABASE {dsn.path[1:]} OWNER TO {role}")
        own_dsn = f"postgresql://{role}:plain@{dsn.hostname}:{dsn.port}{dsn.path}"
        if owns:
            assert await migrate(own_dsn) == head_revision()
        else:
            with pytest.raises(ExtensionMissingError, match="CREATE EXTENSION pg_trgm"):
                await migrate(own_dsn)
            assert await current_revision(own_dsn) is None
            await superuser.execute("CREATE EXTENSION pg_trgm")
            assert await migrate(own_dsn) == head_revision()
    finally:
        await superuser.execute(
            f"DROP OWNED BY {role} CASCADE; ALTER DATABASE {dsn.path[1:]} OWNER TO CURRENT_USER"
        )
        await superuser.execute(f"DROP ROLE {role}")
        await superuser.close()
