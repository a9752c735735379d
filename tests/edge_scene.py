"""A small application behind an edge, and a client that calls it without any server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from skatestock.edge.app import Edge
from skatestock.edge.build import EdgeSettings, build_edge
from skatestock.edge.policies import Limit, Limits
from skatestock.edge.requests import App
from skatestock.edge.validity import Validity

MANY = Limit(60_000_000, 60_000)
GENEROUS = EdgeSettings(limits=Limits(MANY, MANY, MANY))
SHARED_CONTROL = b"public, max-age=0, s-maxage=3, stale-while-revalidate=2"

Lines = Iterable[tuple[bytes, bytes]]


class Reply(NamedTuple):
    status: int
    lines: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.lines}


def confirmed_validity(**options: Any) -> Validity:
    validity = Validity(**options)
    validity.confirm("epoch", 10, 10)
    return validity


def make_edge(
    app: App,
    validity: Validity | None = None,
    *,
    settings: EdgeSettings = GENEROUS,
    redis_url: str | None = None,
    **options: Any,
) -> Edge:
    validity = confirmed_validity() if validity is None else validity
    return build_edge(app, validity, settings=settings, program="test", redis_url=redis_url, **options)


async def call(
    app: Any,
    path: str = "/",
    *,
    method: str = "GET",
    query: bytes = b"",
    headers: Mapping[str, str] | Lines = (),
    peer: str = "192.0.2.1",
    receive: Callable[[], Any] | None = None,
) -> Reply:
    """Ask an application one question."""
    lines = headers.items() if isinstance(headers, Mapping) else headers
    raw = [(_bytes(name), _bytes(value)) for name, value in lines]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": raw,
        "client": (peer, 1234),
        "state": {},
    }
    messages: list[dict[str, Any]] = []

    async def nothing_more() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await app(scope, receive or nothing_more, send)
    return read_reply(messages)


def read_reply(messages: list[dict[str, Any]]) -> Reply:
    start, *rest = messages
    assert start["type"] == "http.response.start"
    assert not rest or not rest[-1].get("more_body", False)
    body = b"".join(message.get("body", b"") for message in rest)
    return Reply(start["status"], tuple(start["headers"]), body)


class ToyApp:
    """Answers with a body that counts how often it was asked."""

    def __init__(
        self,
        *,
        tags: str | None = "product:1",
        body: bytes = b'{"n": %d}',
        status: int = 200,
        lines: Lines = (),
    ) -> None:
        self.tags = tags
        self.body = body
        self.status = status
        self.lines = list(lines)
        self.asked = 0
        self.scopes: list[Any] = []
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        self.scopes.append(scope)
        body = self.body % self.asked if b"%d" in self.body else self.body
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        shared = [] if self.tags is None else [(b"surrogate-key", self.tags.encode())]
        control = SHARED_CONTROL if self.tags is not None else b"no-cache"
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", control),
            *shared,
            *self.lines,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
