"""The edge before a small application, in one process and without Redis."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from typing import Any

import brotli  # type: ignore[import-untyped]  # it publishes no types
import pytest
from tests.edge_scene import GENEROUS, ToyApp, call, confirmed_validity, make_edge

from skatestock.edge.build import EdgeSettings
from skatestock.edge.policies import Limit, Limits
from skatestock.edge.requests import NO_BODY

LONG = b'{"words": "' + b"skate and " * 200 + b'"}'


async def test_a_second_reader_is_given_the_kept_answer() -> None:
    app = ToyApp()
    edge = make_edge(app)
    first, second = await call(edge, "/products/1"), await call(edge, "/products/1")
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    assert first.body == second.body == b'{"n": 1}'
    assert first.headers["etag"] == second.headers["etag"]
    assert app.asked == 1
    ours = {"etag", "vary", "age", "x-request-id", "ratelimit", "ratelimit-policy", "x-frame-options"}
    assert ours <= first.headers.keys()
    assert first.headers.keys() == second.headers.keys()
    assert "surrogate-key" not in first.headers


async def test_a_change_ends_the_kept_answer() -> None:
    app, validity = ToyApp(tags="product:1 shop:3"), confirmed_validity()
    edge = make_edge(app, validity)
    await call(edge, "/products/1")
    validity.change(11, ["product:2"])
    assert (await call(edge, "/products/1")).body == b'{"n": 1}'
    validity.change(12, ["shop:3"])
    assert (await call(edge, "/products/1")).body == b'{"n": 2}'
    assert (await call(edge, "/products/1")).body == b'{"n": 2}'


async def test_a_change_while_the_answer_is_made_ends_it_too() -> None:
    app, validity = ToyApp(), confirmed_validity()
    app.gate = asyncio.Event()
    edge = make_edge(app, validity)
    asking = asyncio.create_task(call(edge, "/products/1"))
    await asyncio.sleep(0.01)
    validity.change(11, ["product:1"])
    app.gate.set()
    assert (await asking).body == b'{"n": 1}'
    assert (await call(edge, "/products/1")).body == b'{"n": 2}'


async def test_nothing_is_kept_while_nobody_says_what_changes() -> None:
    from skatestock.edge.validity import Validity

    app = ToyApp()
    edge = make_edge(app, Validity())
    assert [(await call(edge)).body for _ in range(2)] == [b'{"n": 1}', b'{"n": 2}']


async def test_each_path_and_query_has_an_answer_of_its_own() -> None:
    app = ToyApp()
    edge = make_edge(app)
    for query in (b"", b"a=1", b"a=1&b=2", b"b=2&a=1"):
        await call(edge, "/products", query=query)
        await call(edge, "/products", query=query)
    assert app.asked == 4


@pytest.mark.parametrize(
    "headers",
    [{"authorization": "Bearer x"}, {"cookie": "a=b"}, {"x-api-key": "k"}],
)
async def test_a_request_with_credentials_neither_gets_nor_leaves_a_kept_answer(
    headers: dict[str, str],
) -> None:
    app = ToyApp()
    edge = make_edge(app)
    own = await call(edge, headers=headers)
    assert own.headers["cache-control"] == "private, no-store"
    assert "x-cache" not in own.headers
    await call(edge)
    assert (await call(edge, headers=headers)).body == b'{"n": 3}'


@pytest.mark.parametrize(
    "app",
    [
        ToyApp(tags=None),
        ToyApp(status=404),
        ToyApp(status=500),
        ToyApp(lines=[(b"set-cookie", b"a=b")]),
        ToyApp(lines=[(b"vary", b"Accept-Language")]),
        ToyApp(body=b"x" * 1_048_577),
    ],
)
async def test_only_tagged_successes_that_depend_on_nothing_else_are_kept(app: ToyApp) -> None:
    edge = make_edge(app)
    first, second = await call(edge), await call(edge)
    assert app.asked == 2
    assert first.status == second.status == app.status
    assert len(first.body) == int(first.headers["content-length"])


async def test_a_request_with_a_body_is_not_shared() -> None:
    app = ToyApp()
    edge = make_edge(app)
    await call(edge)
    assert (await call(edge, headers={"content-length": "3"})).body == b'{"n": 2}'
    assert (await call(edge, method="POST")).body == b'{"n": 3}'


async def test_every_encoding_says_the_same_under_a_tag_of_its_own() -> None:
    edge = make_edge(ToyApp(body=LONG))
    plain = await call(edge)
    zipped = await call(edge, headers={"accept-encoding": "gzip"})
    brotlied = await call(edge, headers={"accept-encoding": "gzip, br"})
    assert plain.body == gzip.decompress(zipped.body) == brotli.decompress(brotlied.body) == LONG
    assert (zipped.headers["content-encoding"], brotlied.headers["content-encoding"]) == ("gzip", "br")
    replies = (plain, zipped, brotlied)
    assert len({reply.headers["etag"] for reply in replies}) == 3
    assert {reply.headers["vary"] for reply in replies} == {"Accept-Encoding"}
    assert all(int(reply.headers["content-length"]) == len(reply.body) for reply in replies)


async def test_what_is_short_or_compressed_already_is_sent_as_it_is() -> None:
    short = await call(make_edge(ToyApp()), headers={"accept-encoding": "br"})
    assert "content-encoding" not in short.headers


async def test_a_long_answer_is_compressed_once_for_all_who_ask_at_once() -> None:
    noise = b"".join(hashlib.sha256(b"%d" % n).hexdigest().encode() for n in range(4000))
    edge = make_edge(ToyApp(body=noise))
    await call(edge)
    replies = await asyncio.gather(*(call(edge, headers={"accept-encoding": "br"}) for _ in range(5)))
    assert {brotli.decompress(reply.body) for reply in replies} == {noise}


async def test_who_has_the_answer_already_is_told_so() -> None:
    edge = make_edge(ToyApp(body=LONG))
    for encoding in ("identity", "gzip", "br"):
        accepts = {"accept-encoding": encoding}
        full = await call(edge, headers=accepts)
        tag = full.headers["etag"]
        for condition in (tag, f'"other", W/{tag}', "*"):
            known = await call(edge, headers={**accepts, "if-none-match": condition})
            assert (known.status, known.body) == (304, b"")
            kept = ("etag", "cache-control", "vary", "x-content-type-options")
            assert all(known.headers[name] == full.headers[name] for name in kept)
            assert "content-length" not in known.headers
        other = await call(edge, headers={**accepts, "if-none-match": '"other"'})
        assert (other.status, other.body) == (200, full.body)


async def test_head_is_answered_from_the_same_entry() -> None:
    app = ToyApp(body=LONG)
    edge = make_edge(app)
    head = await call(edge, method="HEAD")
    get = await call(edge)
    assert head.body == b""
    assert app.asked == 1
    same = ("etag", "content-length", "content-type", "cache-control", "vary")
    assert all(head.headers[name] == get.headers[name] for name in same)
    again = await call(edge, method="HEAD", headers={"if-none-match": get.headers["etag"]})
    assert again.status == 304


async def test_a_head_of_what_is_not_shared_has_no_body_either() -> None:
    reply = await call(make_edge(ToyApp(tags=None, status=404)), method="HEAD")
    assert (reply.status, reply.body) == (404, b"")


async def test_the_application_is_asked_for_the_whole_plain_answer() -> None:
    app = ToyApp()
    headers = {"accept-encoding": "br", "if-none-match": '"x"', "range": "bytes=0-1", "user-agent": "me"}
    await call(make_edge(app), method="HEAD", headers=headers)
    assert app.scopes[0]["method"] == "GET"
    assert app.scopes[0]["headers"] == [(b"user-agent", b"me")]


async def test_many_who_ask_at_once_are_one_question() -> None:
    app = ToyApp()
    app.gate = asyncio.Event()
    edge = make_edge(app)
    asking = [asyncio.create_task(call(edge)) for _ in range(20)]
    await asyncio.sleep(0.01)
    app.gate.set()
    replies = await asyncio.gather(*asking)
    assert app.asked == 1
    assert sorted(reply.headers["x-cache"] for reply in replies) == ["joined"] * 19 + ["miss"]


async def test_who_asked_first_may_leave_without_harm_to_the_others() -> None:
    app = ToyApp()
    app.gate = asyncio.Event()
    edge = make_edge(app)
    first = asyncio.create_task(call(edge))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(call(edge))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    app.gate.set()
    assert (await second).body == b'{"n": 1}'
    assert app.asked == 1


async def test_who_waited_for_one_that_failed_asks_himself() -> None:
    app = ToyApp()
    app.gate, app.error = asyncio.Event(), RuntimeError("broken")
    edge = make_edge(app)
    first = asyncio.create_task(call(edge))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(call(edge))
    await asyncio.sleep(0.01)
    app.gate.set()
    await asyncio.sleep(0)
    replies = await asyncio.gather(first, second)
    assert [reply.status for reply in replies] == [500, 500]
    assert app.asked == 2
    app.error = None
    assert (await call(edge)).status == 200


async def test_what_is_made_for_one_alone_is_never_joined() -> None:
    app = ToyApp(tags=None)
    app.gate = asyncio.Event()
    edge = make_edge(app)
    asking = [asyncio.create_task(call(edge)) for _ in range(5)]
    await asyncio.sleep(0.01)
    app.gate.set()
    replies = await asyncio.gather(*asking)
    assert len({reply.body for reply in replies}) == 5


async def test_a_stream_passes_as_it_comes_and_may_take_long() -> None:
    sent, more = [], asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        start = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        await more.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    edge = make_edge(stream, settings=GENEROUS._replace(timeout_seconds=0.05))
    scope = {"type": "http", "method": "GET", "path": "/events", "query_string": b"", "headers": []}
    streaming = asyncio.create_task(edge(scope, receive, send))
    await asyncio.sleep(0.15)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["body"] == b"one"
    assert not streaming.done()
    more.set()
    await streaming
    assert b"x-frame-options" in dict(sent[0]["headers"])


async def test_a_head_of_a_stream_ends() -> None:
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            await send({"type": "http.response.body", "body": b"tick", "more_body": True})

    assert (await asyncio.wait_for(call(make_edge(stream), method="HEAD"), 1)).body == b""


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}])
async def test_an_answer_that_does_not_begin_in_time_is_given_up(headers: dict[str, str]) -> None:
    app = ToyApp()
    app.gate = asyncio.Event()
    edge = make_edge(app, settings=GENEROUS._replace(timeout_seconds=0.05))
    reply = await call(edge, headers=headers)
    assert (reply.status, json.loads(reply.body)["code"]) == (503, "request_timeout")
    assert reply.headers["retry-after"] == "5"


async def test_what_breaks_is_a_problem_without_a_word_of_it() -> None:
    app = ToyApp()
    app.error = RuntimeError("secret detail")
    reply = await call(make_edge(app), headers={"x-request-id": "my-own-id"})
    problem = json.loads(reply.body)
    assert (reply.status, problem["code"], problem["request_id"]) == (500, "internal_error", "my-own-id")
    assert b"secret" not in reply.body
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        (b"a" * 9000, [], 414, "address_too_long"),
        (b"", [("x-a", "b" * 17_000)], 431, "headers_too_large"),
        (b"", [(f"x-{n}", "b") for n in range(101)], 431, "headers_too_large"),
    ],
)
async def test_what_is_too_large_is_refused_before_all_else(
    query: bytes, headers: list[Any], status: int, code: str
) -> None:
    app = ToyApp()
    edge = make_edge(app)
    await call(edge)
    lines = [(name.encode(), value.encode()) for name, value in headers]
    reply = await call(edge, query=query, headers=lines)
    assert (reply.status, json.loads(reply.body)["code"]) == (status, code)
    assert app.asked == 1
    assert "x-content-type-options" in reply.headers


async def test_headers_of_the_application_stand_and_ours_are_added() -> None:
    app = ToyApp(tags=None, lines=[(b"x-frame-options", b"SAMEORIGIN"), (b"x-request-id", b"the-apps-own")])
    reply = await call(make_edge(app), headers={"x-request-id": "callers-own"})
    assert reply.headers["x-frame-options"] == "SAMEORIGIN"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert [value for name, value in reply.lines if name == b"x-request-id"] == [b"callers-own"]
    assert app.scopes[0]["state"]["skatestock_request_id"] == "callers-own"


async def test_browsers_are_told_to_come_by_tls_only_where_that_is_set() -> None:
    strict = make_edge(ToyApp(), settings=GENEROUS._replace(requires_tls=True))
    assert "strict-transport-security" in (await call(strict)).headers
    assert "strict-transport-security" in (await call(strict)).headers
    assert "strict-transport-security" not in (await call(make_edge(ToyApp()))).headers


async def test_kept_answers_hold_no_origin() -> None:
    edge = make_edge(
        ToyApp(), settings=GENEROUS._replace(cors_origins=("https://a.example", "https://b.example"))
    )
    for _ in range(2):
        for origin in ("https://a.example", "https://b.example"):
            reply = await call(edge, headers={"origin": origin})
            assert reply.headers["access-control-allow-origin"] == origin
            assert "Origin" in reply.headers["vary"]
        for headers in ({"origin": "https://evil.example"}, {}):
            reply = await call(edge, headers=headers)
            assert "access-control-allow-origin" not in reply.headers
            assert "Origin" in reply.headers["vary"]


async def test_a_preflight_does_not_reach_the_application() -> None:
    app = ToyApp()
    edge = make_edge(app, settings=GENEROUS._replace(cors_origins=("https://a.example",)))
    headers = {"origin": "https://a.example", "access-control-request-method": "PUT"}
    reply = await call(edge, method="OPTIONS", headers=headers)
    assert (reply.status, app.asked) == (204, 0)
    assert "PUT" in reply.headers["access-control-allow-methods"]
    await call(make_edge(app), method="OPTIONS", headers=headers)
    assert app.asked == 1


async def test_memory_is_bounded_and_the_longest_unread_leaves_first() -> None:
    app = ToyApp(body=b"x" * 100_000)
    edge = make_edge(app, settings=GENEROUS._replace(cache_mb=1))
    for number in range(30):
        await call(edge, f"/products/{number}")
        await call(edge, "/products/0")
    assert edge.describe().cached_bytes <= 1_048_576
    assert 5 <= edge.describe().cached_answers <= 10
    assert app.asked == 30


async def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    settings = EdgeSettings(limits=Limits(Limit(60, 3), Limit(60, 5), Limit(60, 5)))
    app = ToyApp()
    edge = make_edge(app, settings=settings)
    replies = [await call(edge) for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert [reply.headers["ratelimit"] for reply in replies[:3]] == [
        '"address";r=2;t=1',
        '"address";r=1;t=2',
        '"address";r=0;t=3',
    ]
    assert {reply.headers["ratelimit-policy"] for reply in replies} == {'"address";q=3;w=3'}
    assert json.loads(replies[3].body)["code"] == "rate_limited"
    assert replies[3].headers["retry-after"] == "1"
    assert (await call(edge, peer="192.0.2.2")).status == 200


async def test_whoever_shows_credentials_is_limited_by_them() -> None:
    class Caller:
        kind = "user"

        def __init__(self, number: str) -> None:
            self.id = number

    async def identify(headers: Any) -> Caller | None:
        token = dict(headers)[b"authorization"].decode()
        return Caller(token) if token.startswith("good") else None

    settings = EdgeSettings(limits=Limits(Limit(60, 2), Limit(60, 3), Limit(60, 3)))
    app = ToyApp(tags=None)
    edge = make_edge(app, settings=settings, identify=identify)
    ann, bob, bad = ({"authorization": word} for word in ("good ann", "good bob", "bad"))
    assert [(await call(edge, headers=ann)).status for _ in range(4)] == [200, 200, 200, 429]
    assert (await call(edge, headers=bob)).headers["ratelimit-policy"] == '"user";q=3;w=3'
    assert app.scopes[0]["state"]["client"].id == "good ann"
    # what does not hold counts for the address, and the application hears of nobody
    assert [(await call(edge, headers=bad)).status for _ in range(3)] == [200, 200, 429]
    assert "client" not in app.scopes[-1]["state"]


async def test_without_a_limit_nothing_is_counted_and_nothing_said() -> None:
    none = Limit(0, 1)
    edge = make_edge(ToyApp(), settings=EdgeSettings(limits=Limits(none, none, none)))
    replies = [await call(edge) for _ in range(5)]
    assert [reply.status for reply in replies] == [200] * 5
    assert all("ratelimit" not in reply.headers for reply in replies)


async def test_the_lifespan_reaches_the_application() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        seen.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        seen.append((await receive())["type"])

    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: dict[str, Any]) -> None:
        seen.append(message["type"])

    await make_edge(app)({"type": "lifespan"}, receive, send)
    assert seen == ["lifespan.startup", "lifespan.startup.complete", "lifespan.shutdown"]
    assert NO_BODY["body"] == b""
