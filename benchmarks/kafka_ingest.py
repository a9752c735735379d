"""How fast ingest takes a backlog from Kafka to the commit, beside a bare consumer and a binary COPY.

The messages of a whole crawl stand in a new topic. Then, in turns: ingest's own loop stores them all in a
fresh database; a bare consumer reads the same messages from their start and only decodes them; the rows that
ingest wrote are copied in binary form, batch by batch, into a twin database. The log's own consumer with a
handler that does nothing is measured too: what Kafka may at most be blamed for.
"""

import argparse
import asyncio
import gc
import time
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.figures import Figure
from benchmarks.ingest import (
    PHASES,
    SHOP,
    Server,
    Stopwatch,
    TimedCodec,
    copy_raw,
    make_messages,
    moment_of_batch,
    prepare_twin,
)
from benchmarks.kafka_servers import PARTITIONS, make_topic
from confluent_kafka import Consumer as BareConsumer
from confluent_kafka import TopicPartition

from skatestock.catalog.commands import ensure_shops
from skatestock.database.pool import Pool
from skatestock.eventlog.kafka import KafkaEventLog, KafkaServers
from skatestock.eventlog.measured import measure_log
from skatestock.eventlog.port import (
    Batch,
    Connection,
    Consumer,
    EventLog,
    Message,
    PartitionLag,
    Position,
    partition_for,
)
from skatestock.events.codec import Codec
from skatestock.ingest.consumer import GROUP, run_ingest

_PAGE = 250
_TAKEN_AT_ONCE = 500
_GIVE_UP_SECONDS = 300.0
_PER = 1000


class Sample(NamedTuple):
    """The seconds of one crawl's messages, and where ingest's own went."""

    ours: float
    bare: float
    copy: float
    alone: float
    """Of the consumer with a handler that does nothing."""
    shares: dict[str, float]


class Topic(NamedTuple):
    """A topic with the messages of one crawl, all in one partition as those of every shop."""

    kafka: KafkaServers
    name: str
    messages: int


class JoinedLog:
    """Hands ingest a consumer that has already joined: the time of a rebalance is no part of the rate."""

    def __init__(self, log: EventLog, topic: str, consumer: Consumer) -> None:
        self._log = log
        self._topic = topic
        self._consumer = consumer

    async def append(self, topic: str, messages: Sequence[Message]) -> list[Position]:
        """Append to the benchmark's topic, whatever topic is named."""
        return await self._log.append(self._topic, messages)

    async def open_consumer(self, group: str, topic: str) -> Consumer:
        """Give the consumer that waits."""
        return self._consumer

    async def fetch_lag(self, group: str, topic: str) -> list[PartitionLag]:
        """Tell the lag of the benchmark's topic."""
        return await self._log.fetch_lag(group, self._topic)

    async def close(self) -> None:
        """Release what the log holds."""
        await self._log.close()


async def fill_topic(log: EventLog, kafka: KafkaServers, topic: str, messages: Sequence[Message]) -> Topic:
    """Append a crawl's messages page by page, as a crawl does."""
    for first in range(0, len(messages), _PAGE):
        await log.append(topic, messages[first : first + _PAGE])
    return Topic(kafka, topic, len(messages))


async def ingest_all(log: EventLog, topic: Topic, batch: int) -> tuple[float, dict[str, float]]:
    """Store the topic's messages with ingest's own loop; return the seconds and where they went."""
    watch, stop, stored = Stopwatch(), asyncio.Event(), 0
    ended_at = 0.0

    def count(records: int) -> None:
        nonlocal stored, ended_at
        stored += records
        if stored >= topic.messages:
            ended_at = time.perf_counter()
            stop.set()

    consumer = await log.open_consumer(GROUP, topic.name)
    joined = JoinedLog(log, topic.name, consumer)
    gc.collect()
    with watch.watching_ingest():
        began = time.perf_counter()
        ingesting = run_ingest(joined, stop, codec=TimedCodec(watch), max_records=batch, on_batch=count)
        await asyncio.wait_for(ingesting, _GIVE_UP_SECONDS)
    return ended_at - began, dict(watch.seconds)


async def hand_over_all(log: EventLog, topic: Topic, batch: int) -> float:
    """Take the topic's messages through the log's consumer and do nothing with them; return the seconds."""
    consumer = await log.open_consumer("bench-alone", topic.name)
    left = topic.messages
    gc.collect()
    began = time.perf_counter()
    while left > 0 and time.perf_counter() - began < _GIVE_UP_SECONDS:
        left -= await consumer.process(_do_nothing, max_records=batch, wait_seconds=1)
    seconds = time.perf_counter() - began
    await consumer.close()
    if left:
        raise SystemExit(f"the consumer misses {left} messages")
    return seconds


async def _do_nothing(connection: Connection, batch: Batch) -> None:
    pass


def decode_all(topic: Topic) -> float:
    """Read the topic's messages with a bare consumer and decode them; return the seconds."""
    consumer = BareConsumer(
        {"bootstrap.servers": topic.kafka.servers, "group.id": "bench-bare", "enable.auto.commit": False}
    )
    codec, left = Codec(), topic.messages
    try:
        consumer.list_topics(topic.name, timeout=10)
        gc.collect()
        gc.disable()
        began = time.perf_counter()
        consumer.assign([TopicPartition(topic.name, partition_for(SHOP.slug, PARTITIONS), 0)])
        while left and time.perf_counter() - began < _GIVE_UP_SECONDS:
            for message in consumer.consume(_TAKEN_AT_ONCE, timeout=0.01):
                value = message.value()
                if message.error() is not None or value is None:
                    raise SystemExit(f"the bare consumer met {message.error()}")
                codec.decode(value)
                left -= 1
        seconds = time.perf_counter() - began
    finally:
        gc.enable()
        consumer.close()
    if left:
        raise SystemExit(f"the bare consumer misses {left} messages")
    return seconds


async def copy_all(server: Server, pool: Pool, options: argparse.Namespace, crawl: int) -> float:
    """Copy the rows that a crawl's messages became into a twin database; return the seconds."""
    expected = options.batch * (1 + 2 * options.offers)
    seconds = 0.0
    async with server.database() as twin:
        await prepare_twin(twin)
        for batch in range(options.listings // options.batch):
            took, rows = await copy_raw(pool, twin, moment_of_batch(crawl, batch))
            if rows != expected:
                raise SystemExit(f"{rows} rows, not {expected}: ingest has not stored what was said")
            seconds += took
    return seconds


async def measure_crawl(
    server: Server, pool: Pool, kafka: KafkaServers, options: argparse.Namespace, crawl: int
) -> Sample:
    """Measure one crawl's messages in a topic of their own."""
    name = await make_topic(kafka, "ingest")
    log = measure_log(KafkaEventLog(pool, kafka, topics={name: PARTITIONS}))
    try:
        topic = await fill_topic(log, kafka, name, make_messages(options, crawl))
        await pool.execute("VACUUM ANALYZE")
        await pool.execute("CHECKPOINT")
        ours, phases = await ingest_all(log, topic, options.batch)
        alone = await hand_over_all(log, topic, options.batch)
        bare = await asyncio.to_thread(decode_all, topic)
        copy = await copy_all(server, pool, options, crawl)
    finally:
        await log.close()
    return Sample(ours, bare, copy, alone, {name: part / ours for name, part in phases.items()})


async def measure_ingest(server: Server, kafka: KafkaServers, options: argparse.Namespace) -> list[Figure]:
    """Measure new and then changed listings, round by round."""
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    for _ in range(options.rounds):
        async with server.database() as pool:
            async with pool.acquire() as connection:
                await ensure_shops(connection, [SHOP])
            for crawl, taken in enumerate(samples):
                taken.append(await measure_crawl(server, pool, kafka, options, crawl))
    return [
        *make_figures("new listings to commit", samples[0], options),
        *make_figures("changed listings to commit", samples[1], options),
    ]


def make_figures(name: str, samples: Sequence[Sample], options: argparse.Namespace) -> list[Figure]:
    """Set the median crawl beside both limits, in milliseconds for 1,000 messages."""
    seconds = median(sample.ours for sample in samples)
    rows = 1 + 2 * options.offers
    shares = (f"{phase} {median(sample.shares[phase] for sample in samples):.0%}" for phase in PHASES)
    alone = options.listings / median(sample.alone for sample in samples)
    rate = options.listings / seconds
    speed = f"{rate:,.0f} messages/s, {rows * rate:,.0f} rows/s; consumer alone {alone:,.0f}"
    return [
        _compare(name, "bare consumer, decoding", samples, "bare", options, speed),
        _compare(name, "binary COPY", samples, "copy", options, f"of the time {', '.join(shares)}"),
    ]


def _compare(
    name: str,
    limit_name: str,
    samples: Sequence[Sample],
    which: str,
    options: argparse.Namespace,
    note: str,
) -> Figure:
    per_thousand = 1000 * _PER / options.listings
    ratio = median(sample.ours / getattr(sample, which) for sample in samples)
    limit = median(getattr(sample, which) for sample in samples)
    return Figure(
        name=f"1,000 {name}",
        unit="ms",
        value=median(sample.ours for sample in samples) * per_thousand,
        limit_name=limit_name,
        limit=limit * per_thousand,
        ratio=ratio,
        samples=len(samples),
        note=f"{1 / ratio:.2f} of the limit's speed, {options.listings / limit:,.0f} messages/s; {note}",
    )
