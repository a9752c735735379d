"""Kafka and its schema registry, as the settings name them."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from skatestock.cli.event_topics import TOPICS
from skatestock.database.pool import Pool
from skatestock.eventlog.kafka import KafkaEventLog, KafkaServers, describe_topics
from skatestock.eventlog.kafka.dead_letter_relay import relay_dead_letters
from skatestock.eventlog.kafka.topics import check_partitions
from skatestock.eventlog.schema_registry import SchemaRegistry
from skatestock.ingest.consumer import TOPIC
from skatestock.settings import Settings
from skatestock.telemetry.logs import get_logger

_LOOK_EVERY_SECONDS = 1.0

_log = get_logger(__name__)


@asynccontextmanager
async def open_kafka(
    settings: Settings, pool: Pool, process: str, patience_seconds: float | None
) -> AsyncGenerator[tuple[KafkaEventLog, SchemaRegistry]]:
    """Open the log and its registry; waits and raises as `open_event_log` does."""
    registry = registry_of(settings)
    kafka = KafkaEventLog(
        pool, kafka_of(settings, process), topics=TOPICS, session_seconds=settings.kafka_session_seconds
    )
    try:
        if patience_seconds is not None:
            await _wait_for(kafka.check, patience_seconds)
            await _wait_for(registry.load_ids, patience_seconds)
        yield kafka, registry
    finally:
        await registry.close()
        await kafka.close()


async def _wait_for(look: Callable[[], Awaitable[object]], patience_seconds: float) -> None:
    """Look until it works; raises the last error once the patience is at its end, any other at once."""
    give_up_at = time.monotonic() + patience_seconds
    while True:
        try:
            await look()
        except ConnectionError as error:
            if time.monotonic() >= give_up_at:
                raise
            _log.info("waiting_for_server", error=str(error))
        else:
            return
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def check_event_log(settings: Settings, process: str) -> None:
    """Find out whether Kafka, topics, registry and schemas are there; raises what `open_event_log` raises."""
    found = await describe_topics(kafka_of(settings, process), TOPICS)
    check_partitions(found, TOPICS)
    registry = registry_of(settings)
    try:
        await registry.load_ids()
    finally:
        await registry.close()


async def relay(settings: Settings, pool: Pool, stop: asyncio.Event) -> None:
    """Send dead letters to their topics until `stop` is set."""
    await relay_dead_letters(pool, kafka_of(settings, "dead-letters"), TOPICS, stop)


def kafka_of(settings: Settings, process: str) -> KafkaServers:
    """Read from the settings how Kafka is reached."""
    assert settings.kafka_servers is not None, "no Kafka is configured"
    return KafkaServers(
        servers=settings.kafka_servers,
        security=settings.kafka_security,
        sasl=settings.kafka_sasl,
        user=settings.kafka_user,
        password=settings.kafka_password,
        ca_file=settings.kafka_ca_file,
        client_id=f"skatestock-{process}",
    )


def registry_of(settings: Settings) -> SchemaRegistry:
    """Read from the settings how the schema registry is reached."""
    assert settings.schema_registry_url is not None, "no schema registry is configured"
    return SchemaRegistry(
        settings.schema_registry_url,
        TOPIC,
        user=settings.schema_registry_user,
        password=settings.schema_registry_password,
    )
