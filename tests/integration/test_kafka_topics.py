"""Topics of Kafka as a step of deploying."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from tests.kafka_scene import delete_topics

from skatestock.database.pool import Pool
from skatestock.eventlog.errors import LogRefusedError, PartitionCountError, UnknownTopicError
from skatestock.eventlog.kafka import KafkaEventLog, KafkaServers, describe_topics, ensure_topics
from skatestock.eventlog.kafka.topics import DEAD_LETTER_RETENTION_DAYS

pytestmark = pytest.mark.xdist_group("kafka")

DAY_MS = 86_400_000
_numbers = itertools.count(1)


@pytest.fixture
def servers(kafka_server: str) -> KafkaServers:
    return KafkaServers(servers=kafka_server, client_id="topic-tests")


@pytest.fixture
async def topic(servers: KafkaServers) -> AsyncIterator[str]:
    name = f"topics-test-{os.getpid()}-{next(_numbers)}-{time.time_ns():x}"
    yield name
    await delete_topics(servers, name, f"{name}.dlq")


async def test_a_topic_and_its_dead_letters_are_made_as_documented(servers: KafkaServers, topic: str) -> None:
    made = await ensure_topics(servers, {topic: 6}, replication=1, retention_days=14)
    assert made == [topic, f"{topic}.dlq"]
    found = await describe_topics(servers, [topic, f"{topic}.dlq"])
    main, letters = found[topic], found[f"{topic}.dlq"]
    assert (main.partitions, main.replication, letters.partitions) == (6, 1, 1)
    assert main.id != letters.id
    assert main.settings == {
        "cleanup.policy": "delete",
        "retention.ms": str(14 * DAY_MS),
        "retention.bytes": "-1",
        "segment.ms": str(DAY_MS),
        "compression.type": "producer",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(16 * 1024 * 1024),
        "min.insync.replicas": "1",
    }
    assert letters.settings["retention.ms"] == str(DEAD_LETTER_RETENTION_DAYS * DAY_MS)
    assert int(letters.settings["max.message.bytes"]) > int(main.settings["max.message.bytes"])


async def test_a_second_time_changes_nothing(servers: KafkaServers, topic: str) -> None:
    await ensure_topics(servers, {topic: 2}, replication=None, retention_days=3)
    before = await describe_topics(servers, [topic])
    assert await ensure_topics(servers, {topic: 2}, replication=None, retention_days=3) == []
    assert await describe_topics(servers, [topic]) == before


async def test_settings_that_somebody_changed_are_set_back(servers: KafkaServers, topic: str) -> None:
    await ensure_topics(servers, {topic: 1}, replication=1, retention_days=3)
    change = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    theirs = ConfigEntry("segment.bytes", "2000000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change, theirs])
    admin = AdminClient(servers.config())
    await asyncio.wrap_future(admin.incremental_alter_configs([resource])[resource])
    assert await ensure_topics(servers, {topic: 1}, replication=1, retention_days=4) == []
    settings = (await describe_topics(servers, [topic]))[topic].settings
    assert settings["retention.ms"] == str(4 * DAY_MS)
    # what is not ours to say stays
    assert settings["segment.bytes"] == "2000000"


async def test_many_at_once_make_a_topic_once(servers: KafkaServers, topic: str) -> None:
    made = await asyncio.gather(
        *(ensure_topics(servers, {topic: 2}, replication=1, retention_days=1) for _ in range(4))
    )
    assert sorted(name for names in made for name in names) == [topic, f"{topic}.dlq"]


async def test_another_number_of_partitions_is_refused_and_changes_nothing(
    servers: KafkaServers, topic: str
) -> None:
    await ensure_topics(servers, {topic: 2}, replication=1, retention_days=1)
    with pytest.raises(PartitionCountError, match="has 2 partitions in Kafka and cannot have 6"):
        await ensure_topics(servers, {topic: 6}, replication=1, retention_days=9)
    found = (await describe_topics(servers, [topic]))[topic]
    assert (found.partitions, found.settings["retention.ms"]) == (2, str(DAY_MS))


async def test_more_copies_than_brokers_are_refused_with_the_setting_to_change(
    servers: KafkaServers, topic: str
) -> None:
    with pytest.raises(LogRefusedError, match="SKATESTOCK_KAFKA_REPLICATION"):
        await ensure_topics(servers, {topic: 1}, replication=3, retention_days=1)


async def test_a_missing_topic_is_not_described(servers: KafkaServers, topic: str) -> None:
    assert await describe_topics(servers, [topic]) == {}


async def test_a_log_is_checked_for_its_topics(servers: KafkaServers, topic: str, pool: Pool) -> None:
    log = KafkaEventLog(pool, servers, topics={topic: 2})
    with pytest.raises(UnknownTopicError, match=f"{topic}.*skatestock topics ensure"):
        await log.check()
    await ensure_topics(servers, {topic: 2}, replication=1, retention_days=1)
    cluster = await log.check()
    assert servers.servers in cluster.brokers
    with pytest.raises(PartitionCountError):
        await KafkaEventLog(pool, servers, topics={topic: 3}).check()
    await log.close()
