"""Migrations: numbered pairs of a .sql file and the .py file that Alembic runs it by.

`migrate` is safe to run from many processes at once and does nothing when the schema is current. Everything
of one run happens in one transaction. Downgrades are refused on purpose: data that a newer schema took in
cannot be un-learned; mend forward, or restore a backup.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection as SqlAlchemyConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from skatestock.database.errors import ExtensionMissingError, MigrationBlockedError, UnknownRevisionError
from skatestock.database.pool import connect
from skatestock.telemetry.logs import get_logger

# Any number does, as long as every version of SkateStock uses the same.
MIGRATION_LOCK = 7_305_814_936_201

SCRIPT_LOCATION = "skatestock.database:migrations"

_APPLICATION_NAME = "skatestock migrate"
_ATTEMPTS = 5
# What PostgreSQL says to CREATE EXTENSION: not installed (in words of its age), or not allowed.
_NO_EXTENSION = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.UndefinedFileError,
)

_log = get_logger(__name__)


async def migrate(
    dsn: str, *, lock_timeout_seconds: float = 5.0, connect_timeout_seconds: float = 30.0
) -> str:
    """Bring the schema to the newest revision and return it; idempotent, and safe to run concurrently.

    Waits `lock_timeout_seconds` for any lock, and tries five times, so that a queue of readers behind the
    migration never grows long. Raises MigrationBlockedError when a lock was not to be had,
    ExtensionMissingError when PostgreSQL lacks one, UnknownRevisionError when the database is newer than this
    code, DatabaseUnavailableError when there is no server.
    """
    newest = head_revision()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await _upgrade(dsn, newest, lock_timeout_seconds, connect_timeout_seconds)
        except asyncpg.LockNotAvailableError:
            _log.warning("migration_waits_for_lock", attempt=attempt, of=_ATTEMPTS)
            await asyncio.sleep(min(0.2 * attempt, lock_timeout_seconds))
        except _NO_EXTENSION as error:
            if "extension" not in str(error):
                raise
            raise ExtensionMissingError(
                f"the extension pg_trgm is needed and could not be created ({error}). Where it is not "
                "installed, install PostgreSQL's contrib modules (Debian: postgresql-contrib); where this "
                "user may not, let the database's owner or a superuser run `CREATE EXTENSION pg_trgm` in it. "
                "Then migrate again"
            ) from error
        else:
            return newest
    raise MigrationBlockedError(
        f"another session held a lock that the migration needs, {_ATTEMPTS} times for "
        f"{lock_timeout_seconds:g} s; " + await _describe_holders(dsn, connect_timeout_seconds)
    )


async def current_revision(dsn: str, *, connect_timeout_seconds: float = 30.0) -> str | None:
    """Tell the revision of the database; None when it was never migrated."""
    connection = await connect(
        dsn, application_name=_APPLICATION_NAME, connect_timeout_seconds=connect_timeout_seconds
    )
    try:
        return await _fetch_revision(connection)
    finally:
        await connection.close()


def head_revision() -> str:
    """Tell the newest revision that this code knows."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None
    return newest


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", SCRIPT_LOCATION)
    config.set_main_option("path_separator", "os")
    return config


async def _upgrade(
    dsn: str, newest: str, lock_timeout_seconds: float, connect_timeout_seconds: float
) -> None:
    open_connection = partial(
        connect, dsn, application_name=_APPLICATION_NAME, connect_timeout_seconds=connect_timeout_seconds
    )
    guard = await open_connection()
    try:
        await guard.execute(
            "SELECT set_config('lock_timeout', $1, false)", _milliseconds(lock_timeout_seconds)
        )
        # held by the session, not the transaction: a migration may need to commit in between one day
        await guard.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        revision = await _fetch_revision(guard)
        _check_known(revision)
        if revision != newest:
            await _run_alembic(open_connection, lock_timeout_seconds)
            _log.info("database_migrated", before=revision, revision=newest)
    finally:
        await guard.close()


async def _run_alembic(
    open_connection: Callable[[], Awaitable[asyncpg.Connection]], lock_timeout_seconds: float
) -> None:
    engine = create_async_engine("postgresql+asyncpg://", async_creator=open_connection, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run_upgrade, lock_timeout_seconds)
    except DBAPIError as error:
        # what went wrong is the driver's own error, below SQLAlchemy's wrapping
        raise (error.orig.__cause__ if error.orig is not None else None) or error from error
    finally:
        await engine.dispose()


def _run_upgrade(connection: SqlAlchemyConnection, lock_timeout_seconds: float) -> None:
    config = _config()
    config.attributes["connection"] = connection
    config.attributes["lock_timeout"] = _milliseconds(lock_timeout_seconds)
    command.upgrade(config, "head")


def _milliseconds(seconds: float) -> str:
    # PostgreSQL reads 0 as "wait for ever"
    return str(max(1, round(seconds * 1000)))


def _check_known(revision: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise UnknownRevisionError(
            f"the database is at revision {revision}, which this version of SkateStock does not know "
            f"(its newest is {head_revision()}); update SkateStock, or use another database"
        )


async def _fetch_revision(connection: asyncpg.Connection) -> str | None:
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return revision


async def _describe_holders(dsn: str, connect_timeout_seconds: float) -> str:
    connection = await connect(
        dsn, application_name=_APPLICATION_NAME, connect_timeout_seconds=connect_timeout_seconds
    )
    try:
        holders = await connection.fetch(
            "SELECT DISTINCT s.pid, s.application_name FROM pg_locks l JOIN pg_stat_activity s USING (pid) "
            "WHERE l.granted AND s.pid <> pg_backend_pid() AND s.datname = current_database() "
            "AND (l.locktype = 'advisory' OR l.locktype = 'relation') AND s.xact_start IS NOT NULL "
            "OR l.locktype = 'advisory' AND l.granted AND s.datname = current_database() ORDER BY s.pid"
        )
    finally:
        await connection.close()
    named = ", ".join(f"pid {row['pid']} ({row['application_name'] or 'no name'})" for row in holders)
    return f"sessions with locks now: {named or 'none any more'}. End them or wait, then migrate again"
