"""Questions that many wait for: what ends them, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import brotli  # type: ignore[import-untyped]  # it publishes no types
import pytest
from structlog.testing import capture_logs
from tests.edge_scene import GENEROUS, ToyApp, call, make_edge

from skatestock.edge.deadlines import Deadlines

QUICK = GENEROUS._replace(timeout_seconds=0.05)


class Sand:
    """What runs out, and notes when it did."""

    def __init__(self) -> None:
        self.ran_out_at: float | None = None

    def expire(self) -> None:
        self.ran_out_at = asyncio.get_running_loop().time()


async def test_each_deadline_is_kept_whenever_it_began() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines(0.05)
    began: list[tuple[Sand, float]] = []
    for _ in range(5):
        began.append((Sand(), loop.time()))
        deadlines.begin(began[-1][0], loop)
        await asyncio.sleep(0.012)
    await asyncio.sleep(0.1)
    for sand, began_at in began:
        assert sand.ran_out_at is not None
        assert 0.049 <= sand.ran_out_at - began_at < 0.09


async def test_who_is_done_in_time_does_not_run_out() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines(0.03)
    early, late, closed = Sand(), Sand(), Sand()
    deadlines.begin(early, loop)
    deadlines.begin(late, loop)
    deadlines.end(early)
    deadlines.end(early)
    await asyncio.sleep(0.06)
    deadlines.begin(closed, loop)
    deadlines.close()
    await asyncio.sleep(0.06)
    assert (early.ran_out_at, closed.ran_out_at) == (None, None)
    assert late.ran_out_at is not None


async def test_those_who_joined_a_late_question_ask_for_themselves() -> None:
    app = ToyApp()
    app.gate = asyncio.Event()
    edge = make_edge(app, settings=QUICK)
    first = asyncio.create_task(call(edge))
    await asyncio.sleep(0.02)
    second = asyncio.create_task(call(edge))
    assert (await first).status == 503
    app.gate.set()
    assert (await second).status == 200
    assert app.asked == 2


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}])
async def test_a_timeout_of_the_applications_own_is_its_mistake(headers: dict[str, str]) -> None:
    app = ToyApp()
    app.error = TimeoutError("of something else")
    reply = await call(make_edge(app), headers=headers)
    assert (reply.status, json.loads(reply.body)["code"]) == (500, "internal_error")


async def test_an_answer_that_comes_slowly_is_waited_for_once_it_has_begun() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"surrogate-key", b"product:1"), (b"cache-control", b"public")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for more in (True, True, False):
            await asyncio.sleep(0.03)
            await send({"type": "http.response.body", "body": b"part ", "more_body": more})

    reply = await call(make_edge(slow, settings=QUICK))
    assert (reply.status, reply.body, reply.headers["x-cache"]) == (200, b"part part part ", "miss")


async def test_an_answer_is_given_as_soon_as_it_is_whole() -> None:
    app, rest = ToyApp(), asyncio.Event()

    async def busy(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        await rest.wait()

    edge = make_edge(busy)
    assert (await asyncio.wait_for(call(edge), 1)).headers["x-cache"] == "miss"
    assert (await call(edge)).headers["x-cache"] == "hit"
    await edge.close()


async def test_what_breaks_after_everybody_has_left_is_logged() -> None:
    app = ToyApp()
    app.gate, app.error = asyncio.Event(), RuntimeError("broken")
    edge = make_edge(app)
    first = asyncio.create_task(call(edge, headers={"x-request-id": "who-left"}))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    with capture_logs() as logs:
        app.gate.set()
        await asyncio.sleep(0.01)
    assert [(line["event"], line["request_id"]) for line in logs] == [("edge_question_failed", "who-left")]


async def test_an_answer_for_one_who_has_left_is_not_made_to_its_end() -> None:
    ended, gate = asyncio.Event(), asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        try:
            await gate.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.Event().wait()
        finally:
            ended.set()

    edge = make_edge(stream)
    first = asyncio.create_task(call(edge))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    assert not ended.is_set()
    gate.set()
    await asyncio.wait_for(ended.wait(), 1)


async def test_closing_ends_what_is_still_asked() -> None:
    app = ToyApp()
    app.gate = asyncio.Event()
    edge = make_edge(app)
    waiting = [asyncio.create_task(call(edge, f"/{number}")) for number in range(3)]
    await asyncio.sleep(0.01)
    late = asyncio.create_task(call(edge, "/late"))
    await asyncio.sleep(0)
    await edge.close()
    done, _ = await asyncio.wait([*waiting, late], timeout=1)
    assert len(done) == 4


async def test_an_encoding_counts_once_however_many_waited_for_it() -> None:
    noise = b"".join(hashlib.sha256(b"%d" % n).hexdigest().encode() for n in range(4000))
    edge, other = make_edge(ToyApp(body=noise)), make_edge(ToyApp(body=noise))
    brotlied = {"accept-encoding": "br"}
    for one in (edge, other):
        await call(one)
    replies = await asyncio.gather(*(call(edge, headers=brotlied) for _ in range(5)))
    assert {brotli.decompress(reply.body) for reply in replies} == {noise}
    await call(other, headers=brotlied)
    assert edge.describe().cached_bytes == other.describe().cached_bytes > len(noise)
