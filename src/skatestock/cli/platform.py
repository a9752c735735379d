"""The composition root: settings in, connected rooms out."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from skatestock.cli.errors import NothingRunsError
from skatestock.database.partitions import ensure_month_partitions, months_around
from skatestock.database.pool import Connection, Pool, create_pool
from skatestock.database.transactions import transaction
from skatestock.embedded.addresses import POSTGRES_FOLDER, find_addresses
from skatestock.embedded.data_folder import hold_folder
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.eventlog.retention import ensure_log_partitions
from skatestock.ingest.consumer import GROUP, TOPIC
from skatestock.jobs.queries import fetch_now
from skatestock.settings import Settings
from skatestock.telemetry.logs import configure_logging
from skatestock.telemetry.metrics import start_metrics_server

PARTITIONS = 6
SHORT_PATIENCE_SECONDS = 5.0
"""How long a command that only looks waits for the database."""
TOPICS: Mapping[str, int] = {TOPIC: PARTITIONS}

_PRICE_MONTHS_AHEAD = 3
_LOG_DAYS_AHEAD = 7


@dataclass(frozen=True)
class Platform:
    """The rooms that a process works with, connected."""

    settings: Settings
    database_url: str
    pool: Pool
    log: PostgresEventLog
    redis_url: str | None

    async def fetch_lag(self) -> int:
        """Tell how many records of the log ingest has not stored yet."""
        return sum(partition.lag for partition in await self.log.fetch_lag(GROUP, TOPIC))


@asynccontextmanager
async def open_platform(
    settings: Settings,
    process: str,
    *,
    interactive: bool = False,
    pool_size: int = 10,
    patience_seconds: float = 30.0,
) -> AsyncGenerator[Platform]:
    """Connect to the servers that are configured, to those running in the data folder, or to one of our own.

    Where nothing runs, an embedded PostgreSQL runs for as long as the context: every command works on a bare
    machine. `interactive` commands speak to a person, so that only warnings are logged beside what they say.
    With little patience, a server that is away is told rather than waited for.
    Raises DatabaseUnavailableError when a server does not answer.
    """
    level = "warning" if interactive and settings.log_level == "info" else settings.log_level
    configure_logging(process, json=settings.log_json, level=level)
    async with AsyncExitStack() as stack:
        if settings.metrics_port is not None and not interactive:
            stack.callback(start_metrics_server(settings.metrics_port, settings.metrics_host).close)
        database_url, redis_url = await _find_servers(settings, stack)
        pool = await create_pool(
            database_url,
            application_name=f"skatestock {process}",
            max_size=pool_size,
            connect_timeout_seconds=patience_seconds,
        )
        stack.push_async_callback(pool.close)
        log = PostgresEventLog(pool, topics=TOPICS)
        stack.push_async_callback(log.close)
        yield Platform(settings=settings, database_url=database_url, pool=pool, log=log, redis_url=redis_url)


async def prepare_database(database_url: str) -> str:
    """Bring schema, topics and partitions up to date and return the schema's revision; idempotent."""
    # Alembic and SQLAlchemy take a second to load, and most commands only need a pool.
    from skatestock.database.migrations import migrate

    revision = await migrate(database_url)
    pool = await create_pool(database_url, application_name="skatestock prepare", max_size=2)
    try:
        await PostgresEventLog(pool, topics=TOPICS).ensure_topics()
        await ensure_partitions_ahead(pool)
    finally:
        await pool.close()
    return revision


async def ensure_partitions_ahead(pool: Pool) -> list[str]:
    """Make the partitions of the coming days and months; idempotent; returns the names of the new ones."""
    async with transaction(pool) as connection:
        today = await fetch_today(connection)
        months = months_around(today, back=1, ahead=_PRICE_MONTHS_AHEAD)
        made = await ensure_month_partitions(connection, "price_points", months)
    return made + await ensure_log_partitions(pool, today=today, days_ahead=_LOG_DAYS_AHEAD)


async def fetch_today(connection: Connection) -> date:
    """Tell the database's day in UTC."""
    return (await fetch_now(connection)).date()


def get_database_url(settings: Settings) -> str:
    """Return the address of the database that is configured or runs in the data folder.

    Raises NothingRunsError when there is neither: what serves others starts no server of its own.
    """
    if settings.database_url is not None:
        return settings.database_url
    running = find_addresses(settings.data_folder)
    if running is None or running.database_url is None:
        raise NothingRunsError(
            f"no database is configured, and none runs in {settings.data_folder}; start one with "
            "`skatestock up`, or set SKATESTOCK_DATABASE_URL"
        )
    return running.database_url


async def _find_servers(settings: Settings, stack: AsyncExitStack) -> tuple[str, str | None]:
    if settings.database_url is not None:
        return settings.database_url, settings.redis_url
    running = find_addresses(settings.data_folder)
    if running is not None and running.database_url is not None:
        return running.database_url, settings.redis_url or running.redis_url
    await stack.enter_async_context(hold_folder(settings.data_folder))
    postgres = EmbeddedPostgres(settings.data_folder / POSTGRES_FOLDER, binaries=postgres_programs(settings))
    await postgres.start()
    stack.push_async_callback(postgres.stop)
    await prepare_database(postgres.dsn)
    return postgres.dsn, settings.redis_url


def postgres_programs(settings: Settings) -> Path | None:
    """Return the configured folder of PostgreSQL's programs."""
    return None if settings.postgres_bin is None else Path(settings.postgres_bin).expanduser()
