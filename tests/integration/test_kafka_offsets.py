"""Where a consumer of Kafka begins, whatever has become of the topic meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs
from tests.kafka_scene import PARTITIONS, KafkaScene, delete_topics, open_scene

from skatestock.eventlog.dead_letters import record_dead_letter
from skatestock.eventlog.kafka import describe_topics, ensure_topics
from skatestock.eventlog.port import (
    KEY_HEX_HEADER,
    NULL_HEADER,
    TABLES,
    Batch,
    Connection,
    Message,
    Record,
    partition_for,
)
from skatestock.eventlog.postgres import PostgresEventLog

pytestmark = pytest.mark.xdist_group("kafka")

LABOR = partition_for("labor", PARTITIONS)


@pytest.fixture
async def scene(database_dsn: str, kafka_server: str) -> AsyncIterator[KafkaScene]:
    async with open_scene(database_dsn, kafka_server) as scene:
        yield scene


async def drop_before(scene: KafkaScene, offset: int) -> None:
    """Let the broker drop records, as retention does."""
    admin = AdminClient(scene.servers.config())
    for answer in admin.delete_records([TopicPartition(scene.topic, LABOR, offset)]).values():
        await asyncio.wrap_future(answer)


async def make_topic_anew(scene: KafkaScene) -> None:
    await delete_topics(scene.servers, scene.topic)
    await ensure_topics(scene.servers, {scene.topic: PARTITIONS}, replication=1, retention_days=1)


async def read_records(scene: KafkaScene) -> list[Record]:
    records: list[Record] = []

    async def keep(_connection: Connection, batch: Batch) -> None:
        records.extend(batch.records)

    consumer = await scene.open_consumer()
    await scene.drain(consumer, handle=keep)
    await consumer.close()
    return records


async def test_offsets_belong_to_the_topics_id_and_are_shown_to_kafka(scene: KafkaScene) -> None:
    await scene.append("0", "1", "2")
    consumer = await scene.open_consumer()
    assert await scene.drain(consumer) == 3
    await consumer.close()
    topic_id = (await describe_topics(scene.servers, [scene.topic]))[scene.topic].id
    rows = await scene.pool.fetch("SELECT log, partition, next_offset FROM consumer_offsets ORDER BY 2")
    assert [tuple(row) for row in rows] == [
        (topic_id, partition, 3 if partition == LABOR else 0) for partition in range(PARTITIONS)
    ]
    # what `kafka-consumer-groups` shows
    assert await fetch_shown(scene) == 3


async def fetch_shown(scene: KafkaScene) -> int:
    from confluent_kafka import ConsumerGroupTopicPartitions

    admin = AdminClient(scene.servers.config())
    asked = ConsumerGroupTopicPartitions(scene.group, [TopicPartition(scene.topic, LABOR)])
    answer = admin.list_consumer_group_offsets([asked])[scene.group]
    found = await asyncio.wrap_future(answer)
    return int(found.topic_partitions[0].offset)


async def test_what_is_committed_to_kafka_is_never_read(scene: KafkaScene) -> None:
    await scene.append("0", "1", "2")
    await scene.drain(await scene.open_consumer())
    await scene.close()
    await scene.pool.execute("UPDATE consumer_offsets SET next_offset = 1 WHERE partition = $1", LABOR)
    await scene.drain(await scene.open_consumer())
    assert await scene.fetch_values() == ["0", "1", "2", "1", "2"]


async def test_a_new_group_begins_at_the_first_record_that_is_left_without_a_warning(
    scene: KafkaScene,
) -> None:
    await scene.append("0", "1", "2", "3")
    await drop_before(scene, 2)
    assert await scene.fetch_total_lag() == 2
    with capture_logs() as logs:
        await scene.drain(await scene.open_consumer())
    assert await scene.fetch_values() == ["2", "3"]
    assert not [line for line in logs if line["event"] == "eventlog_gap"]


async def test_what_retention_dropped_is_passed_over_with_a_warning_and_is_no_lag(scene: KafkaScene) -> None:
    await scene.append("0", "1", "2", "3", "4")
    consumer = await scene.open_consumer()
    await consumer.process(scene.write, max_records=1, wait_seconds=10)
    await consumer.close()
    await drop_before(scene, 3)
    assert await scene.fetch_total_lag() == 2
    with capture_logs() as logs:
        await scene.drain(await scene.open_consumer())
    assert await scene.fetch_values() == ["0", "3", "4"]
    gaps = [line for line in logs if line["event"] == "eventlog_gap"]
    assert [(gap["from_offset"], gap["to_offset"], gap["records"]) for gap in gaps] == [(1, 3, 2)]


async def test_what_retention_drops_under_a_running_consumer_is_passed_over(scene: KafkaScene) -> None:
    consumer = await scene.open_consumer()
    # too much to wait in memory: the rest is fetched only after the broker has dropped it
    values = [random.Random(number).randbytes(600_000).hex() for number in range(110)]
    for at in range(0, len(values), 10):
        await scene.append(*values[at : at + 10])
    await consumer.process(scene.write, max_records=1, wait_seconds=10)
    await drop_before(scene, 109)
    give_up = 150
    while (await scene.fetch_seen())[-1][0].offset != 109:
        await scene.process_bravely(consumer)
        give_up -= 1
        assert give_up
    offsets = [position.offset for position, _ in await scene.fetch_seen()]
    assert offsets == sorted(set(offsets))
    assert len(offsets) < 110


async def test_a_stored_offset_beyond_the_end_goes_on_at_the_end_with_a_warning(scene: KafkaScene) -> None:
    await scene.append("0", "1")
    consumer = await scene.open_consumer()
    await scene.drain(consumer)
    await consumer.close()
    await scene.pool.execute("UPDATE consumer_offsets SET next_offset = 50 WHERE partition = $1", LABOR)
    with capture_logs() as logs:
        consumer = await scene.open_consumer()
        await scene.append("2")
        await scene.drain(consumer)
    assert await scene.fetch_values() == ["0", "1", "2"]
    lost = [line for line in logs if line["event"] == "eventlog_truncated"]
    assert [(line["from_offset"], line["to_offset"]) for line in lost] == [(50, 2)]


async def test_a_topic_made_anew_is_a_new_log_that_begins_at_its_start(scene: KafkaScene) -> None:
    await scene.append("a", "b", "c")
    consumer = await scene.open_consumer()
    await scene.drain(consumer)
    await consumer.close()
    await make_topic_anew(scene)
    assert [position.offset for position in await scene.append("d", "e", "f", "g")] == [0, 1, 2, 3]
    assert await scene.fetch_total_lag() == 4
    await scene.drain(await scene.open_consumer())
    assert await scene.fetch_values() == ["a", "b", "c", "d", "e", "f", "g"]
    assert await scene.pool.fetchval("SELECT count(DISTINCT log) FROM consumer_offsets") == 2


async def test_a_topic_made_anew_under_a_running_consumer_is_noticed(scene: KafkaScene) -> None:
    await scene.append("a", "b", "c")
    consumer = await scene.open_consumer()
    await scene.drain(consumer)
    await make_topic_anew(scene)
    await scene.append("d")
    await scene.drain_until(consumer, scene.is_drained)
    assert await scene.fetch_values() == ["a", "b", "c", "d"]


async def test_tables_and_kafka_keep_their_offsets_side_by_side(scene: KafkaScene) -> None:
    tables = PostgresEventLog(scene.pool, topics={scene.topic: PARTITIONS})
    await tables.ensure_topics()
    await scene.append("kafka 0", "kafka 1")
    await tables.append(scene.topic, [Message(key="labor", value=b"tables 0")])
    await scene.drain(await scene.open_consumer())
    await scene.drain(await tables.open_consumer(scene.group, scene.topic), quiet_seconds=0.1)
    await tables.close()
    assert await scene.fetch_values() == ["kafka 0", "kafka 1", "tables 0"]
    rows = await scene.pool.fetch(
        "SELECT log = $1 AS in_tables, next_offset FROM consumer_offsets WHERE partition = $2 ORDER BY 1",
        TABLES,
        LABOR,
    )
    assert [tuple(row) for row in rows] == [(False, 2), (True, 1)]


async def test_whatever_others_wrote_becomes_a_record_that_postgresql_can_keep(scene: KafkaScene) -> None:
    producer = Producer({"bootstrap.servers": scene.servers.servers})
    headers: list[tuple[str, str | bytes | None]] = [
        ("event", b"x"),
        ("event", b"\xff\x00"),
        ("none", None),
        ("größe", "½".encode()),
    ]
    producer.produce(scene.topic, value=b"no key", partition=0)
    producer.produce(scene.topic, key=b"\xff\x00k", value=b"bytes", partition=0, headers=headers)
    producer.produce(scene.topic, key=b"gone", value=None, partition=0)
    producer.produce(scene.topic, partition=0)
    producer.flush(10)
    records = await read_records(scene)
    assert [(record.key, record.value) for record in records] == [
        ("", b"no key"),
        ("\\xff\\x00k", b"bytes"),
        ("gone", b""),
        ("", b""),
    ]
    assert [record.headers.get(NULL_HEADER) for record in records] == ["key", None, "value", "key value"]
    assert records[1].headers == {
        "event": "x",
        "event#2": "\\xff\\x00",
        "none": "",
        "größe": "½",
        KEY_HEX_HEADER: "ff006b",
    }
    async with scene.pool.acquire() as connection:
        for record in records:
            await record_dead_letter(connection, "readers", record, kind="bad_magic_byte", text="not ours")
    assert await scene.pool.fetchval("SELECT count(*) FROM dead_letters") == 4


async def test_a_hole_in_the_offsets_is_passed_over_once_it_is_sure(scene: KafkaScene) -> None:
    producer = Producer({"bootstrap.servers": scene.servers.servers, "transactional.id": scene.topic})
    producer.init_transactions(20)
    for number in range(3):
        producer.begin_transaction()
        producer.produce(scene.topic, key=b"labor", value=str(number).encode(), partition=0)
        # its end takes an offset that no record has
        producer.commit_transaction(20)
    with capture_logs() as logs:
        await scene.drain(await scene.open_consumer())
    assert await scene.fetch_values() == ["0", "1", "2"]
    assert [line for line in logs if line["event"] == "eventlog_gap"]
    assert await scene.fetch_total_lag() == 1
