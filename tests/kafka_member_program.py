"""A consumer of Kafka as a process of its own, to be frozen and killed: `DSN SERVERS TOPIC GROUP NAME`.

It tells on stdout when it is in the middle of a batch, stays there for a moment, and then writes.
"""

from __future__ import annotations

import asyncio
import sys

from tests.kafka_scene import PARTITIONS, SESSION_SECONDS, KafkaScene

from skatestock.database.pool import create_pool
from skatestock.database.transactions import is_transient
from skatestock.eventlog.errors import FencedError
from skatestock.eventlog.kafka import KafkaEventLog, KafkaServers
from skatestock.eventlog.port import Batch, Connection

_HOLD_SECONDS = 0.3


def tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(dsn: str, servers: str, topic: str, group: str, name: str) -> None:
    pool = await create_pool(dsn, application_name=name)
    kafka = KafkaServers(servers=servers, client_id=name)
    scene = KafkaScene(pool, kafka, topic)

    async def handle(connection: Connection, batch: Batch) -> None:
        tell("holding", batch.partition)
        await asyncio.sleep(_HOLD_SECONDS)
        await scene.write(connection, batch)

    log = KafkaEventLog(pool, kafka, topics={topic: PARTITIONS}, session_seconds=SESSION_SECONDS)
    consumer = await log.open_consumer(group, topic)
    tell("joined")
    while True:
        try:
            if count := await consumer.process(handle, max_records=5, wait_seconds=0.5):
                tell("stored", count)
        except FencedError:
            tell("fenced")
        except Exception as error:
            if not is_transient(error):
                raise
            tell("lost", type(error).__name__)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
