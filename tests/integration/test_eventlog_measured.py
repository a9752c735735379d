"""A measured log does what the log inside it does, counts it, and names the current span in the headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import pytest
from opentelemetry.trace import NoOpTracer
from prometheus_client import REGISTRY

from skatestock.database.pool import Pool
from skatestock.database.transactions import transaction
from skatestock.eventlog.errors import UnknownTopicError
from skatestock.eventlog.measured import MeasuredEventLog, MeasuredTableLog, measure_log
from skatestock.eventlog.port import AppendsWithin, Batch, Connection, Message, partition_for
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.telemetry import tracing
from skatestock.telemetry.tracing import configure_tracing, inject_trace, start_span

TOPIC = "measured"


@pytest.fixture
async def log(pool: Pool) -> AsyncIterator[MeasuredTableLog]:
    inner = PostgresEventLog(pool, topics={TOPIC: 6})
    await inner.ensure_topics()
    measured = measure_log(inner)
    assert isinstance(measured, MeasuredTableLog)
    yield measured
    await measured.close()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_tracer", NoOpTracer())
    configure_tracing("tests", "1")


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"skatestock_eventlog_{name}", {"topic": TOPIC, **labels}) or 0.0


async def read(log: MeasuredEventLog, count: int) -> list[dict[str, str]]:
    """Read the headers of what was appended."""
    consumer, headers = await log.open_consumer("readers", TOPIC), list[dict[str, str]]()

    async def handle(_connection: Connection, batch: Batch) -> None:
        headers.extend(dict(record.headers) for record in batch.records)

    while len(headers) < count:
        assert await consumer.process(handle, max_records=10, wait_seconds=1)
    await consumer.close()
    return headers


async def test_appends_are_counted_with_their_bytes_and_time(
    log: MeasuredTableLog, pool: asyncpg.Pool
) -> None:
    names = ("appended_messages_total", "appended_bytes_total", "append_seconds_count")
    before = [metric(name) for name in names]
    messages = [Message(key="labor", value=b"12345"), Message(key="labor", value=b"123")]
    positions = await log.append(TOPIC, messages)
    assert [position.partition for position in positions] == [partition_for("labor", 6)] * 2
    async with transaction(pool) as connection:
        await log.append_within(connection, TOPIC, messages[:1])
    grown = [metric(name) - then for name, then in zip(names, before, strict=True)]
    assert grown == [3, 13, 2]
    assert sum(part.lag for part in await log.fetch_lag("readers", TOPIC)) == 3


async def test_an_append_that_fails_is_counted_by_its_error_and_as_nothing_else(
    log: MeasuredTableLog, pool: asyncpg.Pool
) -> None:
    failures = partial(metric, "append_failures_total", topic="unknown", kind="UnknownTopicError")
    before = failures()
    with pytest.raises(UnknownTopicError):
        await log.append("unknown", [Message(key="labor", value=b"1")])
    async with transaction(pool) as connection:
        with pytest.raises(UnknownTopicError):
            await log.append_within(connection, "unknown", [Message(key="labor", value=b"1")])
    assert failures() == before + 2
    assert metric("appended_messages_total", topic="unknown") == 0


async def test_messages_name_the_span_they_are_appended_in_unless_they_name_one_already(
    log: MeasuredTableLog, traced: None
) -> None:
    with start_span("crawl"):
        crawl = inject_trace({})
        await log.append(TOPIC, [Message(key="labor", value=b"1", headers={"event": "x"})])
    with start_span("replay"):
        await log.append(TOPIC, [Message(key="labor", value=b"2", headers={"event": "x", **crawl})])
    await log.append(TOPIC, [Message(key="labor", value=b"3", headers={"event": "x"})])
    assert await read(log, 3) == [{"event": "x", **crawl}, {"event": "x", **crawl}, {"event": "x"}]


async def test_only_a_log_that_can_append_within_a_transaction_says_so(log: MeasuredTableLog) -> None:
    assert isinstance(log, AppendsWithin)
    assert not isinstance(MeasuredEventLog(log), AppendsWithin)
