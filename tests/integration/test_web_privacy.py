"""No answer for one is ever given to another by the real web: two processes, one Redis, two people.

Whoever asks has a word of their own, which stands in all that is theirs. No other word may ever reach them,
through memory, Redis, a condition, one question for many, or a stream.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.ingest_shop import add_shop, ended, ingest, offer, seen
from tests.integration.api_process import served
from tests.servers import PostgresServer, TestServers

from skatestock.database.pool import create_pool

PASSWORD = "four words nobody guesses"
WORDS = {"ann": "quokka", "bob": "axolotl"}
OWNERS = {"ann": "ann", "bob": "bob", "ann's key": "ann", "bob's key": "bob"}
NOBODY, COOKIE = "nobody", "a cookie"
PRIVATE = ("/auth/me", "/wishlist", "/wishlist/1", "/searches", "/auth/keys", "/auth/me/export")
PUBLIC = ("/products", "/products/1", "/products/2", "/products/1/price-history", "/shops")
FOR_PEOPLE_ONLY = {"/auth/keys", "/auth/me/export"}
NUMBERS = itertools.count(1)


class Ask(NamedTuple):
    who: str
    path: str
    method: str
    process: int
    condition: int | None


class Web(NamedTuple):
    """Two processes before one catalogue."""

    dsn: str
    addresses: tuple[str, str]
    credentials: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def web(postgres_server: PostgresServer, test_servers: TestServers) -> Iterator[Web]:
    dsn = postgres_server.create_database(migrated=True)
    asyncio.run(change_prices(dsn, first=True))
    options: dict[str, Any] = {f"rate_limit_{kind}": 0 for kind in ("address", "user", "key")}
    options["redis_url"] = test_servers.valkey().url
    with served(dsn, **options) as (_, one), served(dsn, **options) as (_, other):
        yield Web(dsn, (one, other), move_in(one))
    postgres_server.drop_database(dsn)


async def change_prices(dsn: str, *, first: bool = False) -> None:
    """Let a crawl of two listings be ingested, at prices that were never there before."""
    pool = await create_pool(dsn, application_name="tests", max_size=2)
    try:
        if first:
            await add_shop(pool, "labor")
        number = next(NUMBERS)
        found = (seen(number, offer(4000 + number), listing=name, shop="labor") for name in ("1", "2"))
        await ingest(pool, *found, ended(number, "1", "2", shop="labor"))
    finally:
        await pool.close()


def move_in(address: str) -> dict[str, dict[str, str]]:
    """Sign both people up and in, write their words everywhere, and make a key for each."""
    credentials: dict[str, dict[str, str]] = {NOBODY: {}, COOKIE: {"Cookie": "session=1"}}
    with httpx.Client(base_url=address, timeout=30) as client:
        for name, word in WORDS.items():
            who = {"email": f"{word}@example.org", "password": PASSWORD}
            assert client.post("/auth/signup", json=who).status_code == 202
            token = client.post("/auth/token", json=who).json()["access_token"]
            bearer = {"Authorization": f"Bearer {token}"}
            made = client.post(
                "/auth/keys",
                headers=bearer,
                json={"name": word, "scopes": ["read", "wishlist", "searches"]},
            )
            assert made.status_code == 201
            search = {"name": word, "query": "in_stock=true"}
            assert client.post("/searches", headers=bearer, json=search).status_code == 201
            wish = client.put("/wishlist/1", headers=bearer, json={"note": word})
            assert wish.status_code == 201 or wish.status_code == 200
            credentials |= {name: bearer, f"{name}'s key": {"X-API-Key": made.json()["key"]}}
    return credentials


class Watch:
    """Checks every answer that anybody is given."""

    def __init__(self, web: Web, clients: list[httpx.AsyncClient]) -> None:
        self._web = web
        self._clients = clients
        self._bodies: dict[tuple[str, str], str] = {}

    async def ask(self, ask: Ask) -> None:
        headers = dict(self._web.credentials[ask.who])
        tags = [tag for path, tag in self._bodies if path == ask.path]
        if ask.condition is not None and tags:
            headers["If-None-Match"] = tags[ask.condition % len(tags)]
        if ask.method == "PUT":
            body = (
                {"note": f"{WORDS[OWNERS[ask.who]]} {next(NUMBERS)}"} if ask.who in OWNERS else {"note": "x"}
            )
            answer = await self._clients[ask.process].put("/wishlist/1", headers=headers, json=body)
        else:
            answer = await self._clients[ask.process].request(ask.method, ask.path, headers=headers)
        event(f"{ask.path} {answer.status_code} {answer.headers.get('x-cache', 'passed')}")
        self.check_words(ask.who, answer.text)
        if ask.path in PRIVATE or ask.method == "PUT":
            self.check_private(ask, answer)
        else:
            self.check_public(ask, answer)

    def check_words(self, who: str, text: str) -> None:
        """No word of anybody else stands in what somebody is given."""
        for name, word in WORDS.items():
            assert OWNERS.get(who) == name or word not in text, (who, text)

    def check_private(self, ask: Ask, answer: httpx.Response) -> None:
        assert "x-cache" not in answer.headers
        assert "etag" not in answer.headers
        if ask.who not in OWNERS:
            assert answer.status_code == 401
            return
        assert answer.headers["cache-control"] == "private, no-store"
        if ask.who.endswith("key") and ask.path in FOR_PEOPLE_ONLY and ask.method != "PUT":
            assert answer.status_code == 403
        else:
            assert answer.status_code == 200
            assert ask.method == "HEAD" or WORDS[OWNERS[ask.who]] in answer.text

    def check_public(self, ask: Ask, answer: httpx.Response) -> None:
        if ask.who != NOBODY:
            assert answer.status_code == 200
            assert "x-cache" not in answer.headers
            assert answer.headers["cache-control"] == "private, no-store"
            return
        assert answer.status_code in (200, 304)
        tag = answer.headers.get("etag")
        if answer.status_code == 304:
            assert (ask.path, tag) in self._bodies
        elif tag is not None and ask.method == "GET":
            assert self._bodies.setdefault((ask.path, tag), answer.text) == answer.text

    async def follow(self, who: str, process: int, product: int, kind: str) -> None:
        """Follow a stream for a second: it tells what was asked for, and of nobody."""
        query: dict[str, str | int] = {"product": product, "kind": kind, "seconds": 1}
        address, headers = "/events", self._web.credentials[who]
        async with self._clients[process].stream("GET", address, params=query, headers=headers) as answer:
            assert answer.status_code in (200, 429)
            text = (await answer.aread()).decode()
        self.check_words(NOBODY, text)
        told = [
            json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")
        ]
        for one in told if answer.status_code == 200 else ():
            if "product" in one:
                event(f"told {kind}")
                assert (one["product"]["id"], one["kind"]) == (product, kind)


ASKS = st.builds(
    Ask,
    who=st.sampled_from([*OWNERS, NOBODY, NOBODY, COOKIE]),
    path=st.sampled_from([*PRIVATE, *PUBLIC]),
    method=st.sampled_from(["GET", "GET", "GET", "HEAD", "PUT"]),
    process=st.integers(0, 1),
    condition=st.none() | st.integers(0, 5),
)
STEPS = st.lists(st.lists(ASKS, min_size=1, max_size=12) | st.just("prices"), min_size=4, max_size=20)
FOLLOWED = st.lists(
    st.tuples(
        st.sampled_from([*OWNERS, NOBODY]),
        st.integers(0, 1),
        st.integers(1, 2),
        st.sampled_from(["price_changed", "restocked"]),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture
async def clients(web: Web) -> AsyncIterator[list[httpx.AsyncClient]]:
    opened = [httpx.AsyncClient(base_url=address, timeout=30) for address in web.addresses]
    yield opened
    for client in opened:
        await client.aclose()


@given(steps=STEPS, followed=FOLLOWED)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_answer_for_one_is_ever_given_to_another(
    web: Web, clients: list[httpx.AsyncClient], steps: list[Any], followed: list[Any]
) -> None:
    watch = Watch(web, clients)
    following = [asyncio.create_task(watch.follow(*one)) for one in followed]
    for step in steps:
        if step == "prices":
            await change_prices(web.dsn)
        else:
            await asyncio.gather(*(watch.ask(ask) for ask in step))
    await asyncio.gather(*following)


async def test_what_may_be_shared_is_shared_meanwhile(web: Web, clients: list[httpx.AsyncClient]) -> None:
    """Otherwise the test above would say nothing of the caches."""
    seen_sources = set()
    for _ in range(40):
        for client in clients:
            seen_sources.add((await client.get("/products/2")).headers.get("x-cache"))
        await asyncio.sleep(0.05)
    assert "hit" in seen_sources
