"""The event log when PostgreSQL itself is killed, again and again, while others append and consume."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from skatestock.database.migrations import migrate
from skatestock.database.pool import Connection, create_pool
from skatestock.database.transactions import retry_transient
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.eventlog.port import Batch, Message, Position
from skatestock.eventlog.postgres import PostgresEventLog

TOPIC = "listing-observations"
KEYS = [f"shop-{number}" for number in range(4)]


async def write(connection: Connection, batch: Batch) -> None:
    await connection.executemany(
        'INSERT INTO seen (partition, "offset", key, value) VALUES ($1, $2, $3, $4)',
        [(batch.partition, record.offset, record.key, record.value.decode()) for record in batch.records],
    )


class Life:
    """Appends and consumes until it is told to stop, through every loss of the server."""

    def __init__(self, log: PostgresEventLog) -> None:
        self.log = log
        self.acknowledged: dict[Position, tuple[str, str]] = {}
        self.stop = asyncio.Event()

    async def append_on(self, key: str) -> None:
        number = 0
        while not self.stop.is_set():
            messages = [Message(key=key, value=f"{number + n}".encode()) for n in range(3)]
            positions = await retry_transient(lambda: self.log.append(TOPIC, messages))  # noqa: B023 - awaited here
            for position, message in zip(positions, messages, strict=True):
                self.acknowledged[position] = (key, message.value.decode())
            number += 3
            await asyncio.sleep(0.005)

    async def consume_on(self) -> None:
        consumer = await self.log.open_consumer("readers", TOPIC)
        quiet = False
        while not (self.stop.is_set() and quiet):
            processed = await retry_transient(
                lambda: consumer.process(write, max_records=7, wait_seconds=0.1), give_up_after_seconds=60
            )
            quiet = processed == 0


@pytest.mark.kills
async def test_nothing_acknowledged_is_lost_and_nothing_is_stored_twice(data_folder: Path) -> None:
    server = EmbeddedPostgres(data_folder / "postgres")
    await server.start()
    try:
        await migrate(server.dsn)
        pool = await create_pool(server.dsn, application_name="crash tests")
        await pool.execute(
            'CREATE TABLE seen (n bigserial, partition int, "offset" bigint, key text, value text)'
        )
        log = PostgresEventLog(pool, topics={TOPIC: 3})
        await log.ensure_topics()
        life = Life(log)
        tasks = [asyncio.create_task(life.append_on(key)) for key in KEYS]
        tasks += [asyncio.create_task(life.consume_on()) for _ in range(2)]
        for _ in range(3):
            await asyncio.sleep(0.5)
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            await server.stop()
            await server.start()
        await asyncio.sleep(0.5)
        life.stop.set()
        await asyncio.gather(*tasks)
        rows = await pool.fetch('SELECT partition, "offset", key, value FROM seen ORDER BY n')
        await log.close()
        await pool.close()
    finally:
        await server.stop()
    seen = {Position(row["partition"], row["offset"]): (row["key"], row["value"]) for row in rows}
    assert len(seen) == len(rows)
    assert len(life.acknowledged) > 100
    # an append that was repeated because its answer was lost may stand twice; one that was answered stands
    assert life.acknowledged.items() <= seen.items()
    for partition in {position.partition for position in seen}:
        offsets = [row["offset"] for row in rows if row["partition"] == partition]
        assert offsets == list(range(len(offsets)))
    for key in KEYS:
        first_seen = dict.fromkeys(int(row["value"]) for row in rows if row["key"] == key)
        assert list(first_seen) == sorted(first_seen)
