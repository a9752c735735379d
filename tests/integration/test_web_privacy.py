"""No answer for one is ever given to another by the real web: two processes, one Redis, two people.

Whoever asks has a word of their own, which stands in all that is theirs. No other word may ever reach them,
through memory, Redis, a condition, one question for many, or a stream. It is counted that each of these ways
was truly gone: otherwise the test would say nothing of them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
from hypothesis import event, given, settings
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
MOST_EXAMPLES = 8
# What must have happened in a run, and how often at least: about a tenth of what runs have shown.
WAYS = {
    "nobody: hit": 20,
    "nobody: hit, shared": 4,
    "nobody: miss": 8,
    "nobody: not modified": 5,
    "a stream told of a change": 3,
    "a person's own": 7,
    "a key's own": 7,
    "public with credentials": 50,
    "public with credentials, asked with a shared tag": 25,
}


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
    asyncio.run(set_up(dsn))
    options: dict[str, Any] = {f"rate_limit_{kind}": 0 for kind in ("address", "user", "key")}
    options["redis_url"] = test_servers.valkey().url
    with served(dsn, **options) as (_, one), served(dsn, **options) as (_, other):
        yield Web(dsn, (one, other), move_in(one))
    postgres_server.drop_database(dsn)


async def set_up(dsn: str) -> None:
    """Make the shop, and let it be crawled for the first time."""
    pool = await create_pool(dsn, application_name="tests", max_size=2)
    await add_shop(pool, "labor")
    await change_prices(pool)
    await pool.close()


async def change_prices(pool: asyncpg.Pool) -> None:
    """Let a crawl of two listings be ingested, at prices that were never there before."""
    number = next(NUMBERS)
    found = (seen(number, offer(4000 + number), listing=name, shop="labor") for name in ("1", "2"))
    await ingest(pool, *found, ended(number, "1", "2", shop="labor"))


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

    def __init__(self, web: Web, pool: asyncpg.Pool) -> None:
        self._web = web
        self._pool = pool
        self._clients = [httpx.AsyncClient(base_url=address, timeout=30) for address in web.addresses]
        self._bodies: dict[tuple[str, str], str] = {}
        self.ways: Counter[str] = Counter()
        """Which ways answers have gone, and how often."""

    async def play(self, steps: list[Any], followed: list[Any]) -> None:
        """Let everybody ask and follow, some at once and some after each other, while prices change."""
        following = [asyncio.create_task(self.follow(*one)) for one in followed]
        for step in steps:
            if step == "prices":
                await change_prices(self._pool)
            elif isinstance(step, tuple):
                for ask in step:
                    await self.ask(ask)
            else:
                await asyncio.gather(*(self.ask(ask) for ask in step))
        await asyncio.gather(*following)

    async def leave(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.aclose()
        await self._pool.close()

    def count(self, way: str) -> None:
        """Count that an answer has gone a way."""
        self.ways[way] += 1
        event(way)

    async def ask(self, ask: Ask) -> None:
        headers = dict(self._web.credentials[ask.who])
        tags = [tag for path, tag in self._bodies if path == ask.path]
        if ask.condition is not None and tags:
            # the newest one first: it is the one that may still hold
            headers["If-None-Match"] = tags[-1 - ask.condition % len(tags)]
        if ask.method == "PUT":
            body = (
                {"note": f"{WORDS[OWNERS[ask.who]]} {next(NUMBERS)}"} if ask.who in OWNERS else {"note": "x"}
            )
            answer = await self._clients[ask.process].put("/wishlist/1", headers=headers, json=body)
        else:
            answer = await self._clients[ask.process].request(ask.method, ask.path, headers=headers)
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
            self.count("a key's own" if ask.who.endswith("key") else "a person's own")

    def check_public(self, ask: Ask, answer: httpx.Response) -> None:
        if ask.who != NOBODY:
            assert answer.status_code == 200
            assert "x-cache" not in answer.headers
            assert answer.headers["cache-control"] == "private, no-store"
            self.count("public with credentials")
            if "if-none-match" in answer.request.headers:
                self.count("public with credentials, asked with a shared tag")
            return
        assert answer.status_code in (200, 304)
        self.count(f"nobody: {answer.headers.get('x-cache', 'passed')}")
        tag = answer.headers.get("etag")
        if answer.status_code == 304:
            assert (ask.path, tag) in self._bodies
            self.count("nobody: not modified")
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
                self.count("a stream told of a change")
                assert (one["product"]["id"], one["kind"]) == (product, kind)


# Seldom enough for answers to be kept in between, and often enough for them to become another.
PRICES = st.just("prices")


def asks(who: list[str], paths: list[str]) -> st.SearchStrategy[Ask]:
    return st.builds(
        Ask,
        who=st.sampled_from(who),
        path=st.sampled_from(paths),
        method=st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "PUT"]),
        process=st.integers(0, 1),
        condition=st.none() | st.integers(0, 3),
    )


OF_ANYBODY = asks([*OWNERS, NOBODY, COOKIE], [*PRIVATE, *PUBLIC])
OF_OWNERS = asks([*OWNERS], [*PRIVATE, *PUBLIC])
OF_NOBODY = asks([NOBODY], [*PUBLIC])
TOGETHER = st.lists(OF_NOBODY | OF_ANYBODY | OF_OWNERS | OF_NOBODY, min_size=1, max_size=5)
# One address, asked by this one and that one in turn: what one was given is kept when the next one comes.
IN_TURN = st.sampled_from(PUBLIC).flatmap(
    lambda path: st.lists(asks([NOBODY, NOBODY, *OWNERS], [path]), min_size=3, max_size=8).map(tuple)
)
STEPS = st.lists(st.one_of(*[TOGETHER] * 4, *[IN_TURN] * 4, PRICES), min_size=30, max_size=50)
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


def test_no_answer_for_one_is_ever_given_to_another(web: Web) -> None:
    with asyncio.Runner() as runner:
        pool = runner.run(create_pool(web.dsn, application_name="tests", max_size=2))
        watch = Watch(web, pool)

        @given(steps=STEPS, followed=FOLLOWED)
        @settings(max_examples=MOST_EXAMPLES, deadline=None)
        def interleave(steps: list[Any], followed: list[Any]) -> None:
            runner.run(watch.play(steps, followed))

        interleave()
        runner.run(watch.leave())
    seldom = {way: watch.ways[way] for way, least in WAYS.items() if watch.ways[way] < least}
    assert not seldom, watch.ways
