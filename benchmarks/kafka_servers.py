"""Kafka and its schema registry for benchmarks, in a folder that vanishes afterwards."""

import itertools
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from skatestock.embedded.kafka import EmbeddedKafka
from skatestock.embedded.schema_registry import EmbeddedSchemaRegistry
from skatestock.eventlog.kafka import KafkaServers, ensure_topics
from skatestock.settings import PREFIX

PARTITIONS = 6
_numbers = itertools.count(1)


def find_cache() -> Path:
    """Tell where the programs are kept: SKATESTOCK_CACHE, or `.skatestock/cache` in the checkout."""
    configured = os.environ.get(f"{PREFIX}CACHE")
    return Path(configured) if configured else Path(__file__).parents[1] / ".skatestock" / "cache"


@asynccontextmanager
async def open_kafka_server(folder: Path) -> AsyncGenerator[KafkaServers]:
    """Start a broker as `skatestock up --kafka` would."""
    kafka = EmbeddedKafka(folder / "kafka", cache=find_cache())
    try:
        await kafka.start()
        yield KafkaServers(servers=kafka.servers, client_id="bench")
    finally:
        await kafka.stop()


@asynccontextmanager
async def open_registry_server(folder: Path) -> AsyncGenerator[str]:
    """Start a schema registry beside it, and give its URL."""
    registry = EmbeddedSchemaRegistry(folder / "registry", cache=find_cache())
    try:
        await registry.start()
        yield registry.url
    finally:
        await registry.stop()


async def make_topic(kafka: KafkaServers, purpose: str) -> str:
    """Set up a new topic as production has it, and return its name."""
    name = f"bench-{purpose}-{next(_numbers)}"
    await ensure_topics(kafka, {name: PARTITIONS}, replication=1, retention_days=1)
    return name
