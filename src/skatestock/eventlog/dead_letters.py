"""Dead letters: records that could not be processed, kept with the reason until a person settles them.

Replaying appends the same value again at the end of the log; the letter's own place in it is long past.

The table is the truth, for every log. Kafka has a topic of dead letters beside it: `kafka.dead_letter_topic`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Literal

import asyncpg
import msgspec

from skatestock.database.transactions import transaction
from skatestock.eventlog.errors import DeadLetterNotFoundError, OtherLogError
from skatestock.eventlog.port import (
    KEY_HEX_HEADER,
    NULL_HEADER,
    TABLES,
    AppendsWithin,
    Connection,
    EventLog,
    Message,
    Record,
)

State = Literal["waiting", "replayed", "discarded"]

REPLAY_HEADER = "replay-of"
"""Header of a replayed record: `topic/partition/offset` of the record that became the dead letter."""

_MAX_ERROR_TEXT = 10_000

_COLUMNS = """
    id, consumer_group AS "group", log, topic, partition, "offset", key, value, headers, error_kind AS kind,
    error_text AS text, consumer_version, state, dead_at, settled_at, sent_at, sent_offset
"""
_INSERT = """
    INSERT INTO dead_letters (consumer_group, topic, partition, "offset", key, value, headers, error_kind,
        error_text, consumer_version, log)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (consumer_group, log, topic, partition, "offset") DO NOTHING
    RETURNING id
"""
# The parameters are the fields of LetterFilter, in their order.
_WANTED = """
    ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR error_kind = $2)
    AND ($3::text IS NULL OR topic = $3) AND ($4::text IS NULL OR consumer_group = $4)
    AND ($5::integer IS NULL OR partition = $5) AND ($6::text IS NULL OR key = $6)
    AND ($7::timestamptz IS NULL OR dead_at >= $7) AND ($8::timestamptz IS NULL OR dead_at < $8)
    AND ($9::text IS NULL OR strpos(lower(error_text), lower($9)) > 0)
    AND ($10::boolean IS NULL OR (log = 'tables') = $10) AND id > $11
"""
_FIND = f"SELECT {_COLUMNS} FROM dead_letters WHERE {_WANTED} ORDER BY id LIMIT $12"  # noqa: S608
_SELECT = f"SELECT id FROM dead_letters WHERE {_WANTED} ORDER BY id"  # noqa: S608 - constants, as above and below
_UNSENT = f"""
    SELECT {_COLUMNS} FROM (
        SELECT *, sum(octet_length(value)) OVER (ORDER BY id) - octet_length(value) AS bytes_before
        FROM (
            SELECT * FROM dead_letters WHERE sent_at IS NULL AND log <> 'tables' AND topic = $1
            ORDER BY id LIMIT $2
        ) AS next
    ) AS measured
    WHERE bytes_before < $3 ORDER BY id
"""  # noqa: S608
_GET = f"SELECT {_COLUMNS} FROM dead_letters WHERE id = ANY($1::bigint[]) ORDER BY id"  # noqa: S608
_SETTLE = """
    UPDATE dead_letters SET state = $2, settled_at = date_trunc('second', now()) WHERE id = ANY($1::bigint[])
"""
_COUNT = """
    SELECT state, error_kind AS kind, log, count(*) AS letters,
        count(*) FILTER (WHERE sent_at IS NULL) AS unsent
    FROM dead_letters GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


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
    log: str = TABLES
    """The log that the offset is one of: see `Record.log`."""
    sent_at: datetime | None = None
    """When the letter was found to stand in the dead letter topic, of logs that have one."""
    sent_offset: int | None = None

    @property
    def source(self) -> str:
        """Name the record's place as `topic/partition/offset`."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class DeadLetterCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many dead letters of one kind and one log are in one state."""

    state: State
    kind: str
    log: str
    letters: int
    unsent: int
    """Those that do not stand in a dead letter topic yet: all of them on a log that has none."""


class LetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are meant; what is None narrows nothing."""

    state: State | None = None
    kind: str | None = None
    topic: str | None = None
    group: str | None = None
    partition: int | None = None
    key: str | None = None
    """The shop's slug, in a topic that is keyed by shop."""
    since_at: datetime | None = None
    """Dead at this moment or later."""
    until_at: datetime | None = None
    """Dead before this moment."""
    text: str | None = None
    """What the error's text contains, whatever the case of its letters."""
    in_tables: bool | None = None
    """Of the log that is kept in tables, or of any other."""


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
    letter_id: int | None = await connection.fetchval(
        _INSERT,
        group,
        record.topic,
        record.partition,
        record.offset,
        _clean(record.key),
        record.value,
        {_clean(name): _clean(value) for name, value in record.headers.items()},
        kind,
        # cleaned of what it quotes first: a character may become several
        _clean(text[:_MAX_ERROR_TEXT])[:_MAX_ERROR_TEXT],
        consumer_version or version("skatestock"),
        record.log,
    )
    return letter_id


async def find_dead_letters(
    connection: Connection,
    wanted: LetterFilter = LetterFilter(),  # noqa: B008 - frozen
    *,
    after_id: int = 0,
    limit: int = 100,
) -> list[DeadLetter]:
    """Find dead letters, oldest first; page on with the last id as `after_id`."""
    rows = await connection.fetch(_FIND, *msgspec.structs.astuple(wanted), after_id, limit)
    return [DeadLetter(**row) for row in rows]


async def select_dead_letters(connection: Connection, wanted: LetterFilter) -> list[int]:
    """Return the ids of all that the filter means, oldest first, without loading what is in them."""
    rows = await connection.fetch(_SELECT, *msgspec.structs.astuple(wanted), 0)
    return [row["id"] for row in rows]


async def find_unsent_letters(
    connection: Connection, topic: str, *, limit: int, max_bytes: int
) -> list[DeadLetter]:
    """Find letters of Kafka's logs that are not known to stand in the dead letter topic, oldest first.

    After the first, a letter is only taken while those before it have less than `max_bytes`.
    """
    rows = await connection.fetch(_UNSENT, topic, limit, max_bytes)
    return [DeadLetter(**row) for row in rows]


async def get_dead_letter(connection: Connection, letter_id: int) -> DeadLetter:
    """Get one dead letter; raises DeadLetterNotFoundError."""
    (letter,) = await _get_letters(connection, _GET, [letter_id])
    return letter


async def count_dead_letters(connection: Connection) -> list[DeadLetterCount]:
    """Count the dead letters by state, kind and log."""
    return [DeadLetterCount(**row) for row in await connection.fetch(_COUNT)]


def is_in_tables(log: EventLog) -> bool:
    """Tell whether a log is the one in PostgreSQL's tables."""
    return isinstance(log, AppendsWithin)


async def replay_dead_letters(
    log: EventLog, pool: asyncpg.Pool, ids: Sequence[int], *, dry_run: bool = False
) -> list[DeadLetter]:
    """Append the values of the waiting letters to their topics again, and return these letters as they were.

    Letters that are settled already are passed over, so a second call, also a concurrent one, appends
    nothing. On the PostgreSQL log this is exact; on a log outside the database a crash between the append and
    our commit leaves the letters waiting, and replaying them again repeats them: consumers bear repeats. A
    dry run changes nothing. Raises DeadLetterNotFoundError for an unknown id and OtherLogError for a waiting
    letter whose bytes this log's readers would misread, and then nothing is replayed.
    """
    async with transaction(pool) as connection:
        waiting = await _lock_waiting(connection, ids)
        _check_log(log, waiting)
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


def _check_log(log: EventLog, letters: Sequence[DeadLetter]) -> None:
    """Refuse letters whose schema ids were given out elsewhere: tables have fixed ones, Kafka a registry's.

    Another topic id of Kafka is no obstacle: a topic that was made anew has the same registry.
    """
    in_tables = is_in_tables(log)
    if strange := [letter.id for letter in letters if (letter.log == TABLES) != in_tables]:
        theirs, ours = ("Kafka", "tables in PostgreSQL") if in_tables else ("tables in PostgreSQL", "Kafka")
        raise OtherLogError(
            f"dead letter {', '.join(map(str, strange[:10]))}{' …' if len(strange) > 10 else ''} came from "
            f"{theirs}, and the event log in use is {ours}: the same bytes mean another schema there; replay "
            "with the settings of that log (SKATESTOCK_KAFKA_SERVERS), or discard"
        )


def _clean(text: str) -> str:
    """Write what PostgreSQL cannot keep as text so that a person sees what it was."""
    # bytes that cannot be decoded find their way into error texts, and PostgreSQL stores no NUL
    return text.replace("\x00", "\ufffd").encode("utf-8", "backslashreplace").decode("utf-8")


def _headers_of_replay(letter: DeadLetter) -> Mapping[str, str]:
    # what these two tell of the first record is not true of the new one
    kept = {name: text for name, text in letter.headers.items() if name not in (KEY_HEX_HEADER, NULL_HEADER)}
    return {**kept, REPLAY_HEADER: letter.source}


async def _append_again(log: EventLog, connection: Connection, letters: Sequence[DeadLetter]) -> None:
    by_topic: dict[str, list[Message]] = {}
    for letter in letters:
        message = Message(key=letter.key, value=letter.value, headers=_headers_of_replay(letter))
        by_topic.setdefault(letter.topic, []).append(message)
    for topic, messages in sorted(by_topic.items()):
        if isinstance(log, AppendsWithin):
            await log.append_within(connection, topic, messages)
        else:
            await log.append(topic, messages)
