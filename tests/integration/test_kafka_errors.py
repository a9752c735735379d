"""What is wrong with Kafka is told in one line, soon, with what to do; and a lost broker is borne."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from confluent_kafka import KafkaError
from tests.folders import make_public_folder
from tests.kafka_scene import PARTITIONS, KafkaScene, assert_once_in_order, open_scene
from tests.ports import refusing_port
from tests.servers import require_kafka, run_apart

from skatestock.database.pool import Pool
from skatestock.database.transactions import is_transient
from skatestock.embedded.kafka import EmbeddedKafka, Listener
from skatestock.eventlog.errors import (
    EventLogError,
    LogRefusedError,
    LogUnavailableError,
    MessageTooLargeError,
    UnknownTopicError,
)
from skatestock.eventlog.kafka import KafkaEventLog, KafkaServers, check_servers, ensure_topics
from skatestock.eventlog.kafka.connection import explain
from skatestock.eventlog.kafka.producer import MAX_MESSAGE_BYTES
from skatestock.eventlog.port import Message, Position, partition_for

pytestmark = pytest.mark.xdist_group("kafka")

LABOR = partition_for("labor", PARTITIONS)


@pytest.fixture(scope="module")
def own_broker() -> Iterator[EmbeddedKafka]:
    """Run a broker that may be stopped, and that asks for a login on a second address."""
    folder = make_public_folder()
    login = Listener("LOGIN", users={"ingest": "right"})
    broker = EmbeddedKafka(folder / "kafka", cache=require_kafka(), listeners=(login,))
    run_apart(broker.start())
    yield broker
    run_apart(broker.stop())
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def scene(database_dsn: str, kafka_server: str) -> AsyncIterator[KafkaScene]:
    async with open_scene(database_dsn, kafka_server) as scene:
        yield scene


@pytest.fixture
async def own_scene(database_dsn: str, own_broker: EmbeddedKafka) -> AsyncIterator[KafkaScene]:
    async with open_scene(database_dsn, own_broker.servers) as scene:
        yield scene


def login(broker: EmbeddedKafka, *, password: str = "right", user: str = "ingest") -> KafkaServers:
    return KafkaServers(
        servers=f"127.0.0.1:{broker.port_of('LOGIN')}",
        security="sasl_plaintext",
        sasl="PLAIN",
        user=user,
        password=password,
    )


async def fail_to_reach(servers: KafkaServers, *, within_seconds: float = 5.0) -> EventLogError:
    began = time.monotonic()
    with pytest.raises(EventLogError) as caught:
        await check_servers(servers, timeout_seconds=8)
    assert time.monotonic() - began < within_seconds
    assert "\n" not in str(caught.value)
    assert servers.servers in str(caught.value)
    return caught.value


# ---------------------------------------------------------------- who does not get in


async def test_a_broker_that_is_there_is_named(kafka_server: str) -> None:
    cluster = await check_servers(KafkaServers(servers=kafka_server))
    assert kafka_server in cluster.brokers
    assert cluster.id


async def test_nobody_listening_is_told_at_once_and_worth_another_try() -> None:
    with refusing_port() as port:
        error = await fail_to_reach(KafkaServers(servers=f"127.0.0.1:{port}"))
    assert isinstance(error, LogUnavailableError)
    assert is_transient(error)
    assert "SKATESTOCK_KAFKA_SERVERS" in str(error)


async def test_a_host_that_does_not_exist_is_told_as_that() -> None:
    error = await fail_to_reach(KafkaServers(servers="no-such-host.invalid:9092"))
    assert isinstance(error, LogUnavailableError)
    assert "there is no host" in str(error)


async def test_one_broker_of_several_that_is_away_does_no_harm(kafka_server: str) -> None:
    with refusing_port() as port:
        cluster = await check_servers(KafkaServers(servers=f"127.0.0.1:{port},{kafka_server}"))
    assert kafka_server in cluster.brokers


async def test_the_right_login_is_let_in(own_broker: EmbeddedKafka) -> None:
    assert (await check_servers(login(own_broker))).brokers


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"user": "nobody"}], ids=["password", "user"])
async def test_a_wrong_login_is_refused_once_and_for_all(
    own_broker: EmbeddedKafka, wrong: dict[str, str]
) -> None:
    error = await fail_to_reach(login(own_broker, **wrong))
    assert isinstance(error, LogRefusedError)
    assert not is_transient(error)
    assert "SKATESTOCK_KAFKA_PASSWORD" in str(error)


async def test_no_login_where_one_is_asked_for_is_told(own_broker: EmbeddedKafka) -> None:
    error = await fail_to_reach(KafkaServers(servers=login(own_broker).servers), within_seconds=9)
    assert "SKATESTOCK_KAFKA_SECURITY" in str(error)


async def test_a_mechanism_that_the_broker_does_not_know_is_told(own_broker: EmbeddedKafka) -> None:
    servers = KafkaServers(
        servers=login(own_broker).servers, security="sasl_plaintext", user="ingest", password="right"
    )
    error = await fail_to_reach(servers)
    assert isinstance(error, LogRefusedError)
    assert "SKATESTOCK_KAFKA_SASL" in str(error)


async def test_tls_where_none_is_spoken_is_told(kafka_server: str) -> None:
    error = await fail_to_reach(KafkaServers(servers=kafka_server, security="tls"), within_seconds=9)
    assert isinstance(error, LogRefusedError)
    assert "SKATESTOCK_KAFKA_SECURITY" in str(error)


async def test_a_file_of_authorities_that_is_not_there_is_told(kafka_server: str) -> None:
    servers = KafkaServers(servers=kafka_server, security="tls", ca_file="/no/such/file.pem")
    with pytest.raises(LogRefusedError, match="SKATESTOCK_KAFKA_CA_FILE"):
        await check_servers(servers)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, UnknownTopicError, "skatestock topics ensure"),
        (KafkaError.MSG_SIZE_TOO_LARGE, MessageTooLargeError, "too large"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, LogRefusedError, "the user 'ingest'"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, LogRefusedError, "SKATESTOCK_KAFKA_USER"),
        (KafkaError.NOT_ENOUGH_REPLICAS, LogUnavailableError, "does not answer"),
        (KafkaError.UNSUPPORTED_VERSION, LogRefusedError, "UNSUPPORTED_VERSION"),
    ],
)
def test_each_error_of_kafka_has_its_kind_and_its_advice(
    code: int, kind: type[EventLogError], words: str
) -> None:
    told = explain(KafkaError(code), KafkaServers(servers="here:1", user="ingest"), topic="t")
    assert type(told) is kind
    assert words in str(told)
    assert "here:1" in str(told)


# ---------------------------------------------------------------- what cannot be appended


async def test_a_message_that_is_too_large_is_refused_before_anything_is_sent(scene: KafkaScene) -> None:
    small = Message(key="labor", value=b"small")
    large = Message(key="labor", value=bytes(MAX_MESSAGE_BYTES))
    with pytest.raises(MessageTooLargeError, match="nothing was appended"):
        await scene.log.append(scene.topic, [small, large])
    assert await scene.fetch_total_lag() == 0


async def test_the_largest_message_comes_back_whole_even_if_it_cannot_be_compressed(
    scene: KafkaScene,
) -> None:
    value = random.Random(3).randbytes(MAX_MESSAGE_BYTES - 5)
    assert await scene.log.append(scene.topic, [Message(key="labor", value=value)]) == [Position(LABOR, 0)]
    consumer = await scene.open_consumer()
    found: list[bytes] = []

    async def keep(_connection: object, batch: object) -> None:
        found.extend(record.value for record in batch.records)  # type: ignore[attr-defined]

    assert await consumer.process(keep, max_records=1, wait_seconds=20) == 1
    assert found == [value]


@pytest.mark.parametrize(
    "message", [Message(key="a\x00", value=b""), Message(key="a", value=b"", headers={"h": "\x00"})]
)
async def test_a_nul_in_key_or_headers_is_refused(scene: KafkaScene, message: Message) -> None:
    with pytest.raises(ValueError, match="NUL"):
        await scene.log.append(scene.topic, [message])
    assert await scene.fetch_total_lag() == 0


async def test_a_topic_that_kafka_does_not_have_says_how_to_set_it_up(kafka_server: str, pool: Pool) -> None:
    log = KafkaEventLog(pool, KafkaServers(servers=kafka_server), topics={"never-made": 2}, append_seconds=6)
    with pytest.raises(UnknownTopicError, match=r"never-made.*topics ensure"):
        await log.append("never-made", [Message(key="a", value=b"x")])
    with pytest.raises(UnknownTopicError, match=r"never-made.*topics ensure"):
        await log.open_consumer("readers", "never-made")
    with pytest.raises(UnknownTopicError, match=r"never-made.*topics ensure"):
        await log.fetch_lag("readers", "never-made")
    await log.close()


# ---------------------------------------------------------------- a broker that goes and comes


async def test_an_append_while_the_broker_is_away_fails_in_bounded_time_and_works_again_later(
    own_scene: KafkaScene, own_broker: EmbeddedKafka
) -> None:
    log = own_scene.new_log(append_seconds=3)
    await log.append(own_scene.topic, [Message(key="labor", value=b"before")])
    await own_broker.stop()
    try:
        began = time.monotonic()
        with pytest.raises(LogUnavailableError, match=own_broker.servers):
            await log.append(own_scene.topic, [Message(key="labor", value=b"lost")])
        assert time.monotonic() - began < 10
        with pytest.raises(LogUnavailableError):
            await log.fetch_lag(own_scene.group, own_scene.topic)
        with pytest.raises(LogUnavailableError):
            await ensure_topics(own_scene.servers, {"x": 1}, replication=1, retention_days=1)
        began = time.monotonic()
        closing = own_scene.new_log()
        await closing.close()
        assert time.monotonic() - began < 5
    finally:
        await own_broker.start()
    await append_bravely(log, own_scene.topic, b"after")
    consumer = await own_scene.open_consumer()
    await own_scene.drain_until(consumer, own_scene.is_drained)
    assert await own_scene.fetch_values() == ["before", "after"]
    await log.close()


async def test_broker_crashes_in_the_middle_of_appending_and_consuming_lose_nothing(
    own_scene: KafkaScene, own_broker: EmbeddedKafka
) -> None:
    consumers = [await own_scene.open_consumer() for _ in range(2)]
    acknowledged: dict[Position, str] = {}
    stop = asyncio.Event()

    async def append_on(key: str) -> None:
        number = 0
        while not stop.is_set():
            value = f"{key} {number}"
            (position,) = await append_bravely(own_scene.log, own_scene.topic, value.encode(), key=key)
            acknowledged[position] = value
            number += 1
            await asyncio.sleep(0.01)

    async def consume_on(place: int) -> None:
        while not stop.is_set():
            await own_scene.process_bravely(consumers[place])

    tasks = [asyncio.create_task(append_on(f"shop-{number}")) for number in range(4)]
    tasks += [asyncio.create_task(consume_on(place)) for place in range(2)]
    for _ in range(2):
        await asyncio.sleep(1.5)
        await own_broker.crash()
    await asyncio.sleep(1.5)
    stop.set()
    await asyncio.gather(*tasks)
    await asyncio.gather(*(own_scene.drain_until(one, own_scene.is_drained) for one in consumers))
    seen = await own_scene.fetch_seen()
    assert len(acknowledged) > 50
    # an append whose answer was lost may stand twice; one that was answered stands where it was said
    assert acknowledged.items() <= dict(seen).items()
    assert_once_in_order(seen, dict(seen))


async def test_a_consumer_is_closed_in_bounded_time_while_the_broker_is_away(
    own_scene: KafkaScene, own_broker: EmbeddedKafka
) -> None:
    await own_scene.append("0")
    consumer = await own_scene.open_consumer()
    await own_scene.drain(consumer)
    await own_broker.stop()
    try:
        assert await consumer.process(own_scene.write, max_records=1, wait_seconds=0.5) == 0
        began = time.monotonic()
        await consumer.close()
        assert time.monotonic() - began < 16
    finally:
        await own_broker.start()


async def append_bravely(
    log: KafkaEventLog, topic: str, value: bytes, *, key: str = "labor"
) -> list[Position]:
    give_up_at = time.monotonic() + 60
    while True:
        try:
            return await log.append(topic, [Message(key=key, value=value)])
        except LogUnavailableError:
            assert time.monotonic() < give_up_at
