"""From a crawl to the commit that stores it: the trace goes through the log's headers into span and line."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_trace_id
from tests.ingest_shop import add_shop, ended, offer, points, seen

from skatestock.database.pool import Pool
from skatestock.eventlog.measured import MeasuredEventLog, measure_log
from skatestock.eventlog.port import Batch, Connection, Message
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.events.codec import encode, event_name
from skatestock.events.model import Event
from skatestock.ingest import consumer as ingest_consumer
from skatestock.ingest.consumer import TOPIC, IngestHandler, run_ingest
from skatestock.telemetry import tracing
from skatestock.telemetry.logs import configure_logging
from skatestock.telemetry.tracing import configure_tracing, start_span


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    monkeypatch.setattr(tracing, "_tracer", tracing._tracer)
    exporter = InMemorySpanExporter()
    configure_tracing("tests", "1", processor=SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("ingest", json=True, level="debug", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
async def log(pool: Pool) -> AsyncIterator[MeasuredEventLog]:
    tables = PostgresEventLog(pool, topics={TOPIC: 6})
    await tables.ensure_topics()
    await add_shop(pool)
    yield measure_log(tables)
    await tables.close()


def messages(*events: Event, headers: dict[str, str] | None = None) -> list[Message]:
    return [
        Message(key=event.shop, value=encode(event), headers={"event": event_name(event), **(headers or {})})
        for event in events
    ]


async def crawl(log: MeasuredEventLog, minute: int) -> int:
    """Say what a crawl saw, page by page, and return the id of its trace."""
    with start_span("crawl", shop="labor") as span:
        await log.append(TOPIC, messages(seen(minute, offer(6000 - minute), crawl=str(minute))))
        await log.append(TOPIC, messages(ended(minute, "1")))
    return span.get_span_context().trace_id


async def ingest(log: MeasuredEventLog, *sizes: int, max_records: int = 100) -> None:
    stop, counts = asyncio.Event(), list[int]()
    running = asyncio.create_task(run_ingest(log, stop, on_batch=counts.append, max_records=max_records))
    async with asyncio.timeout(20):
        while sum(counts) < sum(sizes):
            await asyncio.sleep(0.02)
    stop.set()
    await running
    assert counts == list(sizes)


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.trace_id for link in span.links]


def lines(stream: io.StringIO, event: str) -> list[dict[str, object]]:
    return [line for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == event]


async def test_a_crawl_is_found_in_the_span_and_the_line_of_its_commit(
    log: MeasuredEventLog, pool: asyncpg.Pool, spans: InMemorySpanExporter, stream: io.StringIO
) -> None:
    crawls = [await crawl(log, minute) for minute in (0, 10)]
    assert [span.context.trace_id for span in named(spans, "append") if span.context] == [
        trace_id for trace_id in crawls for _ in range(2)
    ]
    await ingest(log, 4)
    (batch,) = named(spans, "ingest batch")
    assert linked(batch) == crawls
    assert batch.context is not None
    (line,) = lines(stream, "batch_committed")
    assert line["level"] == "info"
    assert line["crawl_traces"] == [format_trace_id(trace_id) for trace_id in crawls]
    assert line["trace_id"] == format_trace_id(batch.context.trace_id)
    assert (line["records"], line["from_offset"], line["to_offset"]) == (4, 0, 3)
    assert len(await points(pool)) == 2


async def test_only_what_ends_a_crawl_is_told_without_being_asked(
    log: MeasuredEventLog, spans: InMemorySpanExporter, stream: io.StringIO
) -> None:
    trace_id = await crawl(log, 0)
    await ingest(log, 1, 1, max_records=1)
    assert [linked(span) for span in named(spans, "ingest batch")] == [[trace_id]] * 2
    assert [line["level"] for line in lines(stream, "batch_committed")] == ["debug", "info"]


async def test_headers_that_name_no_span_harm_nothing(
    log: MeasuredEventLog, pool: asyncpg.Pool, spans: InMemorySpanExporter
) -> None:
    bad = ("", "00-zz-01", "\u0661" * 55, "00-" + "0" * 32 + "-" + "0" * 16 + "-01")
    for minute, parent in enumerate(bad):
        headers = {"traceparent": parent, "tracestate": "=,\u2028="}
        await log.append(TOPIC, messages(seen(minute, offer(6000 - minute)), headers=headers))
    await ingest(log, len(bad))
    (batch,) = named(spans, "ingest batch")
    assert linked(batch) == []
    assert len(await points(pool)) == len(bad)


async def test_a_batch_that_is_not_stored_says_so_and_comes_again_as_another_span(
    log: MeasuredEventLog, spans: InMemorySpanExporter, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailsOnce(IngestHandler):
        failed = False

        async def __call__(self, connection: Connection, batch: Batch) -> None:
            await super().__call__(connection, batch)
            if not FailsOnce.failed:
                FailsOnce.failed = True
                raise ConnectionResetError("the connection broke")

    monkeypatch.setattr(ingest_consumer, "IngestHandler", FailsOnce)
    trace_id = await crawl(log, 0)
    await ingest(log, 2)
    first, second = named(spans, "ingest batch")
    assert linked(first) == linked(second) == [trace_id]
    assert (first.attributes or {})["stored"] is False
    assert "stored" not in (second.attributes or {})
    assert len(lines(stream, "batch_committed")) == 1
