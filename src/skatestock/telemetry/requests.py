"""Requests to a web application, counted from outside: any ASGI application can be wrapped."""

from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from time import perf_counter
from typing import Any

from prometheus_client import Counter, Histogram

from skatestock.telemetry.metrics import API_REQUEST_SECONDS, API_REQUESTS

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

# A label has few values, and what a client sends can be anything.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"
# What an application answers that breaks before it has begun an answer.
_BROKEN = 500
_STREAM = b"text/event-stream"


def measure_requests(app: App) -> App:
    """Wrap an application: each request counts under its endpoint's path template and its status."""

    async def measured(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        began, status, ended = perf_counter(), _BROKEN, 0.0

        async def sending(message: Any) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                if _is_stream(message):
                    # it goes on for as long as the client likes
                    ended = perf_counter()
            await send(message)

        try:
            await app(scope, receive, sending)
        finally:
            # The router has written there which endpoint it found.
            endpoint = scope.get("path_template") or _OTHER
            method = scope["method"] if scope["method"] in _METHODS else _OTHER
            count, seconds = _find_metrics(endpoint, method, status)
            count.inc()
            seconds.observe((ended or perf_counter()) - began)

    return measured


@lru_cache(maxsize=4096)
def _find_metrics(endpoint: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Find what counts such requests; finding it anew by its labels costs more than counting."""
    count = API_REQUESTS.labels(endpoint=endpoint, method=method, status=str(status))
    return count, API_REQUEST_SECONDS.labels(endpoint=endpoint)


def _is_stream(message: Any) -> bool:
    for name, value in message.get("headers", ()):
        if name == b"content-type":
            is_stream: bool = value.startswith(_STREAM)
            return is_stream
    return False
