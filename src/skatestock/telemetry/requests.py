"""Requests to a web application, counted from outside: any ASGI application can be wrapped."""

from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from time import perf_counter
from typing import Any

from prometheus_client import Counter, Histogram

from skatestock.telemetry.metrics import API_REQUEST_SECONDS, API_REQUESTS

Scope = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

# A label has few values, and what a client sends can be anything.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"
# What an application answers that breaks before it has begun an answer.
_BROKEN = 500
_WELL = 200
_STREAM = b"text/event-stream"


class MeasuredApp:
    """An application whose requests are counted: each under its endpoint's path template and its status."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._answer: Callable[[Scope], Awaitable[Any] | None] | None = getattr(app, "answer", None)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Count a request that is answered by messages."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
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
            await self._app(scope, receive, sending)
        finally:
            _count(scope, status, (ended or perf_counter()) - began)

    def answer(self, scope: Scope) -> Awaitable[Any] | None:
        """Count a request that is answered whole and well, by an application that has such a short way.

        None where it does not lead; what it gives may be None too, and then the request is made again, by
        messages, and counts there.
        """
        asked = None if self._answer is None else self._answer(scope)
        return None if asked is None else self._watch(scope, asked)

    async def _watch(self, scope: Scope, asked: Awaitable[Any]) -> Any:
        began = perf_counter()
        try:
            answered = await asked
        except BaseException:
            _count(scope, _BROKEN, perf_counter() - began)
            raise
        if answered is not None:
            _count(scope, _WELL, perf_counter() - began)
        return answered


def _count(scope: Scope, status: int, seconds: float) -> None:
    # The router has written there which endpoint it found.
    endpoint = scope.get("path_template") or _OTHER
    method = scope["method"] if scope["method"] in _METHODS else _OTHER
    count, lengths = _find_metrics(endpoint, method, status)
    count.inc()
    lengths.observe(seconds)


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
