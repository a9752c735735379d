"""Appends to Kafka from the event loop: what was sent is waited for without blocking."""

import asyncio
from collections.abc import Sequence
from functools import partial
from threading import Thread
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from skatestock.eventlog.errors import LogUnavailableError, MessageTooLargeError
from skatestock.eventlog.kafka.connection import KafkaServers, explain, explain_exception, open_client
from skatestock.eventlog.kafka.topics import MAX_BATCH_BYTES
from skatestock.eventlog.port import Message as Appended
from skatestock.eventlog.port import Position, partition_for

MAX_MESSAGE_BYTES = MAX_BATCH_BYTES - 64 * 1024
"""Of key, value and headers together; the rest is room for what Kafka adds."""

_HEADER_OVERHEAD_BYTES = 16
_POLL_SECONDS = 0.1
_FULL_PAUSE_SECONDS = 0.01
_FLUSH_SECONDS = 5.0
# Messages handed over before the event loop gets its turn.
_HANDED_OVER_AT_ONCE = 500
# How much longer than librdkafka itself we wait for its word on a message.
_SLACK_SECONDS = 5.0


class Outgoing(msgspec.Struct, frozen=True):
    """A message in Kafka's own form, checked and ready."""

    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def prepare_messages(messages: Sequence[Appended], partitions: int) -> list[Outgoing]:
    """Check and encode all messages of an append before any is sent.

    Raises UnicodeEncodeError for text that is none, ValueError for a NUL in a key or header (PostgreSQL
    cannot keep it), MessageTooLargeError.
    """
    return [_prepare(message, partitions) for message in messages]


def _prepare(message: Appended, partitions: int) -> Outgoing:
    key = message.key.encode()
    headers = [(name.encode().decode(), text.encode()) for name, text in message.headers.items()]
    if b"\x00" in key or any("\x00" in name or b"\x00" in text for name, text in headers):
        raise ValueError(f"a message of {message.key!r} has a NUL in its key or headers: nothing can keep it")
    size = len(key) + len(message.value)
    size += sum(len(name.encode()) + len(text) + _HEADER_OVERHEAD_BYTES for name, text in headers)
    if size > MAX_MESSAGE_BYTES:
        raise MessageTooLargeError(
            f"a message of {message.key!r} has {size:,} bytes, and the log takes {MAX_MESSAGE_BYTES:,}: "
            "nothing was appended"
        )
    return Outgoing(partition_for(message.key, partitions), key, message.value, headers)


class AppendingProducer:
    """One idempotent producer for all appends of a process."""

    def __init__(self, servers: KafkaServers, *, timeout_seconds: float) -> None:
        """Connect as soon as something is sent; an append is given up after `timeout_seconds`."""
        self._servers = servers
        self._timeout_seconds = timeout_seconds
        self._producer = open_client(Producer, servers, producer_config(timeout_seconds))
        self._closing = False
        self.is_broken = False
        """After an error that this producer cannot go on from: make another one."""
        self._poller = Thread(target=self._poll, name="kafka-producer", daemon=True)
        self._poller.start()

    async def send(self, topic: str, messages: Sequence[Outgoing]) -> list[Position]:
        """Send the messages and return where they stand, once all in-sync replicas have them.

        Raises LogUnavailableError, LogRefusedError, UnknownTopicError or MessageTooLargeError; some of the
        messages may stand in the log all the same.
        """
        sending = _Sending(len(messages))
        give_up_at = asyncio.get_running_loop().time() + self._timeout_seconds
        for place, message in enumerate(messages):
            if place % _HANDED_OVER_AT_ONCE == _HANDED_OVER_AT_ONCE - 1:
                await asyncio.sleep(0)
            while not self._hand_over(topic, message, partial(sending.note, place)):
                if asyncio.get_running_loop().time() > give_up_at:
                    raise explain(KafkaError(KafkaError._TIMED_OUT_QUEUE), self._servers)
                await asyncio.sleep(_FULL_PAUSE_SECONDS)
        try:
            async with asyncio.timeout(self._timeout_seconds + _SLACK_SECONDS):
                await sending.done
        except TimeoutError:
            raise explain(KafkaError(KafkaError._MSG_TIMED_OUT), self._servers) from None
        if sending.error is not None:
            self.is_broken = (
                self.is_broken or sending.error.fatal() or sending.error.code() == KafkaError._FATAL
            )
            raise explain(sending.error, self._servers, topic=topic)
        return self._positions(sending, messages)

    def close(self) -> None:
        """Wait a little for what is on its way, and let go; idempotent; blocks."""
        if self._closing:
            return
        self._producer.flush(_FLUSH_SECONDS)
        self._closing = True
        self._poller.join()
        self._producer.purge()
        self._producer.close()

    def abandon(self) -> None:
        """Let go without waiting for anything; the thread ends by itself."""
        self._closing = True

    def _hand_over(self, topic: str, message: Outgoing, note: Any) -> bool:
        try:
            self._producer.produce(
                topic,
                key=message.key,
                value=message.value,
                headers=list(message.headers),
                partition=message.partition,
                on_delivery=note,
            )
        except BufferError:
            return False
        except KafkaException as exception:
            self.is_broken = self.is_broken or exception.args[0].code() == KafkaError._FATAL
            raise explain_exception(exception, self._servers, topic=topic) from exception
        return True

    def _positions(self, sending: "_Sending", messages: Sequence[Outgoing]) -> list[Position]:
        if any(offset is None or offset < 0 for offset in sending.offsets):
            # acknowledged only when it was sent again after a lost answer: the broker tells no place then
            raise LogUnavailableError(
                f"Kafka at {self._servers.servers} took an append without saying where: append again"
            )
        return [
            Position(message.partition, offset)
            for message, offset in zip(messages, sending.offsets, strict=True)
            if offset is not None
        ]

    def _poll(self) -> None:
        while not self._closing:
            self._producer.poll(_POLL_SECONDS)


class _Sending:
    """What Kafka has said of the messages of one append."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = count
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.offsets: list[int | None] = [None] * count
        self.error: KafkaError | None = None

    def note(self, place: int, error: KafkaError | None, message: Message) -> None:
        """Take a report; called in the producer's thread."""
        if error is not None:
            self.error = self.error or error
        else:
            self.offsets[place] = message.offset()
        self._left -= 1
        if not self._left and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


def producer_config(timeout_seconds: float) -> dict[str, Any]:
    """Return how appends are sent, beside where to."""
    return {
        "acks": "all",
        "enable.idempotence": True,
        "message.timeout.ms": round(timeout_seconds * 1000),
        "message.max.bytes": MAX_BATCH_BYTES,
        "topic.metadata.propagation.max.ms": round(min(timeout_seconds, 5.0) * 1000),
        # an append hands over all its messages at once: whoever waits longer for more only answers later
        "linger.ms": 0.5,
        "compression.type": "zstd",
        "batch.size": 1_000_000,
        "queue.buffering.max.kbytes": 128 * 1024,
    }
