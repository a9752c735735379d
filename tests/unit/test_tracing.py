"""Traces: what stands in headers and log lines, and that nothing from outside can break it."""

from __future__ import annotations

import gzip
import io
import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from threading import Thread
from time import perf_counter
from typing import ClassVar

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, Span, format_span_id
from tests.ports import refusing_port

from skatestock.telemetry import tracing
from skatestock.telemetry.logs import configure_logging, get_logger
from skatestock.telemetry.tracing import (
    begin_span,
    configure_tracing,
    extract_links,
    format_trace_id,
    inject_trace,
    start_span,
    within,
)


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    tracer = tracing._tracer
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    tracing._tracer = tracer
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    configure_tracing("tests", "1", processor=SimpleSpanProcessor(exporter))
    return exporter


def parent_of(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{format_trace_id(span)}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"


def test_headers_carry_the_current_span_and_keep_what_they_had() -> None:
    configure_tracing("tests", "1")
    assert inject_trace({"event": "ListingObserved"}) == {"event": "ListingObserved"}
    with start_span("crawl", shop="labor") as span:
        headers = inject_trace({"event": "ListingObserved"})
    assert headers == {"event": "ListingObserved", "traceparent": parent_of(span)}


def test_spans_inside_one_another_share_a_trace_and_begun_ones_have_their_own(
    exporter: InMemorySpanExporter,
) -> None:
    with start_span("crawl", shop="labor", pages=2) as crawl, start_span("append"):
        apart = begin_span("ingest batch", extract_links([inject_trace({})]), records=3)
    apart.end()
    append, ended, batch = exporter.get_finished_spans()
    assert (append.name, ended.name, batch.name) == ("append", "crawl", "ingest batch")
    assert append.parent == ended.context == crawl.get_span_context()
    assert batch.parent is None
    assert batch.context is not None
    assert append.context is not None
    assert batch.context.trace_id != append.context.trace_id
    assert [link.context.span_id for link in batch.links] == [append.context.span_id]
    assert dict(ended.attributes or {}) == {"shop": "labor", "pages": 2}


def test_a_span_tells_what_was_raised_in_it(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ConnectionResetError), start_span("append"):
        raise ConnectionResetError("gone")
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert [event.name for event in span.events] == ["exception"]


def test_links_are_distinct_in_order_and_bounded() -> None:
    configure_tracing("tests", "1")
    headers = []
    for _ in range(5):
        with start_span("crawl"):
            headers.append(inject_trace({}))
    links = extract_links([headers[0], headers[1], headers[0], {}, *headers], most=3)
    assert [link.context.span_id for link in links] == [
        extract_links([header])[0].context.span_id for header in headers[:3]
    ]


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "G" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 31 + "-" + "1" * 16 + "-01",
        "00-" + "１" * 32 + "-" + "1" * 16 + "-01",
    ],
)
def test_a_malformed_header_names_no_span(parent: str) -> None:
    assert extract_links([{"traceparent": parent}]) == []


@given(
    st.lists(
        st.fixed_dictionaries({}, optional={"traceparent": st.text(), "tracestate": st.text()}), max_size=5
    )
)
def test_nothing_in_headers_is_an_error(carriers: list[dict[str, str]]) -> None:
    assert len(extract_links(carriers)) <= len(carriers)


well_formed = st.builds(
    "00-{:032x}-{:016x}-{:02x}".format,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 255),
)


@given(well_formed, st.text())
def test_a_good_parent_is_found_whatever_the_state_beside_it_says(parent: str, state: str) -> None:
    (link,) = extract_links([{"traceparent": parent, "tracestate": state}])
    assert parent.split("-")[1:3] == [format_trace_id(link), format_span_id(link.context.span_id)]


def test_log_lines_inside_a_span_say_which() -> None:
    stream = io.StringIO()
    configure_logging("tests", json=True, stream=stream)
    configure_tracing("tests", "1")
    with start_span("crawl") as span:
        get_logger("ours").info("inside")
        logging.getLogger("theirs").info("inside too")
    apart = begin_span("ingest batch")
    get_logger("ours").info("outside")
    with within(apart):
        get_logger("ours").info("in the other")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    expected = [format_trace_id(span), format_trace_id(span), None, format_trace_id(apart)]
    assert [line.get("trace_id") for line in lines] == expected
    assert lines[0]["span_id"] == format_span_id(span.get_span_context().span_id)


def test_before_tracing_is_configured_nothing_has_ids() -> None:
    tracing._tracer = NoOpTracer()
    with start_span("crawl"):
        assert inject_trace({}) == {}


def test_a_collector_that_is_away_delays_the_end_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing_port() as port:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        close = configure_tracing("tests", "1")
        with start_span("crawl"):
            pass
        began = perf_counter()
        close()
    assert perf_counter() - began < 4


class Collector(BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    posted: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append((self.path, gzip.decompress(body) if self.headers["Content-Encoding"] else body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_collector_is_sent_the_spans_under_the_process_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    Collector.posted.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    close = configure_tracing("crawl", "1.2.3")
    with start_span("crawl", shop="labor"):
        pass
    close()
    server.shutdown()
    server.server_close()
    ((path, body),) = Collector.posted
    assert path == "/v1/traces"
    for word in (b"skatestock-crawl", b"1.2.3", b"labor"):
        assert word in body


def test_many_spans_have_many_ids() -> None:
    configure_tracing("tests", "1")
    spans = [begin_span("batch") for _ in range(100)]
    assert all(format_trace_id(one) != format_trace_id(other) for one, other in pairwise(spans))
