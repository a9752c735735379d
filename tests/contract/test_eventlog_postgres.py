"""The event log on PostgreSQL keeps the contract, on the oldest and the newest server we support."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest
from tests.contract.eventlog_contract import EventLogContract, LogHarness, scene

from skatestock.database.pool import Pool, create_pool
from skatestock.eventlog.port import EventLog
from skatestock.eventlog.postgres import PostgresEventLog

__all__ = ["scene"]


class PostgresHarness:
    quiet_seconds = 0.05

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._logs: list[PostgresEventLog] = []

    async def open_log(self, topics: Mapping[str, int]) -> EventLog:
        log = PostgresEventLog(self.pool, topics=topics)
        await log.ensure_topics()
        self._logs.append(log)
        return log

    async def close(self) -> None:
        for log in self._logs:
            await log.close()
        await self.pool.close()


@pytest.fixture
async def harness(any_postgres_dsn: str) -> AsyncIterator[LogHarness]:
    harness = PostgresHarness(await create_pool(any_postgres_dsn, application_name="contract"))
    yield harness
    await harness.close()


class TestPostgresEventLog(EventLogContract):
    pass
