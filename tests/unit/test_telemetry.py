import asyncio
import contextlib
import io
import json
import logging
import socket
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from tests.ports import choose_quiet_port

from skatestock.telemetry.errors import MetricsServerError, TelemetryError
from skatestock.telemetry.event_loop import measured_event_loop
from skatestock.telemetry.health import check_all, check_health
from skatestock.telemetry.logs import configure_logging, get_logger
from skatestock.telemetry.metrics import CRAWL_LISTINGS, start_metrics_server
from skatestock.telemetry.requests import MeasuredApp


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configured(**options: Any) -> io.StringIO:
    stream = io.StringIO()
    configure_logging("crawl", stream=stream, **options)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_says_who_when_and_what() -> None:
    stream = configured(json=True)
    get_logger("skatestock.crawl").info("page_read", shop="labor", page=2, title="Schüh\n")
    (line,) = lines(stream)
    at = datetime.fromisoformat(line.pop("at"))
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=5)
    assert line == {
        "event": "page_read",
        "level": "info",
        "logger": "skatestock.crawl",
        "process": "crawl",
        "shop": "labor",
        "page": 2,
        "title": "Schüh\n",
    }


def test_lines_of_libraries_have_the_same_form() -> None:
    stream = configured(json=True)
    logging.getLogger("alembic").warning("migrated to %s", "0001")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"], line["process"]) == (
        "migrated to 0001",
        "alembic",
        "warning",
        "crawl",
    )


def test_an_error_is_one_line_with_its_traceback() -> None:
    stream = configured(json=True)
    try:
        int("no such shop")
    except ValueError:
        get_logger("crawl").exception("crawl_failed")
    (line,) = lines(stream)
    assert line["level"] == "error"
    assert "no such shop" in json.dumps(line["exception"])


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_tells_no_secrets(as_json: bool) -> None:
    def fail() -> None:
        password = "hunter" + "2"
        int(f"{len(password)}!")

    stream = configured(json=as_json)
    try:
        fail()
    except ValueError:
        get_logger("crawl").exception("crawl_failed")
    assert "ValueError" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_bound_context_stands_in_every_line() -> None:
    stream = configured(json=True)
    with structlog.contextvars.bound_contextvars(crawl_id="c-1"):
        get_logger("a").info("one")
        logging.getLogger("b").info("two")
    get_logger("a").info("three")
    assert [line.get("crawl_id") for line in lines(stream)] == ["c-1", "c-1", None]


def test_lines_below_the_level_are_not_written() -> None:
    stream = configured(json=True, level="warning")
    for method in ("debug", "info", "warning", "error"):
        getattr(get_logger("x"), method)(method)
        getattr(logging.getLogger("y"), method)(method)
    assert [line["event"] for line in lines(stream)] == ["warning", "warning", "error", "error"]


def test_the_console_form_is_for_people() -> None:
    stream = configured(json=False)
    get_logger("skatestock.crawl").info("page_read", shop="labor")
    assert "page_read" in stream.getvalue()
    assert "shop=labor" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()


def test_configuring_again_replaces_and_loggers_follow() -> None:
    log = get_logger("early")
    first, second = configured(json=True), configured(json=True)
    log.info("once")
    assert (len(lines(first)), len(lines(second))) == (0, 1)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(TelemetryError, match="loud"):
        configure_logging("crawl", json=True, level="loud")


def test_logs_go_to_stderr_and_leave_stdout_to_results(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("cli", json=True)
    get_logger("x").info("said")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "said"


def fetch(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_metrics_are_served_until_closed() -> None:
    registry = CollectorRegistry()
    Counter("skatestock_things", "Things.", registry=registry).inc(3)
    server = start_metrics_server(0, registry=registry)
    assert "skatestock_things_total 3.0" in fetch(server.port)
    server.close()
    server.close()
    with pytest.raises(OSError, match="refused"):
        fetch(server.port)


def test_a_taken_address_is_a_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MetricsServerError, match=f"127.0.0.1:{port}"):
            start_metrics_server(port)


def test_counts_are_kept_by_label() -> None:
    labels = {"shop": "test-shop", "outcome": "changed"}
    CRAWL_LISTINGS.labels(**labels).inc(2)
    CRAWL_LISTINGS.labels(shop="test-shop", outcome="unchanged").inc()
    assert REGISTRY.get_sample_value("skatestock_crawl_listings_total", labels) == 2


async def answer_well() -> str:
    return "PostgreSQL 18"


async def answer_badly() -> str:
    raise ConnectionRefusedError("no one listens")


async def answer_never() -> str:
    await asyncio.Event().wait()
    return ""


async def test_a_part_that_answers_is_healthy() -> None:
    check = await check_health("database", answer_well)
    assert (check.name, check.ok, check.detail) == ("database", True, "PostgreSQL 18")
    assert 0 <= check.latency_ms < 1000


async def test_failure_and_silence_are_answers_too() -> None:
    probes = {"database": answer_badly, "cache": answer_never, "log": answer_well}
    checks = await check_all(probes, timeout_seconds=0.05)
    assert [(check.name, check.ok, check.detail) for check in checks] == [
        ("database", False, "ConnectionRefusedError: no one listens"),
        ("cache", False, "no answer within 0.05 s"),
        ("log", True, "PostgreSQL 18"),
    ]
    assert checks[1].latency_ms >= 50


def test_of_several_ports_the_first_free_one_is_taken() -> None:
    first = choose_quiet_port(following=1)
    servers = [start_metrics_server(first, registry=CollectorRegistry(), ports=2) for _ in range(2)]
    assert [server.port for server in servers] == [first, first + 1]
    with pytest.raises(MetricsServerError, match=str(first + 1)):
        start_metrics_server(first, ports=2)
    for server in servers:
        server.close()


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_loop_that_is_held_shows_in_its_lag() -> None:
    async with measured_event_loop(look_every_seconds=0.01):
        await asyncio.sleep(0.05)
        assert sample("skatestock_event_loop_lag_seconds") < 0.4
        time.sleep(0.6)
        await asyncio.sleep(0.02)
        assert 0.5 < sample("skatestock_event_loop_lag_seconds") < 10


@pytest.mark.parametrize(
    ("method", "template", "status", "labels"),
    [
        ("GET", "/products/{id}", 200, {"endpoint": "/products/{id}", "method": "GET", "status": "200"}),
        ("BREW", None, 404, {"endpoint": "other", "method": "other", "status": "404"}),
        ("GET", "/broken", None, {"endpoint": "/broken", "method": "GET", "status": "500"}),
    ],
)
async def test_requests_are_counted_by_endpoint_method_and_status(
    method: str, template: str | None, status: int | None, labels: dict[str, str]
) -> None:
    sent = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if template is not None:
            scope["path_template"] = template
        if status is None:
            raise LookupError("broken")
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body"})

    async def send(message: Any) -> None:
        sent.append(message["type"])

    before = sample("skatestock_api_requests_total", **labels)
    timed = sample("skatestock_api_request_seconds_count", endpoint=labels["endpoint"])
    scope = {"type": "http", "method": method, "path": "/anything"}
    with pytest.raises(LookupError) if status is None else contextlib.nullcontext():
        await MeasuredApp(app)(scope, None, send)
    assert sent == ([] if status is None else ["http.response.start", "http.response.body"])
    assert sample("skatestock_api_requests_total", **labels) == before + 1
    assert sample("skatestock_api_request_seconds_count", endpoint=labels["endpoint"]) == timed + 1


async def test_what_is_no_request_is_handed_on() -> None:
    seen = []

    async def app(scope: Any, *_: Any) -> None:
        seen.append(scope["type"])

    await MeasuredApp(app)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]


class Short:
    """An application with a short way, which gives what it was made with."""

    def __init__(self, given: object) -> None:
        self._given = given

    async def __call__(self, *_asked: Any) -> None:
        """Be asked by messages."""

    def answer(self, scope: Any) -> Any:
        """Lead nowhere but for `/short`."""
        return self._give(scope) if scope["path"] == "/short" else None

    async def _give(self, scope: Any) -> object:
        scope["path_template"] = "/short"
        if isinstance(self._given, BaseException):
            raise self._given
        return self._given


@pytest.mark.parametrize(
    ("given", "status", "counted"),
    [("a whole answer", "200", 1), (None, "200", 0), (None, "500", 0), (asyncio.CancelledError(), "500", 1)],
)
async def test_what_goes_the_short_way_counts_once(given: object, status: str, counted: int) -> None:
    labels = {"endpoint": "/short", "method": "GET", "status": status}
    before = sample("skatestock_api_requests_total", **labels)
    asked = MeasuredApp(Short(given)).answer({"type": "http", "method": "GET", "path": "/short"})
    assert asked is not None
    with pytest.raises(type(given)) if isinstance(given, BaseException) else contextlib.nullcontext():
        assert await asked == given
    assert sample("skatestock_api_requests_total", **labels) == before + counted


@pytest.mark.parametrize("app", [Short("unasked"), Short("unasked").__call__])
def test_where_no_short_way_leads_nothing_is_asked(app: Any) -> None:
    assert MeasuredApp(app).answer({"type": "http", "method": "GET", "path": "/long"}) is None
