"""Dead letters: records that could not be processed, kept with the reason until a person settles them.

Replaying appends the same value again at the end of the log; the letter's own place in it is long past.
"""

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Literal, Protocol, runtime_checkable

import asyncpg
import msgspec

from skatestock.database.transactions import transaction
from skatestock.eventlog.errors import DeadLetterNotFoundError
from skatestock.eventlog.port import Connection, EventLog, Message, Position, Record

State = Literal["waiting", "replayed", "discarded"]

REPLAY_HEADER = "replay-of"
"""Header of a replayed record: `topic/partition/offset` of the record that became the dead letter."""

_MAX_ERROR_TEXT = 10_000

_COLUMNS = """
    id, consumer_group AS "group", topic, partition, "offset", key, value, headers, error_kind AS kind,
    error_text AS text, consumer_version, state, dead_at, settled_at
"""
_INSERT = """
    INSERT INTO dead_letters (consumer_group, topic, partition, "offset", key, value, headers, error_kind,
        error_text, consumer_version, log)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (consumer_group, log, topic, partition, "offset") DO NOTHING
    RETURNING id
"""
_FIND = f"""
    SELECT {_COLUMNS} FROM dead_letters
    WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR error_kind = $2)
        AND ($3::text IS NULL OR topic = $3) AND id > $4
    ORDER BY id LIMIT $5
"""  # noqa: S608 - the columns are the constant above
_GET = f"SELECT {_COLUMNS} FROM dead_letters WHERE id = ANY($1::bigint[]) ORDER BY id"  # noqa: S608
_SETTLE = """
    UPDATE dead_letters SET state = $2, settled_at = date_trunc('second', now()) WHERE id = ANY($1::bigint[])
"""
_COUNT = "SELECT state, error_kind, count(*) FROM dead_letters GROUP BY state, error_kind ORDER BY 1, 2"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record that a consumer group could not process, and why."""

    id: int
    group: str
    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: dict[str, str]
    kind: str
    """A code in snake_case, such as `bad_magic_byte`."""
    text: str
    consumer_version: str
    state: State
    dead_at: datetime
    settled_at: datetime | None

    @property
    def source(self) -> str:
        """Name the record's place as `topic/partition/offset`."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class DeadLetterCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many dead letters of one kind are in one state."""

    state: State
    kind: str
    letters: int


@runtime_checkable
class AppendsWithin(Protocol):
    """A log that can append as part of a database transaction."""

    async def append_within(
        self, connection: Connection, topic: str, messages: Sequence[Message]
    ) -> list[Position]:
        """Append as part of the connection's transaction."""


async def record_dead_letter(
    connection: Connection,
    group: str,
    record: Record,
    *,
    kind: str,
    text: str,
    consumer_version: str | None = None,
) -> int | None:
    """Keep a record that the group cannot process, and return the dead letter's id.

    Idempotent: None when this group has already buried the record of this position. `consumer_version` is
    SkateStock's own unless told.
    """
    # bytes that cannot be decoded find their way into error texts, and PostgreSQL stores no NUL
    clean = text.replace("\x00", "\ufffd")[:_MAX_ERROR_TEXT]
    letter_id: int | None = await connection.fetchval(
        _INSERT,
        group,
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        dict(record.headers),
        kind,
        clean,
        consumer_version or version("skatestock"),
        record.log,
    )
    return letter_id


async def find_dead_letters(
    connection: Connection,
    *,
    state: State | None = None,
    kind: str | None = None,
    topic: str | None = None,
    after_id: int = 0,
    limit: int = 100,
) -> list[DeadLetter]:
    """Find dead letters, oldest first; page on with the last id as `after_id`."""
    rows = await connection.fetch(_FIND, state, kind, topic, after_id, limit)
    return [DeadLetter(**row) for row in rows]


async def get_dead_letter(connection: Connection, letter_id: int) -> DeadLetter:
    """Get one dead letter; raises DeadLetterNotFoundError."""
    (letter,) = await _get_letters(connection, _GET, [letter_id])
    return letter


async def count_dead_letters(connection: Connection) -> list[DeadLetterCount]:
    """Count the dead letters by state and kind."""
    rows = await connection.fetch(_COUNT)
    return [DeadLetterCount(state=state, kind=kind, letters=letters) for state, kind, letters in rows]


async def replay_dead_letters(
    log: EventLog, pool: asyncpg.Pool, ids: Sequence[int], *, dry_run: bool = False
) -> list[DeadLetter]:
    """Append the values of the waiting letters to their topics again, and return these letters as they were.

    Letters that are settled already are passed over, so a second call, also a concurrent one, appends
    nothing. On the PostgreSQL log this is exact; on a log outside the database a crash between the append and
    our commit leaves the letters waiting, and replaying them again repeats them. A dry run changes nothing.
    Raises DeadLetterNotFoundError for an unknown id, and then nothing is replayed.
    """
    async with transaction(pool) as connection:
        waiting = await _lock_waiting(connection, ids)
        if waiting and not dry_run:
            await connection.execute(_SETTLE, [letter.id for letter in waiting], "replayed")
            await _append_again(log, connection, waiting)
    return waiting


async def discard_dead_letters(
    connection: Connection, ids: Sequence[int], *, dry_run: bool = False
) -> list[DeadLetter]:
    """Mark the waiting letters as never to be replayed, and return them as they were; they stay listed.

    Idempotent: settled letters are passed over. Raises DeadLetterNotFoundError for an unknown id, and then
    nothing is discarded.
    """
    async with connection.transaction():
        waiting = await _lock_waiting(connection, ids)
        if waiting and not dry_run:
            await connection.execute(_SETTLE, [letter.id for letter in waiting], "discarded")
    return waiting


async def _lock_waiting(connection: Connection, ids: Sequence[int]) -> list[DeadLetter]:
    letters = await _get_letters(connection, _GET + " FOR UPDATE", ids)
    return [letter for letter in letters if letter.state == "waiting"]


async def _get_letters(connection: Connection, query: str, ids: Sequence[int]) -> list[DeadLetter]:
    rows = await connection.fetch(query, list(ids))
    if missing := sorted(set(ids).difference(row["id"] for row in rows)):
        raise DeadLetterNotFoundError(
            f"there is no dead letter {', '.join(map(str, missing))}; "
            "`skatestock deadletters list` shows those that are"
        )
    return [DeadLetter(**row) for row in rows]


async def _append_again(log: EventLog, connection: Connection, letters: Sequence[DeadLetter]) -> None:
    by_topic: dict[str, list[Message]] = {}
    for letter in letters:
        headers = {**letter.headers, REPLAY_HEADER: letter.source}
        message = Message(key=letter.key, value=letter.value, headers=headers)
        by_topic.setdefault(letter.topic, []).append(message)
    for topic, messages in sorted(by_topic.items()):
        if isinstance(log, AppendsWithin):
            await log.append_within(connection, topic, messages)
        else:
            await log.append(topic, messages)
