"""The servers behind `up`: those that the settings name, and those that run embedded in the data folder."""

from typing import Self

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from skatestock.cli.errors import CacheRefusedError
from skatestock.cli.event_log import describe_servers
from skatestock.cli.platform import SHORT_PATIENCE_SECONDS, postgres_programs
from skatestock.cli.terminal import Terminal
from skatestock.database.pool import create_pool
from skatestock.embedded.addresses import KAFKA_FOLDER, POSTGRES_FOLDER, REGISTRY_FOLDER, VALKEY_FOLDER
from skatestock.embedded.children import Child
from skatestock.embedded.data_folder import HeldFolder
from skatestock.embedded.jars import FetchProgress
from skatestock.embedded.kafka import EmbeddedKafka
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.embedded.schema_registry import EmbeddedSchemaRegistry
from skatestock.embedded.valkey import EmbeddedValkey
from skatestock.settings import PREFIX, Settings

_CACHE_SECONDS = 2.0


async def plan_servers(
    settings: Settings, held: HeldFolder, *, kafka: bool
) -> tuple[list[Child], dict[str, str]]:
    """Plan the embedded servers that no setting replaces, and tell where all servers answer.

    Programs that are missing are fetched first, with a bar that shows how far it is.
    """
    children: list[Child] = []
    addresses: dict[str, str] = {}
    if settings.database_url is None:
        postgres = EmbeddedPostgres(held.folder / POSTGRES_FOLDER, binaries=postgres_programs(settings))
        await postgres.prepare()
        addresses[f"{PREFIX}DATABASE_URL"] = postgres.dsn
        children.append(postgres.child())
    if settings.redis_url is None:
        valkey = EmbeddedValkey(held.folder / VALKEY_FOLDER)
        await valkey.prepare()
        addresses[f"{PREFIX}REDIS_URL"] = valkey.url
        children.append(valkey.child())
    if kafka and settings.kafka_servers is None:
        with _FetchBar() as bar:
            broker = EmbeddedKafka(held.folder / KAFKA_FOLDER, cache=settings.cache_folder, progress=bar.show)
            await broker.prepare()
        addresses[f"{PREFIX}KAFKA_SERVERS"] = broker.servers
        children.append(broker.child())
    if kafka and settings.schema_registry_url is None:
        with _FetchBar() as bar:
            registry = EmbeddedSchemaRegistry(
                held.folder / REGISTRY_FOLDER, cache=settings.cache_folder, progress=bar.show
            )
            await registry.prepare()
        addresses[f"{PREFIX}SCHEMA_REGISTRY_URL"] = registry.url
        children.append(registry.child())
    return children, addresses


def describe_use(settings: Settings, *, kafka: bool) -> list[str]:
    """Say which servers a platform works with, one line each, without their passwords."""
    named = describe_servers(settings)
    embedded = "embedded in the data folder"
    log = named["event_log"]
    if not kafka and settings.kafka_servers is None and (settings.data_folder / KAFKA_FOLDER).exists():
        log += "; what waits in this folder's Kafka is stored when it runs again, with --kafka"
    registry = named.get("schema_registry")
    if kafka and settings.kafka_servers is None:
        log = f"Kafka, {embedded}"
        registry = settings.schema_registry_url or embedded
    lines = [
        f"PostgreSQL       {named['postgresql'] if settings.database_url else embedded}",
        f"Redis            {named['redis'] if settings.redis_url else f'Valkey, {embedded}'}",
        f"event log        {log}",
    ]
    return lines if registry is None else [*lines, f"schema registry  {registry}"]


async def check_servers(settings: Settings) -> None:
    """Find out whether the servers that the settings name answer and let us in; what is embedded comes later.

    One line then says what is wrong, before anything is started. Raises DatabaseUnavailableError, asyncpg's
    refusals, CacheRefusedError and what `check_event_log` raises. A Redis that is away is told and no fault:
    everything works without it.
    """
    if settings.database_url is not None:
        pool = await create_pool(
            settings.database_url,
            application_name="skatestock up",
            max_size=1,
            connect_timeout_seconds=SHORT_PATIENCE_SECONDS,
        )
        await pool.close()
    if settings.redis_url is not None:
        await _check_cache(settings.redis_url)
    if settings.kafka_servers is not None:
        from skatestock.cli.kafka import check_event_log

        await check_event_log(settings, "up")


async def _check_cache(url: str) -> None:
    try:
        client: Redis = Redis.from_url(
            url, socket_timeout=_CACHE_SECONDS, socket_connect_timeout=_CACHE_SECONDS
        )
    except ValueError as error:
        raise CacheRefusedError(f"SKATESTOCK_REDIS_URL cannot be used: {error}") from error
    try:
        await client.ping()
    except (AuthenticationError, ResponseError) as error:
        raise CacheRefusedError(
            f"Redis refuses us: {error}; check the login in SKATESTOCK_REDIS_URL"
        ) from error
    except (RedisError, OSError, TimeoutError) as error:
        Terminal(stderr=True).say(f"[yellow]Redis is away, and done without:[/] {escape(str(error))}")
    finally:
        await client.aclose()


class _FetchBar:
    """A bar for what is fetched, which only appears when there is something to fetch."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("  fetching {task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=Terminal(),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, state: FetchProgress) -> None:
        """Show how far a fetch is."""
        task = self._tasks.get(state.what)
        if task is None:
            if state.done:
                return
            self._progress.start()
            task = self._tasks[state.what] = self._progress.add_task(state.what, total=state.bytes_total)
        self._progress.update(task, completed=state.bytes_done)
