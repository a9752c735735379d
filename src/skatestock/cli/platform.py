"""The composition root: settings in, connected rooms out."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import skatestock
from skatestock.catalog.commands_record import PARTITIONED_BY_MONTH
from skatestock.cli.errors import NothingRunsError
from skatestock.cli.event_log import describe_servers, open_event_log
from skatestock.cli.event_topics import TOPICS
from skatestock.database.partitions import ensure_month_partitions, months_around
from skatestock.database.pool import Connection, Pool, close_pool, create_pool
from skatestock.database.transactions import transaction
from skatestock.embedded.addresses import POSTGRES_FOLDER, find_addresses, runs_server
from skatestock.embedded.data_folder import hold_folder
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.eventlog.port import EventLog
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.eventlog.retention import ensure_log_partitions
from skatestock.events.codec import Codec
from skatestock.ingest.consumer import GROUP, TOPIC
from skatestock.jobs.queries import fetch_now
from skatestock.settings import Settings
from skatestock.telemetry.event_loop import measured_event_loop
from skatestock.telemetry.logs import configure_logging, get_logger
from skatestock.telemetry.metrics import start_metrics_server
from skatestock.telemetry.tracing import configure_tracing

if TYPE_CHECKING:
    from skatestock.eventlog.schema_registry import SchemaRegistry

SHORT_PATIENCE_SECONDS = 5.0
"""How long a command that only looks waits for the database."""

_PRICE_MONTHS_AHEAD = 3
_LOG_DAYS_AHEAD = 7

_log = get_logger(__name__)


@dataclass(frozen=True)
class Platform:
    """The rooms that a process works with, connected."""

    settings: Settings
    """With the addresses of the servers in use, whoever named them."""
    database_url: str
    pool: Pool
    log: EventLog
    codec: Codec
    registry: "SchemaRegistry | None"
    """Where the schemas of a log on Kafka are kept."""
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
    needs_log: bool = True,
    pool_size: int = 10,
    patience_seconds: float = 30.0,
) -> AsyncGenerator[Platform]:
    """Connect to the servers that are configured, to those running in the data folder, or to one of our own.

    Where nothing runs, an embedded PostgreSQL runs for as long as the context: every command works on a bare
    machine. `interactive` commands speak to a person, so that only warnings are logged beside what they say.
    Unless it is needed, the log is not asked whether it is there. With little patience, a server that is away
    is told rather than waited for.
    Raises DatabaseUnavailableError when a server does not answer, and what `open_event_log` raises.
    """
    level = "warning" if interactive and settings.log_level == "info" else settings.log_level
    configure_logging(process, json=settings.log_json, level=level)
    async with AsyncExitStack() as stack:
        stack.callback(configure_tracing(process, skatestock.__version__))
        await stack.enter_async_context(measured_event_loop())
        if settings.metrics_port is not None and not interactive:
            stack.callback(start_metrics_server(settings.metrics_port, settings.metrics_host).close)
        settings = await _find_servers(settings, stack)
        assert settings.database_url is not None
        pool = await create_pool(
            settings.database_url,
            application_name=f"skatestock {process}",
            max_size=pool_size,
            connect_timeout_seconds=patience_seconds,
        )
        stack.push_async_callback(close_pool, pool)
        # A person is told what is missing; a process may be started a moment before its servers.
        log_patience = 0.0 if interactive else patience_seconds
        opened = open_event_log(settings, pool, process, log_patience if needs_log else None)
        log, codec, registry = await stack.enter_async_context(opened)
        _log.info("platform_opened", **describe_servers(settings))
        yield Platform(
            settings=settings,
            database_url=settings.database_url,
            pool=pool,
            log=log,
            codec=codec,
            registry=registry,
            redis_url=settings.redis_url,
        )


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
        made = [
            name
            for table in PARTITIONED_BY_MONTH
            for name in await ensure_month_partitions(connection, table, months)
        ]
    return made + await ensure_log_partitions(pool, today=today, days_ahead=_LOG_DAYS_AHEAD)


async def fetch_today(connection: Connection) -> date:
    """Tell the database's day in UTC."""
    return (await fetch_now(connection)).date()


def get_database_url(settings: Settings) -> str:
    """Return the address of the database that is configured or runs in the data folder.

    Raises NothingRunsError when there is neither: what serves others starts no server of its own.
    """
    url = complete_settings(settings).database_url
    if url is None:
        raise NothingRunsError(
            f"no database is configured, and none runs in {settings.data_folder}; start one with "
            "`skatestock up`, or set SKATESTOCK_DATABASE_URL"
        )
    return url


async def _find_servers(settings: Settings, stack: AsyncExitStack) -> Settings:
    """Put the addresses into the settings that they leave open."""
    settings = complete_settings(settings)
    if settings.database_url is not None:
        return settings
    await stack.enter_async_context(hold_folder(settings.data_folder))
    postgres = EmbeddedPostgres(settings.data_folder / POSTGRES_FOLDER, binaries=postgres_programs(settings))
    await postgres.start()
    stack.push_async_callback(postgres.stop)
    await prepare_database(postgres.dsn)
    return msgspec.structs.replace(settings, database_url=postgres.dsn)


def may_have_database(settings: Settings) -> bool:
    """Tell whether there is a database already: a configured one, or one that was made in the data folder."""
    return settings.database_url is not None or (settings.data_folder / POSTGRES_FOLDER).exists()


def complete_settings(settings: Settings) -> Settings:
    """Add the addresses of the servers that run in the data folder, where the settings name none.

    Not those of a folder with a database of its own when the settings name another: that platform is another.
    """
    if settings.database_url is not None and runs_server(settings.data_folder, "postgres"):
        return settings
    running = find_addresses(settings.data_folder)
    if running is None:
        return settings
    return msgspec.structs.replace(
        settings,
        database_url=settings.database_url or running.database_url,
        redis_url=settings.redis_url or running.redis_url,
        kafka_servers=settings.kafka_servers or running.kafka_servers,
        schema_registry_url=settings.schema_registry_url or running.schema_registry_url,
    )


def postgres_programs(settings: Settings) -> Path | None:
    """Return the configured folder of PostgreSQL's programs."""
    return None if settings.postgres_bin is None else Path(settings.postgres_bin).expanduser()
