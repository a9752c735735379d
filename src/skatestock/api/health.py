"""Health: whether the parts that the API needs answer, how fast, and whether their tables are ours."""

from importlib.resources import files
from time import perf_counter
from typing import Literal

from skatestock.api.connections import Database
from skatestock.api.errors import DatabaseAwayError, RequestError, SchemaOutdatedError
from skatestock.api.schemas import Dependency

_FIND_VERSIONS = """
SELECT current_setting('server_version') AS version, to_regclass('alembic_version') IS NOT NULL AS migrated"""


def find_newest_revision() -> str:
    """Tell the newest schema that this program knows, from the migrations' names (`0002_categories.sql`).

    Alembic would say the same, at the price of a second's start and 30 MB in every worker.
    """
    versions = files("skatestock.database") / "migrations" / "versions"
    return max(entry.name for entry in versions.iterdir() if entry.name.endswith(".sql")).split("_")[0]


async def check_database(database: Database, newest_revision: str) -> Dependency:
    """Ask the database for its version and its schema's revision; never raises for one that is away."""
    started = perf_counter()
    try:
        version, revision = await _ask(database)
    except RequestError as error:
        return _answer(started, "away", None, str(error))
    if not is_current(revision, newest_revision):
        return _answer(started, "outdated", version, _describe_outdated(revision, newest_revision))
    return _answer(started, "ok", version, f"schema {revision}")


async def require_ready(database: Database, newest_revision: str) -> None:
    """Return if the API can answer; raises DatabaseAwayError or SchemaOutdatedError if it cannot."""
    checked = await check_database(database, newest_revision)
    if checked.status == "away":
        raise DatabaseAwayError(checked.detail)
    if checked.status == "outdated":
        raise SchemaOutdatedError(checked.detail)


def is_current(revision: str | None, newest_revision: str) -> bool:
    """Tell whether a schema is at least as new as this program.

    Revisions are numbers with leading zeros, so they order as text. A newer schema is fine: migrations only
    add while programs of the version before still run.
    """
    return revision is not None and revision >= newest_revision


async def _ask(database: Database) -> tuple[str, str | None]:
    async with database.connect() as connection:
        row = await connection.fetchrow(_FIND_VERSIONS)
        assert row is not None
        revision: str | None = None
        if row["migrated"]:
            revision = await connection.fetchval("SELECT version_num FROM alembic_version")
        # distributions write more than the number: `15.14 (Debian 15.14-0+deb12u1)`
        return row["version"].split(" ")[0], revision


def _answer(
    started: float, status: Literal["ok", "away", "outdated"], version: str | None, detail: str
) -> Dependency:
    return Dependency(
        name="database",
        status=status,
        latency_ms=round((perf_counter() - started) * 1000, 2),
        version=version,
        detail=detail,
    )


def _describe_outdated(revision: str | None, newest_revision: str) -> str:
    found = "was never migrated" if revision is None else f"has the schema {revision}"
    return f"the database {found}, this program needs {newest_revision}: run `skatestock migrate`"
