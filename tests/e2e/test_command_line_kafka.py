"""The platform on the Kafka, registry, PostgreSQL and Redis that settings name, and what it says of each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from tests.e2e.kafka_commands import LISTINGS, prepare, replica_shops, run
from tests.e2e.running import run_platform
from tests.kafka_scene import delete_topics
from tests.ports import refusing_port
from tests.servers import require_kafka, run_apart

from skatestock.cli.event_topics import TOPICS
from skatestock.embedded.kafka import EmbeddedKafka, Listener
from skatestock.eventlog.kafka import KafkaServers
from skatestock.eventlog.kafka.dead_letter_topic import dead_letter_topic_of
from skatestock.ingest.consumer import TOPIC

ALL_TOPICS = [*TOPICS, *(dead_letter_topic_of(topic) for topic in TOPICS)]

pytestmark = pytest.mark.xdist_group("kafka")


@pytest.fixture
async def external(
    kafka_server: str, schema_registry_url: str, database_dsn: str, valkey_url: str
) -> dict[str, str]:
    """Name servers on which nothing of ours stands yet but an empty schema of the database."""
    await delete_topics(KafkaServers(servers=kafka_server), *ALL_TOPICS)
    return {
        "SKATESTOCK_DATABASE_URL": database_dsn,
        "SKATESTOCK_REDIS_URL": valkey_url,
        "SKATESTOCK_KAFKA_SERVERS": kafka_server,
        "SKATESTOCK_SCHEMA_REGISTRY_URL": schema_registry_url,
    }


async def test_the_steps_of_deploying_can_be_taken_twice_and_then_a_crawl_is_stored(
    external: dict[str, str], tmp_path: Path
) -> None:
    missing = await run("crawl", "labor", environ=external, code=3)
    assert f"the topic '{TOPIC}' is not set up in Kafka: run `skatestock topics ensure`" in missing
    first = await run("topics", "ensure", environ=external)
    assert all(topic in first for topic in ALL_TOPICS)
    assert "all were there already" in await run("topics", "ensure", environ=external)
    for _ in range(2):
        await run("migrate", environ=external)
        assert "ListingObserved" in await run("schemas", "register", environ=external)
    topics = json.loads(await run("topics", "list", "--json", environ=external))["topics"]
    assert {topic["name"]: topic["partitions"] for topic in topics} == {TOPIC: 6, f"{TOPIC}.dlq": 1}

    async with replica_shops(tmp_path) as shops:
        crawled = await run("crawl", "labor", "nj", environ=external | shops)
    assert f"labor        complete; {LISTINGS} listings" in crawled
    status = json.loads(await run("status", "--json", environ=external))
    assert {shop["slug"]: shop["listings"] for shop in status["shops"]} == {"labor": LISTINGS, "nj": LISTINGS}
    partitions = status["log"]["partitions"]
    assert len(partitions) == 6
    assert sum(one["end_offset"] for one in partitions) == 2 * (LISTINGS + 1)
    assert sum(status["lag"].values()) == status["dead_letters_waiting"] == 0
    assert {schema["version"] for schema in status["log"]["schemas"]} == {1}
    words = await run("status", environ=external)
    assert external["SKATESTOCK_KAFKA_SERVERS"] in words
    assert "everything is stored" in words


async def test_up_runs_on_named_servers_alone_and_says_which(
    external: dict[str, str], data_folder: Path
) -> None:
    await prepare(external)
    async with replica_shops(data_folder) as shops, run_platform(data_folder, external | shops) as running:
        assert {"postgres", "valkey", "kafka", "registry"}.isdisjoint(running.children())
        async with asyncio.timeout(60):
            while True:
                status = json.loads(await run("status", "--json", environ=external))
                if sum(shop["listings"] for shop in status["shops"]) == 5 * LISTINGS:
                    break
                await asyncio.sleep(0.5)
    said = (data_folder / "supervisor.log").read_text()
    for name in ("KAFKA_SERVERS", "SCHEMA_REGISTRY_URL"):
        assert external[f"SKATESTOCK_{name}"] in said
    assert "Redis" in said
    for url in (external["SKATESTOCK_DATABASE_URL"], external["SKATESTOCK_REDIS_URL"]):
        assert url.partition("@")[2] in said
        assert url not in said, "no password is ever shown"


@pytest.mark.parametrize(
    "command", [("up",), ("crawl", "labor"), ("ingest", "--until-idle"), ("topics", "ensure")]
)
async def test_a_kafka_that_is_not_there_is_one_line(
    external: dict[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    with refusing_port() as port:
        nobody = f"127.0.0.1:{port}"
        said = await run(
            *command, "--data", str(tmp_path), environ=external | {"SKATESTOCK_KAFKA_SERVERS": nobody}, code=3
        )
    assert nobody in said
    assert "SKATESTOCK_KAFKA_SERVERS" in said


@pytest.mark.parametrize("command", [("up",), ("crawl", "labor"), ("schemas", "register")])
async def test_a_registry_that_is_not_there_or_none_is_one_line(
    external: dict[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    await run("topics", "ensure", environ=external)
    with refusing_port() as port:
        nobody = f"http://127.0.0.1:{port}/apis"
        said = await run(
            *command,
            *("--data", str(tmp_path)),
            environ=external | {"SKATESTOCK_SCHEMA_REGISTRY_URL": nobody},
            code=3,
        )
    assert nobody in said
    somebody_else = external["SKATESTOCK_SCHEMA_REGISTRY_URL"].partition("/apis")[0]
    said = await run(
        *command,
        *("--data", str(tmp_path)),
        environ=external | {"SKATESTOCK_SCHEMA_REGISTRY_URL": somebody_else},
        code=3,
    )
    assert somebody_else in said


async def test_schemas_that_nobody_registered_are_one_line(external: dict[str, str], tmp_path: Path) -> None:
    await run("migrate", environ=external)
    await run("topics", "ensure", environ=external)
    empty = forget_schemas(external["SKATESTOCK_SCHEMA_REGISTRY_URL"])
    said = await run("crawl", "labor", "--data", str(tmp_path), environ=external, code=3)
    assert empty
    assert "run `skatestock schemas register`" in said


def forget_schemas(url: str) -> bool:
    """Delete every subject of a registry, softly and for good."""
    with urlopen(f"{url}/subjects", timeout=10) as answer:
        subjects = json.load(answer)
    for subject in subjects:
        for query in ("", "?permanent=true"):
            urlopen(Request(f"{url}/subjects/{subject}{query}", method="DELETE"), timeout=10).close()
    return True


@pytest.fixture(scope="module")
def guarded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """Run a broker that asks who we are."""
    cache = require_kafka()
    folder = tmp_path_factory.mktemp("guarded")
    kafka = EmbeddedKafka(
        folder / "kafka", cache=cache, listeners=(Listener("GUARDED", {"ingest": "right"}),)
    )
    run_apart(kafka.start())
    yield kafka
    run_apart(kafka.stop())


async def test_a_refused_login_to_kafka_is_one_line_and_a_right_one_lets_us_in(
    guarded_kafka: EmbeddedKafka, external: dict[str, str], tmp_path: Path
) -> None:
    guarded = external | {
        "SKATESTOCK_KAFKA_SERVERS": f"127.0.0.1:{guarded_kafka.port_of('GUARDED')}",
        "SKATESTOCK_KAFKA_SECURITY": "sasl_plaintext",
        "SKATESTOCK_KAFKA_SASL": "PLAIN",
        "SKATESTOCK_KAFKA_USER": "ingest",
        "SKATESTOCK_KAFKA_PASSWORD": "guessed",
    }
    for command in (("up",), ("topics", "ensure"), ("crawl", "labor")):
        said = await run(*command, "--data", str(tmp_path), environ=guarded, code=3)
        assert "SKATESTOCK_KAFKA_USER" in said
        assert "guessed" not in said
    await run("topics", "ensure", environ=guarded | {"SKATESTOCK_KAFKA_PASSWORD": "right"})


async def test_a_redis_that_refuses_is_one_line_and_one_that_is_away_is_done_without(
    external: dict[str, str], tmp_path: Path
) -> None:
    address = external["SKATESTOCK_REDIS_URL"].partition("@")[2]
    wrong = external | {"SKATESTOCK_REDIS_URL": f"redis://:guessed@{address}"}
    said = await run("up", "--data", str(tmp_path), environ=wrong, code=3)
    assert "SKATESTOCK_REDIS_URL" in said
    assert "guessed" not in said
    await prepare(external)
    with refusing_port() as port:
        away = external | {"SKATESTOCK_REDIS_URL": f"redis://127.0.0.1:{port}/0"}
        async with replica_shops(tmp_path) as shops:
            crawled = await run("crawl", "labor", environ=away | shops)
    assert f"labor        complete; {LISTINGS} listings" in crawled


async def test_demo_on_embedded_kafka_shows_topics_schemas_and_its_past(data_folder: Path) -> None:
    cache = await asyncio.to_thread(require_kafka)
    demo = ("demo", "--kafka", "--listings", "10", "--days", "1", "--step-hours", "12")
    async with run_platform(data_folder, {"SKATESTOCK_CACHE": str(cache)}, *demo) as running:
        async with asyncio.timeout(60):
            while True:
                status = json.loads(await run("status", "--json", "--data", str(running.folder), environ={}))
                if [shop["listings"] > 0 for shop in status["shops"]] == [True] * 5:
                    break
        assert len(status["log"]["partitions"]) == 6
        assert [schema["version"] for schema in status["log"]["schemas"]] == [1, 1]
        assert status["log"]["servers"]["event_log"].startswith("Kafka at 127.0.0.1:")
        topics = await run("topics", "list", "--data", str(running.folder), environ={})
        assert all(topic in topics for topic in ALL_TOPICS)
    assert running.supervisor.returncode == 0
