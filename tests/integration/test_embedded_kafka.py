"""A real Kafka broker in a folder: it keeps what it acknowledged, and talks to this machine only."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from tests.folders import make_public_folder
from tests.kafka_clients import append, make_topic, read_all
from tests.servers import require_kafka, run_apart

from skatestock.embedded.accounts import can_enter, find_server_account
from skatestock.embedded.errors import DamagedFolderError, EmbeddedError, PortInUseError, ServerNotFoundError
from skatestock.embedded.jars import get_bundle
from skatestock.embedded.kafka import EmbeddedKafka, Listener
from skatestock.embedded.kafka_wire import fetch_cluster

pytestmark = pytest.mark.xdist_group("kafka-processes")

PASSWORD = "of the broker's user"
# Nobody listens there: a client is only told of it.
ADVERTISED = 9


@pytest.fixture(scope="session")
def cache() -> Path:
    return require_kafka()


@pytest.fixture
async def broker(data_folder: Path, cache: Path) -> AsyncIterator[EmbeddedKafka]:
    server = EmbeddedKafka(data_folder / "kafka", cache=cache)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="module")
def shared(cache: Path) -> Iterator[EmbeddedKafka]:
    """One broker, with further listeners, for tests that leave it as it is."""
    folder = make_public_folder()
    users = {"crawl": PASSWORD, "ingest": "another"}
    listeners = (Listener("GUARDED", users), Listener("PROXIED", advertised_port=ADVERTISED))
    server = EmbeddedKafka(folder / "kafka", cache=cache, listeners=listeners)
    run_apart(server.start())
    yield server
    run_apart(server.stop())
    shutil.rmtree(folder, ignore_errors=True)


def _listening(pid: int | None) -> list[str]:
    assert pid is not None
    connections = psutil.Process(pid).net_connections(kind="all")
    return [one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN]


def _can_log_in(servers: str, user: str, password: str) -> bool:
    options: dict[str, str | int | float | bool] = {
        "bootstrap.servers": servers,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
        "log_level": "0",
    }
    try:
        AdminClient(options).list_topics(timeout=3)
    except KafkaException:
        return False
    return True


async def test_acknowledged_records_survive_a_kill_and_a_restart(broker: EmbeddedKafka) -> None:
    servers = broker.servers
    make_topic(servers, "kept")
    append(servers, "kept", b"before the kill")
    await broker.crash()
    assert broker.servers == servers
    assert read_all(servers, "kept") == [b"before the kill"]
    append(servers, "kept", b"after it")
    started_at = time.monotonic()
    await broker.stop()
    assert time.monotonic() - started_at < 20
    assert (broker.data / ".kafka_cleanshutdown").exists()
    with pytest.raises(OSError, match="Connect call failed"):
        await fetch_cluster("127.0.0.1", broker.port)
    await broker.start()
    assert broker.servers == servers
    assert read_all(servers, "kept") == [b"before the kill", b"after it"]


def test_nothing_listens_beyond_loopback(shared: EmbeddedKafka) -> None:
    addresses = _listening(shared.pid)
    assert len(addresses) == 4
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}


def test_a_topic_is_made_on_purpose_only(shared: EmbeddedKafka) -> None:
    with pytest.raises(AssertionError, match="timed out"):
        append(shared.servers, "misspelt", b"lost", options={"message.timeout.ms": "2000"})
    assert "misspelt" not in AdminClient({"bootstrap.servers": shared.servers}).list_topics(timeout=10).topics


async def test_ports_that_were_taken_meanwhile_are_replaced_and_the_data_stays(
    broker: EmbeddedKafka,
) -> None:
    make_topic(broker.servers, "kept")
    append(broker.servers, "kept", b"one")
    await broker.stop()
    remembered = [int((broker.folder / name).read_text()) for name in ("port", "controller-port")]
    with ExitStack() as stack:
        for port in remembered:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        await broker.start()
        assert broker.port not in remembered
        assert read_all(broker.servers, "kept") == [b"one"]


async def test_a_configured_port_in_use_is_named(data_folder: Path, cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = EmbeddedKafka(data_folder / "kafka", cache=cache, port=taken.getsockname()[1])
        with pytest.raises(PortInUseError, match="Kafka is to listen on"):
            await server.start()


def test_a_listener_with_users_refuses_wrong_passwords(shared: EmbeddedKafka) -> None:
    address = f"127.0.0.1:{shared.port_of('GUARDED')}"
    assert _can_log_in(address, "crawl", PASSWORD)
    assert _can_log_in(address, "ingest", "another")
    assert not _can_log_in(address, "crawl", "another")
    assert not _can_log_in(address, "nobody", PASSWORD)


def test_a_listener_sends_its_clients_to_the_advertised_port(shared: EmbeddedKafka) -> None:
    address = f"127.0.0.1:{shared.port_of('PROXIED')}"
    found = AdminClient({"bootstrap.servers": address, "log_level": "0"}).list_topics(timeout=10)
    assert [broker.port for broker in found.brokers.values()] == [ADVERTISED]
    direct = AdminClient({"bootstrap.servers": shared.servers}).list_topics(timeout=10)
    assert [broker.port for broker in direct.brokers.values()] == [shared.port]


async def test_a_folder_may_have_an_odd_name(data_folder: Path, cache: Path) -> None:
    server = EmbeddedKafka(data_folder / "a, b = c\\d # é" / "kafka", cache=cache)
    await server.start()
    try:
        make_topic(server.servers, "kept")
        append(server.servers, "kept", b"one")
        assert (server.data / "kept-0").is_dir()
    finally:
        await server.stop()


async def test_data_without_their_cluster_are_refused(data_folder: Path, cache: Path) -> None:
    server = EmbeddedKafka(data_folder / "kafka", cache=cache)
    await server.prepare()
    (server.data / "meta.properties").unlink()
    with pytest.raises(DamagedFolderError, match="does not name its cluster"):
        await server.start()
    assert (server.data / "__cluster_metadata-0").is_dir()


async def test_a_formatting_that_was_cut_off_is_begun_anew(data_folder: Path, cache: Path) -> None:
    left = data_folder / "kafka" / "home" / "data.partial-cut"
    left.mkdir(parents=True)
    (left / "meta.properties").write_text("")
    server = EmbeddedKafka(data_folder / "kafka", cache=cache)
    await server.prepare()
    assert not left.exists()
    assert (server.data / "meta.properties").exists()


async def test_a_configured_folder_without_java_is_named(data_folder: Path, cache: Path) -> None:
    server = EmbeddedKafka(data_folder / "kafka", cache=cache, java=data_folder)
    with pytest.raises(ServerNotFoundError, match="has no bin/java"):
        await server.start()


async def test_another_server_on_the_port_is_not_taken_for_the_broker(data_folder: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(EmbeddedError, match="no Kafka broker"):
            await fetch_cluster("127.0.0.1", server.sockets[0].getsockname()[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands its servers to another account")
async def test_root_runs_it_as_another_account_from_a_folder_that_only_root_may_enter(
    tmp_path: Path, cache: Path, shelter: Path
) -> None:
    tmp_path.chmod(0o700)
    account = find_server_account(tmp_path)
    assert not can_enter(account, tmp_path)
    name = get_bundle("kafka").folder_name
    shutil.copytree(cache / name, tmp_path / "cache" / name)
    server = EmbeddedKafka(tmp_path / "kafka", cache=tmp_path / "cache", shelter=shelter)
    await server.start()
    try:
        make_topic(server.servers, "kept")
        assert server.data.resolve().is_relative_to(shelter)
        assert account is not None
        assert psutil.Process(server.pid).uids().effective == account.uid
    finally:
        await server.stop()


@pytest.fixture
def shelter() -> Iterator[Path]:
    folder = make_public_folder()
    yield folder / "shelter"
    shutil.rmtree(folder, ignore_errors=True)
