"""Dead letters: kept once with their reason, found, replayed once, discarded, never lost."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from skatestock.database.pool import Pool, create_pool
from skatestock.database.transactions import transaction
from skatestock.eventlog.dead_letters import (
    REPLAY_HEADER,
    DeadLetter,
    LetterFilter,
    State,
    count_dead_letters,
    discard_dead_letters,
    find_dead_letters,
    get_dead_letter,
    record_dead_letter,
    replay_dead_letters,
    select_dead_letters,
)
from skatestock.eventlog.errors import DeadLetterNotFoundError, OtherLogError
from skatestock.eventlog.port import (
    KEY_HEX_HEADER,
    NULL_HEADER,
    Message,
    PartitionLag,
    Position,
    Record,
    partition_for,
)
from skatestock.eventlog.postgres import PostgresConsumer, PostgresEventLog

TOPIC = "listing-observations"
KAFKA = str(uuid.UUID(int=7))
"""The id of a topic of Kafka's, as the name of its log."""


@pytest.fixture
async def pool(any_postgres_dsn: str) -> AsyncIterator[Pool]:
    pool = await create_pool(any_postgres_dsn, application_name="dead letter tests")
    yield pool
    await pool.close()


@pytest.fixture
async def log(pool: Pool) -> AsyncIterator[PostgresEventLog]:
    log = PostgresEventLog(pool, topics={TOPIC: 2, "other": 1})
    await log.ensure_topics()
    yield log
    await log.close()


async def append(log: PostgresEventLog, *values: bytes, topic: str = TOPIC) -> list[Record]:
    positions = await log.append(
        topic, [Message(key="labor", value=value, headers={"event": "ListingObserved"}) for value in values]
    )
    partition, offset = positions[0]
    return await log.fetch_records(topic, partition, offset, len(values))


async def bury(
    pool: Pool,
    records: Sequence[Record],
    *,
    kind: str = "truncated",
    text: str = "cut off",
    group: str = "ingest",
) -> list[int | None]:
    async with transaction(pool) as connection:
        return [
            await record_dead_letter(connection, group, record, kind=kind, text=text) for record in records
        ]


async def bury_some(pool: Pool, log: PostgresEventLog, *values: bytes) -> list[int]:
    return [letter for letter in await bury(pool, await append(log, *values)) if letter is not None]


async def find(pool: Pool, state: State | None = None) -> list[DeadLetter]:
    async with pool.acquire() as connection:
        return await find_dead_letters(connection, LetterFilter(state=state))


async def fetch_values(log: PostgresEventLog, topic: str = TOPIC) -> list[bytes]:
    return [record.value for record in await log.fetch_records(topic, partition_for("labor", 2), 0, 1000)]


async def test_a_dead_letter_keeps_the_record_and_the_reason(pool: Pool, log: PostgresEventLog) -> None:
    (record,) = await append(log, b"\x00\xff bad bytes")
    (letter_id,) = await bury(pool, [record], kind="bad_magic_byte", text="begins with 7")
    assert letter_id is not None
    async with pool.acquire() as connection:
        letter = await get_dead_letter(connection, letter_id)
    assert (letter.topic, letter.partition, letter.offset, letter.key) == (
        TOPIC,
        record.partition,
        0,
        "labor",
    )
    assert (letter.value, letter.headers) == (record.value, record.headers)
    assert (letter.kind, letter.text, letter.group) == ("bad_magic_byte", "begins with 7", "ingest")
    assert (letter.state, letter.settled_at, letter.consumer_version) == ("waiting", None, "0.1.0")
    assert letter.dead_at.microsecond == 0
    assert letter.dead_at.utcoffset() == timedelta(0)
    assert letter.source == f"{TOPIC}/{record.partition}/0"


async def test_a_record_is_buried_once_per_group(pool: Pool, log: PostgresEventLog) -> None:
    records = await append(log, b"bad")
    first = await bury(pool, records)
    assert await bury(pool, records, text="again") == [None]
    assert await bury(pool, records, group="others") != [None]
    assert [(letter.id, letter.text) for letter in await find(pool) if letter.group == "ingest"] == [
        (first[0], "cut off")
    ]


async def test_a_letter_of_a_transaction_that_fails_is_not_kept(pool: Pool, log: PostgresEventLog) -> None:
    (record,) = await append(log, b"bad")

    async def fail_after_burying() -> None:
        async with transaction(pool) as connection:
            await record_dead_letter(connection, "ingest", record, kind="truncated", text="x")
            raise KeyError

    with pytest.raises(KeyError):
        await fail_after_burying()
    assert await find(pool) == []


async def test_error_texts_with_nul_or_without_end_are_kept_readable(
    pool: Pool, log: PostgresEventLog
) -> None:
    await bury(pool, await append(log, b"bad"), text="\x00 at 0 " + "x" * 1_000_000)
    (letter,) = await find(pool)
    assert letter.text.startswith("\ufffd at 0 xxx")
    assert len(letter.text) == 10_000


async def test_letters_are_found_by_state_kind_and_topic_page_by_page(
    pool: Pool, log: PostgresEventLog
) -> None:
    await bury(pool, await append(log, b"1", b"2", b"3"), kind="truncated")
    await bury(pool, await append(log, b"4"), kind="senseless")
    await bury(pool, await append(log, b"5", topic="other"), kind="senseless")
    async with pool.acquire() as connection:
        everything = await find_dead_letters(connection)
        assert [letter.value for letter in everything] == [b"1", b"2", b"3", b"4", b"5"]
        await discard_dead_letters(connection, [everything[0].id])
        by_kind = await find_dead_letters(connection, LetterFilter(kind="senseless"))
        by_topic = await find_dead_letters(connection, LetterFilter(kind="senseless", topic=TOPIC))
        still = LetterFilter(state="waiting")
        waiting = await find_dead_letters(connection, still, limit=2)
        more = await find_dead_letters(connection, still, after_id=waiting[-1].id)
        counts = await count_dead_letters(connection)
    assert [letter.value for letter in by_kind] == [b"4", b"5"]
    assert [letter.value for letter in by_topic] == [b"4"]
    assert [letter.value for letter in waiting + more] == [b"2", b"3", b"4", b"5"]
    assert {(count.state, count.kind, count.log): count.letters for count in counts} == {
        ("discarded", "truncated", "tables"): 1,
        ("waiting", "truncated", "tables"): 2,
        ("waiting", "senseless", "tables"): 2,
    }


async def test_every_filter_narrows_and_together_they_narrow_more(pool: Pool, log: PostgresEventLog) -> None:
    records = await append(log, b"1", b"2", b"3", b"4")
    records[1] = msgspec.structs.replace(records[1], key="premier", log=KAFKA)
    await bury(pool, records[:1], text="Cut off at 7")
    await bury(pool, records[1:2], kind="senseless", group="others", text="100% wrong")
    await bury(pool, records[2:], text="no such shop")
    day = datetime(2026, 3, 2, tzinfo=UTC)
    await pool.execute("UPDATE dead_letters SET dead_at = $1::timestamptz + id * interval '1 hour'", day)
    first = await pool.fetchval("SELECT min(id) FROM dead_letters")
    here = records[0].partition
    wanted = {
        (0,): LetterFilter(text="cut OFF"),
        (1,): LetterFilter(text="0% w"),
        (): LetterFilter(text="_"),
        (0, 2, 3): LetterFilter(key="labor"),
        (2, 3): LetterFilter(key="labor", since_at=day + timedelta(hours=first + 2)),
        (0, 1): LetterFilter(until_at=day + timedelta(hours=first + 2)),
        (1, 2): LetterFilter(
            since_at=day + timedelta(hours=first + 1), until_at=day + timedelta(hours=first + 3)
        ),
        (0, 1, 2, 3): LetterFilter(partition=here, topic=TOPIC),
    }
    async with pool.acquire() as connection:
        assert await select_dead_letters(connection, LetterFilter(partition=here + 1)) == []
        assert await select_dead_letters(connection, LetterFilter(group="others")) == [first + 1]
        assert await select_dead_letters(connection, LetterFilter(in_tables=False)) == [first + 1]
        assert len(await select_dead_letters(connection, LetterFilter(in_tables=True))) == 3
        for places, one in wanted.items():
            ids = [first + place for place in places]
            assert await select_dead_letters(connection, one) == ids
            assert [letter.id for letter in await find_dead_letters(connection, one)] == ids


async def test_a_replay_appends_the_same_value_again_and_says_of_what(
    pool: Pool, log: PostgresEventLog
) -> None:
    ids = await bury_some(pool, log, b"first", b"second")
    replayed = await replay_dead_letters(log, pool, list(reversed(ids)))
    assert [letter.id for letter in replayed] == ids
    records = await log.fetch_records(TOPIC, partition_for("labor", 2), 2, 10)
    assert [(record.key, record.value) for record in records] == [("labor", b"first"), ("labor", b"second")]
    assert records[0].headers == {
        "event": "ListingObserved",
        REPLAY_HEADER: f"{TOPIC}/{partition_for('labor', 2)}/0",
    }
    letters = await find(pool, "replayed")
    assert [letter.id for letter in letters] == ids
    assert all(letter.settled_at is not None for letter in letters)


async def test_a_replay_happens_once_also_when_asked_for_twice_or_at_once(
    pool: Pool, log: PostgresEventLog
) -> None:
    ids = await bury_some(pool, log, *(bytes([number]) for number in range(5)))
    results = await asyncio.gather(*(replay_dead_letters(log, pool, ids) for _ in range(6)))
    assert sorted(len(result) for result in results) == [0, 0, 0, 0, 0, 5]
    assert await replay_dead_letters(log, pool, ids) == []
    assert len(await fetch_values(log)) == 10


async def test_a_replay_whose_append_fails_leaves_the_letters_waiting(
    pool: Pool, log: PostgresEventLog
) -> None:
    ids = await bury_some(pool, log, b"bad")
    elsewhere = PostgresEventLog(pool, topics={"other": 1})
    with pytest.raises(Exception, match=TOPIC):
        await replay_dead_letters(elsewhere, pool, ids)
    assert [letter.state for letter in await find(pool)] == ["waiting"]


class OutsideLog:
    """A log of its own, which knows nothing of our transactions, as Kafka is."""

    def __init__(self, log: PostgresEventLog) -> None:
        self._log = log

    async def append(self, topic: str, messages: Sequence[Message]) -> list[Position]:
        return await self._log.append(topic, messages)

    async def open_consumer(self, group: str, topic: str) -> PostgresConsumer:
        return await self._log.open_consumer(group, topic)

    async def fetch_lag(self, group: str, topic: str) -> list[PartitionLag]:
        return await self._log.fetch_lag(group, topic)

    async def close(self) -> None:
        await self._log.close()


async def test_a_letter_of_another_log_is_refused_and_nothing_is_replayed(
    pool: Pool, log: PostgresEventLog
) -> None:
    records = await append(log, b"1", b"2")
    records[1] = msgspec.structs.replace(records[1], log=KAFKA)
    ours, theirs = (letter for letter in await bury(pool, records) if letter is not None)
    with pytest.raises(OtherLogError, match=f"letter {theirs} came from Kafka.*SKATESTOCK_KAFKA_SERVERS"):
        await replay_dead_letters(log, pool, [ours, theirs])
    with pytest.raises(OtherLogError, match=f"dead letter {ours} came from tables"):
        await replay_dead_letters(OutsideLog(log), pool, [ours, theirs], dry_run=True)
    assert [letter.state for letter in await find(pool)] == ["waiting", "waiting"]
    assert await fetch_values(log) == [b"1", b"2"]
    async with pool.acquire() as connection:
        assert len(await discard_dead_letters(connection, [ours, theirs])) == 2


async def test_what_the_log_said_of_the_first_record_is_not_said_of_the_replayed_one(
    pool: Pool, log: PostgresEventLog
) -> None:
    (record,) = await append(log, b"bad")
    record = msgspec.structs.replace(
        record, headers={"event": "x", KEY_HEX_HEADER: "ff", NULL_HEADER: "key"}, key="\\xff"
    )
    (letter_id,) = await bury(pool, [record])
    assert letter_id is not None
    await replay_dead_letters(log, pool, [letter_id])
    again = (await log.fetch_records(TOPIC, partition_for("\\xff", 2), 0, 10))[-1]
    place = f"{record.topic}/{record.partition}/{record.offset}"
    assert again.headers == {"event": "x", REPLAY_HEADER: place}


async def test_a_log_outside_the_database_is_replayed_to_as_well(pool: Pool, log: PostgresEventLog) -> None:
    records = [msgspec.structs.replace(record, log=KAFKA) for record in await append(log, b"bad")]
    ids = [letter for letter in await bury(pool, records) if letter is not None]
    results = await asyncio.gather(*(replay_dead_letters(OutsideLog(log), pool, ids) for _ in range(3)))
    assert sorted(len(result) for result in results) == [0, 0, 1]
    assert await fetch_values(log) == [b"bad", b"bad"]


async def test_discarded_letters_stay_listed_and_are_never_replayed(
    pool: Pool, log: PostgresEventLog
) -> None:
    ids = await bury_some(pool, log, b"bad")
    async with pool.acquire() as connection:
        assert [letter.id for letter in await discard_dead_letters(connection, ids)] == ids
        assert await discard_dead_letters(connection, ids) == []
    assert await replay_dead_letters(log, pool, ids) == []
    assert [letter.state for letter in await find(pool)] == ["discarded"]
    assert len(await fetch_values(log)) == 1


async def test_a_dry_run_tells_what_would_happen_and_changes_nothing(
    pool: Pool, log: PostgresEventLog
) -> None:
    ids = await bury_some(pool, log, b"bad")
    assert [letter.id for letter in await replay_dead_letters(log, pool, ids, dry_run=True)] == ids
    async with pool.acquire() as connection:
        assert [letter.id for letter in await discard_dead_letters(connection, ids, dry_run=True)] == ids
    assert [letter.state for letter in await find(pool)] == ["waiting"]
    assert len(await fetch_values(log)) == 1


async def test_an_unknown_id_stops_everything(pool: Pool, log: PostgresEventLog) -> None:
    ids = await bury_some(pool, log, b"bad")
    async with pool.acquire() as connection:
        with pytest.raises(DeadLetterNotFoundError, match="987654"):
            await get_dead_letter(connection, 987654)
        with pytest.raises(DeadLetterNotFoundError, match="987654"):
            await discard_dead_letters(connection, [*ids, 987654])
    with pytest.raises(DeadLetterNotFoundError, match="987654"):
        await replay_dead_letters(log, pool, [*ids, 987654])
    assert [letter.state for letter in await find(pool)] == ["waiting"]
    assert len(await fetch_values(log)) == 1


async def test_a_replayed_record_that_fails_again_becomes_a_letter_of_its_own(
    pool: Pool, log: PostgresEventLog
) -> None:
    await replay_dead_letters(log, pool, await bury_some(pool, log, b"bad"))
    await bury(pool, await log.fetch_records(TOPIC, partition_for("labor", 2), 1, 1))
    first, second = await find(pool)
    assert [(letter.offset, letter.state) for letter in (first, second)] == [(0, "replayed"), (1, "waiting")]
    assert second.headers[REPLAY_HEADER] == first.source


async def test_what_postgresql_cannot_keep_as_text_does_not_keep_a_letter_from_being_kept(
    pool: Pool, log: PostgresEventLog
) -> None:
    (record,) = await append(log, b"bad")
    record = msgspec.structs.replace(record, key="a\x00\udcff", headers={"h\x00": "\ud800 lone"})
    await bury(pool, [record], text="not \ud800 text")
    (letter,) = await find(pool)
    assert (letter.key, letter.text) == ("a\ufffd\\udcff", "not \\ud800 text")
    assert letter.headers == {"h\ufffd": "\\ud800 lone"}
