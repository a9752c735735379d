"""Reads partitions of Kafka ahead, into a bounded memory.

Everything but `peek` and `drop` is called in the consumer's one thread, and those only while it rests.
"""

import time
from collections import deque
from collections.abc import Mapping, Set

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from skatestock.eventlog.errors import LogRefusedError
from skatestock.eventlog.kafka.connection import KafkaServers, explain, open_client
from skatestock.eventlog.kafka.records import read_record, size_of_record
from skatestock.eventlog.port import Record
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import (
    EVENTLOG_BUFFERED_BYTES,
    EVENTLOG_BUFFERED_RECORDS,
    EVENTLOG_PAUSED_SECONDS,
)

# A batch takes no further record once it has so much: a few huge ones must not fill the memory.
_MAX_BATCH_BYTES = 16_000_000
# What waits in memory beside what librdkafka itself holds.
_MAX_BUFFERED_BYTES = 32_000_000
_MAX_BUFFERED_RECORDS = 20_000
_CLIENT_QUEUE_KBYTES = 16_384
_TAKEN_AT_ONCE = 500
_KEPT_WHEN_STUCK = 2_000
_CONNECT_SECONDS = 5.0

_CONFIG = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # an offset that is not there is for us to judge
    "auto.offset.reset": "error",
    "queued.max.messages.kbytes": _CLIENT_QUEUE_KBYTES,
    "queued.min.messages": 10_000,
    # a partition that is added while a request waits at the broker is fetched only by the next one
    "fetch.wait.max.ms": 100,
    # librdkafka's own second of rest, when its queue was full, would be a second of standstill
    "fetch.queue.backoff.ms": 20,
    "fetch.error.backoff.ms": 100,
    "fetch.max.bytes": 20 * 1024 * 1024,
    "message.max.bytes": 20 * 1024 * 1024,
}

_log = get_logger(__name__)


class Fetcher:
    """Fetches from given offsets on; its buffers hold what has come, without holes that nobody explained."""

    def __init__(self, servers: KafkaServers, *, group: str, topic: str) -> None:
        """Connect; nothing is fetched until a partition is started."""
        self._servers = servers
        self._topic = topic
        # the group is only a name here: nothing is joined, and nothing is committed
        self._client = open_client(Consumer, servers, {"group.id": group, **_CONFIG})
        self._buffers: dict[int, _Buffer] = {}
        self._records = 0
        self._bytes = 0
        self.broken: set[int] = set()
        """Partitions whose offset, or which themselves, are not there any more."""

    def connect(self) -> None:
        """Meet the brokers of the topic, so that the first records come at once; it may fail as well."""
        try:
            self._client.list_topics(self._topic, timeout=_CONNECT_SECONDS)
        except KafkaException as exception:
            _log.warning("eventlog_connect", topic=self._topic, error=exception.args[0].str())

    def start(self, log: str, offsets: Mapping[int, int]) -> None:
        """Fetch partitions from these offsets on; what waits of them from there on is kept."""
        for partition, offset in offsets.items():
            buffer = self._buffers.get(partition)
            if buffer is not None and buffer.log == log:
                self._account(*buffer.drop_before(offset))
            if buffer is None or buffer.log != log or buffer.first_offset != offset:
                self.stop(partition)
                self._buffers[partition] = _Buffer(partition, log, offset)
            elif partition in self.broken:
                self._rest(buffer)
            self.broken.discard(partition)
        self._fetch_resting()

    def stop(self, partition: int) -> None:
        """Forget a partition; idempotent."""
        buffer = self._buffers.pop(partition, None)
        self.broken.discard(partition)
        if buffer is not None:
            self._rest(buffer)
            self._account(-len(buffer.records), -buffer.bytes)

    def pull(self, wait_seconds: float, stuck: Set[int]) -> None:
        """Take what has come, waiting for the first; nothing while the memory is full.

        Partitions of `stuck`, whose batches fail, yield their place to others then. Raises LogRefusedError.
        """
        self._make_room(stuck)
        if self._is_full():
            return
        first = self._client.poll(wait_seconds)
        if first is not None:
            self._keep(first)
        # with more patience this would wait for the full number
        while not self._is_full() and (messages := self._client.consume(_TAKEN_AT_ONCE, timeout=0)):
            for message in messages:
                self._keep(message)

    def find_behind(self, ends: Mapping[int, int]) -> set[int]:
        """Tell which partitions have nothing in memory, but something before these ends."""
        return {
            partition
            for partition, buffer in self._buffers.items()
            if buffer.is_fetched and not buffer.records and buffer.next_offset < ends.get(partition, 0)
        }

    def waiting(self) -> list[int]:
        """Tell which partitions have records."""
        return [partition for partition, buffer in self._buffers.items() if buffer.records]

    def peek(self, partition: int, max_records: int) -> list[Record]:
        """Return the next records, of some 16 MB at most, without taking them away."""
        buffer = self._buffers.get(partition)
        records: list[Record] = []
        size = 0
        for record in buffer.records if buffer is not None else ():
            if len(records) == max_records or size >= _MAX_BATCH_BYTES:
                break
            records.append(record)
            size += len(record.value)
        return records

    def drop(self, partition: int, after: int) -> None:
        """Forget the records before an offset: they are stored."""
        buffer = self._buffers.get(partition)
        if buffer is not None:
            self._account(*buffer.drop_before(after))

    def close(self) -> None:
        """Let go; blocks."""
        for partition in list(self._buffers):
            self._buffers.pop(partition)
        self._account(-self._records, -self._bytes)
        self._client.close()

    def _keep(self, message: Message) -> None:
        error, partition = message.error(), message.partition()
        buffer = self._buffers.get(partition) if partition is not None else None
        if error is not None:
            self._judge(error, buffer)
        elif buffer is not None and buffer.is_fetched:
            record = read_record(message, log=buffer.log)
            if record.offset == buffer.next_offset or record.offset == buffer.doubted_offset:
                self._account(1, buffer.append(record))
            elif record.offset > buffer.next_offset:
                self._doubt(buffer, record.offset)

    def _doubt(self, buffer: "_Buffer", offset: int) -> None:
        """Fetch again where offsets are missing: only a hole that is seen twice is one of the log's."""
        buffer.doubted_offset = offset
        self._rest(buffer)
        self._fetch_resting()

    def _judge(self, error: KafkaError, buffer: "_Buffer | None") -> None:
        told = explain(error, self._servers, topic=self._topic)
        where = {"topic": self._topic, "partition": buffer.partition if buffer is not None else None}
        _log.warning("eventlog_fetch", **where, kind=error.name(), error=error.str())
        gone = error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
        if isinstance(told, LogRefusedError) and not gone:
            raise told
        if buffer is not None:
            self.broken.add(buffer.partition)

    def _fetch_resting(self) -> None:
        """Fetch every partition from the end of its buffer on, but for those that rest for want of memory."""
        resting = [one for one in self._buffers.values() if not one.is_fetched and one.rested_at is None]
        if resting:
            self._client.incremental_assign(
                [TopicPartition(self._topic, one.partition, one.next_offset) for one in resting]
            )
        for buffer in resting:
            buffer.is_fetched = True

    def _rest(self, buffer: "_Buffer") -> None:
        # taken out of the assignment instead of paused: what librdkafka pauses and resumes in quick
        # succession may stay paused, or go on at another offset
        if buffer.is_fetched:
            self._client.incremental_unassign([TopicPartition(self._topic, buffer.partition)])
        buffer.is_fetched = False

    def _make_room(self, stuck: Set[int]) -> None:
        for buffer in self._buffers.values():
            if buffer.partition not in stuck:
                if buffer.rested_at is not None:
                    EVENTLOG_PAUSED_SECONDS.inc(time.monotonic() - buffer.rested_at)
                    buffer.rested_at = None
            elif buffer.rested_at is None and self._is_full():
                buffer.rested_at = time.monotonic()
                self._rest(buffer)
                # the batch that fails stays: it is tried again
                self._account(*buffer.keep_first(_KEPT_WHEN_STUCK, _MAX_BATCH_BYTES))
        self._fetch_resting()

    def _is_full(self) -> bool:
        return self._records >= _MAX_BUFFERED_RECORDS or self._bytes >= _MAX_BUFFERED_BYTES

    def _account(self, records: int, size: int) -> None:
        self._records += records
        self._bytes += size
        EVENTLOG_BUFFERED_RECORDS.set(self._records)
        EVENTLOG_BUFFERED_BYTES.set(self._bytes)


class _Buffer:
    """What waits of one partition."""

    def __init__(self, partition: int, log: str, offset: int) -> None:
        self.partition = partition
        self.log = log
        self.records: deque[Record] = deque()
        self.bytes = 0
        self.next_offset = offset
        """The offset of the record that comes next."""
        self.doubted_offset: int | None = None
        """The end of a hole that was seen once."""
        self.is_fetched = False
        self.rested_at: float | None = None

    @property
    def first_offset(self) -> int:
        return self.records[0].offset if self.records else self.next_offset

    def append(self, record: Record) -> int:
        size = size_of_record(record)
        self.records.append(record)
        self.bytes += size
        self.next_offset = record.offset + 1
        self.doubted_offset = None
        return size

    def drop_before(self, offset: int) -> tuple[int, int]:
        """Forget what stands before an offset; returns what that changed, in records and in bytes."""
        dropped = size = 0
        while self.records and self.records[0].offset < offset:
            size += size_of_record(self.records.popleft())
            dropped += 1
        self.bytes -= size
        return -dropped, -size

    def keep_first(self, records: int, size: int) -> tuple[int, int]:
        """Forget what is beyond the next batch, to be fetched again; returns as above."""
        dropped = freed = 0
        while len(self.records) > 1 and (len(self.records) > records or self.bytes > size):
            last = self.records.pop()
            self.next_offset = last.offset
            freed += size_of_record(last)
            self.bytes -= size_of_record(last)
            dropped += 1
        return -dropped, -freed
