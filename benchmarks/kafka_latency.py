"""From the append to Kafka until another connection reads the price point, in whole crawls.

Everything is as in `benchmarks.latency`, but that the log is Kafka, ids of schemas come from a real registry,
and the clock starts with the append. The limit after every sample: one bare message produced and flushed,
taken by a bare consumer that waits for it, and one bare INSERT and COMMIT.
"""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from statistics import median

import asyncpg
from benchmarks.figures import Figure
from benchmarks.kafka_servers import make_topic, open_kafka_server, open_registry_server
from benchmarks.latency import Sample, open_bench, run_ingest_process, take_samples
from benchmarks.rounds import percentile
from benchmarks.servers import Servers, open_servers
from confluent_kafka import Consumer, Producer, TopicPartition

from skatestock.cli.event_topics import TOPICS
from skatestock.cli.kafka import open_kafka
from skatestock.database.pool import Pool, connect
from skatestock.eventlog.kafka import KafkaServers, ensure_topics
from skatestock.eventlog.kafka.producer import producer_config
from skatestock.eventlog.measured import measure_log
from skatestock.eventlog.port import EventLog
from skatestock.eventlog.schema_registry import SchemaRegistry
from skatestock.events.codec import Codec
from skatestock.events.versions import EVENTS
from skatestock.ingest.consumer import TOPIC
from skatestock.settings import PREFIX, load_settings

_GIVE_UP_SECONDS = 20.0


class BareKafka:
    """The least between a message and a commit: librdkafka on both sides, and one row."""

    def __init__(self, kafka: KafkaServers, topic: str, writer: asyncpg.Connection) -> None:
        self._topic = topic
        self._writer = writer
        # a broker that has just started is asked twice, which is no news
        servers = {"bootstrap.servers": kafka.servers, "log_level": 3}
        self._producer = Producer({**servers, **producer_config(_GIVE_UP_SECONDS)})
        self._consumer = Consumer({**servers, "group.id": "bench-bare", "enable.auto.commit": False})
        self._consumer.assign([TopicPartition(topic, 0, 0)])

    async def prepare(self) -> None:
        """Make the table."""
        await self._writer.execute("CREATE TABLE bench_bare (id bigserial PRIMARY KEY, value bytea NOT NULL)")

    async def measure(self, body: bytes, value: bytes) -> float:
        """Return the seconds of one message; see `Limit`."""
        began = time.perf_counter()
        self._producer.produce(self._topic, value=value, partition=0)
        unsent = self._producer.flush(_GIVE_UP_SECONDS)
        message = self._consumer.poll(_GIVE_UP_SECONDS)
        if unsent or message is None or message.error() is not None:
            raise SystemExit("the bare message did not arrive: nothing was measured")
        await self._writer.execute("INSERT INTO bench_bare (value) VALUES ($1)", message.value())
        return time.perf_counter() - began

    def close(self) -> None:
        """Let both clients go."""
        self._producer.close()
        self._consumer.close()


@asynccontextmanager
async def open_production(servers: Servers) -> AsyncGenerator[tuple[KafkaServers, dict[str, str]]]:
    """Start broker and registry with topics and schemas, and give the settings of processes on them."""
    async with open_kafka_server(servers.folder) as kafka, open_registry_server(servers.folder) as url:
        await ensure_topics(kafka, TOPICS, replication=1, retention_days=1)
        registry = SchemaRegistry(url, TOPIC)
        for event in EVENTS:
            await registry.register(event)
        await registry.close()
        yield kafka, {f"{PREFIX}KAFKA_SERVERS": kafka.servers, f"{PREFIX}SCHEMA_REGISTRY_URL": url}


@asynccontextmanager
async def open_limit(servers: Servers, kafka: KafkaServers) -> AsyncGenerator[BareKafka]:
    """Connect the bare clients."""
    writer = await connect(servers.postgres.dsn, application_name="bench bare writer")
    bare = BareKafka(kafka, await make_topic(kafka, "bare"), writer)
    try:
        await bare.prepare()
        yield bare
    finally:
        bare.close()
        await writer.close()


async def measure_latency(count: int) -> list[Figure]:
    """Start everything, take the samples, and make figures of them."""
    async with open_servers() as servers, open_production(servers) as (kafka, environ):
        settings = load_settings({**servers.environ, **environ})

        @asynccontextmanager
        async def open_log(pool: Pool) -> AsyncGenerator[tuple[EventLog, Codec]]:
            async with open_kafka(settings, pool, "bench", 30.0) as (log, registry):
                yield measure_log(log), Codec(registry)

        async with (
            run_ingest_process(servers, environ),
            open_limit(servers, kafka) as limit,
            open_bench(servers, open_log) as bench,
        ):
            reader = await connect(servers.postgres.dsn, application_name="bench reader")
            try:
                return make_figures(await take_samples(bench, reader, limit, count))
            finally:
                await reader.close()


def make_figures(samples: Sequence[Sample]) -> list[Figure]:
    """Turn the samples into the two figures, with their parts as a note."""
    figures = []
    append, ingest = (median(getattr(sample, part) for sample in samples) for part in ("append", "ingest"))
    for percent in (50, 99):
        ours = percentile([sample.append + sample.ingest for sample in samples], percent)
        limit = percentile([sample.limit for sample in samples], percent)
        whole = percentile([sample.total for sample in samples], percent)
        figures.append(
            Figure(
                name=f"append to visible price point, p{percent}",
                unit="ms",
                value=ours * 1000,
                limit_name="bare message and commit",
                limit=limit * 1000,
                ratio=ours / limit,
                samples=len(samples),
                note=f"append {append * 1000:.1f} ms, ingest {ingest * 1000:.1f} ms in the median; "
                f"from the page's bytes {whole * 1000:.1f} ms",
            )
        )
    return figures
