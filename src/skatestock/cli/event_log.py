"""Which event log a process works with: tables in PostgreSQL, or Kafka with a schema registry."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from skatestock.cli.event_topics import TOPICS
from skatestock.database.pool import Pool
from skatestock.eventlog.measured import measure_log
from skatestock.eventlog.port import EventLog
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.events.codec import Codec
from skatestock.settings import Settings

if TYPE_CHECKING:
    from skatestock.eventlog.schema_registry import SchemaRegistry


class OpenLog(NamedTuple):
    """An event log, and how its events are written."""

    log: EventLog
    codec: Codec
    registry: "SchemaRegistry | None"


@asynccontextmanager
async def open_event_log(
    settings: Settings, pool: Pool, process: str, patience_seconds: float | None
) -> AsyncGenerator[OpenLog]:
    """Open the log that the settings name, once its servers, topics and schemas are there.

    They are waited for as long as the patience goes; with None, nobody asks whether they are there. Raises
    LogUnavailableError, LogRefusedError, UnknownTopicError, RegistryUnavailableError, RegistryRefusedError or
    SchemaNotRegisteredError, each with what to do.
    """
    if settings.kafka_servers is None:
        tables = PostgresEventLog(pool, topics=TOPICS)
        try:
            yield OpenLog(measure_log(tables), Codec(), None)
        finally:
            await tables.close()
        return
    # librdkafka and the registry's client take a while to load, and most machines have tables.
    from skatestock.cli.kafka import open_kafka

    async with open_kafka(settings, pool, process, patience_seconds) as (kafka, registry):
        yield OpenLog(measure_log(kafka), Codec(registry), registry)


@asynccontextmanager
async def relaying_dead_letters(settings: Settings, pool: Pool, stop: asyncio.Event) -> AsyncGenerator[None]:
    """Send dead letters to their topic meanwhile, where the log has one; ends within seconds after `stop`."""
    if settings.kafka_servers is None:
        yield
        return
    from skatestock.cli.kafka import relay

    relaying = asyncio.create_task(relay(settings, pool, stop))
    try:
        yield
    finally:
        stop.set()
        await relaying


def describe_servers(settings: Settings) -> dict[str, str]:
    """Say which servers the settings name, without their passwords."""
    kafka = settings.kafka_servers
    log = "tables in PostgreSQL" if kafka is None else f"Kafka at {kafka} ({settings.kafka_security})"
    registry = settings.schema_registry_url
    return {
        "postgresql": _without_login(settings.database_url or "embedded"),
        "redis": _without_login(settings.redis_url or "none"),
        "event_log": log,
        **({} if kafka is None or registry is None else {"schema_registry": _without_login(registry)}),
    }


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    if not parts.netloc:
        return url
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
