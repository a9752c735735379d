"""Streams of events within a process: clients that do not keep up, heartbeats, and the end of all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.ingest_shop import add_shop, ingest, offer, seen

from skatestock.api.connections import Database
from skatestock.api.errors import DatabaseAwayError, StreamsExhaustedError, TooManyStreamsError
from skatestock.api.event_ids import parse_event_id
from skatestock.api.event_schemas import EventsQuestion
from skatestock.api.event_subscriptions import StreamLimits
from skatestock.api.events import Changes
from skatestock.catalog.change_queries import find_changes, find_clock

EVERYTHING = EventsQuestion()


class Told:
    """Changes that hear of commits when the test says so."""

    def __init__(self, pool: asyncpg.Pool, changes: Changes) -> None:
        self.pool, self.changes = pool, changes
        self.position = 0

    async def tell(self) -> None:
        async with self.pool.acquire() as connection:
            clock = await find_clock(connection)
            if self.changes.clock is None:
                self.position = clock.position
            for change in await find_changes(connection, self.position, 1000):
                self.changes.on_change(change)
                self.position = change.position
        self.changes.on_confirmed(clock)


@pytest.fixture
async def told(pool: asyncpg.Pool) -> AsyncIterator[Told]:
    await add_shop(pool)
    limits = StreamLimits(most_streams=3, most_per_client=2, heartbeat_seconds=0.2)
    changes = Changes(Database(pool), limits)
    yield Told(pool, changes)
    await changes.close()


async def read(stream: AsyncIterator[bytes]) -> bytes:
    async with asyncio.timeout(5):
        return await anext(stream)


def ids(text: bytes) -> list[str]:
    return [line.removeprefix("id: ") for line in text.decode().splitlines() if line.startswith("id: ")]


async def test_no_stream_begins_before_the_catalogue_is_in_sight(told: Told) -> None:
    with pytest.raises(DatabaseAwayError):
        await told.changes.subscribe(EVERYTHING, None, "one")


async def test_a_stream_that_does_not_keep_up_is_ended_and_resumes_without_loss(told: Told) -> None:
    await told.tell()
    await ingest(told.pool, *(seen(1, offer(1000), listing=str(number)) for number in range(600)))
    await told.tell()
    subscription = await told.changes.subscribe(EVERYTHING, None, "slow")
    stream = told.changes.write(subscription)
    text = await read(stream)
    for minute in range(2, 12):
        await ingest(told.pool, *(seen(minute, offer(1000 + minute), listing=str(n)) for n in range(600)))
    await told.tell()
    async with asyncio.timeout(20):
        await subscription.has_ended.wait()
    assert subscription.ended == "slow"
    assert [piece async for piece in stream] == []
    told.changes.release(subscription, "slow")

    last = parse_event_id(ids(text)[-1])
    assert last is not None
    again = await told.changes.subscribe(EVERYTHING, last, "slow")
    stream, heard = told.changes.write(again), 0
    while heard < 6000:
        heard += (await read(stream)).count(b"event: price_changed")
    assert heard == 6000
    assert b"event" not in await read(stream)


async def test_heartbeats_carry_a_place_to_come_back_to(told: Told) -> None:
    await told.tell()
    subscription = await told.changes.subscribe(EventsQuestion(shop=("elsewhere",)), None, "one")
    stream = told.changes.write(subscription)
    (first,) = ids(await read(stream))
    await ingest(told.pool, seen(1))
    await told.tell()
    await asyncio.sleep(0.3)
    beat = await read(stream)
    assert beat.startswith(b": ")
    while ids(beat) == [first]:
        beat = await read(stream)
    assert b"event" not in beat
    last = parse_event_id(ids(beat)[0])
    assert last is not None
    # whatever comes after the commit that was left out, and not that commit
    again = told.changes.write(await told.changes.subscribe(EVERYTHING, last, "two"))
    await read(again)
    await ingest(told.pool, seen(2, offer(100), listing="9"))
    await told.tell()
    assert (await read(again)).count(b"event: listed") == 1


async def test_streams_are_limited_by_client_and_in_all(told: Told) -> None:
    await told.tell()
    first = await told.changes.subscribe(EVERYTHING, None, "one")
    await told.changes.subscribe(EVERYTHING, None, "one")
    with pytest.raises(TooManyStreamsError):
        await told.changes.subscribe(EVERYTHING, None, "one")
    await told.changes.subscribe(EVERYTHING, None, "two")
    with pytest.raises(StreamsExhaustedError):
        await told.changes.subscribe(EVERYTHING, None, "three")
    told.changes.release(first, "left")
    await told.changes.subscribe(EVERYTHING, None, "three")


async def test_when_all_streams_are_ended_what_waits_is_still_sent(told: Told) -> None:
    await told.tell()
    subscription = await told.changes.subscribe(EVERYTHING, None, "one")
    await ingest(told.pool, seen(1))
    await told.tell()
    await asyncio.sleep(0.2)
    told.changes.end()
    pieces = [piece async for piece in told.changes.write(subscription)]
    assert b"".join(pieces).count(b"event: listed") == 1
    with pytest.raises(DatabaseAwayError):
        await told.changes.subscribe(EVERYTHING, None, "two")
