"""What cannot be processed stands alone as a dead letter; everything beside it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.ingest_shop import SHOP, add_shop, dump, ended, ingest, offer, points, seen

from skatestock.eventlog.dead_letters import DeadLetter, find_dead_letters, replay_dead_letters
from skatestock.eventlog.port import Message
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.events.codec import Codec, encode
from skatestock.events.model import Event
from skatestock.ingest.consumer import GROUP, TOPIC, IngestHandler
from skatestock.vocabulary.time import Clock, utc_now

GOOD = encode(seen(0))


class GivenEvents(Codec):
    """Takes values for events that no bytes could say."""

    def __init__(self, events: Mapping[bytes, Event]) -> None:
        super().__init__()
        self._events = events

    def decode(self, value: bytes, *, clock: Clock = utc_now) -> Event:
        return self._events[value]


async def letters(pool: asyncpg.Pool) -> list[DeadLetter]:
    async with pool.acquire() as connection:
        return await find_dead_letters(connection)


def in_the_future() -> bytes:
    return encode(msgspec.structs.replace(seen(0), observed_at=utc_now() + timedelta(days=9)))


@pytest.mark.parametrize(
    ("poison", "kind"),
    [
        (b"", "truncated"),
        (b"\x01" + GOOD[1:], "bad_magic_byte"),
        (GOOD[:1] + b"\x00\x00\xff\xff" + GOOD[5:], "unknown_schema_id"),
        (GOOD[:-9], "truncated"),
        (GOOD + b"\x00", "truncated"),
        (in_the_future(), "senseless"),
        (encode(seen(0, shop="nowhere")), "wrong_key"),
        (encode(seen(20, currency="EUR")), "currency_changed"),
    ],
    ids=[
        "empty",
        "magic byte",
        "schema id",
        "cut",
        "too long",
        "future",
        "key of another shop",
        "other currency",
    ],
)
async def test_poison_in_the_middle_of_a_batch_is_buried_alone(
    shop: asyncpg.Pool, poison: bytes, kind: str
) -> None:
    handler = await ingest(shop, seen(10), poison, seen(30, offer(5000)), ended(9, "1", until=40))
    assert [point.price for point in await points(shop)] == [6000, 5000]
    (letter,) = await letters(shop)
    assert (letter.kind, letter.value, letter.group, letter.state) == (kind, poison, GROUP, "waiting")
    assert handler.tally.outcomes == {"applied": 3, "dead": 1}
    assert handler.tally.dead == {kind: 1}


async def test_an_event_of_an_unknown_shop_is_buried_alone(shop: asyncpg.Pool) -> None:
    await ingest(shop, seen(10), seen(20, shop="nowhere"), seen(30, offer(5000)))
    assert [point.price for point in await points(shop)] == [6000, 5000]
    assert [letter.kind for letter in await letters(shop)] == ["unknown_shop"]


async def test_a_batch_of_poison_alone_moves_on(shop: asyncpg.Pool) -> None:
    await ingest(shop, b"one", b"two", b"three")
    assert [letter.value for letter in await letters(shop)] == [b"one", b"two", b"three"]
    assert (await dump(shop))["crawls"] == []


async def test_a_crawl_that_another_shop_has_named_is_refused(shop: asyncpg.Pool) -> None:
    await add_shop(shop, "premier")
    stolen = msgspec.structs.replace(seen(10, shop="premier"), crawl_id="labor-0")
    await ingest(shop, seen(0), stolen, seen(20, shop="premier"))
    (letter,) = await letters(shop)
    assert letter.kind == "foreign_crawl"
    assert len(await points(shop, shop="premier")) == 1


# Each of these the database itself refuses, one on its server and one on the way there.
BROKEN_FIELDS: list[dict[str, Any]] = [
    {"title": "no NUL \x00 is stored"},
    {"handle": "-".join(str(number) for number in range(5000))},
    {"parser_version": 2**40},
    {"brand": "a lone \ud800 surrogate"},
]


@pytest.mark.parametrize("broken", BROKEN_FIELDS, ids=lambda broken: next(iter(broken)))
@pytest.mark.parametrize("is_known", [False, True], ids=["new listing", "known listing"])
@pytest.mark.parametrize("place", [0, 3, 6])
async def test_an_event_that_breaks_the_sql_is_found_and_buried_alone(
    shop: asyncpg.Pool, broken: dict[str, Any], is_known: bool, place: int
) -> None:
    culprit = msgspec.structs.replace(seen(50, listing="culprit"), **broken)
    events: list[Event] = [
        seen(10 + number, offer(5000 + number), listing=str(number)) for number in range(6)
    ]
    events.insert(place, culprit)
    await ingest(shop, *([seen(0, listing="culprit")] if is_known else []), seen(0, listing="3"))

    # the codec refuses such events; a rule that it does not know yet must not stop the others either
    values = {str(number).encode(): event for number, event in enumerate(events)}
    handler = IngestHandler(codec=GivenEvents(values))
    await ingest(shop, *values, handler=handler)

    (letter,) = await letters(shop)
    assert (letter.kind, letter.value) == ("unprocessable", str(place).encode())
    for number in range(6):
        assert (await points(shop, str(number)))[-1].price == 5000 + number
    assert len(await points(shop, "culprit")) == int(is_known)
    assert handler.tally.outcomes["dead"] == 1
    assert handler.tally.outcomes.total() == 7


async def test_an_event_that_a_rule_did_not_expect_is_buried_alone(shop: asyncpg.Pool) -> None:
    events: dict[bytes, Any] = {
        b"1": seen(10),
        b"2": msgspec.structs.replace(seen(20), offers=(offer("a price that is none"),)),  # type: ignore[arg-type]
        b"3": seen(30, offer(5000)),
    }
    await ingest(shop, *events, handler=IngestHandler(codec=GivenEvents(events)))
    assert [letter.value for letter in await letters(shop)] == [b"2"]
    assert [point.price for point in await points(shop)] == [6000, 5000]


async def test_a_failure_that_is_no_events_fault_fails_the_batch_and_buries_nothing(
    shop: asyncpg.Pool,
) -> None:
    await shop.execute("ALTER TABLE listings RENAME TO listings_elsewhere")
    with pytest.raises(asyncpg.UndefinedTableError):
        await ingest(shop, seen(0))
    assert await letters(shop) == []


async def test_a_buried_event_counts_when_it_is_replayed_after_its_shop_is_known(pool: asyncpg.Pool) -> None:
    log = PostgresEventLog(pool, topics={TOPIC: 1})  # type: ignore[arg-type]
    await log.ensure_topics()
    consumer = await log.open_consumer(GROUP, TOPIC)
    await log.append(TOPIC, [Message(key=SHOP, value=GOOD)])
    assert await consumer.process(IngestHandler(), max_records=10, wait_seconds=1) == 1
    (letter,) = await letters(pool)
    await add_shop(pool)
    await replay_dead_letters(log, pool, [letter.id])
    assert await consumer.process(IngestHandler(), max_records=10, wait_seconds=1) == 1
    assert len(await points(pool)) == 1
    await log.close()
