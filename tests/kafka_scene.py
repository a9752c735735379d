"""What tests of Kafka share: topics of their own, and a table that handlers write to."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from skatestock.database.pool import Pool, create_pool
from skatestock.database.transactions import is_transient
from skatestock.eventlog.errors import FencedError
from skatestock.eventlog.kafka import (
    KafkaConsumer,
    KafkaEventLog,
    KafkaServers,
    describe_topics,
    ensure_topics,
)
from skatestock.eventlog.port import Batch, Connection, Consumer, Handle, Message, Position

PARTITIONS = 3
SESSION_SECONDS = 6
"""The shortest that a broker allows unless it is told otherwise."""

_names = (f"kafka-test-{os.getpid()}-{number}-{time.time_ns():x}" for number in itertools.count(1))


async def make_topics_anew(servers: KafkaServers, topics: Mapping[str, int]) -> None:
    """Make topics, after deleting those that stand from an earlier run."""
    if not topics:
        return
    standing = await describe_topics(servers, topics)
    if standing:
        await delete_topics(servers, *standing)
    await ensure_topics(servers, topics, replication=1, retention_days=1)


async def delete_topics(servers: KafkaServers, *names: str) -> None:
    """Delete topics and wait until nobody knows them any more."""
    admin = AdminClient(servers.config())
    for answer in admin.delete_topics(list(names)).values():
        try:
            await asyncio.wrap_future(answer)
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    give_up_at = time.monotonic() + 20
    while await describe_topics(servers, names):
        assert time.monotonic() < give_up_at, f"{names} cannot be deleted"
        await asyncio.sleep(0.05)


class KafkaScene:
    """One topic and one group of its own, and the table that handlers write to."""

    def __init__(self, pool: Pool, servers: KafkaServers, topic: str) -> None:
        self.pool = pool
        self.servers = servers
        self.topic = topic
        self.group = f"readers-of-{topic}"
        self.log = self.new_log()
        self._logs = [self.log]

    def new_log(self, **options: float) -> KafkaEventLog:
        return KafkaEventLog(
            self.pool,
            self.servers,
            topics={self.topic: PARTITIONS},
            **{"session_seconds": SESSION_SECONDS, "append_seconds": 10.0, **options},
        )

    async def append(self, *values: str, key: str = "labor") -> list[Position]:
        return await self.log.append(self.topic, [Message(key=key, value=value.encode()) for value in values])

    async def open_consumer(self, **options: float) -> KafkaConsumer:
        """Open a consumer as one more process would."""
        log = self.new_log(**options)
        self._logs.append(log)
        return await log.open_consumer(self.group, self.topic)

    async def write(self, connection: Connection, batch: Batch) -> None:
        await connection.executemany(
            'INSERT INTO seen (partition, "offset", key, value) VALUES ($1, $2, $3, $4)',
            [(batch.partition, r.offset, r.key, r.value.decode()) for r in batch.records],
        )

    async def drain(
        self, consumer: Consumer, *, quiet_seconds: float = 1.0, handle: Handle | None = None
    ) -> int:
        total = 0
        while count := await consumer.process(
            handle or self.write, max_records=100, wait_seconds=quiet_seconds
        ):
            total += count
        return total

    async def drain_until(
        self, consumer: Consumer, done: Callable[[], Awaitable[bool]], *, seconds: float = 60
    ) -> None:
        """Process through every loss until the condition holds."""
        give_up_at = time.monotonic() + seconds
        while not await done():
            assert time.monotonic() < give_up_at, "it never came to that"
            await self.process_bravely(consumer)

    async def process_bravely(self, consumer: Consumer, handle: Handle | None = None) -> int:
        """Process one batch as ingest does: fences and passing failures are borne."""
        try:
            return await consumer.process(handle or self.write, max_records=7, wait_seconds=0.2)
        except FencedError:
            return 0
        except Exception as error:
            if not is_transient(error):
                raise
            return 0

    async def fetch_seen(self) -> list[tuple[Position, str]]:
        rows = await self.pool.fetch('SELECT partition, "offset", value FROM seen ORDER BY n')
        return [(Position(row["partition"], row["offset"]), row["value"]) for row in rows]

    async def fetch_values(self) -> list[str]:
        return [value for _, value in await self.fetch_seen()]

    async def fetch_total_lag(self) -> int:
        return sum(partition.lag for partition in await self.log.fetch_lag(self.group, self.topic))

    async def is_drained(self) -> bool:
        return await self.fetch_total_lag() == 0

    async def close(self) -> None:
        await asyncio.gather(*(log.close() for log in self._logs))


@asynccontextmanager
async def open_scene(dsn: str, servers: str) -> AsyncIterator[KafkaScene]:
    """Open a scene on a fresh database, and on topics that nobody else uses."""
    pool = await create_pool(dsn, application_name="kafka tests", max_size=12)
    kafka = KafkaServers(servers=servers, client_id="kafka-tests")
    topic = next(_names)
    await ensure_topics(kafka, {topic: PARTITIONS}, replication=1, retention_days=1)
    await pool.execute(
        'CREATE TABLE IF NOT EXISTS seen (n bigserial, partition int, "offset" bigint, key text, value text)'
    )
    scene = KafkaScene(pool, kafka, topic)
    try:
        yield scene
    finally:
        await scene.close()
        await delete_topics(kafka, topic, f"{topic}.dlq")
        await pool.close()


def assert_once_in_order(seen: list[tuple[Position, str]], expected: Mapping[Position, str]) -> None:
    """Assert that every record was stored exactly once, and those of a partition in their order."""
    assert len(seen) == len({position for position, _ in seen}), "stored twice"
    assert dict(seen) == expected
    for partition in {position.partition for position in expected}:
        offsets = [position.offset for position, _ in seen if position.partition == partition]
        assert offsets == sorted(offsets), f"partition {partition} out of order"
