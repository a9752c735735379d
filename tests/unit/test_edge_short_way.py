"""Applications that give finished answers, without messages: whoever asks cannot tell the difference."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.edge_scene import GENEROUS, SHARED_CONTROL, Reply, ToyApp, call, make_edge

from skatestock.edge.direct import Finished

LONG = b'{"words": "' + b"skate and " * 200 + b'"}'
HEADERS = ((b"content-type", b"application/json"), (b"cache-control", SHARED_CONTROL))


class ShortApp(ToyApp):
    """Has the short way too, and counts which one was gone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.finished = 0
        self.headers = HEADERS
        self.knows_path = True
        self.changes_its_mind = False

    def answer(self, scope: Any) -> Any:
        return self._finish(scope) if self.knows_path else None

    async def _finish(self, scope: Any) -> Finished | None:
        self.scopes.append(scope)
        if self.changes_its_mind:
            scope["state"]["seen"] = True
            return None
        self.asked += 1
        self.finished += 1
        body = self.body % self.asked if b"%d" in self.body else self.body
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Finished((*self.headers, *self.lines), body, tuple((self.tags or "").split()))


def without_id(reply: Reply) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    lines = sorted(line for line in reply.lines if line[0] != b"x-request-id")
    return reply.status, lines, reply.body


@pytest.mark.parametrize("tags", ["product:1 shop:3", None])
async def test_the_short_way_and_messages_give_the_same_answers(tags: str | None) -> None:
    short, plain = ShortApp(tags=tags, body=LONG), ToyApp(tags=tags, body=LONG)
    if tags is None:
        short.headers = (HEADERS[0], (b"cache-control", b"no-cache"))
    edges = [make_edge(short), make_edge(plain)]
    asks: list[dict[str, Any]] = [
        {"method": "HEAD"},
        {},
        {"headers": {"accept-encoding": "br"}},
        {"headers": {"accept-encoding": "gzip"}},
        {"headers": {"if-none-match": "*"}},
        {"method": "HEAD"},
    ]
    for ask in asks:
        one, other = [without_id(await call(edge, **ask)) for edge in edges]
        assert one == other
    assert short.finished == plain.asked == (1 if tags else len(asks))


async def test_the_short_way_is_asked_for_the_whole_plain_answer() -> None:
    app = ShortApp()
    headers = {"accept-encoding": "br", "if-none-match": '"x"', "user-agent": "me"}
    await call(make_edge(app), method="HEAD", headers=headers)
    (scope,) = app.scopes
    assert (scope["method"], scope["headers"]) == ("GET", [(b"user-agent", b"me")])
    assert scope["state"]["skatestock_request_id"]


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"authorization": "Bearer x"}),
        ("GET", {"cookie": "a=b"}),
        ("GET", {"x-api-key": "k"}),
        ("GET", {"content-length": "3"}),
        ("POST", {}),
    ],
)
async def test_what_is_not_shared_never_goes_the_short_way(method: str, headers: dict[str, str]) -> None:
    app = ShortApp()
    await call(make_edge(app), method=method, headers=headers)
    assert (app.asked, app.finished) == (1, 0)


async def test_where_the_short_way_does_not_lead_messages_do() -> None:
    app = ShortApp()
    edge = make_edge(app)
    app.knows_path = False
    assert (await call(edge, "/a")).body == b'{"n": 1}'
    app.knows_path, app.changes_its_mind = True, True
    assert (await call(edge, "/b")).body == b'{"n": 2}'
    assert app.finished == 0
    assert app.scopes[-1]["state"]["seen"]


@pytest.mark.parametrize(
    "app",
    [
        ShortApp(lines=[(b"set-cookie", b"a=b")]),
        ShortApp(lines=[(b"cache-control", b"private")]),
        ShortApp(lines=[(b"vary", b"Accept-Language")]),
        ShortApp(body=b"x" * 1_048_577),
        ShortApp(tags=""),
    ],
)
async def test_a_finished_answer_for_one_alone_is_not_kept(app: ShortApp) -> None:
    app.gate = asyncio.Event()
    edge = make_edge(app)
    asking = [asyncio.create_task(call(edge)) for _ in range(3)]
    await asyncio.sleep(0.01)
    app.gate.set()
    replies = [*await asyncio.gather(*asking), await call(edge)]
    assert app.asked == len(replies)
    assert all(len(reply.body) == int(reply.headers["content-length"]) for reply in replies)
    assert not any("x-cache" in reply.headers or "surrogate-key" in reply.headers for reply in replies)


async def test_many_who_ask_at_once_are_one_question_even_when_the_first_leaves() -> None:
    app = ShortApp()
    app.gate = asyncio.Event()
    edge = make_edge(app)
    first, *others = [asyncio.create_task(call(edge)) for _ in range(10)]
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    app.gate.set()
    replies = await asyncio.gather(*others)
    assert {reply.headers["x-cache"] for reply in replies} == {"joined"}
    assert {reply.body for reply in replies} == {b'{"n": 1}'}
    assert app.asked == 1


async def test_a_finished_answer_has_to_come_in_time() -> None:
    app = ShortApp()
    app.gate = asyncio.Event()
    edge = make_edge(app, settings=GENEROUS._replace(timeout_seconds=0.05))
    reply = await call(edge)
    assert (reply.status, json.loads(reply.body)["code"]) == (503, "request_timeout")
    app.gate.set()
    assert (await call(edge)).status == 200


async def test_what_breaks_on_the_short_way_is_a_problem() -> None:
    app = ShortApp()
    app.error = RuntimeError("secret detail")
    reply = await call(make_edge(app))
    assert (reply.status, json.loads(reply.body)["code"]) == (500, "internal_error")
    assert b"secret" not in reply.body
