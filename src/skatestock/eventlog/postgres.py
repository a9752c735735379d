"""The event log on PostgreSQL tables."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import asyncpg
import msgspec

from skatestock.database.pool import Pool
from skatestock.database.transactions import transaction
from skatestock.eventlog.errors import (
    ConsumerClosedError,
    FencedError,
    PartitionCountError,
    UnknownTopicError,
)
from skatestock.eventlog.port import (
    Batch,
    Connection,
    Handle,
    Message,
    PartitionLag,
    Position,
    Record,
    partition_for,
)
from skatestock.eventlog.wakeups import WakeUps, notify_append
from skatestock.telemetry.logs import get_logger

# How long a consumer trusts the wake-ups before it looks for itself.
_POLL_SECONDS = 1.0

# A batch takes no further record once it has so much: a few huge ones must not fill the memory.
_MAX_BATCH_BYTES = 16_000_000

# The order of the locks is the same for every append, so that appends never deadlock. Two statements, because
# the second must see what the first has waited for.
_LOCK_ENDS = """
    SELECT partition, next_offset FROM eventlog_ends
    WHERE topic = $1 AND partition = ANY($2::smallint[])
    ORDER BY partition FOR UPDATE
"""
_MOVE_ENDS = """
    UPDATE eventlog_ends e SET next_offset = n.next_offset
    FROM unnest($2::smallint[], $3::bigint[]) AS n (partition, next_offset)
    WHERE e.topic = $1 AND e.partition = n.partition
"""
_INSERT_RECORDS = """
    INSERT INTO eventlog_records (topic, partition, "offset", appended_at, key, value, headers)
    SELECT $1, r.partition, r."offset", date_trunc('second', now()), r.key, r.value, r.headers::jsonb
    FROM unnest($2::smallint[], $3::bigint[], $4::text[], $5::bytea[], $6::text[])
        AS r (partition, "offset", key, value, headers)
"""

# Whoever was served longest ago comes first, so that a busy shop starves no other; those that failed last
# time come after all others, so that a batch that cannot be handled starves none either.
_CLAIM = """
    SELECT o.partition, o.next_offset, e.next_offset AS end_offset
    FROM consumer_offsets o JOIN eventlog_ends e ON e.topic = o.topic AND e.partition = o.partition
    WHERE o.consumer_group = $1 AND o.log = 'tables' AND o.topic = $2 AND o.next_offset < e.next_offset
    ORDER BY o.partition = ANY($3::smallint[]), o.updated_at, o.partition
    LIMIT 1 FOR UPDATE OF o SKIP LOCKED
"""
_STORE_OFFSET = """
    UPDATE consumer_offsets SET next_offset = $5, updated_at = clock_timestamp()
    WHERE consumer_group = $1 AND log = 'tables' AND topic = $2 AND partition = $3 AND next_offset = $4
    RETURNING next_offset
"""
_JOIN_GROUP = """
    INSERT INTO consumer_offsets (consumer_group, topic, partition)
    SELECT $1, topic, partition FROM eventlog_ends WHERE topic = $2 ORDER BY partition
    ON CONFLICT DO NOTHING
"""

_SELECT_RECORDS = """
    SELECT "offset", key, value, headers, appended_at FROM (
        SELECT *, sum(octet_length(value)) OVER (ORDER BY "offset") - octet_length(value) AS bytes_before
        FROM (
            SELECT "offset", key, value, headers, appended_at FROM eventlog_records
            WHERE topic = $1 AND partition = $2 AND "offset" >= $3
            ORDER BY "offset" LIMIT $4
        ) AS next
    ) AS measured
    WHERE bytes_before < $5 ORDER BY "offset"
"""
_SELECT_LAG = """
    SELECT e.partition, e.next_offset AS end_offset, coalesce(o.next_offset, 0) AS next_offset
    FROM eventlog_ends e LEFT JOIN consumer_offsets o
        ON o.topic = e.topic AND o.partition = e.partition AND o.consumer_group = $1
        AND o.log = 'tables'
    WHERE e.topic = $2 ORDER BY e.partition
"""

_log = get_logger(__name__)


class PostgresEventLog:
    """The event log of one machine: topics, offsets and records are rows, and each promise a transaction."""

    def __init__(self, pool: Pool, *, topics: Mapping[str, int]) -> None:
        """Use the pool's database; `topics` tells the number of partitions of every topic."""
        self._pool = pool
        self._topics = dict(topics)
        self._wakeups = WakeUps(pool)

    async def ensure_topics(self) -> None:
        """Set up the topics; idempotent and safe to run concurrently.

        Raises PartitionCountError when a topic stands with another number of partitions.
        """
        async with transaction(self._pool) as connection:
            for topic, partitions in sorted(self._topics.items()):
                await _ensure_topic(connection, topic, partitions)

    async def append(self, topic: str, messages: Sequence[Message]) -> list[Position]:
        """Append all messages or none, and return where they stand once they are committed.

        Raises UnknownTopicError. Not idempotent: see the port.
        """
        async with transaction(self._pool) as connection:
            return await self.append_within(connection, topic, messages)

    async def append_within(
        self, connection: Connection, topic: str, messages: Sequence[Message]
    ) -> list[Position]:
        """Append as part of the connection's transaction, and commit or vanish with it.

        Other appends to the same partitions wait until it ends: append last.
        """
        count = self._partitions_of(topic)
        partitions = [partition_for(message.key, count) for message in messages]
        if not messages:
            return []
        async with connection.transaction():
            positions = await _allocate(connection, topic, partitions)
            await _insert(connection, topic, positions, messages)
            await notify_append(connection, topic)
        return positions

    async def open_consumer(self, group: str, topic: str) -> "PostgresConsumer":
        """Join a consumer group; every member serves any partition, one at a time.

        Raises UnknownTopicError, also for a topic that is not set up in the database yet.
        """
        self._partitions_of(topic)
        if not await self.fetch_lag(group, topic):
            raise _not_set_up(topic)
        await self._pool.execute(_JOIN_GROUP, group, topic)
        return PostgresConsumer(self._pool, self._wakeups, group=group, topic=topic)

    async def fetch_lag(self, group: str, topic: str) -> list[PartitionLag]:
        """Tell the lag of every partition, in the order of partitions."""
        self._partitions_of(topic)
        rows = await self._pool.fetch(_SELECT_LAG, group, topic)
        return [PartitionLag(topic=topic, **row) for row in rows]

    async def fetch_records(self, topic: str, partition: int, offset: int, limit: int) -> list[Record]:
        """Read up to `limit` records, and some 16 MB, from an offset on; dropped offsets are passed over."""
        self._partitions_of(topic)
        async with self._pool.acquire() as connection:
            return await _fetch_records(connection, topic, partition, offset, limit)

    async def close(self) -> None:
        """Stop listening; idempotent. The pool stays open: it belongs to the caller."""
        await self._wakeups.close()

    def _partitions_of(self, topic: str) -> int:
        try:
            return self._topics[topic]
        except KeyError:
            known = ", ".join(sorted(self._topics)) or "it has none"
            raise UnknownTopicError(f"the topic {topic!r} is none of this log's: {known}") from None


class PostgresConsumer:
    """One member of a consumer group: claims a partition per batch, for the length of one transaction."""

    def __init__(self, pool: Pool, wakeups: WakeUps, *, group: str, topic: str) -> None:
        self._pool = pool
        self._wakeups = wakeups
        self._group = group
        self._topic = topic
        self._appended = wakeups.subscribe(topic)
        self._failed: set[int] = set()
        self._closed = False

    async def process(self, handle: Handle, *, max_records: int, wait_seconds: float) -> int:
        """Hand one batch to `handle` and commit what it wrote together with the offset, as the port says.

        Raises what `handle` raises; FencedError when the stored offset was moved meanwhile; an error that
        `database.transactions.is_transient` knows when the connection was lost.
        """
        if max_records < 1:
            raise ValueError(f"max_records must be at least 1, not {max_records}")
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + wait_seconds
        while True:
            if self._closed:
                raise ConsumerClosedError(
                    f"a consumer of {self._topic} in {self._group} was used after its end"
                )
            # cleared before looking: what is appended after the look sets it again
            self._appended.clear()
            count = await self._process_waiting(handle, max_records)
            left_seconds = give_up_at - loop.time()
            if count or (count is None and left_seconds <= 0):
                return count or 0
            if count is None:
                await self._wait(min(left_seconds, _POLL_SECONDS))

    async def close(self) -> None:
        """Leave the group; idempotent."""
        self._closed = True
        self._wakeups.unsubscribe(self._topic, self._appended)
        self._appended.set()

    async def _wait(self, seconds: float) -> None:
        try:
            # Not wait_for: before Python 3.12 it may lose a cancellation that comes with the event.
            async with asyncio.timeout(seconds):
                await self._appended.wait()
        except TimeoutError:
            return

    async def _process_waiting(self, handle: Handle, max_records: int) -> int | None:
        """Process a batch of a partition that has one; None when there is none to be had."""
        async with transaction(self._pool) as connection:
            claim = await connection.fetchrow(_CLAIM, self._group, self._topic, list(self._failed))
            if claim is None:
                return None
            try:
                count = await self._process_claim(connection, claim, handle, max_records)
            except BaseException:
                self._failed.add(claim["partition"])
                raise
        # others have had their turn
        self._failed.clear()
        return count

    async def _process_claim(
        self, connection: Connection, claim: asyncpg.Record, handle: Handle, max_records: int
    ) -> int:
        partition, next_offset = claim["partition"], claim["next_offset"]
        records = await _fetch_records(connection, self._topic, partition, next_offset, max_records)
        after = records[-1].offset + 1 if records else claim["end_offset"]
        if missing := after - next_offset - len(records):
            where = {"topic": self._topic, "partition": partition}
            _log.warning("eventlog_gap", **where, records=missing, from_offset=next_offset, to_offset=after)
        if records:
            await handle(connection, Batch(topic=self._topic, partition=partition, records=tuple(records)))
        await self._store_offset(connection, partition, next_offset, after)
        return len(records)

    async def _store_offset(self, connection: Connection, partition: int, before: int, after: int) -> None:
        key = (self._group, self._topic, partition)
        if await connection.fetchval(_STORE_OFFSET, *key, before, after) is None:
            raise FencedError(
                f"the offset of {self._group} in {self._topic}/{partition} is no longer {before}: "
                "what was processed since is not stored, and comes again"
            )


async def _ensure_topic(connection: Connection, topic: str, partitions: int) -> None:
    await connection.execute(
        "INSERT INTO eventlog_topics (topic, partitions) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        topic,
        partitions,
    )
    standing = await connection.fetchval("SELECT partitions FROM eventlog_topics WHERE topic = $1", topic)
    if standing != partitions:
        raise PartitionCountError(
            f"the topic {topic!r} has {standing} partitions and cannot have {partitions}: its keys would "
            "lose their order; set the number back, or begin a new topic"
        )
    await connection.execute(
        "INSERT INTO eventlog_ends (topic, partition) SELECT $1, generate_series(0, $2::int - 1) "
        "ON CONFLICT DO NOTHING",
        topic,
        partitions,
    )


async def _allocate(connection: Connection, topic: str, partitions: Sequence[int]) -> list[Position]:
    """Take the next offsets of the partitions, one for each entry, in the order of the entries."""
    counts = Counter(partitions)
    rows = await connection.fetch(_LOCK_ENDS, topic, sorted(counts))
    free = {row["partition"]: row["next_offset"] for row in rows}
    if counts.keys() - free.keys():
        raise _not_set_up(topic)
    positions = []
    for partition in partitions:
        positions.append(Position(partition, free[partition]))
        free[partition] += 1
    await connection.execute(_MOVE_ENDS, topic, list(free), list(free.values()))
    return positions


def _not_set_up(topic: str) -> UnknownTopicError:
    return UnknownTopicError(
        f"the topic {topic!r} is not set up in this database: run `skatestock migrate` to do so"
    )


async def _insert(
    connection: Connection, topic: str, positions: Sequence[Position], messages: Sequence[Message]
) -> None:
    await connection.execute(
        _INSERT_RECORDS,
        topic,
        [position.partition for position in positions],
        [position.offset for position in positions],
        [message.key for message in messages],
        [message.value for message in messages],
        [msgspec.json.encode(message.headers).decode() for message in messages],
    )


async def _fetch_records(
    connection: Connection, topic: str, partition: int, offset: int, limit: int
) -> list[Record]:
    rows = await connection.fetch(_SELECT_RECORDS, topic, partition, offset, limit, _MAX_BATCH_BYTES)
    return [Record(topic=topic, partition=partition, **row) for row in rows]
