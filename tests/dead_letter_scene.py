"""Dead letters of a Kafka log, and relays of them as processes of their own.

Run as a program, it is one relay: `python -m tests.dead_letter_scene DSN SERVERS TOPIC`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from confluent_kafka.admin import AdminClient, NewTopic

from skatestock.database.pool import Connection, create_pool
from skatestock.eventlog.kafka.connection import KafkaServers
from skatestock.eventlog.kafka.dead_letter_relay import relay_dead_letters
from skatestock.eventlog.kafka.dead_letter_topic import (
    StoredLetter,
    dead_letter_topic_of,
    read_dead_letter_topic,
)
from skatestock.telemetry.logs import configure_logging

LOG = str(uuid.UUID(int=4))
"""A topic id as Kafka gives it out."""

_INSERT = """
    INSERT INTO dead_letters (consumer_group, topic, partition, "offset", key, value, headers, error_kind,
        error_text, consumer_version, log)
    SELECT 'ingest', $1, n % 6, $2 + n, 'labor', convert_to('value ' || $2 + n, 'UTF8'), '{}', 'truncated',
        'cut off', '0', $4 FROM generate_series(0, $3 - 1) AS n
"""


def kafka_at(servers: str) -> KafkaServers:
    """Say how a test's Kafka is reached."""
    return KafkaServers(servers=servers)


def make_topic(servers: str, **settings: str) -> str:
    """Make a dead letter topic of its own, and return the name of the topic whose letters it takes."""
    topic = f"d-{uuid.uuid4().hex[:12]}"
    create_topic(servers, dead_letter_topic_of(topic), 1, **settings)
    return topic


def create_topic(servers: str, topic: str, partitions: int, **settings: str) -> None:
    """Make one topic; `max_message_bytes` stands for `max.message.bytes`."""
    admin = AdminClient(kafka_at(servers).config())
    config = {name.replace("_", "."): value for name, value in settings.items()}
    made = admin.create_topics([NewTopic(topic, partitions, 1, config=config)])
    made[topic].result(30)


async def bury(connection: asyncpg.Connection, topic: str, first: int, count: int) -> None:
    """Put dead letters into the table as ingest does; the offsets begin at `first`."""
    await connection.execute(_INSERT, topic, first, count, LOG)


async def count_unsent(connection: Connection, topic: str) -> int:
    """Count the letters of a topic that are not known to be sent."""
    query = "SELECT count(*) FROM dead_letters WHERE topic = $1 AND sent_at IS NULL"
    count: int = await connection.fetchval(query, topic)
    return count


async def wait_until_sent(connection: Connection, topic: str, seconds: float = 60) -> None:
    """Wait until the table says that everything is sent."""
    async with asyncio.timeout(seconds):
        while await count_unsent(connection, topic):
            await asyncio.sleep(0.1)


async def read_letters(servers: str, topic: str) -> list[StoredLetter]:
    """Read the whole dead letter topic as another team does."""
    return await asyncio.to_thread(lambda: list(read_dead_letter_topic(kafka_at(servers).config(), topic)))


async def end_sessions_of_relays(connection: asyncpg.Connection) -> None:
    """End what dead relays have left in PostgreSQL: a statement that waits outlives its client."""
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE application_name LIKE 'relay under test%' AND datname = current_database()"
    )


def sources_of(letters: list[StoredLetter]) -> list[int]:
    """Return the offsets at which the letters' records stood; every letter is one of ours."""
    return [letter.source.offset for letter in letters if letter.source is not None]


class RelayProcess:
    """One relay in a process of its own, to be killed and frozen."""

    def __init__(self, dsn: str, servers: str, topic: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.dead_letter_scene", dsn, servers, topic],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )

    def wait_until_started(self) -> None:
        """Wait for the word of the process that it relays from now on."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"relaying\n"

    def freeze(self) -> None:
        """Stop it where it stands."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if nothing had happened."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a word; idempotent."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def stop(self, seconds: float = 30) -> int:
        """Ask it to end, and return its exit code."""
        self._process.terminate()
        return self._process.wait(seconds)


@contextmanager
def relay_process(dsn: str, servers: str, topic: str) -> Iterator[RelayProcess]:
    """Run a relay, and kill it at the end."""
    process = RelayProcess(dsn, servers, topic)
    try:
        yield process
    finally:
        process.kill()


async def _relay(dsn: str, servers: str, topic: str) -> None:
    configure_logging("relay", json=False, level="info")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pool = await create_pool(dsn, application_name="relay under test", max_size=2)
    sys.stdout.write("relaying\n")
    sys.stdout.flush()
    await relay_dead_letters(pool, kafka_at(servers), [topic], stop)
    await pool.close()


if __name__ == "__main__":
    asyncio.run(_relay(*sys.argv[1:]))
