"""The event log as everything else sees it; `postgres` implements it on tables, `kafka` on Apache Kafka."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable
from zlib import crc32

import asyncpg
import msgspec

TABLES = "tables"
"""The name of the log that is kept in PostgreSQL's tables, where others have the id of their topic."""

KEY_HEX_HEADER = "source-key-hex"
"""Header that a log adds to a record whose key is no text: the key's bytes in hexadecimal."""

NULL_HEADER = "source-null"
"""Header that a log adds to a record without key or value: `key`, `value` or `key value`."""

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message to append: the key decides the partition, so one key's messages stay in order."""

    key: str
    value: bytes
    headers: Mapping[str, str] = {}


class Position(NamedTuple):
    """Where a message stands in the log."""

    partition: int
    offset: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One message as the log returns it."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str]
    appended_at: datetime
    log: str = TABLES
    """Which log the offset is one of: `tables`, or the id that Kafka gave the topic."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Records of one partition, never empty, in the order of their offsets.

    An offset is only missing among them where retention has dropped its record.
    """

    topic: str
    partition: int
    records: tuple[Record, ...]


class PartitionLag(msgspec.Struct, frozen=True, kw_only=True):
    """How far a consumer group is behind the end of a partition."""

    topic: str
    partition: int
    next_offset: int
    end_offset: int

    @property
    def lag(self) -> int:
        """Return how many records wait."""
        return max(0, self.end_offset - self.next_offset)


Handle = Callable[[Connection, Batch], Awaitable[None]]
"""Writes what a batch says through the given connection, in the transaction that also moves the offset."""


class Consumer(Protocol):
    """One member of a consumer group; several may run at once, in this process or others."""

    async def process(self, handle: Handle, *, max_records: int, wait_seconds: float) -> int:
        """Hand one batch to `handle` and commit what it wrote together with the offsets, in one transaction.

        Returns the number of records processed; 0 when none arrived within `wait_seconds`. When `handle`
        raises, nothing of the batch is stored and the same batch comes again. A consumer that has lost its
        partition raises FencedError and has written nothing.
        """

    async def close(self) -> None:
        """Leave the group; idempotent."""


class EventLog(Protocol):
    """An append-only log of topics, each with a fixed number of partitions."""

    async def append(self, topic: str, messages: Sequence[Message]) -> list[Position]:
        """Append the messages, and return where they stand once they are durable.

        A message that the log can never take fails the whole append, and none is appended. When the log's
        servers fail meanwhile, tables have appended none, Kafka perhaps some. Not idempotent: a caller that
        got no answer appends all of them again, and consumers must bear repeats.
        """

    async def open_consumer(self, group: str, topic: str) -> Consumer:
        """Join a consumer group, which begins at the first record that it has not stored an offset for."""

    async def fetch_lag(self, group: str, topic: str) -> list[PartitionLag]:
        """Tell the lag of every partition, in the order of partitions."""

    async def close(self) -> None:
        """Release what the log holds; idempotent."""


@runtime_checkable
class AppendsWithin(Protocol):
    """A log that can append as part of a database transaction."""

    async def append_within(
        self, connection: Connection, topic: str, messages: Sequence[Message]
    ) -> list[Position]:
        """Append as part of the connection's transaction."""


def partition_for(key: str, partitions: int) -> int:
    """Choose the partition of a key as librdkafka's `consistent` partitioner does: CRC-32 modulo."""
    return crc32(key.encode()) % partitions
