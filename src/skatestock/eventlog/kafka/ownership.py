"""Whose a partition is, and where its group stands: the rows that decide who may write."""

import asyncio
from typing import NamedTuple

import asyncpg

from skatestock.database.pool import Connection, Pool
from skatestock.database.transactions import transaction
from skatestock.eventlog.errors import FencedError
from skatestock.telemetry.logs import get_logger

# Whoever holds the row of a partition for longer, although the group has given it to us, is frozen or slow.
_PATIENCE_SECONDS = 1.0
_LOCK_TIMEOUT = "10s"

_KEY = "consumer_group = $1 AND log = $2 AND topic = $3 AND partition = $4"
_JOIN = """
    INSERT INTO consumer_offsets (consumer_group, log, topic, partition, owner) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING RETURNING next_offset
"""
_TAKE = f"UPDATE consumer_offsets SET owner = $5 WHERE {_KEY} RETURNING next_offset"  # noqa: S608 - a constant
_READ = f"SELECT next_offset FROM consumer_offsets WHERE {_KEY} AND owner = $5"  # noqa: S608 - as above
_LOCK = f"{_READ} FOR UPDATE"
_STORE = f"""
    UPDATE consumer_offsets SET next_offset = $7, updated_at = clock_timestamp()
    WHERE {_KEY} AND owner = $5 AND next_offset = $6 RETURNING next_offset
"""  # noqa: S608 - as above
_END_BLOCKERS = """
    SELECT count(*) FILTER (WHERE pg_terminate_backend(blocker)) FROM unnest(pg_blocking_pids($1)) AS blocker
"""
_STORED = """
    SELECT partition, next_offset FROM consumer_offsets WHERE consumer_group = $1 AND log = $2 AND topic = $3
"""

_log = get_logger(__name__)


class Taken(NamedTuple):
    """Where a group stands in a partition that was taken over."""

    next_offset: int
    is_new: bool
    """Whether the group has never stored an offset of this log."""


class Ownership:
    """One consumer's claims to the partitions of one topic of Kafka."""

    def __init__(self, pool: Pool, *, group: str, topic: str, owner: str) -> None:
        """Claim in the name of `owner`, which no other consumer has."""
        self._pool = pool
        self._group = group
        self._topic = topic
        self._owner = owner

    async def take(self, log: str, partition: int) -> Taken:
        """Write our name into the partition's row, and end the session of whoever sits on it.

        Kafka's group has declared the former owner dead before it gave the partition to us: its open
        transaction is one that must not commit.
        """
        key = self._key(log, partition)
        async with transaction(self._pool) as connection:
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            taking = asyncio.ensure_future(_take(connection, key))
            try:
                done, _ = await asyncio.wait([taking], timeout=_PATIENCE_SECONDS)
                if not done:
                    await self._end_blockers(connection.get_server_pid(), partition)
                return await taking
            finally:
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)

    async def find(self, log: str, partition: int) -> int | None:
        """Tell the stored offset if the partition is ours by its row; None when it is not."""
        offset: int | None = await self._pool.fetchval(_READ, *self._key(log, partition))
        return offset

    async def lock(self, connection: Connection, log: str, partition: int, offset: int) -> None:
        """Hold the row until the transaction ends; raises FencedError when it is not ours, or moved."""
        found = await connection.fetchval(_LOCK, *self._key(log, partition))
        if found is None:
            raise self._fenced(partition, "has gone to another consumer")
        if found != offset:
            raise self._fenced(partition, f"has been moved from {offset} to {found}")

    async def store(self, connection: Connection, log: str, partition: int, before: int, after: int) -> None:
        """Move the offset; raises FencedError when the partition is not ours, or not at `before`."""
        if await connection.fetchval(_STORE, *self._key(log, partition), before, after) is None:
            raise self._fenced(partition, f"is no longer ours at {before}")

    def _key(self, log: str, partition: int) -> tuple[str, str, str, int, str]:
        return (self._group, log, self._topic, partition, self._owner)

    def _fenced(self, partition: int, why: str) -> FencedError:
        return FencedError(
            f"{self._topic}/{partition} of {self._group} {why}: what was processed since is not stored, "
            "and comes again"
        )

    async def _end_blockers(self, pid: int, partition: int) -> None:
        # apart: the pool's connections may all be waiting themselves
        connection = await self._pool.connect_apart()
        try:
            ended = await connection.fetchval(_END_BLOCKERS, pid)
        finally:
            connection.terminate()
        where = {"group": self._group, "topic": self._topic, "partition": partition}
        _log.warning("eventlog_former_owner_ended", **where, sessions=ended)


async def _take(connection: Connection, key: tuple[str, str, str, int, str]) -> Taken:
    joined = await connection.fetchval(_JOIN, *key)
    if joined is not None:
        return Taken(joined, is_new=True)
    return Taken(await connection.fetchval(_TAKE, *key), is_new=False)


async def fetch_stored_offsets(pool: asyncpg.Pool, group: str, log: str, topic: str) -> dict[int, int]:
    """Tell the offsets that a group has stored, by partition."""
    return {row["partition"]: row["next_offset"] for row in await pool.fetch(_STORED, group, log, topic)}
