"""No answer for one is ever given to another: through memory, Redis, ETag, HEAD or one question for many.

The application is the worst there can be: whatever it answers names who asked, and every answer says that it
may be shared, with whom ever. Only what the edge knows of requests keeps them apart.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from typing import Any, NamedTuple

import brotli  # type: ignore[import-untyped]  # it publishes no types
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.edge_scene import GENEROUS, SHARED_CONTROL, Reply, call, confirmed_validity

from skatestock.edge.app import Edge
from skatestock.edge.build import build_edge
from skatestock.edge.clients import Client

NOBODY = "nobody"
CREDENTIALS: dict[str, dict[str, str]] = {
    NOBODY: {},
    "ann": {"authorization": "Bearer ann"},
    "bob": {"authorization": "Bearer bob"},
    "ann's key": {"x-api-key": "key-of-ann"},
    "bob's key": {"x-api-key": "key-of-bob"},
    "a cookie": {"cookie": "session=1"},
}
PATHS = ("/products/1", "/products/2", "/me", "/long")
NUMBERS = itertools.count(1)


class Ask(NamedTuple):
    who: str
    path: str
    head: bool
    encoding: str
    condition: int | None
    edge: int


class Known:
    kind = "user"

    def __init__(self, who: str) -> None:
        self.id = who


async def identify(headers: Any) -> Client | None:
    who = find_who(headers)
    return None if who in (NOBODY, "a cookie") else Known(who)


def find_who(headers: Any) -> str:
    for who, credentials in CREDENTIALS.items():
        for name, value in credentials.items():
            if (name.encode(), value.encode()) in headers:
                return who
    return NOBODY


class TellTale:
    """Answers with who asked, and says of everything that anybody may have it."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        answer = {"who": find_who(scope["headers"]), "path": scope["path"], "number": self.asked}
        if scope["path"] == "/long":
            answer["filling"] = "skate and " * 100
        body = json.dumps(answer).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", SHARED_CONTROL),
            (b"surrogate-key", b"product:1" if scope["path"] == "/products/1" else b"product:2"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


ASKS = st.builds(
    Ask,
    who=st.sampled_from(sorted(CREDENTIALS)),
    path=st.sampled_from(PATHS),
    head=st.booleans(),
    encoding=st.sampled_from(["identity", "gzip", "br, gzip;q=0.5"]),
    condition=st.none() | st.integers(0, 5),
    edge=st.integers(0, 1),
)
CHANGES = st.sampled_from(["product:1", "product:2", "everything", "nobody confirms"])
STEPS = st.lists(st.lists(ASKS, min_size=1, max_size=6) | CHANGES, min_size=1, max_size=25)


class World:
    """Two edges of two processes before one application, and what anybody was ever given."""

    def __init__(self, url: str) -> None:
        self.validities = [confirmed_validity(), confirmed_validity()]
        self.app = TellTale()
        program = f"privacy-{next(NUMBERS)}"
        self.edges: list[Edge] = [
            build_edge(
                self.app, validity, settings=GENEROUS, program=program, redis_url=url, identify=identify
            )
            for validity in self.validities
        ]
        self.position = 10
        self.bodies: dict[str, dict[str, Any]] = {}

    def change(self, what: str) -> None:
        """Tell both processes of a commit, or let them hear nothing until the next one."""
        self.position += 1
        for validity in self.validities:
            if what == "nobody confirms":
                validity.trusted_until = 0.0
            elif what == "everything":
                validity.confirm("epoch", self.position, 10)
            else:
                validity.change(self.position, [what])

    async def ask(self, ask: Ask) -> None:
        headers = {**CREDENTIALS[ask.who], "accept-encoding": ask.encoding}
        tags = sorted(self.bodies)
        if ask.condition is not None and tags:
            headers["if-none-match"] = ", ".join(tags[ask.condition % len(tags) :])
        method = "HEAD" if ask.head else "GET"
        reply = await call(self.edges[ask.edge], ask.path, method=method, headers=headers)
        self.check(ask, reply)

    def check(self, ask: Ask, reply: Reply) -> None:
        event(f"{reply.status} {reply.headers.get('x-cache', 'passed')} {ask.who == NOBODY}")
        if ask.who != NOBODY:
            assert reply.status == 200
            assert reply.headers["cache-control"] == "private, no-store"
            assert not {"x-cache", "etag", "age"} & reply.headers.keys()
        assert "surrogate-key" not in reply.headers
        if reply.status == 304:
            answer = self.bodies[reply.headers["etag"]]
        elif ask.head:
            assert reply.body == b""
            return
        else:
            answer = json.loads(decode(reply))
            if "etag" in reply.headers:
                known = self.bodies.setdefault(reply.headers["etag"], answer)
                assert known == answer
        assert (answer["who"], answer["path"]) == (ask.who, ask.path)


def decode(reply: Reply) -> bytes:
    encoding = reply.headers.get("content-encoding")
    if encoding == "gzip":
        return gzip.decompress(reply.body)
    return bytes(brotli.decompress(reply.body)) if encoding == "br" else reply.body


@given(steps=STEPS)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_answer_for_one_is_ever_given_to_another(valkey_url: str, steps: list[Any]) -> None:
    world = World(valkey_url)
    for edge in world.edges:
        await edge.start()
    try:
        for step in steps:
            if isinstance(step, str):
                world.change(step)
            else:
                await asyncio.gather(*(world.ask(ask) for ask in step))
    finally:
        for edge in world.edges:
            await edge.close()


async def test_the_two_edges_do_share_what_may_be_shared(valkey_url: str) -> None:
    world = World(valkey_url)
    one, other = world.edges
    for edge in world.edges:
        await edge.start()
    first = await call(one, "/products/1")
    await asyncio.sleep(0.05)
    second = await call(other, "/products/1", headers={"accept-encoding": "br"})
    assert second.headers["x-cache"] == "hit, shared"
    assert json.loads(decode(second)) == json.loads(first.body)
    assert (await call(other, "/products/1")).headers["etag"] == first.headers["etag"]
    # what one process knows to be changed is not read from Redis, whoever put it there
    world.validities[1].change(11, ["product:1"])
    assert (await call(other, "/products/1")).headers["x-cache"] == "miss"
    await asyncio.sleep(0.05)
    # and what a process knows nothing of yet is of the future: it asks for itself
    world.validities[0].change(11, ["product:1"])
    assert (await call(one, "/products/1")).headers["x-cache"] == "hit, shared"
    for edge in world.edges:
        await edge.close()


@pytest.mark.parametrize("stored", [b"", b"nonsense", b"\x99" * 100])
async def test_what_redis_holds_may_be_anything(valkey: Any, valkey_url: str, stored: bytes) -> None:
    world = World(valkey_url)
    one = world.edges[0]
    await one.start()
    await call(one, "/products/1")
    await asyncio.sleep(0.05)
    for key in await valkey.keys("skatestock:edge:*"):
        await valkey.set(key, stored)
    other = world.edges[1]
    await other.start()
    assert (await call(other, "/products/1")).status == 200
    for edge in world.edges:
        await edge.close()
