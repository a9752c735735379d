"""One process of a rolling deployment; `PYTHONPATH` says of which version of the package it is.

python tests/rolling_program.py register|produce|read|ingest DSN KAFKA REGISTRY SUBJECTS TOPIC [MORE ...]

KAFKA is empty for the log on tables; SUBJECTS is what the subjects in the registry begin with.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

from tests.ingest_shop import SHOP, at, seen

from skatestock.database.pool import Pool, create_pool
from skatestock.eventlog.kafka import KafkaEventLog, KafkaServers
from skatestock.eventlog.port import Batch, Connection, EventLog, Message
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.eventlog.schema_registry import SchemaRegistry
from skatestock.events.codec import Codec, event_name
from skatestock.events.model import ListingObserved
from skatestock.events.versions import EVENTS
from skatestock.ingest.consumer import run_ingest
from skatestock.telemetry.logs import configure_logging

PAUSE_SECONDS = 0.02


def say(thing: object) -> None:
    """Tell the test something, at once."""
    sys.stdout.write(json.dumps(thing) + "\n")
    sys.stdout.flush()


def observe(name: str, number: int) -> ListingObserved:
    """Make the observation of a listing; a version that knows of seasons says one."""
    more: dict[str, Any] = {"season": "winter"} if "season" in ListingObserved.__struct_fields__ else {}
    return seen(number, listing=f"{name}-{number}", **more)


async def produce(log: EventLog, topic: str, codec: Codec, name: str, count: str) -> None:
    """Append so many observations, one by one."""
    for number in range(int(count)):
        event = observe(name, number)
        message = Message(key=SHOP, value=codec.encode(event), headers={"event": event_name(event)})
        await log.append(topic, [message])
        await asyncio.sleep(PAUSE_SECONDS)


async def read(log: EventLog, topic: str, codec: Codec, group: str, count: str) -> None:
    """Read so many records as a group of its own; tell listing and season of each."""
    found: list[tuple[str, object]] = []

    async def handle(_: Connection, batch: Batch) -> None:
        await codec.prepare(record.value for record in batch.records)
        for record in batch.records:
            event = codec.decode(record.value, clock=lambda: at(100_000))
            assert isinstance(event, ListingObserved)
            found.append((event.listing_id, getattr(event, "season", "not known here")))

    consumer = await log.open_consumer(group, topic)
    while len(found) < int(count):
        await consumer.process(handle, max_records=10, wait_seconds=0.1)
    await consumer.close()
    say(found)


async def ingest(log: EventLog, codec: Codec) -> None:
    """Ingest until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    say("ready")
    stored = 0

    def count(records: int) -> None:
        nonlocal stored
        stored += records

    await run_ingest(log, stop, codec=codec, on_batch=count, max_records=5)
    say(stored)


def open_log(pool: Pool, kafka: str, topic: str) -> EventLog:
    """Open the log on Kafka or, without its address, on tables."""
    if not kafka:
        return PostgresEventLog(pool, topics={topic: 6})
    servers = KafkaServers(servers=kafka, client_id="rolling")
    return KafkaEventLog(pool, servers, topics={topic: 6}, session_seconds=6)


async def work(task: str, log: EventLog, topic: str, codec: Codec, *more: str) -> None:
    """Do one of the tasks."""
    if task == "produce":
        await produce(log, topic, codec, *more)
    elif task == "read":
        await read(log, topic, codec, *more)
    else:
        await ingest(log, codec)


async def main(task: str, dsn: str, kafka: str, url: str, subjects: str, topic: str, *more: str) -> None:
    """Connect, and do the task."""
    configure_logging("rolling", json=False, level="warning")
    registry = SchemaRegistry(url, subjects)
    if task == "register":
        say([(await registry.register(event)).version for event in EVENTS])
    else:
        await registry.load_ids()
        pool = await create_pool(dsn, application_name=f"tests {task}", max_size=4)
        log = open_log(pool, kafka, topic)
        await work(task, log, topic, Codec(registry), *more)
        await log.close()
        await pool.close()
    await registry.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
