"""Who lost a partition writes nothing any more, and keeps nobody else from it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.kafka_scene import PARTITIONS, SESSION_SECONDS, KafkaScene, assert_once_in_order, open_scene

from skatestock.database.transactions import is_transient
from skatestock.eventlog.errors import ConsumerClosedError, FencedError
from skatestock.eventlog.kafka import KafkaConsumer
from skatestock.eventlog.port import Batch, Connection, Position, partition_for

pytestmark = pytest.mark.xdist_group("kafka")

LABOR = partition_for("labor", PARTITIONS)


@pytest.fixture
async def scene(database_dsn: str, kafka_server: str) -> AsyncIterator[KafkaScene]:
    async with open_scene(database_dsn, kafka_server) as scene:
        yield scene


class Holder:
    """Handles batches, but stays in the middle of each until it is told to go on."""

    def __init__(self, scene: KafkaScene, *, write_first: bool) -> None:
        self.scene = scene
        self.write_first = write_first
        self.holding = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, connection: Connection, batch: Batch) -> None:
        if self.write_first:
            await self.scene.write(connection, batch)
        self.holding.set()
        await self.go_on.wait()
        if not self.write_first:
            await self.scene.write(connection, batch)


async def write_owner(scene: KafkaScene, owner: str) -> None:
    await scene.pool.execute("UPDATE consumer_offsets SET owner = $1 WHERE partition = $2", owner, LABOR)


@pytest.mark.parametrize("write_first", [True, False], ids=["written", "not yet written"])
async def test_who_is_slower_than_allowed_loses_its_partition_and_writes_nothing_afterwards(
    scene: KafkaScene, write_first: bool
) -> None:
    await scene.append("0", "1", "2")
    slow = await scene.open_consumer(batch_seconds=SESSION_SECONDS)
    holder = Holder(scene, write_first=write_first)
    held = asyncio.create_task(slow.process(holder, max_records=10, wait_seconds=10))
    await asyncio.wait_for(holder.holding.wait(), 20)
    successor = await scene.open_consumer()
    with capture_logs() as logs:
        await scene.drain_until(successor, scene.is_drained)
    # it sat on the partition's row in an open transaction, and would have kept its successor from it
    assert [line for line in logs if line["event"] == "eventlog_former_owner_ended"]
    await scene.append("3")
    await scene.drain_until(successor, scene.is_drained)
    holder.go_on.set()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which error it is, is what is asserted
        await held
    assert is_transient(caught.value), repr(caught.value)
    assert await scene.fetch_values() == ["0", "1", "2", "3"]
    # it is a member like any other again
    await successor.close()
    await scene.append("4")
    await scene.drain_until(slow, scene.is_drained)
    assert await scene.fetch_values() == ["0", "1", "2", "3", "4"]


async def test_who_finds_another_name_in_the_row_writes_nothing(scene: KafkaScene) -> None:
    await scene.append("0", "1")
    consumer = await scene.open_consumer()
    await consumer.process(scene.write, max_records=1, wait_seconds=10)
    await write_owner(scene, "somebody else")
    with pytest.raises(FencedError, match="has gone to another consumer"):
        await consumer.process(scene.write, max_records=1, wait_seconds=10)
    assert await scene.fetch_values() == ["0"]


async def test_a_name_that_was_written_late_does_not_keep_the_rightful_owner_out(scene: KafkaScene) -> None:
    await scene.append("0", "1")
    consumer = await scene.open_consumer()
    await consumer.process(scene.write, max_records=1, wait_seconds=10)
    # by a process that was frozen between the group's word and its own
    await write_owner(scene, "a late riser")
    await scene.drain_until(consumer, scene.is_drained, seconds=20)
    assert await scene.fetch_values() == ["0", "1"]
    assert await scene.pool.fetchval("SELECT owner FROM consumer_offsets WHERE partition = $1", LABOR) != (
        "a late riser"
    )


async def test_a_name_is_not_taken_back_by_one_whom_the_broker_does_not_know_any_more(
    scene: KafkaScene,
) -> None:
    await scene.append("0", "1", "2")
    former = await scene.open_consumer(batch_seconds=SESSION_SECONDS)
    await former.process(scene.write, max_records=1, wait_seconds=10)
    successor = await scene.open_consumer()
    # the former owner is not heard of for longer than allowed
    await scene.drain_until(successor, scene.is_drained)
    owners = await scene.pool.fetch("SELECT DISTINCT owner FROM consumer_offsets")
    assert len(owners) == 1
    await scene.append("3")
    # what it held in memory is still there
    processed = await scene.process_bravely(former)
    assert processed == 0 or await scene.is_drained()
    await asyncio.gather(
        scene.drain_until(former, scene.is_drained), scene.drain_until(successor, scene.is_drained)
    )
    assert await scene.fetch_values() == ["0", "1", "2", "3"]


async def test_a_member_that_joins_gets_its_share_and_one_that_leaves_gives_it_back_at_once(
    scene: KafkaScene,
) -> None:
    first, second = [await scene.open_consumer() for _ in range(2)]
    owners: set[str] = set()
    for _ in range(100):
        await asyncio.gather(scene.process_bravely(first), scene.process_bravely(second))
        rows = await scene.pool.fetch("SELECT DISTINCT owner FROM consumer_offsets")
        owners = {row["owner"] for row in rows}
        if len(owners) == 2:
            break
    assert len(owners) == 2
    began = asyncio.get_running_loop().time()
    await second.close()
    positions = {
        position: value
        for number in range(8)
        for position, value in zip(
            await scene.append(str(number), key=f"shop-{number}"), [str(number)], strict=True
        )
    }
    await scene.drain_until(first, scene.is_drained)
    assert asyncio.get_running_loop().time() - began < SESSION_SECONDS
    assert_once_in_order(await scene.fetch_seen(), positions)


async def test_a_session_that_ends_at_any_step_of_taking_over_is_borne(scene: KafkaScene) -> None:
    await scene.append("0", "1", "2", "3")
    stop = asyncio.Event()

    async def end_sessions() -> None:
        dice = random.Random(1)
        while not stop.is_set():
            await scene.pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                "AND datname = current_database() AND query LIKE '%consumer_offsets%'"
            )
            await asyncio.sleep(dice.uniform(0.0, 0.02))

    async def end_sessions_bravely() -> None:
        while not stop.is_set():
            try:
                await end_sessions()
            except Exception as error:
                if not is_transient(error):
                    raise

    ending = asyncio.create_task(end_sessions_bravely())
    for _ in range(6):
        consumer = await open_bravely(scene)
        for _ in range(3):
            await scene.process_bravely(consumer)
        await consumer.close()
    stop.set()
    await ending
    consumer = await scene.open_consumer()
    await scene.drain_until(consumer, scene.is_drained)
    assert await scene.fetch_values() == ["0", "1", "2", "3"]


async def open_bravely(scene: KafkaScene) -> KafkaConsumer:
    while True:
        try:
            return await scene.open_consumer()
        except Exception as error:
            if not is_transient(error):
                raise


async def test_a_closed_consumer_stops_waiting_and_refuses_work(scene: KafkaScene) -> None:
    consumer = await scene.open_consumer()
    waiting = asyncio.create_task(consumer.process(scene.write, max_records=1, wait_seconds=20))
    await asyncio.sleep(0.3)
    await consumer.close()
    await consumer.close()
    with pytest.raises(ConsumerClosedError):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(ConsumerClosedError):
        await consumer.process(scene.write, max_records=1, wait_seconds=0)


async def test_waiting_can_be_cancelled_at_any_moment_without_losing_a_record(scene: KafkaScene) -> None:
    consumer = await scene.open_consumer()
    dice = random.Random(2)
    positions: dict[Position, str] = {}
    for number in range(40):
        waiting = asyncio.create_task(consumer.process(scene.write, max_records=3, wait_seconds=5))
        values = [f"{number}-{n}" for n in range(2)]
        positions |= zip(await scene.append(*values, key=f"k{number % 5}"), values, strict=True)
        await asyncio.sleep(dice.uniform(0, 0.01))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await scene.drain_until(consumer, scene.is_drained)
    assert_once_in_order(await scene.fetch_seen(), positions)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "process", "fail", "kill", "rename", "leave"]),
        st.integers(0, 1),
        st.integers(1, 5),
    ),
    min_size=4,
    max_size=20,
)


class Campaign:
    """Two seats for consumers, of which either may be taken or empty, and what they do."""

    def __init__(self, scene: KafkaScene) -> None:
        self.scene = scene
        self.seats: list[KafkaConsumer | None] = [None, None]
        self.appended: dict[Position, str] = {}

    async def do(self, step: str, seat: int, number: int) -> None:
        if step == "append":
            values = [str(len(self.appended) + n) for n in range(number)]
            key = f"shop-{seat}{number}"
            self.appended |= zip(await self.scene.append(*values, key=key), values, strict=True)
        elif step == "leave":
            if (consumer := self.seats[seat]) is not None:
                await consumer.close()
            self.seats[seat] = None
        elif step == "rename":
            await self.scene.pool.execute(
                "UPDATE consumer_offsets SET owner = 'x' WHERE partition = $1", number % 3
            )
        else:
            await self.process(step, seat)

    async def process(self, step: str, seat: int) -> None:
        consumer = self.seats[seat]
        if consumer is None:
            consumer = self.seats[seat] = await self.scene.open_consumer()

        async def handle(connection: Connection, batch: Batch) -> None:
            await self.scene.write(connection, batch)
            if step == "fail":
                raise ConnectionError
            if step == "kill":
                pid = await connection.fetchval("SELECT pg_backend_pid()")
                await self.scene.pool.execute("SELECT pg_terminate_backend($1)", pid)

        await self.scene.process_bravely(consumer, handle)

    async def finish(self) -> None:
        for seat in range(2):
            await self.do("leave", seat, 0)
        consumer = await self.scene.open_consumer()
        await self.scene.drain_until(consumer, self.scene.is_drained)
        await consumer.close()


@given(steps=STEPS)
@settings(
    max_examples=6,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_whatever_two_consumers_go_through_each_record_is_stored_once_in_order(
    database_dsn: str, kafka_server: str, steps: list[tuple[str, int, int]]
) -> None:
    async with open_scene(database_dsn, kafka_server) as scene:
        await scene.pool.execute("TRUNCATE seen")
        campaign = Campaign(scene)
        for step in steps:
            await campaign.do(*step)
        await campaign.finish()
        assert_once_in_order(await scene.fetch_seen(), campaign.appended)
