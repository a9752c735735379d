"""Range partitions by UTC day and month: made ahead, listed, dropped; no row is ever lost on the way.

A table's default partition takes the rows that no partition was made for yet. Making that partition later
moves them into it.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from skatestock.database.errors import PartitionError
from skatestock.database.pool import Connection

_LOCK_TIMEOUT_SECONDS = 3.0
_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}\Z")
_BOUNDS = re.compile(r"FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)\Z")

_FIND_PARTITIONS = """
    SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = $1::regclass
"""
_FIND_KEY_COLUMN = """
    SELECT a.attname FROM pg_partitioned_table p
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    WHERE p.partrelid = $1::regclass AND p.partstrat = 'r' AND p.partnatts = 1
"""
_FIND_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ORDER BY attnum
"""


class Partition(NamedTuple):
    """One range partition: rows with `from_at` <= moment < `until_at`."""

    name: str
    from_at: datetime
    until_at: datetime


async def ensure_month_partitions(connection: Connection, table: str, months: Iterable[date]) -> list[str]:
    """Make the partition of each month (any day of it may be named) unless it stands; return the new names.

    Rows of these months that the default partition has taken are moved. All happens in one transaction, or
    within the caller's; readers and writers of the table wait until it ends. Idempotent and safe to run
    concurrently. Raises LockNotAvailableError, which is transient, when the table stays busy for 3 s.
    """
    return await _ensure(connection, table, {_month_of(table, month) for month in months})


async def ensure_day_partitions(connection: Connection, table: str, days: Iterable[date]) -> list[str]:
    """Make the partition of each UTC day unless it stands; else as `ensure_month_partitions`."""
    return await _ensure(connection, table, {_day_of(table, day) for day in days})


async def find_partitions(connection: Connection, table: str) -> list[Partition]:
    """Tell the table's range partitions in the order of time, without the default one."""
    rows = await connection.fetch(_FIND_PARTITIONS, _checked(table))
    return sorted(
        (_parse_partition(row["name"], row["bounds"]) for row in rows if row["bounds"] != "DEFAULT"),
        key=lambda partition: partition.from_at,
    )


async def find_default_partition(connection: Connection, table: str) -> str | None:
    """Tell the name of the table's default partition."""
    rows = await connection.fetch(_FIND_PARTITIONS, _checked(table))
    return next((row["name"] for row in rows if row["bounds"] == "DEFAULT"), None)


async def drop_partition(connection: Connection, table: str, name: str) -> None:
    """Drop one partition with its rows; the caller's transaction has checked that it may go."""
    await _lock_table(connection, table)
    await connection.execute(f"DROP TABLE {quote_identifier(name)}")


def months_around(day: date, *, back: int, ahead: int) -> list[date]:
    """List the first days of the months from `back` before to `ahead` after the month of `day`."""
    first = day.year * 12 + day.month - 1
    return [date(month // 12, month % 12 + 1, 1) for month in range(first - back, first + ahead + 1)]


def quote_identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def _month_of(table: str, month: date) -> Partition:
    first, following = months_around(month, back=0, ahead=1)
    return Partition(f"{table}_{first:%Y_%m}", _midnight(first), _midnight(following))


def _day_of(table: str, day: date) -> Partition:
    return Partition(f"{table}_{day:%Y_%m_%d}", _midnight(day), _midnight(day + timedelta(days=1)))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _checked(table: str) -> str:
    if not _TABLE_NAME.match(table):
        raise PartitionError(f"{table!r} is no name of a partitioned table of ours")
    return table


def _parse_partition(name: str, bounds: str) -> Partition:
    found = _BOUNDS.match(bounds)
    if found is None:
        raise PartitionError(f"the partition {name} has bounds that nobody here made: {bounds}")
    from_at, until_at = (datetime.fromisoformat(bound).astimezone(UTC) for bound in found.groups())
    return Partition(name, from_at, until_at)


async def _ensure(connection: Connection, table: str, wanted: set[Partition]) -> list[str]:
    # nearly always all stand: then wait for nobody, and leave the caller's timeouts alone
    if wanted.issubset(await find_partitions(connection, table)):
        return []
    async with connection.transaction():
        await lock_partitioning(connection, table)
        standing = await find_partitions(connection, table)
        missing = sorted(wanted.difference(standing), key=lambda partition: partition.from_at)
        if missing:
            await _lock_table(connection, table)
        for partition in missing:
            await _create(connection, table, partition)
    return [partition.name for partition in missing]


async def lock_partitioning(connection: Connection, table: str) -> None:
    """Let one session at a time change this table's partitions, until the transaction ends.

    Waiting for a lock is short from here on, because others queue behind it; the work itself may take long.
    """
    await connection.execute(
        "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', '0', true)",
        str(round(_LOCK_TIMEOUT_SECONDS * 1000)),
    )
    name = f"partitions of {_checked(table)}"
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)


async def _lock_table(connection: Connection, table: str) -> None:
    # Taken on the parent first and alone: a session that reads or writes through the parent holds nothing
    # that we shall need while it waits for us, so nobody deadlocks, and no insert meets half-made partitions.
    await connection.execute(f"LOCK TABLE ONLY {quote_identifier(_checked(table))} IN ACCESS EXCLUSIVE MODE")


async def _create(connection: Connection, table: str, partition: Partition) -> None:
    default = await find_default_partition(connection, table)
    key = await connection.fetchval(_FIND_KEY_COLUMN, table)
    if key is None:
        raise PartitionError(f"the table {table} is not partitioned by the range of one column")
    if default is None or not await _holds_rows(connection, default, key, partition):
        await _create_empty(connection, table, partition)
        return
    # a partition cannot be made while the default one holds its rows, so the default stands aside meanwhile
    parent, aside = quote_identifier(table), quote_identifier(default)
    await connection.execute(f"ALTER TABLE {parent} DETACH PARTITION {aside}")
    await _create_empty(connection, table, partition)
    await _move_rows(connection, default, key, partition)
    await connection.execute(f"ALTER TABLE {parent} ATTACH PARTITION {aside} DEFAULT")


async def _create_empty(connection: Connection, table: str, partition: Partition) -> None:
    # DDL takes no parameters: the bounds are datetimes of our own, written with their offset from UTC
    await connection.execute(
        f"CREATE TABLE {quote_identifier(partition.name)} PARTITION OF {quote_identifier(table)} "
        f"FOR VALUES FROM ('{partition.from_at.isoformat()}') TO ('{partition.until_at.isoformat()}')"
    )


async def _holds_rows(connection: Connection, default: str, key: str, partition: Partition) -> bool:
    column = quote_identifier(key)
    held: bool = await connection.fetchval(
        # only names of the catalogue, quoted
        f"SELECT EXISTS (SELECT FROM {quote_identifier(default)} "  # noqa: S608
        f"WHERE {column} >= $1 AND {column} < $2)",
        partition.from_at,
        partition.until_at,
    )
    return held


async def _move_rows(connection: Connection, default: str, key: str, partition: Partition) -> None:
    column = quote_identifier(key)
    # by name: after years of ALTER TABLE two partitions may hold their columns in different orders
    rows = await connection.fetch(_FIND_COLUMNS, default)
    columns = ", ".join(quote_identifier(row["attname"]) for row in rows)
    await connection.execute(
        # as above
        f"WITH moved AS (DELETE FROM {quote_identifier(default)} "  # noqa: S608
        f"WHERE {column} >= $1 AND {column} < $2 RETURNING {columns}) "
        f"INSERT INTO {quote_identifier(partition.name)} ({columns}) SELECT {columns} FROM moved",
        partition.from_at,
        partition.until_at,
    )
