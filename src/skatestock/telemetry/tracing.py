"""Traces: from a crawl, in the headers of its messages (W3C trace context), to the commit that stores them.

Spans always have ids, so that logs can be followed from process to process. They are sent somewhere only
where OpenTelemetry's own environment variables name a collector.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, Tracer, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.typing import EventDict, WrappedLogger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

_SCOPE = "skatestock"
_MOST_LINKS = 32
_LAST_SPANS_SECONDS = 2.0
# Names of the variables in which OpenTelemetry is told of a collector; the second only for traces.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

TRACE_PARENT = "traceparent"
"""The header that says which span a message comes from."""

_propagator = TraceContextTextMapPropagator()
_tracer: Tracer = trace.NoOpTracer()


def configure_tracing(
    process: str, version: str, *, processor: "SpanProcessor | None" = None
) -> Callable[[], None]:
    """Make spans with ids from now on; return what sends the last of them off within 2 s, for the end.

    They are sent by OTLP over HTTP where OTEL_EXPORTER_OTLP_ENDPOINT is set, and to `processor` where one is
    given. OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and OTEL_SDK_DISABLED are obeyed.
    Calling it again replaces what was configured.
    """
    global _tracer  # noqa: PLW0603 - as with the logs, a process has one place that its spans go to
    # the SDK takes a while to load, and only processes trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    attributes = {"service.version": version}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = f"skatestock-{process}"
    # not OpenTelemetry's handler at exit: the caller knows when the last span has ended
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    for one in (_make_exporting_processor(), processor):
        if one is not None:
            provider.add_span_processor(one)
    _tracer = provider.get_tracer(_SCOPE, version)
    return partial(_shut_down, provider.shutdown)


def _shut_down(shutdown: Callable[[], None]) -> None:
    # A collector that is away is tried for ten seconds: longer than a process that was told to stop may take.
    ending = Thread(target=shutdown, name="last-spans", daemon=True)
    ending.start()
    ending.join(_LAST_SPANS_SECONDS)


def _make_exporting_processor() -> "SpanProcessor | None":
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return None
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter())


def start_span(name: str, **attributes: str | int | float | bool) -> AbstractContextManager[Span]:
    """Begin a span inside the current one; it ends with the block, and what the block raises stands in it."""
    return _tracer.start_as_current_span(name, attributes=attributes)


def begin_span(name: str, links: Iterable[Link] = (), **attributes: str | int | float | bool) -> Span:
    """Begin a span that belongs to no other; whoever begins it ends it, and works inside it by `within`."""
    return _tracer.start_span(name, context=Context(), links=list(links), attributes=attributes)


@contextmanager
def within(span: Span) -> Iterator[None]:
    """Make a span the current one for a block, without ending it."""
    with use_span(span, end_on_exit=False):
        yield


def inject_trace(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with the current span's trace context; as they are outside of any span."""
    carrier = dict(headers)
    _propagator.inject(carrier)
    return carrier


def extract_links(carriers: Iterable[Mapping[str, str]], *, most: int = _MOST_LINKS) -> list[Link]:
    """Find the spans that the headers of messages name, each once, in their order, `most` at the most.

    Headers come from outside: what is malformed is passed over.
    """
    links: list[Link] = []
    for parent, state in dict.fromkeys(map(_read_header, carriers)):
        if len(links) >= most:
            break
        if parent is None:
            continue
        found = {TRACE_PARENT: parent} if state is None else {TRACE_PARENT: parent, "tracestate": state}
        context = trace.get_current_span(_propagator.extract(found, Context())).get_span_context()
        if context.is_valid:
            links.append(Link(context))
    return links


def _read_header(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    return headers.get(TRACE_PARENT), headers.get("tracestate")


def format_trace_id(span: Span | Link) -> str:
    """Write a trace's id as logs and headers do: 32 hexadecimal digits."""
    context = span.context if isinstance(span, Link) else span.get_span_context()
    return trace.format_trace_id(context.trace_id)


def add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say in a log line which span it was written in (a processor of structlog)."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", trace.format_trace_id(context.trace_id))
        event.setdefault("span_id", trace.format_span_id(context.span_id))
    return event
