"""A consumer that is cut off from Kafka, but not from PostgreSQL, loses its partitions and writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest
from tests.forwarding import Forwarder, forwarded
from tests.kafka_scene import KafkaScene, open_scene
from tests.ports import choose_quiet_port
from tests.servers import require_kafka, run_apart

from skatestock.database.transactions import is_transient
from skatestock.embedded.kafka import EmbeddedKafka, Listener
from skatestock.eventlog.kafka import KafkaConsumer, KafkaEventLog, KafkaServers
from skatestock.eventlog.port import Batch, Connection

pytestmark = pytest.mark.xdist_group("kafka-processes")


class Way(NamedTuple):
    """A broker that is reached directly, and by a way that can be cut."""

    broker: EmbeddedKafka
    port: int
    """Where the way begins: the broker sends its clients there."""

    @property
    def end(self) -> str:
        return f"kafka://127.0.0.1:{self.broker.port_of('CUT')}"


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    port = choose_quiet_port()
    broker = EmbeddedKafka(
        tmp_path_factory.mktemp("cut") / "kafka",
        cache=require_kafka(),
        listeners=(Listener("CUT", advertised_port=port),),
    )
    run_apart(broker.start())
    yield Way(broker, port)
    run_apart(broker.stop())


@pytest.fixture
async def scene(database_dsn: str, way: Way) -> AsyncIterator[KafkaScene]:
    async with open_scene(database_dsn, way.broker.servers) as scene:
        yield scene


async def open_cut_off(scene: KafkaScene, forwarder: Forwarder) -> tuple[KafkaEventLog, KafkaConsumer]:
    address = forwarder.url.partition("//")[2]
    servers = KafkaServers(servers=address, client_id="cut-off")
    log = KafkaEventLog(scene.pool, servers, topics={scene.topic: 6}, session_seconds=6)
    return log, await log.open_consumer(scene.group, scene.topic)


async def test_who_is_cut_off_in_the_middle_of_a_batch_writes_nothing_and_comes_back(
    scene: KafkaScene, way: Way
) -> None:
    await scene.append("0", "1", "2")
    holding, go_on = asyncio.Event(), asyncio.Event()

    async def hold(connection: Connection, batch: Batch) -> None:
        await scene.write(connection, batch)
        holding.set()
        await go_on.wait()

    async with forwarded(way.end, way.port) as forwarder:
        log, lonely = await open_cut_off(scene, forwarder)
        held = asyncio.create_task(lonely.process(hold, max_records=10, wait_seconds=20))
        await asyncio.wait_for(holding.wait(), 30)
        await forwarder.cut()
        successor = await scene.open_consumer()
        await scene.drain_until(successor, scene.is_drained)
        assert await scene.fetch_values() == ["0", "1", "2"]
        go_on.set()
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which error it is, is what is asserted
            await held
        assert is_transient(caught.value), repr(caught.value)
        await scene.append("3")
        # still cut off, and believing that the partition is its own: it has nothing, and writes nothing
        await scene.process_bravely(lonely)
        await scene.drain_until(successor, scene.is_drained)
        assert await scene.fetch_values() == ["0", "1", "2", "3"]
        await forwarder.open()
        await successor.close()
        await scene.append("4")
        await scene.drain_until(lonely, scene.is_drained)
        assert await scene.fetch_values() == ["0", "1", "2", "3", "4"]
        await log.close()
