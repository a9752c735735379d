"""How long the log on PostgreSQL remembers: whole days are dropped, once everybody has read them."""

from datetime import UTC, date, datetime, time, timedelta

import asyncpg
import msgspec

from skatestock.database.partitions import (
    drop_partition,
    ensure_day_partitions,
    find_default_partition,
    find_partitions,
    lock_partitioning,
    quote_identifier,
)
from skatestock.database.pool import Connection
from skatestock.database.transactions import transaction
from skatestock.telemetry.logs import get_logger

_TABLE = "eventlog_records"

# For each partition of a topic, the offset that every consumer group has passed. A topic that no group has
# ever read has none: its records wait for their first reader.
_PASSED = """
    SELECT e.topic, e.partition, min(coalesce(o.next_offset, 0)) AS next_offset
    FROM eventlog_ends e
    JOIN (SELECT DISTINCT consumer_group, topic FROM consumer_offsets WHERE log = 'tables') g
        ON g.topic = e.topic
    LEFT JOIN consumer_offsets o ON o.log = 'tables'
        AND o.consumer_group = g.consumer_group AND o.topic = e.topic AND o.partition = e.partition
    GROUP BY e.topic, e.partition
"""

_log = get_logger(__name__)


class Retained(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of retention has dropped, and what it had to keep though it is old."""

    dropped: tuple[str, ...]
    kept_unread: tuple[str, ...]
    """Old partitions with records that a consumer group has not read."""
    deleted_records: int
    """Records deleted from the default partition."""


async def ensure_log_partitions(pool: asyncpg.Pool, *, today: date, days_ahead: int = 7) -> list[str]:
    """Make the day partitions from today on; idempotent; returns the names of the new ones."""
    days = [today + timedelta(days=ahead) for ahead in range(days_ahead + 1)]
    async with transaction(pool) as connection:
        return await ensure_day_partitions(connection, _TABLE, days)


async def enforce_retention(pool: asyncpg.Pool, *, days: int, today: date) -> Retained:
    """Drop what was appended more than `days` whole days before today and read by every consumer group.

    A day with one unread record is kept whole, and said so in the log. What the default partition has of old
    and read records is deleted. Idempotent; raises LockNotAvailableError, which is transient, when the table
    stays busy.
    """
    limit_at = datetime.combine(today - timedelta(days=days), time(), tzinfo=UTC)
    async with transaction(pool) as connection:
        # before anything is read: from here on nobody else changes the partitions
        await lock_partitioning(connection, _TABLE)
        old = [
            partition.name
            for partition in await find_partitions(connection, _TABLE)
            if partition.until_at <= limit_at
        ]
        unread = [name for name in old if await _has_unread(connection, name)]
        dropped = [name for name in old if name not in unread]
        for name in dropped:
            await drop_partition(connection, _TABLE, name)
        deleted = await _delete_from_default(connection, limit_at)
    if unread:
        _log.warning("eventlog_retention_waits", partitions=unread)
    return Retained(dropped=tuple(dropped), kept_unread=tuple(unread), deleted_records=deleted)


async def _has_unread(connection: Connection, name: str) -> bool:
    unread: bool = await connection.fetchval(
        # the name comes from the catalogue of the database, and is quoted
        f"""
        WITH passed AS ({_PASSED})
        SELECT EXISTS (
            SELECT FROM {quote_identifier(name)} r
            LEFT JOIN passed p ON p.topic = r.topic AND p.partition = r.partition
            WHERE r."offset" >= coalesce(p.next_offset, 0)
        )
        """  # noqa: S608
    )
    return unread


async def _delete_from_default(connection: Connection, limit_at: datetime) -> int:
    default = await find_default_partition(connection, _TABLE)
    if default is None:
        return 0
    status = await connection.execute(
        # as above
        f"""
        WITH passed AS ({_PASSED})
        DELETE FROM {quote_identifier(default)} r USING passed p
        WHERE r.appended_at < $1 AND p.topic = r.topic AND p.partition = r.partition
            AND r."offset" < p.next_offset
        """,  # noqa: S608
        limit_at,
    )
    return int(status.rpartition(" ")[2])
