"""The event log on Apache Kafka, with its offsets in PostgreSQL beside the data."""

import asyncio
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from skatestock.database.pool import Pool
from skatestock.eventlog.errors import UnknownTopicError
from skatestock.eventlog.kafka.blocking import BlockingCalls
from skatestock.eventlog.kafka.connection import (
    Cluster,
    KafkaServers,
    check_servers,
    explain_exception,
    open_client,
)
from skatestock.eventlog.kafka.consumer import KafkaConsumer
from skatestock.eventlog.kafka.ownership import fetch_stored_offsets
from skatestock.eventlog.kafka.producer import AppendingProducer, prepare_messages
from skatestock.eventlog.kafka.topics import check_partitions, fetch_bounds, fetch_topic_id, fetch_topics
from skatestock.eventlog.port import Message, PartitionLag, Position


class KafkaEventLog:
    """Topics of Kafka as an event log; it connects when it is first used."""

    def __init__(
        self,
        pool: Pool,
        servers: KafkaServers,
        *,
        topics: Mapping[str, int],
        session_seconds: float = 15.0,
        batch_seconds: float = 120.0,
        append_seconds: float = 15.0,
    ) -> None:
        """Keep offsets in the pool's database; `topics` tells the number of partitions of every topic.

        A consumer that gives no sign of life for `session_seconds`, or takes longer than `batch_seconds` for
        a batch, loses its partitions to others. An append is given up after `append_seconds`.
        """
        self._pool = pool
        self._servers = servers
        self._topics = dict(topics)
        self._session_seconds = session_seconds
        self._batch_seconds = batch_seconds
        self._append_seconds = append_seconds
        self._admin: AdminClient | None = None
        self._producer: AppendingProducer | None = None
        self._consumers: list[KafkaConsumer] = []

    async def check(self) -> Cluster:
        """Find out whether Kafka lets us in and has all topics, and return which Kafka it is.

        Raises LogUnavailableError, LogRefusedError, UnknownTopicError or PartitionCountError.
        """
        cluster = await check_servers(self._servers)
        try:
            found = await fetch_topics(self._get_admin(), list(self._topics))
        except KafkaException as exception:
            raise explain_exception(exception, self._servers) from exception
        check_partitions(found, self._topics)
        # it takes half a second to be ready for the first append
        self._get_producer()
        return cluster

    async def append(self, topic: str, messages: Sequence[Message]) -> list[Position]:
        """Append the messages, and return where they stand once all in-sync replicas have them.

        Nothing is sent when one of them is impossible: UnicodeEncodeError, ValueError or
        MessageTooLargeError. Raises UnknownTopicError, LogRefusedError, and LogUnavailableError within
        bounded time; then some of them may stand in the log. Not idempotent: see the port.
        """
        prepared = prepare_messages(messages, self._partitions_of(topic))
        return await self._get_producer().send(topic, prepared) if prepared else []

    async def open_consumer(self, group: str, topic: str) -> KafkaConsumer:
        """Join a consumer group; Kafka shares the partitions out among its members.

        Raises UnknownTopicError, LogUnavailableError or LogRefusedError.
        """
        self._partitions_of(topic)
        await fetch_topic_id(self._get_admin(), self._servers, topic)
        consumer = KafkaConsumer(
            self._pool,
            self._servers,
            self._get_admin(),
            group=group,
            topic=topic,
            session_seconds=self._session_seconds,
            patience_seconds=self._batch_seconds,
        )
        self._consumers.append(consumer)
        try:
            await consumer.join()
        except BaseException:
            await consumer.close()
            raise
        return consumer

    async def fetch_lag(self, group: str, topic: str) -> list[PartitionLag]:
        """Tell the lag of every partition, in the order of partitions; what retention dropped is no lag.

        Raises UnknownTopicError, LogUnavailableError or LogRefusedError.
        """
        count = self._partitions_of(topic)
        log = await fetch_topic_id(self._get_admin(), self._servers, topic)
        stored = await fetch_stored_offsets(self._pool, group, log, topic)
        try:
            bounds = await fetch_bounds(self._get_admin(), topic, range(count))
        except KafkaException as exception:
            raise explain_exception(exception, self._servers, topic=topic) from exception
        return [
            PartitionLag(
                topic=topic,
                partition=partition,
                next_offset=max(stored.get(partition, 0), bounds[partition].start),
                end_offset=bounds[partition].end,
            )
            for partition in range(count)
        ]

    async def close(self) -> None:
        """Close the consumers that were opened, and wait for what is on its way; idempotent."""
        consumers, self._consumers = self._consumers, []
        await asyncio.gather(*(consumer.close() for consumer in consumers))
        producer, self._producer = self._producer, None
        self._admin = None
        if producer is not None:
            await _close(producer)

    def _partitions_of(self, topic: str) -> int:
        try:
            return self._topics[topic]
        except KeyError:
            known = ", ".join(sorted(self._topics)) or "it has none"
            raise UnknownTopicError(f"the topic {topic!r} is none of this log's: {known}") from None

    def _get_admin(self) -> AdminClient:
        if self._admin is None:
            self._admin = open_client(AdminClient, self._servers)
        return self._admin

    def _get_producer(self) -> AppendingProducer:
        if self._producer is not None and self._producer.is_broken:
            # nobody waits for it: what it had to say of its messages is said
            self._producer.abandon()
            self._producer = None
        if self._producer is None:
            self._producer = AppendingProducer(self._servers, timeout_seconds=self._append_seconds)
        return self._producer


async def _close(producer: AppendingProducer) -> None:
    calls = BlockingCalls("kafka-producer-close")
    try:
        await calls.run(producer.close)
    finally:
        calls.close()
