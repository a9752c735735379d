"""Structured logs: one event per line on stderr, for people or as JSON, our own and the libraries'."""

import logging
import sys
from collections.abc import Sequence
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from skatestock.telemetry.errors import TelemetryError
from skatestock.telemetry.tracing import add_trace

Logger = structlog.stdlib.BoundLogger

_LEVELS = ("debug", "info", "warning", "error", "critical")


def configure_logging(process: str, *, json: bool, level: str = "info", stream: TextIO | None = None) -> None:
    """Send all logs of this process, those of the libraries included, to stderr (or `stream`).

    `process` stands in every line. Moments are UTC. Calling it again replaces what was configured. Raises
    TelemetryError for a level that is none of debug, info, warning, error, critical.
    """
    if level.lower() not in _LEVELS:
        raise TelemetryError(f"{level!r} is no log level: use one of {', '.join(_LEVELS)}")
    shared = _shared_processors(process)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    out = stream or sys.stderr
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(shared, json=json, colours=out.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def get_logger(name: str) -> Logger:
    """Return a logger whose lines carry its name; it follows `configure_logging` whenever that is called."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger


def _shared_processors(process: str) -> Sequence[Processor]:
    def add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    return (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        add_process,
        add_trace,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
    )


def _formatter(shared: Sequence[Processor], *, json: bool, colours: bool) -> logging.Formatter:
    rendering: list[Processor]
    if json:
        rendering = [
            # Without the frames' locals: they may hold passwords, and whole pages.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        plain = structlog.dev.plain_traceback
        rendering = [
            structlog.dev.ConsoleRenderer(colors=colours, timestamp_key="at", exception_formatter=plain)
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
