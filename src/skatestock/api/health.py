"""Health: whether the parts that the API needs answer, how fast, and whether their tables are ours."""

from collections.abc import Iterable
from importlib.resources import files
from time import monotonic, perf_counter
from typing import Any, Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from skatestock.api.connections import Database
from skatestock.api.errors import DatabaseAwayError, RequestError, SchemaOutdatedError
from skatestock.api.events import Changes
from skatestock.api.schemas import Dependency
from skatestock.catalog.change_queries import IndexLag, find_index_lag

Status = Literal["ok", "away", "behind", "outdated"]

# So long after it was last in sight, what is kept of the catalogue is not given out any more.
_IN_SIGHT_SECONDS = 4.0
# Until a list shows what a commit changed.
_INDEX_SECONDS = 30

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
        return _answer("database", started, "away", None, str(error))
    if not is_current(revision, newest_revision):
        detail = _describe_outdated(revision, newest_revision)
        return _answer("database", started, "outdated", version, detail)
    return _answer("database", started, "ok", version, f"schema {revision}")


async def check_cache(cache: Redis) -> Dependency:
    """Ask Redis for its version; never raises for one that is away."""
    started = perf_counter()
    try:
        told: dict[str, Any] = await cache.info("server")
    except (RedisError, OSError) as error:
        detail = f"limits count per process, and no answers are shared: {str(error) or type(error).__name__}"
        return _answer("redis", started, "away", None, detail)
    name = "valkey" if "valkey_version" in told else "redis"
    version = str(told.get("valkey_version") or told.get("redis_version") or "")
    return _answer("redis", started, "ok", version or None, f"{name}: limits count across processes")


def check_changes(changes: Changes) -> Dependency:
    """Tell whether this process hears what commits change; its latency is the time since it heard last."""
    clock, age_seconds = changes.clock, monotonic() - changes.confirmed_at
    if clock is None:
        return _describe_changes("away", 0.0, "never in sight: no answers are kept, and no events are told")
    if age_seconds > _IN_SIGHT_SECONDS:
        detail = f"out of sight for {age_seconds:.0f} s: no answers are kept, and no events are told"
        return _describe_changes("away", age_seconds, detail)
    return _describe_changes(
        "ok", age_seconds, f"position {clock.position}, {changes.streams} streams of events"
    )


async def check_index(database: Database) -> Dependency:
    """Tell how far the product index is behind the catalogue; never raises for a database that is away."""
    started = perf_counter()
    try:
        async with database.connect() as connection:
            lag = await find_index_lag(connection)
    except RequestError as error:
        return _answer("index", started, "away", None, str(error))
    is_behind = lag.seconds > _INDEX_SECONDS
    return _answer("index", started, "behind" if is_behind else "ok", None, _describe_lag(lag))


def summarise(dependencies: Iterable[Dependency]) -> Literal["ok", "degraded"]:
    """Tell how the whole is."""
    return "ok" if all(dependency.status == "ok" for dependency in dependencies) else "degraded"


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


def _answer(name: str, started: float, status: Status, version: str | None, detail: str) -> Dependency:
    latency_ms = round((perf_counter() - started) * 1000, 2)
    return Dependency(name=name, status=status, latency_ms=latency_ms, version=version, detail=detail)


def _describe_changes(status: Status, age_seconds: float, detail: str) -> Dependency:
    latency_ms = round(age_seconds * 1000, 2)
    return Dependency(name="changes", status=status, latency_ms=latency_ms, version=None, detail=detail)


def _describe_lag(lag: IndexLag) -> str:
    if not lag.changes:
        return "has followed every change"
    if not lag.indexed:
        return f"has followed none of {lag.changes} changes: does `skatestock index` run?"
    return f"{lag.changes} changes behind, the oldest of {lag.seconds} s ago"


def _describe_outdated(revision: str | None, newest_revision: str) -> str:
    found = "was never migrated" if revision is None else f"has the schema {revision}"
    return f"the database {found}, this program needs {newest_revision}: run `skatestock migrate`"
