"""How fast pages of messages are appended to Kafka, beside a bare producer with the same settings."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from statistics import median

import msgspec
from benchmarks.figures import Figure
from benchmarks.ingest import BEGIN, observe
from benchmarks.kafka_servers import PARTITIONS, make_topic
from benchmarks.rounds import compare, time_in_turns
from confluent_kafka import Producer

from skatestock.database.pool import Pool
from skatestock.eventlog.kafka import KafkaEventLog, KafkaServers
from skatestock.eventlog.kafka.producer import producer_config
from skatestock.eventlog.port import Message, partition_for
from skatestock.events.codec import encode

PAGE = 250
CRAWLS = 5
"""Crawls that one process makes at once, unless told otherwise."""
_OFFERS = 5
_APPEND_SECONDS = 15.0
_FLUSH_SECONDS = 30.0


def make_page(number: int) -> list[Message]:
    """Make the messages of one shop's page, every listing of which has changed."""
    shop = f"bench-{number}"
    observed = (observe(place, _OFFERS, BEGIN, 6000 + place % 50, shop) for place in range(PAGE))
    return [
        Message(
            key=shop,
            value=encode(msgspec.structs.replace(event, shop=shop)),
            headers={"event": "ListingObserved"},
        )
        for event in observed
    ]


class BareProducer:
    """librdkafka alone, with the settings that the log has."""

    def __init__(self, kafka: KafkaServers, topic: str) -> None:
        self._topic = topic
        # a broker that has just started is asked twice, which is no news
        servers = {"bootstrap.servers": kafka.servers, "log_level": 3}
        self._producer = Producer({**servers, **producer_config(_APPEND_SECONDS)})

    async def send(self, pages: Sequence[Sequence[Message]]) -> None:
        """Produce the messages and wait until all are acknowledged."""
        for page in pages:
            for message in page:
                self._producer.produce(
                    self._topic,
                    key=message.key,
                    value=message.value,
                    headers=dict(message.headers),
                    partition=partition_for(message.key, PARTITIONS),
                )
        if self._producer.flush(_FLUSH_SECONDS):
            raise SystemExit("the bare producer was not answered: nothing was measured")

    def close(self) -> None:
        """Let the producer go."""
        self._producer.close()


async def measure_appends(pool: Pool, kafka: KafkaServers, samples: int) -> list[Figure]:
    """Measure one page at a time, and the pages of five crawls at once."""
    topic = await make_topic(kafka, "append")
    log = KafkaEventLog(pool, kafka, topics={topic: PARTITIONS})
    bare = BareProducer(kafka, topic)
    pages = [make_page(number) for number in range(CRAWLS)]

    async def append(wanted: Sequence[Sequence[Message]]) -> None:
        await asyncio.gather(*(log.append(topic, page) for page in wanted))

    try:
        return [
            await _measure(f"{count * PAGE:,} messages, {what}", pages[:count], append, bare.send, samples)
            for count, what in ((1, "one append"), (CRAWLS, f"{CRAWLS} appends at once"))
        ]
    finally:
        bare.close()
        await log.close()


Send = Callable[[Sequence[Sequence[Message]]], Awaitable[None]]


async def _measure(
    name: str, pages: Sequence[Sequence[Message]], append: Send, send: Send, samples: int
) -> Figure:
    taken = await time_in_turns({"ours": partial(append, pages), "bare": partial(send, pages)}, samples)
    count = sum(map(len, pages))
    size = sum(len(message.value) for page in pages for message in page)
    ours, bare = (count / median(taken[which]) for which in ("ours", "bare"))
    note = f"{ours:,.0f} messages/s, bare {bare:,.0f}; {size / count:,.0f} bytes each"
    return compare(name, taken["ours"], "bare producer", taken["bare"], note)
