"""The event log on Apache Kafka keeps the contract, with its offsets in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest
from tests.contract.eventlog_contract import EventLogContract, LogHarness, scene
from tests.kafka_scene import make_topics_anew

from skatestock.database.pool import Pool, create_pool
from skatestock.eventlog.kafka import KafkaEventLog, KafkaServers
from skatestock.eventlog.port import EventLog

__all__ = ["scene"]

pytestmark = pytest.mark.xdist_group("kafka")


class KafkaHarness:
    # a partition may have to change hands before its records come
    quiet_seconds = 0.7

    def __init__(self, pool: Pool, servers: KafkaServers) -> None:
        self.pool = pool
        self._servers = servers
        self._made: set[str] = set()
        self._logs: list[KafkaEventLog] = []

    async def open_log(self, topics: Mapping[str, int]) -> EventLog:
        # an earlier run may have left a topic of this name on a broker that goes on running
        new = {topic: count for topic, count in topics.items() if topic not in self._made}
        await make_topics_anew(self._servers, new)
        self._made |= new.keys()
        log = KafkaEventLog(self.pool, self._servers, topics=topics, session_seconds=6)
        self._logs.append(log)
        await log.check()
        return log

    async def close(self) -> None:
        for log in self._logs:
            await log.close()
        await self.pool.close()


@pytest.fixture
async def harness(database_dsn: str, kafka_server: str) -> AsyncIterator[LogHarness]:
    pool = await create_pool(database_dsn, application_name="contract")
    harness = KafkaHarness(pool, KafkaServers(servers=kafka_server, client_id="contract"))
    yield harness
    await harness.close()


class TestKafkaEventLog(EventLogContract):
    pass
