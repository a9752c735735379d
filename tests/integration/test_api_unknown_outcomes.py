"""What a client is told of a change whose end nobody saw: "not made" only where that is certain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
from tests.account_scene import PASSWORD, AccountScene, Person, account_scene
from tests.commit_cutter import CommitCutter, Loss, commit_cutter
from tests.edge_scene import GENEROUS, confirmed_validity
from tests.integration.test_api_endpoints import check_problem

from skatestock.database.pool import create_pool
from skatestock.edge.build import build_edge

TABLES = ("accounts", "sessions", "refresh_tokens", "api_keys", "wishes", "saved_searches", "audit_log")
PATIENCE_SECONDS = 20


class Web(NamedTuple):
    """An API that reaches its database by a way that can be lost, and a way of the test's own."""

    scene: AccountScene
    cutter: CommitCutter
    direct: asyncpg.Pool
    product: int

    async def look(self) -> list[Any]:
        """Return all that is stored of accounts."""
        return [
            sorted(map(tuple, await self.direct.fetch(f"SELECT * FROM {table}")), key=str) for table in TABLES
        ]


@pytest.fixture
async def web(database_dsn: str, pool: asyncpg.Pool) -> AsyncIterator[Web]:
    product = await pool.fetchval("INSERT INTO products (name, created_at) VALUES ('p', now()) RETURNING id")
    async with commit_cutter(database_dsn) as cutter:
        api_pool = await create_pool(cutter.url, application_name="tests", max_size=3)
        async with account_scene(api_pool) as scene:
            yield Web(scene, cutter, pool, product)
        api_pool.terminate()


class Settled(NamedTuple):
    """Somebody who has one of everything."""

    person: Person
    key_id: str
    session_id: str
    search_id: int


async def settle(web: Web) -> Settled:
    person = await web.scene.signed_in()
    elsewhere = web.scene.person()
    await elsewhere.sign_in()
    key = await person.make_key("read")
    sessions = (await person.ask("GET", "/auth/sessions")).json()["items"]
    (session_id,) = [session["id"] for session in sessions if not session["current"]]
    search = (await person.ask("POST", "/searches", json={"name": "mine", "query": ""})).json()
    assert (await person.ask("PUT", f"/wishlist/{web.product}", json={})).status_code == 200
    # the next moment: what is stored again now differs from what was stored before
    web.scene.clock.move(seconds=1)
    return Settled(person, key.split("_")[1], session_id, search["id"])


Write = Callable[[Web, Settled], Awaitable[httpx.Response]]

CHANGED = {"current_password": PASSWORD, "new_password": "another good password"}
# Each with how many transactions come before the one that counts: attempts are counted and forgiven apart.
WRITES: dict[str, tuple[int, Write]] = {
    "sign up": (1, lambda web, _: web.scene.person("rodney").sign_up()),
    "sign in": (1, lambda _, one: one.person.sign_in()),
    "refresh": (0, lambda _, one: one.person.refresh()),
    "sign out": (0, lambda _, one: one.person.ask("POST", "/auth/logout")),
    "password": (2, lambda _, one: one.person.ask("PUT", "/auth/password", json=CHANGED)),
    "delete me": (2, lambda _, one: one.person.ask("DELETE", "/auth/me", json={"password": PASSWORD})),
    "export": (0, lambda _, one: one.person.ask("GET", "/auth/me/export")),
    "make key": (
        0,
        lambda _, one: one.person.ask("POST", "/auth/keys", json={"name": "k", "scopes": ["read"]}),
    ),
    "revoke key": (0, lambda _, one: one.person.ask("DELETE", f"/auth/keys/{one.key_id}")),
    "end session": (0, lambda _, one: one.person.ask("DELETE", f"/auth/sessions/{one.session_id}")),
    "put wish": (0, lambda web, one: one.person.ask("PUT", f"/wishlist/{web.product}", json={"note": "new"})),
    "delete wish": (0, lambda web, one: one.person.ask("DELETE", f"/wishlist/{web.product}")),
    "save search": (0, lambda _, one: one.person.ask("POST", "/searches", json={"name": "new", "query": ""})),
    "change search": (
        0,
        lambda _, one: one.person.ask("PUT", f"/searches/{one.search_id}", json={"name": "new", "query": ""}),
    ),
    "delete search": (0, lambda _, one: one.person.ask("DELETE", f"/searches/{one.search_id}")),
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_change_is_told_as_not_made_only_where_that_is_certain(web: Web, name: str) -> None:
    skipped, write = WRITES[name]
    losses: dict[Loss, tuple[str, bool]] = {
        "before the work": ("database_unavailable", False),
        "before the commit": ("outcome_unknown", False),
        "after the commit": ("outcome_unknown", True),
    }
    settled = await settle(web)
    for loss, (code, is_made) in losses.items():
        before = await web.look()
        web.cutter.arm(loss, skipped=skipped)
        answer = await write(web, settled)
        assert web.cutter.happened.is_set()
        assert (answer.status_code, check_problem(answer)) == (503, code), loss
        assert ("retry-after" in answer.headers) == (code == "database_unavailable")
        assert (await web.look() != before) == is_made, loss


@pytest.mark.parametrize("name", ["sign in", "password", "delete me"])
async def test_what_is_lost_as_an_attempt_is_counted_changes_nothing(web: Web, name: str) -> None:
    settled = await settle(web)
    for skipped in range(WRITES[name][0]):
        before = await web.look()
        web.cutter.arm("after the commit", skipped=skipped)
        answer = await WRITES[name][1](web, settled)
        assert check_problem(answer) == "database_unavailable"
        assert await web.look() == before


async def ask_by_edge(web: Web, person: Person, seconds: float) -> httpx.Response:
    """Put a wish by an edge that gives an answer so long to begin."""
    edge = build_edge(
        web.scene.app,
        confirmed_validity(),
        settings=GENEROUS._replace(timeout_seconds=seconds),
        program="tests",
        identify=web.scene.accounts.identify,
    )
    transport = httpx.ASGITransport(edge)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
        return await client.put(f"/wishlist/{web.product}", headers=person.bearer, json={"note": "late"})


async def test_a_change_that_is_given_up_before_its_commit_is_not_made(web: Web) -> None:
    person = (await settle(web)).person
    before = await web.look()
    async with web.direct.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM accounts FOR UPDATE")
        # more often than there are connections: each of them is had again
        for _ in range(5):
            answer = await ask_by_edge(web, person, 0.3)
            assert (answer.status_code, answer.json()["code"]) == (503, "request_timeout")
    await asyncio.sleep(0.5)
    assert await web.look() == before
    assert (await ask_by_edge(web, person, 10)).status_code == 200


async def test_a_change_that_is_given_up_during_its_commit_may_be_made_and_nothing_else_is_claimed(
    web: Web,
) -> None:
    person = (await settle(web)).person
    before = await web.look()
    web.cutter.arm("answer held back")
    # the database says nothing until it is let go: nobody may wait for that
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await ask_by_edge(web, person, 0.5)
    web.cutter.let_go.set()
    assert (answer.status_code, answer.json()["code"]) == (503, "request_timeout")
    assert "nothing" not in answer.text
    assert await web.look() != before
    assert (await person.ask("GET", f"/wishlist/{web.product}")).json()["note"] == "late"
