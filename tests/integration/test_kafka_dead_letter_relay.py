"""The topic of dead letters on real Kafka: every letter once, whoever dies, freezes or refuses on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest
from confluent_kafka import KafkaException
from tests.dead_letter_scene import (
    LOG,
    bury,
    count_unsent,
    create_topic,
    end_sessions_of_relays,
    kafka_at,
    make_topic,
    read_letters,
    relay_process,
    sources_of,
    wait_until_sent,
)
from tests.ports import refusing_port

from skatestock.database.pool import Pool, connect, create_pool
from skatestock.eventlog.dead_letters import record_dead_letter
from skatestock.eventlog.kafka.dead_letter_messages import LetterMessage
from skatestock.eventlog.kafka.dead_letter_relay import relay_dead_letters
from skatestock.eventlog.kafka.dead_letter_topic import LetterWriter, dead_letter_topic_of
from skatestock.eventlog.port import KEY_HEX_HEADER, NULL_HEADER, Record
from skatestock.vocabulary.time import utc_now

pytestmark = pytest.mark.xdist_group("kafka-processes")

KILLS = 10
FREEZES = 1


@pytest.fixture
def topic(kafka_server: str) -> str:
    return make_topic(kafka_server)


@pytest.fixture
async def connection(database_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(database_dsn, application_name="relay tests")
    yield connection
    await connection.close()


@pytest.fixture
async def relay_pool(database_dsn: str) -> AsyncIterator[Pool]:
    pool = await create_pool(database_dsn, application_name="relay tests", max_size=2)
    yield pool
    await pool.close()


async def relay_all(
    pool: Pool, servers: str, topic: str, connection: asyncpg.Connection, seconds: float = 60
) -> None:
    """Relay within this process until nothing is unsent."""
    stop = asyncio.Event()
    relay = asyncio.create_task(relay_dead_letters(pool, kafka_at(servers), [topic], stop))
    try:
        await wait_until_sent(connection, topic, seconds)
    finally:
        stop.set()
        await relay


async def wait_for_letters(servers: str, topic: str, count: int) -> None:
    async with asyncio.timeout(60):
        while len(await read_letters(servers, topic)) < count:
            await asyncio.sleep(0.2)


async def test_letters_are_sent_in_order_and_the_table_knows_where_they_stand(
    relay_pool: Pool, kafka_server: str, topic: str, connection: asyncpg.Connection
) -> None:
    await bury(connection, topic, 0, 1200)
    await relay_all(relay_pool, kafka_server, topic, connection)
    letters = await read_letters(kafka_server, topic)
    assert sources_of(letters) == list(range(1200))
    rows = await connection.fetch("SELECT sent_offset FROM dead_letters ORDER BY id")
    assert [row["sent_offset"] for row in rows] == [letter.offset for letter in letters]


async def test_a_letter_stands_in_the_topic_as_its_record_was_with_what_happened_in_headers(
    relay_pool: Pool, kafka_server: str, topic: str, connection: asyncpg.Connection
) -> None:
    record = Record(
        topic=topic,
        partition=3,
        offset=77,
        key="\\xff\\xfe",
        value=b"",
        headers={
            "event": "ListingObserved",
            "error-kind": "theirs",
            "traceparent": "00-ab",
            KEY_HEX_HEADER: "fffe",
            NULL_HEADER: "value",
        },
        appended_at=utc_now(),
        log=LOG,
    )
    await record_dead_letter(
        connection, "ingest", record, kind="truncated", text="\x00 cut off \ud800", consumer_version="1.2"
    )
    dead_at = await connection.fetchval("SELECT dead_at FROM dead_letters")
    await relay_all(relay_pool, kafka_server, topic, connection)
    (letter,) = await read_letters(kafka_server, topic)
    assert (letter.key, letter.value) == (b"\xff\xfe", None)
    headers = dict(letter.headers)
    assert len(headers) == len(letter.headers)
    assert headers == {
        "error-kind": b"truncated",
        "error-text": "\ufffd cut off \\ud800".encode(),
        "source-topic": topic.encode(),
        "source-partition": b"3",
        "source-offset": b"77",
        "source-log": LOG.encode(),
        "consumer-group": b"ingest",
        "consumer-version": b"1.2",
        "dead-at": dead_at.strftime("%Y-%m-%dT%H:%M:%SZ").encode(),
        "event": b"ListingObserved",
        "traceparent": b"00-ab",
        "original-error-kind": b"theirs",
    }


async def test_letters_of_the_tables_log_and_of_other_topics_are_not_sent(
    relay_pool: Pool, kafka_server: str, topic: str, connection: asyncpg.Connection
) -> None:
    await bury(connection, topic, 0, 2)
    await bury(connection, "elsewhere", 10, 1)
    await connection.execute("UPDATE dead_letters SET log = 'tables' WHERE \"offset\" = 0")
    stop = asyncio.Event()
    relay = asyncio.create_task(relay_dead_letters(relay_pool, kafka_at(kafka_server), [topic], stop))
    await wait_for_letters(kafka_server, topic, 1)
    await asyncio.sleep(1.5)
    stop.set()
    await relay
    assert sources_of(await read_letters(kafka_server, topic)) == [1]
    assert await count_unsent(connection, "elsewhere") == 1


async def test_a_relay_that_dies_between_sending_and_marking_leaves_no_second_letter(
    database_dsn: str, relay_pool: Pool, kafka_server: str, topic: str, connection: asyncpg.Connection
) -> None:
    await bury(connection, topic, 0, 50)
    await relay_all(relay_pool, kafka_server, topic, connection)
    await bury(connection, topic, 50, 50)
    async with connection.transaction():
        # the relay cannot mark what somebody else has locked
        await connection.execute("SELECT FROM dead_letters FOR UPDATE")
        with relay_process(database_dsn, kafka_server, topic):
            await wait_for_letters(kafka_server, topic, 100)
        await end_sessions_of_relays(connection)
    assert await count_unsent(connection, topic) == 50
    await relay_all(relay_pool, kafka_server, topic, connection)
    assert sources_of(await read_letters(kafka_server, topic)) == list(range(100))


async def test_whenever_a_relay_is_killed_every_letter_stands_in_the_topic_once(
    database_dsn: str, relay_pool: Pool, kafka_server: str, topic: str, connection: asyncpg.Connection
) -> None:
    dice = random.Random(4)
    buried = interrupted = in_doubt = 0
    for _ in range(KILLS):
        with relay_process(database_dsn, kafka_server, topic) as relay:
            await asyncio.to_thread(relay.wait_until_started)
            await bury(connection, topic, buried, 2500)
            buried += 2500
            # it looks once a second, and then sends so many in a quarter of one
            before = await count_unsent(connection, topic)
            async with asyncio.timeout(30):
                while await count_unsent(connection, topic) == before:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(dice.uniform(0, 0.2))
        unsent = await count_unsent(connection, topic)
        interrupted += unsent % 2500 > 0
        in_doubt += len(await read_letters(kafka_server, topic)) > buried - unsent
    await relay_all(relay_pool, kafka_server, topic, connection)
    assert sorted(sources_of(await read_letters(kafka_server, topic))) == list(range(buried))
    told = f"{KILLS} kills: {interrupted} in the middle of a backlog, {in_doubt} with letters in doubt"
    assert interrupted > 0, told
    print(told)  # noqa: T201


async def test_a_frozen_relay_is_replaced_and_sends_nothing_when_it_wakes_up(
    database_dsn: str, kafka_server: str, topic: str, connection: asyncpg.Connection
) -> None:
    dice = random.Random(5)
    buried = 0
    with (
        relay_process(database_dsn, kafka_server, topic) as first,
        relay_process(database_dsn, kafka_server, topic) as second,
    ):
        await asyncio.to_thread(first.wait_until_started)
        await asyncio.to_thread(second.wait_until_started)
        for turn in range(FREEZES):
            frozen = (first, second)[turn % 2]
            # a flow that is under way when the relay freezes, whoever of the two is at work
            flow = asyncio.create_task(bury(connection, topic, buried, 6000))
            buried += 6000
            await flow
            await asyncio.sleep(dice.uniform(0.5, 1.5))
            frozen.freeze()
            await bury(connection, topic, buried, 500)
            buried += 500
            await wait_until_sent(connection, topic)
            await bury(connection, topic, buried, 6000)
            buried += 6000
            frozen.thaw()
            await wait_until_sent(connection, topic)
            letters = await read_letters(kafka_server, topic)
            assert sorted(sources_of(letters)) == list(range(buried))
        assert await asyncio.to_thread(first.stop) == 0
        assert await asyncio.to_thread(second.stop) == 0
    assert sorted(sources_of(await read_letters(kafka_server, topic))) == list(range(buried))


async def test_a_writer_that_was_replaced_in_the_middle_of_its_transaction_sends_nothing(
    kafka_server: str, topic: str
) -> None:
    config, letters_topic = kafka_at(kafka_server).config(), dead_letter_topic_of(topic)
    letter = LetterMessage(b"labor", b"from the old one", [])

    def replace_and_wake() -> list[int]:
        old = LetterWriter(config, letters_topic)
        old._producer.begin_transaction()
        old._producer.produce(letters_topic, value=b"half sent")
        old._producer.flush()
        new = LetterWriter(config, letters_topic)
        offsets = new.send([LetterMessage(b"labor", b"from the new one", [])])
        with pytest.raises(KafkaException):
            old._producer.commit_transaction()
        with pytest.raises(KafkaException):
            old.send([letter])
        old.close()
        new.close()
        return offsets

    offsets = await asyncio.to_thread(replace_and_wake)
    letters = await read_letters(kafka_server, topic)
    assert [(letter.offset, letter.value) for letter in letters] == [(offsets[0], b"from the new one")]


async def test_a_letter_that_the_topic_does_not_take_goes_without_its_value_and_the_others_go_whole(
    relay_pool: Pool, kafka_server: str, connection: asyncpg.Connection
) -> None:
    topic = make_topic(kafka_server, max_message_bytes="100000")
    await bury(connection, topic, 0, 5)
    noise = random.Random(6).randbytes(300_000)
    await connection.execute('UPDATE dead_letters SET value = $1 WHERE "offset" = 2', noise)
    await connection.execute(
        "UPDATE dead_letters SET headers = jsonb_build_object('huge', $1::text) WHERE \"offset\" = 3",
        noise.hex(),
    )
    await relay_all(relay_pool, kafka_server, topic, connection)
    letters = await read_letters(kafka_server, topic)
    assert sources_of(letters) == [0, 1, 2, 3, 4]
    omitted = [dict(letter.headers).get("omitted") for letter in letters]
    assert omitted == [None, None, b"value", b"value, headers, key", None]
    assert [letter.value for letter in letters] == [b"value 0", b"value 1", None, None, b"value 4"]
    assert [letter.key for letter in letters] == [b"labor", b"labor", b"labor", None, b"labor"]
    assert await connection.fetchval('SELECT value FROM dead_letters WHERE "offset" = 2') == noise


async def test_a_record_as_large_as_the_log_takes_is_sent_whole(
    relay_pool: Pool, kafka_server: str, connection: asyncpg.Connection
) -> None:
    topic = make_topic(kafka_server, max_message_bytes=str(17 * 1024 * 1024))
    noise = random.Random(7).randbytes(16 * 1024 * 1024)
    await bury(connection, topic, 0, 3)
    await connection.execute("UPDATE dead_letters SET value = $1", noise)
    await relay_all(relay_pool, kafka_server, topic, connection)
    letters = await read_letters(kafka_server, topic)
    assert sources_of(letters) == [0, 1, 2]
    assert all(letter.value == noise for letter in letters)


async def test_a_missing_topic_is_waited_for_and_stops_nothing(
    relay_pool: Pool, kafka_server: str, connection: asyncpg.Connection
) -> None:
    topic = f"{make_topic(kafka_server)}-late"
    await bury(connection, topic, 0, 3)
    stop = asyncio.Event()
    relay = asyncio.create_task(relay_dead_letters(relay_pool, kafka_at(kafka_server), [topic], stop))
    await asyncio.sleep(4)
    assert not relay.done()
    create_topic(kafka_server, dead_letter_topic_of(topic), 1)
    await wait_until_sent(connection, topic)
    stop.set()
    await relay
    assert sources_of(await read_letters(kafka_server, topic)) == [0, 1, 2]


async def test_a_relay_without_kafka_ends_soon_when_it_is_told_to(
    relay_pool: Pool, connection: asyncpg.Connection
) -> None:
    await bury(connection, "nowhere", 0, 1)
    stop = asyncio.Event()
    with refusing_port() as port:
        servers = kafka_at(f"127.0.0.1:{port}")
        relay = asyncio.create_task(relay_dead_letters(relay_pool, servers, ["nowhere"], stop))
        await asyncio.sleep(2)
        assert not relay.done()
        stop.set()
        await asyncio.wait_for(relay, 20)
    assert await count_unsent(connection, "nowhere") == 1


async def test_what_others_write_to_the_topic_is_passed_over(
    relay_pool: Pool, kafka_server: str, topic: str, connection: asyncpg.Connection
) -> None:
    def write() -> None:
        writer = LetterWriter(kafka_at(kafka_server).config(), dead_letter_topic_of(topic))
        fields = [("consumer-group", b"ingest"), ("source-log", b"\x00"), ("source-topic", b"t")]
        numbers = [("source-partition", b"99999999"), ("source-offset", b"-1")]
        writer.send([LetterMessage(None, None, []), LetterMessage(b"\xff", b"", [*fields, *numbers])])
        writer.close()

    await asyncio.to_thread(write)
    await bury(connection, topic, 0, 2)
    await relay_all(relay_pool, kafka_server, topic, connection)
    assert sources_of(await read_letters(kafka_server, topic)) == [0, 1]
    assert len(await read_letters(kafka_server, topic)) == 4
