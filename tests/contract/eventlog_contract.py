"""What every event log must do, whatever it is made of.

An implementation is tested by a subclass of `EventLogContract` in a test file of its own, which provides one
fixture, `harness`. Offsets and what handlers write are in PostgreSQL for every implementation.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skatestock.database.pool import Pool
from skatestock.database.transactions import is_transient
from skatestock.eventlog.errors import FencedError, UnknownTopicError
from skatestock.eventlog.port import Batch, Connection, Consumer, EventLog, Message, Position, partition_for

PARTITIONS = 6

_topics = (f"topic-{number}" for number in count(1))


class LogHarness(Protocol):
    """What a test file hands to the contract."""

    pool: Pool
    """Where offsets are stored and handlers write."""
    quiet_seconds: float
    """How long a consumer waits until it is believed that nothing is there."""

    async def open_log(self, topics: Mapping[str, int]) -> EventLog:
        """Open the log as one more process would, with these topics set up."""


class HandlerFailedError(Exception):
    """Raised by handlers on purpose."""


class Scene:
    """One topic of its own on a log, and the table that handlers write to."""

    def __init__(self, harness: LogHarness, log: EventLog, topic: str) -> None:
        self.harness = harness
        self.log = log
        self.topic = topic
        self.pool = harness.pool

    async def append(self, *keys_and_values: tuple[str, str]) -> list[Position]:
        messages = [Message(key=key, value=value.encode()) for key, value in keys_and_values]
        return await self.log.append(self.topic, messages)

    async def open_consumer(self, group: str = "readers") -> Consumer:
        return await self.log.open_consumer(group, self.topic)

    async def open_another_log(self) -> EventLog:
        return await self.harness.open_log({self.topic: PARTITIONS})

    async def write(self, connection: Connection, batch: Batch) -> None:
        """Write the batch as any handler would: in the transaction that it is given."""
        await connection.executemany(
            'INSERT INTO seen (topic, partition, "offset", key, value) VALUES ($1, $2, $3, $4, $5)',
            [(batch.topic, batch.partition, r.offset, r.key, r.value.decode()) for r in batch.records],
        )

    async def drain(self, consumer: Consumer, *, max_records: int = 100) -> int:
        """Process until nothing comes any more; tells how many records it was."""
        total = 0
        while processed := await consumer.process(
            self.write, max_records=max_records, wait_seconds=self.harness.quiet_seconds
        ):
            total += processed
        return total

    async def fetch_seen(self) -> list[tuple[Position, str, str]]:
        rows = await self.pool.fetch(
            'SELECT partition, "offset", key, value FROM seen WHERE topic = $1 ORDER BY n', self.topic
        )
        return [(Position(row[0], row[1]), row[2], row[3]) for row in rows]

    async def fetch_values(self) -> list[str]:
        return [value for _, _, value in await self.fetch_seen()]

    async def fetch_total_lag(self, group: str = "readers") -> int:
        return sum(partition.lag for partition in await self.log.fetch_lag(group, self.topic))


@pytest.fixture
async def scene(harness: LogHarness) -> Scene:
    await harness.pool.execute(
        'CREATE TABLE seen (n bigserial, topic text, partition int, "offset" bigint, key text, value text)'
    )
    return await make_scene(harness)


async def make_scene(harness: LogHarness) -> Scene:
    topic = next(_topics)
    return Scene(harness, await harness.open_log({topic: PARTITIONS}), topic)


def assert_dense(positions: Sequence[Position]) -> None:
    offsets = defaultdict(list)
    for partition, offset in positions:
        offsets[partition].append(offset)
    for partition, found in offsets.items():
        assert sorted(found) == list(range(len(found))), f"partition {partition} is not dense"


def keys_of_two_partitions() -> tuple[str, str]:
    first = "seasons"
    return first, next(
        key for key in map(str, count()) if partition_for(key, PARTITIONS) != partition_for(first, PARTITIONS)
    )


class EventLogContract:
    """The promises of the port."""

    async def test_offsets_are_dense_from_zero_and_returned_in_the_order_of_the_messages(
        self, scene: Scene
    ) -> None:
        keys = [f"shop-{number % 7}" for number in range(40)]
        first = await scene.append(*((key, "a") for key in keys))
        second = await scene.append(*((key, "b") for key in reversed(keys)))
        assert_dense([*first, *second])
        assert [position.partition for position in first] == [partition_for(key, PARTITIONS) for key in keys]
        for key in set(keys):
            offsets = [position.offset for position, at in zip(first, keys, strict=True) if at == key]
            assert offsets == sorted(offsets)

    async def test_records_come_back_as_they_were_appended(self, scene: Scene) -> None:
        headers = {"event": "ListingObserved", "größe": "“8.25” ½", "empty": ""}
        message = Message(key="black-sheep", value=bytes(range(256)), headers=headers)
        before = datetime.now(UTC).replace(microsecond=0)
        (position,) = await scene.log.append(scene.topic, [message])
        batches: list[Batch] = []

        async def keep(_connection: Connection, batch: Batch) -> None:
            batches.append(batch)

        consumer = await scene.open_consumer()
        assert await consumer.process(keep, max_records=10, wait_seconds=10) == 1
        (batch,) = batches
        (record,) = batch.records
        assert (batch.topic, batch.partition) == (scene.topic, position.partition)
        assert (record.topic, record.partition, record.offset) == (scene.topic, *position)
        assert (record.key, record.value, record.headers) == (message.key, message.value, headers)
        assert record.appended_at.utcoffset() == timedelta(0)
        assert record.appended_at.microsecond == 0
        assert before <= record.appended_at <= datetime.now(UTC)

    async def test_an_append_of_nothing_is_nothing(self, scene: Scene) -> None:
        assert await scene.log.append(scene.topic, []) == []
        assert await scene.fetch_total_lag() == 0

    async def test_an_unknown_topic_is_an_error_everywhere(self, scene: Scene) -> None:
        message = Message(key="labor", value=b"x")
        with pytest.raises(UnknownTopicError, match="no-such-topic"):
            await scene.log.append("no-such-topic", [message])
        with pytest.raises(UnknownTopicError, match="no-such-topic"):
            await scene.log.append("no-such-topic", [])
        with pytest.raises(UnknownTopicError, match="no-such-topic"):
            await scene.log.open_consumer("readers", "no-such-topic")
        with pytest.raises(UnknownTopicError, match="no-such-topic"):
            await scene.log.fetch_lag("readers", "no-such-topic")

    async def test_an_append_with_one_impossible_message_appends_none(self, scene: Scene) -> None:
        good = Message(key="labor", value=b"good")
        impossible = Message(key="labor", value=b"bad", headers={"lone": "\ud800"})
        with pytest.raises(UnicodeEncodeError):
            await scene.log.append(scene.topic, [good, impossible, good])
        assert await scene.fetch_total_lag() == 0
        assert await scene.append(("labor", "next")) == [Position(partition_for("labor", PARTITIONS), 0)]

    async def test_one_keys_records_are_processed_in_order(self, scene: Scene) -> None:
        for number in range(30):
            await scene.append(*((key, f"{number}") for key in ("nj", "labor", "premier")))
        await scene.drain(await scene.open_consumer(), max_records=4)
        seen = await scene.fetch_seen()
        for key in ("nj", "labor", "premier"):
            assert [int(value) for _, at, value in seen if at == key] == list(range(30))

    async def test_a_batch_is_of_one_partition_consecutive_and_no_larger_than_asked(
        self, scene: Scene
    ) -> None:
        positions = await scene.append(*((f"shop-{number % 9}", str(number)) for number in range(50)))
        batches: list[Batch] = []

        async def keep(_connection: Connection, batch: Batch) -> None:
            batches.append(batch)

        consumer = await scene.open_consumer()
        while await consumer.process(keep, max_records=7, wait_seconds=scene.harness.quiet_seconds):
            pass
        found = [Position(batch.partition, record.offset) for batch in batches for record in batch.records]
        assert sorted(found) == sorted(positions)
        for batch in batches:
            assert 1 <= len(batch.records) <= 7
            assert {record.partition for record in batch.records} == {batch.partition}
            assert all(after.offset == before.offset + 1 for before, after in pairwise(batch.records))

    async def test_an_empty_log_is_waited_for_and_then_given_up(self, scene: Scene) -> None:
        consumer = await scene.open_consumer()
        began = asyncio.get_running_loop().time()
        assert await consumer.process(scene.write, max_records=10, wait_seconds=0.3) == 0
        assert asyncio.get_running_loop().time() - began >= 0.29

    async def test_a_batch_whose_handler_failed_stores_nothing_and_comes_again(self, scene: Scene) -> None:
        await scene.append(*(("labor", str(number)) for number in range(10)))
        consumer = await scene.open_consumer()
        given: list[list[int]] = []

        async def fail_after_writing(connection: Connection, batch: Batch) -> None:
            given.append([record.offset for record in batch.records])
            await scene.write(connection, batch)
            raise HandlerFailedError

        for _ in range(3):
            with pytest.raises(HandlerFailedError):
                await consumer.process(fail_after_writing, max_records=4, wait_seconds=10)
        assert given == [[0, 1, 2, 3]] * 3
        assert await scene.fetch_seen() == []
        assert await scene.fetch_total_lag() == 10
        await scene.drain(consumer)
        assert await scene.fetch_values() == [str(number) for number in range(10)]

    async def test_a_partition_that_always_fails_starves_no_other(self, scene: Scene) -> None:
        bad, good = keys_of_two_partitions()
        await scene.append(*((bad, "bad") for _ in range(3)), *((good, str(n)) for n in range(6)))
        consumer = await scene.open_consumer()

        async def refuse_bad(connection: Connection, batch: Batch) -> None:
            if batch.records[0].key == bad:
                raise HandlerFailedError
            await scene.write(connection, batch)

        for _ in range(20):
            try:
                await consumer.process(refuse_bad, max_records=2, wait_seconds=scene.harness.quiet_seconds)
            except HandlerFailedError:
                continue
        assert await scene.fetch_values() == [str(number) for number in range(6)]
        assert await scene.fetch_total_lag() == 3

    async def test_a_busy_key_starves_no_other(self, scene: Scene) -> None:
        busy, quiet = keys_of_two_partitions()
        await scene.append(*((busy, "busy") for _ in range(60)))
        consumer = await scene.open_consumer()
        await consumer.process(scene.write, max_records=10, wait_seconds=10)
        await scene.append((quiet, "quiet"))
        for _ in range(3):
            await consumer.process(scene.write, max_records=10, wait_seconds=10)
        assert "quiet" in await scene.fetch_values()

    async def test_a_connection_killed_while_handling_stores_neither_data_nor_offset(
        self, scene: Scene
    ) -> None:
        await scene.append(*(("premier", str(number)) for number in range(6)))
        consumer = await scene.open_consumer()

        async def die_after_writing(connection: Connection, batch: Batch) -> None:
            await scene.write(connection, batch)
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            await scene.pool.execute("SELECT pg_terminate_backend($1)", pid)

        for _ in range(3):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - which error it is, is what is asserted
                await consumer.process(die_after_writing, max_records=4, wait_seconds=10)
            assert is_transient(caught.value), repr(caught.value)
            assert await scene.fetch_seen() == []
            assert await scene.fetch_total_lag() == 6
        await scene.drain(consumer)
        assert await scene.fetch_values() == [str(number) for number in range(6)]

    async def test_a_cancelled_handler_stores_nothing(self, scene: Scene) -> None:
        await scene.append(("nj", "only"))
        consumer = await scene.open_consumer()
        written = asyncio.Event()

        async def hang_after_writing(connection: Connection, batch: Batch) -> None:
            await scene.write(connection, batch)
            written.set()
            await asyncio.sleep(60)

        task = asyncio.create_task(consumer.process(hang_after_writing, max_records=1, wait_seconds=10))
        await asyncio.wait_for(written.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await scene.fetch_total_lag() == 1
        await scene.drain(consumer)
        assert await scene.fetch_values() == ["only"]

    async def test_a_stored_offset_that_was_moved_meanwhile_fences_the_consumer(self, scene: Scene) -> None:
        await scene.append(("nj", "first"), ("nj", "second"))
        consumer = await scene.open_consumer()

        async def move_the_offset(connection: Connection, batch: Batch) -> None:
            await scene.write(connection, batch)
            await connection.execute(
                "UPDATE consumer_offsets SET next_offset = next_offset + 1 WHERE topic = $1", scene.topic
            )

        with pytest.raises(FencedError):
            await consumer.process(move_the_offset, max_records=1, wait_seconds=10)
        assert await scene.fetch_seen() == []

    async def test_a_new_member_goes_on_where_the_group_has_stored_its_offsets(self, scene: Scene) -> None:
        await scene.append(*(("nj", str(number)) for number in range(5)))
        consumer = await scene.open_consumer()
        assert await consumer.process(scene.write, max_records=3, wait_seconds=10) == 3
        await consumer.close()
        await consumer.close()
        log = await scene.open_another_log()
        await scene.drain(await log.open_consumer("readers", scene.topic))
        assert await scene.fetch_values() == [str(number) for number in range(5)]

    async def test_two_consumers_share_everything_and_nothing_twice(self, scene: Scene) -> None:
        keys = [f"shop-{number}" for number in range(24)]
        consumers = [
            await log.open_consumer("readers", scene.topic)
            for log in (scene.log, await scene.open_another_log())
        ]

        async def append_some() -> None:
            for number in range(12):
                await scene.append(*((key, str(number)) for key in keys))

        async def drain_to_the_end(consumer: Consumer) -> None:
            while await scene.fetch_total_lag():
                await consumer.process(scene.write, max_records=5, wait_seconds=0.05)

        await append_some()
        await asyncio.gather(append_some(), *(drain_to_the_end(consumer) for consumer in consumers))
        await asyncio.gather(*(scene.drain(consumer) for consumer in consumers))
        seen = await scene.fetch_seen()
        positions = [position for position, _, _ in seen]
        assert len(positions) == len(set(positions)) == 24 * 24
        assert_dense(positions)
        for key in keys:
            ours = sorted((position.offset, value) for position, at, value in seen if at == key)
            assert [int(value) for _, value in ours] == [*range(12), *range(12)]

    @pytest.mark.parametrize("seed", range(3))
    async def test_concurrent_appends_stay_dense_and_in_order_per_key(self, scene: Scene, seed: int) -> None:
        logs = [scene.log, await scene.open_another_log()]

        async def append_own_key(writer: int) -> list[Position]:
            dice = random.Random(seed * 1000 + writer)
            positions: list[Position] = []
            sent = 0
            for _ in range(12):
                size = dice.randint(1, 6)
                batch = []
                for _ in range(size):
                    # a key of its own, and one of many that all writers use, so that batches span partitions
                    batch.append(Message(key=f"own-{writer}", value=str(sent).encode()))
                    batch.append(Message(key=f"all-{dice.randint(0, 9)}", value=b"-"))
                    sent += 1
                positions += await logs[writer % 2].append(scene.topic, batch)
            return positions

        results = await asyncio.gather(*(append_own_key(writer) for writer in range(8)))
        positions = [position for result in results for position in result]
        assert len(set(positions)) == len(positions)
        assert_dense(positions)
        await scene.drain(await scene.open_consumer())
        seen = await scene.fetch_seen()
        assert {position for position, _, _ in seen} == set(positions)
        for writer in range(8):
            sent = [int(value) for _, key, value in seen if key == f"own-{writer}"]
            assert sent == list(range(len(sent)))
            assert sent

    async def test_a_waiting_consumer_is_woken_by_an_append_not_by_polling(self, scene: Scene) -> None:
        consumer = await scene.open_consumer()
        await consumer.process(scene.write, max_records=1, wait_seconds=scene.harness.quiet_seconds)
        loop = asyncio.get_running_loop()
        delays = []
        for number in range(5):
            waiting = asyncio.create_task(consumer.process(scene.write, max_records=1, wait_seconds=30))
            await asyncio.sleep(0.1)
            await scene.append(("labor", str(number)))
            appended = loop.time()
            assert await waiting == 1
            delays.append(loop.time() - appended)
        assert sorted(delays)[2] < 0.4, delays

    async def test_a_large_value_comes_back_whole(self, scene: Scene) -> None:
        value = random.Random(1).randbytes(5_000_000)
        await scene.log.append(scene.topic, [Message(key="labor", value=value)])
        sizes = []

        async def compare(_connection: Connection, batch: Batch) -> None:
            assert batch.records[0].value == value
            sizes.append(len(batch.records[0].value))

        await (await scene.open_consumer()).process(compare, max_records=1, wait_seconds=20)
        assert sizes == [5_000_000]

    async def test_the_lag_is_told_for_every_partition(self, scene: Scene) -> None:
        await scene.append(*(("labor", "x") for _ in range(5)))
        consumer = await scene.open_consumer()
        await consumer.process(scene.write, max_records=2, wait_seconds=10)
        lags = await scene.log.fetch_lag("readers", scene.topic)
        assert [lag.partition for lag in lags] == list(range(PARTITIONS))
        ours = lags[partition_for("labor", PARTITIONS)]
        assert (ours.next_offset, ours.end_offset, ours.lag) == (2, 5, 3)
        assert sum(lag.lag for lag in lags) == 3

    async def test_the_lag_of_a_group_that_never_came_is_everything(self, scene: Scene) -> None:
        await scene.append(("labor", "x"), ("nj", "y"))
        assert await scene.fetch_total_lag("never-came") == 2

    async def test_a_second_group_reads_everything_for_itself(self, scene: Scene) -> None:
        await scene.append(*(("labor", str(number)) for number in range(4)))
        await scene.drain(await scene.open_consumer("readers"))
        assert await scene.drain(await scene.open_consumer("others")) == 4
        assert await scene.fetch_values() == ["0", "1", "2", "3"] * 2
        assert await scene.fetch_total_lag("readers") == await scene.fetch_total_lag("others") == 0

    @given(
        steps=st.lists(
            st.one_of(
                st.lists(st.sampled_from("abcdefgh"), max_size=6).map(tuple),
                st.tuples(st.integers(1, 4), st.booleans()),
            ),
            max_size=12,
        )
    )
    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        database=None,
    )
    async def test_whatever_is_appended_and_whatever_fails_each_record_is_stored_once_in_order(
        self, harness: LogHarness, scene: Scene, steps: list[tuple[str, ...] | tuple[int, bool]]
    ) -> None:
        scene = await make_scene(harness)
        consumer = await scene.open_consumer()
        appended: dict[Position, tuple[str, str]] = {}

        async def fail(connection: Connection, batch: Batch) -> None:
            await scene.write(connection, batch)
            raise HandlerFailedError

        for step in steps:
            if step and isinstance(step[0], int):
                try:
                    handle = fail if step[1] else scene.write
                    await consumer.process(handle, max_records=step[0], wait_seconds=0)
                except HandlerFailedError:
                    continue
            else:
                sent = [(str(key), str(len(appended) + number)) for number, key in enumerate(step)]
                appended |= zip(await scene.append(*sent), sent, strict=True)
        await scene.drain(consumer)
        await consumer.close()
        seen = await scene.fetch_seen()
        assert {position: (key, value) for position, key, value in seen} == appended
        assert len(seen) == len(appended)
        assert_dense(list(appended))
        for key in "abcdefgh":
            values = [int(value) for _, at, value in seen if at == key]
            assert values == sorted(values)
