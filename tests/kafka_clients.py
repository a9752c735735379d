"""What tests do with a broker: make a topic, put something in, read everything out."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

Options = dict[str, str]


def make_topic(servers: str, topic: str, options: Options | None = None) -> None:
    """Create a topic of one partition."""
    admin = AdminClient({"bootstrap.servers": servers, **(options or {})})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)


def append(servers: str, topic: str, *values: bytes, options: Options | None = None) -> None:
    """Append values and wait until the broker has acknowledged each."""
    failed: list[object] = []
    producer = Producer({"bootstrap.servers": servers, "acks": "all", **(options or {})})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(20) == 0
    assert not failed, failed


def read_all(servers: str, topic: str, options: Options | None = None) -> list[bytes]:
    """Read a topic's only partition from its start to its end."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader", **(options or {})})
    try:
        first, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
        consumer.assign([TopicPartition(topic, 0, first)])
        values: list[bytes] = []
        give_up_at = time.monotonic() + 20
        while len(values) < end - first and time.monotonic() < give_up_at:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                values.append(message.value() or b"")
        return values
    finally:
        consumer.close()
