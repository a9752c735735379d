"""A schema changes while everything runs: two versions of the package side by side on one log."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.forwarding import forwarded
from tests.ingest_shop import SHOP, add_shop, all_points, points, seen

import skatestock
from skatestock.database.transactions import is_transient
from skatestock.eventlog.dead_letters import find_dead_letters
from skatestock.eventlog.kafka import KafkaServers, ensure_topics
from skatestock.eventlog.port import Message
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.eventlog.schema_registry import SchemaRegistry
from skatestock.events.codec import Codec
from skatestock.events.versions import EVENTS
from skatestock.ingest.consumer import GROUP, TOPIC, IngestHandler, run_ingest

pytestmark = pytest.mark.xdist_group("registry")

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "rolling_program.py"
OLD = Path(skatestock.__file__).parents[1]
SEASON = '{"name": "season", "type": ["null", "string"], "default": null, "doc": "For which season."},'
START_SECONDS = 60


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the package's next version: observations have a season, released with the next number."""
    source = tmp_path_factory.mktemp("newer")
    package = source / "skatestock"
    shutil.copytree(OLD / "skatestock", package)
    schema = package / "events" / "schemas" / "ListingObserved.avsc"
    edit(schema, '    {"name": "handle",', f'    {SEASON}\n    {{"name": "handle",')
    history = package / "events" / "schemas" / "history" / "ListingObserved"
    shutil.copy(schema, history / f"{len(list(history.iterdir())) + 1}.avsc")
    edit(
        package / "events" / "model.py",
        "    handle: str\n",
        "    handle: str\n    season: str | None = None\n",
    )
    return source


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(before) == 1
    file.write_text(text.replace(before, after), "utf-8")


class Processes:
    """Starts processes of either version on one log."""

    def __init__(self, dsn: str, registry_url: str, subjects: str) -> None:
        self._dsn, self._registry = dsn, (registry_url, subjects)
        self.kafka = ""
        self.topic = TOPIC
        self._running: list[asyncio.subprocess.Process] = []

    async def start(self, version: Path, task: str, *more: str) -> asyncio.subprocess.Process:
        path = os.pathsep.join((str(version), str(ROOT)))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(str(PROGRAM), task, self._dsn, self.kafka, *self._registry, self.topic, *more),
            env=os.environ | {"PYTHONPATH": path},
            stdout=asyncio.subprocess.PIPE,
        )
        self._running.append(process)
        return process

    async def run(self, version: Path, task: str, *more: str) -> Any:
        return await self.finish(await self.start(version, task, *more))

    async def finish(self, process: asyncio.subprocess.Process) -> Any:
        async with asyncio.timeout(START_SECONDS):
            out, _ = await process.communicate()
        assert process.returncode == 0
        return json.loads(out.splitlines()[-1]) if out else None

    async def end(self) -> None:
        for process in self._running:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
def topic() -> str:
    """Return a name that no other test has subjects under."""
    return f"c-{os.urandom(6).hex()}"


@pytest.fixture
async def processes(
    database_dsn: str, schema_registry_url: str, topic: str, pool: asyncpg.Pool
) -> AsyncGenerator[Processes]:
    await add_shop(pool)
    await PostgresEventLog(pool, topics={TOPIC: 6}).ensure_topics()  # type: ignore[arg-type]
    processes = Processes(database_dsn, schema_registry_url, topic)
    yield processes
    await processes.end()


@pytest.fixture(params=["tables", pytest.param("kafka", marks=pytest.mark.xdist_group("kafka"))])
def kafka(request: pytest.FixtureRequest) -> str:
    """Return a broker's address, or nothing for the log on tables."""
    return str(request.getfixturevalue("kafka_server")) if request.param == "kafka" else ""


async def test_both_versions_read_what_both_write(
    processes: Processes, new: Path, topic: str, kafka: str
) -> None:
    if kafka:
        processes.kafka, processes.topic = kafka, topic
        servers = KafkaServers(servers=kafka, client_id="rolling")
        await ensure_topics(servers, {topic: 6}, replication=None, retention_days=1)
    assert await processes.run(OLD, "register") == [1, 1]
    assert await processes.run(new, "register") == [2, 1]
    count = 60
    readers = [await processes.start(version, "read", version.name, str(2 * count)) for version in (OLD, new)]
    writers = [
        await processes.start(version, "produce", name, str(count))
        for version, name in ((OLD, "old"), (new, "new"))
    ]
    for writer in writers:
        await processes.finish(writer)
    by_old, by_new = [await processes.finish(reader) for reader in readers]

    written = [f"{name}-{number}" for name in ("old", "new") for number in range(count)]
    assert sorted(listing for listing, _ in by_old) == sorted(written)
    assert {season for _, season in by_old} == {"not known here"}
    assert [listing for listing, _ in by_new] == [listing for listing, _ in by_old]
    assert {(listing.partition("-")[0], season) for listing, season in by_new} == {
        ("old", None),
        ("new", "winter"),
    }
    # They really stood mixed in the log.
    names = [listing.partition("-")[0] for listing, _ in by_old]
    assert sum(one != other for one, other in itertools.pairwise(names)) > 5


async def test_a_rolling_change_loses_and_buries_nothing(
    processes: Processes, new: Path, pool: asyncpg.Pool
) -> None:
    await processes.run(OLD, "register")
    old_ingest = await processes.start(OLD, "ingest")
    old_writer = await processes.start(OLD, "produce", "old", "300")
    await wait_until(lambda: stored(pool), at_least=20)

    # The deployment: schemas first, then the consumers, then the producers.
    await processes.run(new, "register")
    new_ingest = await processes.start(new, "ingest")
    new_writer = await processes.start(new, "produce", "new", "150")
    await wait_until(lambda: stored(pool, "new"), at_least=20)
    old_ingest.send_signal(signal.SIGTERM)
    by_old = await processes.finish(old_ingest)
    await processes.finish(old_writer)
    await processes.finish(new_writer)
    await wait_until(lambda: stored(pool), at_least=450)
    new_ingest.send_signal(signal.SIGTERM)
    by_new = await processes.finish(new_ingest)

    assert await stored(pool) == by_old + by_new == 450
    assert by_old > 0
    assert by_new > 0
    async with pool.acquire() as connection:
        assert await find_dead_letters(connection) == []


async def stored(pool: asyncpg.Pool, name: str = "") -> int:
    return len([listing for listing, _ in await all_points(pool, SHOP) if listing.startswith(name)])


async def wait_until(count: Callable[[], Any], *, at_least: int) -> None:
    async with asyncio.timeout(START_SECONDS):
        while await count() < at_least:
            await asyncio.sleep(0.1)


async def test_without_the_registry_known_ids_go_on_and_unknown_ones_wait(
    processes: Processes, new: Path, pool: asyncpg.Pool, schema_registry_url: str, topic: str
) -> None:
    await processes.run(OLD, "register")
    log = PostgresEventLog(pool, topics={TOPIC: 6})  # type: ignore[arg-type]
    async with forwarded(schema_registry_url) as way:
        registry = SchemaRegistry(way.url, topic)
        await registry.load_ids()
        codec, stop = Codec(registry), asyncio.Event()
        working = asyncio.create_task(run_ingest(log, stop, codec=codec))
        await way.cut()

        await say(log, codec, "known", 10)
        await wait_until(lambda: stored(pool, "known"), at_least=1)

        await processes.run(new, "register")
        await processes.run(new, "produce", "new", "3")
        await say(log, codec, "behind", 20)
        await asyncio.sleep(1.5)
        assert await stored(pool, "new") == await stored(pool, "behind") == 0
        assert not working.done()

        await way.open()
        await wait_until(lambda: stored(pool, "behind"), at_least=1)
        assert await stored(pool, "new") == 3
        stop.set()
        await working
        await registry.close()
    async with pool.acquire() as connection:
        assert await find_dead_letters(connection) == []
    assert len(await points(pool, "new-0")) == 1


async def say(log: PostgresEventLog, codec: Codec, listing: str, minute: int) -> None:
    await log.append(TOPIC, [Message(key=SHOP, value=codec.encode(seen(minute, listing=listing)))])


async def test_an_id_that_the_registry_does_not_have_is_a_dead_letter_at_once(
    processes: Processes, pool: asyncpg.Pool, schema_registry_url: str, topic: str
) -> None:
    registry = SchemaRegistry(schema_registry_url, topic)
    for event in EVENTS:
        await registry.register(event)
    codec = Codec(registry)
    value = codec.encode(seen(0))
    log = PostgresEventLog(pool, topics={TOPIC: 6})  # type: ignore[arg-type]
    values = [value, b"\x00\x7f\xff\xff\xff" + value[5:], codec.encode(seen(1, listing="2"))]
    await log.append(TOPIC, [Message(key=SHOP, value=each) for each in values])
    consumer = await log.open_consumer(GROUP, TOPIC)
    assert await consumer.process(IngestHandler(codec=codec), max_records=10, wait_seconds=5) == 3
    async with pool.acquire() as connection:
        (letter,) = await find_dead_letters(connection)
    assert (letter.kind, letter.value) == ("unknown_schema_id", values[1])
    assert len(await all_points(pool)) == 2
    await consumer.close()
    await registry.close()


async def test_the_registry_away_fails_the_batch_as_something_transient(
    processes: Processes, pool: asyncpg.Pool, schema_registry_url: str, topic: str
) -> None:
    async with forwarded(schema_registry_url) as way:
        registry = SchemaRegistry(way.url, topic)
        await way.cut()
        log = PostgresEventLog(pool, topics={TOPIC: 6})  # type: ignore[arg-type]
        await log.append(TOPIC, [Message(key=SHOP, value=b"\x00\x00\x00\x00\x07 of a newer schema")])
        consumer = await log.open_consumer(GROUP, TOPIC)
        with pytest.raises(ConnectionError) as caught:
            await consumer.process(IngestHandler(codec=Codec(registry)), max_records=10, wait_seconds=5)
        assert is_transient(caught.value)
        (lag,) = [each.lag for each in await log.fetch_lag(GROUP, TOPIC) if each.lag]
        assert lag == 1
        await consumer.close()
        await registry.close()
