"""Poison of every kind on real Kafka: its batch is stored without it, and it is kept in table and topic."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import NamedTuple

import msgspec
import pytest
from confluent_kafka import Producer
from tests.dead_letter_scene import create_topic, kafka_at, read_letters, wait_until_sent
from tests.ingest_shop import SHOP, add_shop, offer, points, seen

from skatestock.database.pool import Pool
from skatestock.eventlog.dead_letters import (
    REPLAY_HEADER,
    DeadLetter,
    LetterFilter,
    find_dead_letters,
    replay_dead_letters,
)
from skatestock.eventlog.kafka import KafkaEventLog
from skatestock.eventlog.kafka.dead_letter_relay import relay_dead_letters
from skatestock.eventlog.kafka.dead_letter_topic import MAX_LETTER_BYTES, StoredLetter, dead_letter_topic_of
from skatestock.eventlog.port import Batch, Connection, Handle, Message, Position
from skatestock.events.codec import Codec, FixedSchemas, encode
from skatestock.events.versions import AvroSchema
from skatestock.ingest.consumer import GROUP, IngestHandler
from skatestock.vocabulary.time import utc_now

pytestmark = pytest.mark.xdist_group("kafka")

GOOD = encode(seen(20, listing="poisoned"))
STRANGE_ID = 65_535


class Poison(NamedTuple):
    kind: str
    value: bytes | None
    key: bytes | None = SHOP.encode()
    headers: tuple[tuple[str, bytes | None], ...] = ()


def framed(schema_id: int) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + GOOD[5:]


POISON = [
    Poison("bad_magic_byte", b"\x01" + GOOD[1:]),
    Poison("unknown_schema_id", framed(STRANGE_ID)),
    Poison("truncated", GOOD[:-9]),
    Poison("truncated", GOOD + b"\x00"),
    Poison("truncated", b""),
    Poison("truncated", None),
    Poison("senseless", encode(msgspec.structs.replace(seen(0), observed_at=utc_now() + timedelta(days=9)))),
    Poison("wrong_key", GOOD, None),
    Poison("wrong_key", GOOD, b"\xff\xfe\x00"),
    Poison("wrong_key", GOOD, b"premier"),
    Poison(
        "bad_magic_byte", b"{}", SHOP.encode(), (("huge", b"x" * 700_000), ("raw", b"\xff\x00"), ("no", None))
    ),
    Poison("unknown_shop", encode(seen(20, shop="nowhere")), b"nowhere"),
    Poison("currency_changed", encode(seen(20, currency="EUR"))),
]


class Scene(NamedTuple):
    """A shop, a topic, and a consumer of it."""

    pool: Pool
    servers: str
    topic: str
    log: KafkaEventLog


@pytest.fixture
async def scene(pool: Pool, kafka_server: str) -> AsyncIterator[Scene]:
    topic = f"d-poison-{uuid.uuid4().hex[:8]}"
    create_topic(kafka_server, topic, 1, max_message_bytes=str(16 * 1024 * 1024))
    create_topic(kafka_server, dead_letter_topic_of(topic), 1, max_message_bytes=str(MAX_LETTER_BYTES))
    await add_shop(pool)
    log = KafkaEventLog(pool, kafka_at(kafka_server), topics={topic: 1}, session_seconds=6)
    yield Scene(pool, kafka_server, topic, log)
    await log.close()


def produce(scene: Scene, *messages: Poison) -> None:
    """Write to the topic past all our own checks, as any program can."""
    producer = Producer({**kafka_at(scene.servers).config(), "message.max.bytes": 16_000_000})
    for message in messages:
        producer.produce(
            scene.topic, key=message.key, value=message.value, headers=list(message.headers), partition=0
        )
    assert producer.flush(30) == 0


def good(minute: int, price: int) -> Poison:
    return Poison("", encode(seen(minute, offer(price))))


async def process(scene: Scene, handle: Handle, count: int) -> None:
    """Process so many records, in one batch when they are there."""
    consumer = await scene.log.open_consumer(GROUP, scene.topic)
    done = 0
    try:
        async with asyncio.timeout(60):
            while done < count:
                done += await consumer.process(handle, max_records=1000, wait_seconds=5)
    finally:
        await consumer.close()


async def find(scene: Scene, **wanted: str) -> list[DeadLetter]:
    async with scene.pool.acquire() as connection:
        return await find_dead_letters(connection, msgspec.convert(wanted, LetterFilter), limit=1000)


def place_of(letter: StoredLetter) -> int:
    """Return the offset at which a letter's record stood."""
    assert letter.source is not None
    return letter.source.offset


async def relay(scene: Scene) -> None:
    stop = asyncio.Event()
    relaying = asyncio.create_task(
        relay_dead_letters(scene.pool, kafka_at(scene.servers), [scene.topic], stop)
    )
    async with scene.pool.acquire() as connection:
        await wait_until_sent(connection, scene.topic)
    stop.set()
    await relaying


class DyingHandler:
    """Ingests, but dies at the end of its first batch, before the commit."""

    def __init__(self) -> None:
        self._handle = IngestHandler()
        self.deaths = 0

    async def __call__(self, connection: Connection, batch: Batch) -> None:
        await self._handle(connection, batch)
        if not self.deaths:
            self.deaths += 1
            raise ConnectionResetError


async def test_poison_of_every_kind_in_the_middle_of_a_batch_is_one_letter_in_table_and_topic(
    scene: Scene,
) -> None:
    produce(scene, good(10, 6000), *POISON, good(30, 5000))
    handler = DyingHandler()
    with pytest.raises(ConnectionResetError):
        await process(scene, handler, 1)
    assert await find(scene) == []
    await process(scene, handler, len(POISON) + 2)

    assert [point.price for point in await points(scene.pool)] == [6000, 5000]
    assert await points(scene.pool, "poisoned") == []
    kept = sorted(await find(scene), key=lambda letter: letter.offset)
    assert [(letter.kind, letter.offset) for letter in kept] == [
        (poison.kind, place) for place, poison in enumerate(POISON, start=1)
    ]
    assert [letter.value for letter in kept] == [poison.value or b"" for poison in POISON]

    await relay(scene)
    letters = sorted(await read_letters(scene.servers, scene.topic), key=place_of)
    assert [(letter.key, letter.value) for letter in letters] == [
        (poison.key, poison.value) for poison in POISON
    ]
    for place, (letter, poison, row) in enumerate(zip(letters, POISON, kept, strict=True), start=1):
        headers = dict(letter.headers)
        assert headers["error-kind"] == poison.kind.encode()
        assert headers["error-text"] == row.text.encode()
        assert headers["source-offset"] == str(place).encode()
        assert (headers["source-topic"], headers["source-partition"]) == (scene.topic.encode(), b"0")
        assert headers["source-log"] == row.log.encode() != b"tables"
    assert dict(letters[10].headers)["huge"] == b"x" * 700_000


class MoreSchemas(FixedSchemas):
    """Knows one more id, as a registry does once a schema is registered there."""

    def find_schema(self, schema_id: int) -> AvroSchema | None:
        return super().find_schema(self.id_of("ListingObserved") if schema_id == STRANGE_ID else schema_id)


async def test_once_the_cause_is_mended_what_is_replayed_is_stored_once(scene: Scene) -> None:
    produce(
        scene,
        good(10, 6000),
        Poison("", framed(STRANGE_ID)),
        Poison("", encode(seen(20, shop="premier")), b"premier"),
        Poison("", b"never an event"),
    )
    await process(scene, IngestHandler(), 4)
    letters = await find(scene)
    await add_shop(scene.pool, "premier")
    mended = IngestHandler(codec=Codec(MoreSchemas()))

    assert len(await replay_dead_letters(scene.log, scene.pool, [letter.id for letter in letters])) == 3
    assert await replay_dead_letters(scene.log, scene.pool, [letter.id for letter in letters]) == []
    await process(scene, mended, 3)
    assert len(await points(scene.pool, "poisoned")) == 1
    assert len(await points(scene.pool, shop="premier")) == 1
    (again,) = await find(scene, state="waiting")
    assert (again.kind, again.headers[REPLAY_HEADER]) == ("bad_magic_byte", f"{scene.topic}/0/3")

    await relay(scene)
    sent = await read_letters(scene.servers, scene.topic)
    assert sorted(place_of(letter) for letter in sent) == [1, 2, 3, again.offset]


class DyingLog:
    """Appends, and dies before anybody hears of it."""

    def __init__(self, log: KafkaEventLog) -> None:
        self._log = log
        self.open_consumer = log.open_consumer
        self.fetch_lag = log.fetch_lag
        self.close = log.close

    async def append(self, topic: str, messages: Sequence[Message]) -> list[Position]:
        await self._log.append(topic, messages)
        raise ConnectionResetError


async def test_a_replay_that_dies_after_the_append_is_repeated_and_stored_once(scene: Scene) -> None:
    values = [encode(seen(20 + minute, offer(5000 + minute), shop="premier")) for minute in range(5)]
    produce(scene, *(Poison("", value, b"premier") for value in values))
    await process(scene, IngestHandler(), 5)
    ids = [letter.id for letter in await find(scene)]
    await add_shop(scene.pool, "premier")
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            await replay_dead_letters(DyingLog(scene.log), scene.pool, ids)
        assert len(await find(scene, state="waiting")) == 5
    assert len(await replay_dead_letters(scene.log, scene.pool, ids)) == 5
    await process(scene, IngestHandler(), 15)
    prices = [point.price for point in await points(scene.pool, shop="premier")]
    assert prices == [5000, 5001, 5002, 5003, 5004]
    assert await find(scene, state="waiting") == []
