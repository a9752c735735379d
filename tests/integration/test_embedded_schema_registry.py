"""A real schema registry in a folder: ids that stay, on loopback only; and both servers supervised."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.folders import make_public_folder
from tests.servers import require_kafka, run_apart

from skatestock.embedded.addresses import find_addresses
from skatestock.embedded.children import ChildState
from skatestock.embedded.data_folder import hold_folder
from skatestock.embedded.kafka import EmbeddedKafka
from skatestock.embedded.kafka_wire import fetch_cluster
from skatestock.embedded.schema_registry import EmbeddedSchemaRegistry
from skatestock.embedded.supervisor import Supervisor

pytestmark = pytest.mark.xdist_group("kafka-processes")

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="session")
def cache() -> Path:
    return require_kafka()


@pytest.fixture(scope="module")
def registry(cache: Path) -> Iterator[EmbeddedSchemaRegistry]:
    folder = make_public_folder()
    server = EmbeddedSchemaRegistry(folder / "registry", cache=cache)
    run_apart(server.start())
    yield server
    run_apart(server.stop())
    shutil.rmtree(folder, ignore_errors=True)


def _register(url: str, name: str) -> int:
    schema = json.dumps({"type": "record", "name": name, "fields": []})
    request = urllib.request.Request(
        f"{url}/subjects/{name}/versions",
        json.dumps({"schema": schema}).encode(),
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with _DIRECT.open(request, timeout=20) as answer:
        return int(json.load(answer)["id"])


def _name_of(url: str, number: int) -> str:
    with _DIRECT.open(f"{url}/schemas/ids/{number}", timeout=20) as answer:
        return str(json.loads(json.load(answer)["schema"])["name"])


async def test_an_id_stays_with_its_schema_over_kills_and_restarts(registry: EmbeddedSchemaRegistry) -> None:
    url = registry.url
    assert url.endswith("/apis/ccompat/v7")
    first = _register(url, "First")
    # Killed at once: what was answered must be in the file already.
    await registry.crash()
    assert registry.url == url
    second = _register(url, "Second")
    await registry.stop()
    await registry.start()
    third = _register(registry.url, "Third")
    assert len({first, second, third}) == 3
    assert [_name_of(url, number) for number in (first, second, third)] == ["First", "Second", "Third"]
    assert _register(url, "First") == first


def test_neither_port_listens_beyond_loopback(registry: EmbeddedSchemaRegistry) -> None:
    assert registry.pid is not None
    connections = psutil.Process(registry.pid).net_connections(kind="all")
    addresses = [one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN]
    assert len(addresses) == 2
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
    assert not [one for one in connections if one.raddr and not one.raddr.ip.endswith("127.0.0.1")]


async def test_a_supervisor_keeps_both_up_and_the_folder_tells_where(data_folder: Path, cache: Path) -> None:
    folder = data_folder / "platform"
    async with hold_folder(folder) as held:
        kafka = EmbeddedKafka(folder / "kafka", cache=cache)
        registry = EmbeddedSchemaRegistry(folder / "registry", cache=cache)
        await kafka.prepare()
        await registry.prepare()
        supervisor = Supervisor(held, [kafka.child(), registry.child()])
        try:
            await asyncio.wait_for(supervisor.start(), 120)
            found = find_addresses(folder)
            assert found is not None
            assert (found.kafka_servers, found.schema_registry_url) == (kafka.servers, registry.url)
            assert (found.database_url, found.redis_url) == (None, None)
            await _kill_and_wait(supervisor, "kafka")
            assert (await fetch_cluster("127.0.0.1", kafka.port)).brokers == (1,)
            _register(registry.url, "First")
        finally:
            await supervisor.stop()
    assert find_addresses(folder) is None


async def _kill_and_wait(supervisor: Supervisor, name: str) -> None:
    before = next(one for one in supervisor.statuses() if one.name == name)
    assert before.pid is not None
    psutil.Process(before.pid).kill()
    for _ in range(600):
        now = next(one for one in supervisor.statuses() if one.name == name)
        if now.restarts > before.restarts and now.state is ChildState.READY:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{name} did not come back: {now}")
