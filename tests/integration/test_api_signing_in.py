"""Signing up and in over a real PostgreSQL: who gets in, who does not, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher
from tests.account_scene import PASSWORD, AccountScene, account_scene, code_of

from skatestock.accounts import commands
from skatestock.accounts.commands_attempts import PAIR_FREE
from skatestock.api.app import create_app


@pytest.fixture
async def scene(pool: asyncpg.Pool) -> AsyncIterator[AccountScene]:
    async with account_scene(pool) as scene:
        yield scene


class TestSigningUp:
    async def test_an_account_is_made_and_signs_in(self, scene: AccountScene) -> None:
        person = scene.person("Kareem.Campbell")
        answer = await person.sign_up()
        assert answer.status_code == 202
        assert answer.json() == {
            "status": "accepted",
            "email": "kareem.campbell@example.org",
            "next": "POST /auth/token",
        }
        tokens = (await person.sign_in()).json()
        assert (tokens["token_type"], tokens["expires_in"], tokens["role"]) == ("Bearer", 600, "user")
        me = (await person.ask("GET", "/auth/me")).json()
        assert (me["email"], me["role"], me["key_id"]) == ("kareem.campbell@example.org", "user", None)

    async def test_an_address_that_is_taken_gets_the_same_answer_and_changes_nothing(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        owner = await scene.signed_in("Taken")
        before = await pool.fetch("SELECT * FROM accounts")
        other = scene.person("tAKEN", address="198.51.100.9")
        other.password = "another good password"
        again = await other.sign_up()
        fresh = await scene.person("fresh", address="198.51.100.9").sign_up()
        assert again.status_code == fresh.status_code == 202
        assert again.json() == fresh.json() | {"email": "taken@example.org"}
        assert again.headers.keys() == fresh.headers.keys()
        assert await pool.fetch("SELECT * FROM accounts WHERE email LIKE 'taken%'") == before
        assert code_of(await other.sign_in(), 401) == "wrong_credentials"
        assert (await owner.ask("GET", "/auth/me")).status_code == 200

    async def test_of_two_who_want_one_address_at_once_one_has_it(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        people = [scene.person("popular", address=f"203.0.113.{number}") for number in range(8)]
        for number, person in enumerate(people):
            person.password = f"a good password, number {number}"
        answers = await asyncio.gather(*(person.sign_up() for person in people))
        assert {answer.status_code for answer in answers} == {202}
        assert await pool.fetchval("SELECT count(*) FROM accounts") == 1
        signed_in = [(await person.sign_in()).status_code for person in people]
        assert sorted(signed_in) == [200] + [401] * 7

    async def test_an_easy_password_is_refused_with_the_field_and_the_reason(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person = scene.person()
        person.password = "password123"
        answer = await person.sign_up()
        assert code_of(answer, 400) == "invalid_body"
        assert [error["parameter"] for error in answer.json()["errors"]] == ["password"]
        assert "password123" not in answer.text
        assert await pool.fetchval("SELECT count(*) FROM accounts") == 0


class TestSigningIn:
    async def test_a_wrong_password_and_an_unknown_address_are_told_alike(self, scene: AccountScene) -> None:
        await scene.signed_in("known")
        answers = [
            await scene.person("known").sign_in("a wrong password"),
            await scene.person("unknown").sign_in("a wrong password"),
        ]
        problems = [answer.json() for answer in answers]
        for problem, answer in zip(problems, answers, strict=True):
            assert code_of(answer, 401) == "wrong_credentials"
            assert answer.headers["www-authenticate"].startswith("Bearer")
            del problem["request_id"]
        assert problems[0] == problems[1]
        assert answers[0].headers.keys() == answers[1].headers.keys()

    async def test_the_same_work_is_done_for_an_address_that_nobody_has(
        self, scene: AccountScene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await scene.signed_in("known")
        checked: list[str] = []
        verify = PasswordHasher.verify

        def watched(self: PasswordHasher, hashed: str, password: str) -> bool:
            checked.append(hashed.rpartition("$")[0].rpartition("$")[0])
            return verify(self, hashed, password)

        monkeypatch.setattr(PasswordHasher, "verify", watched)
        await scene.person("known").sign_in("a wrong password")
        await scene.person("unknown").sign_in("a wrong password")
        assert len(checked) == 2
        assert checked[0] == checked[1]

    async def test_a_disabled_account_is_told_like_a_wrong_password(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person = await scene.signed_in("kareem")
        key = await person.make_key("read")
        async with pool.acquire() as connection, connection.transaction():
            await commands.disable_account(connection, "kareem@example.org", scene.clock())
        assert code_of(await person.ask("GET", "/auth/me"), 401) == "invalid_token"
        assert code_of(await person.refresh(), 401) == "invalid_refresh_token"
        assert code_of(await person.client.get("/auth/me", headers={"X-API-Key": key}), 401)
        assert code_of(await person.sign_in(), 401) == "wrong_credentials"
        async with pool.acquire() as connection, connection.transaction():
            await commands.enable_account(connection, "kareem@example.org", scene.clock())
        assert (await person.sign_in()).status_code == 200

    async def test_who_guesses_is_told_when_to_come_back(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        for _ in range(PAIR_FREE):
            assert code_of(await person.sign_in("a wrong password"), 401) == "wrong_credentials"
        answer = await person.sign_in()
        assert code_of(answer, 429) == "too_many_attempts"
        assert answer.headers["retry-after"] == "1"
        # the session that is open goes on: nobody is signed out by a stranger who guesses
        assert (await person.ask("GET", "/auth/me")).status_code == 200
        assert (await person.refresh()).status_code == 200

    async def test_a_burst_beyond_what_is_taken_on_is_told_to_come_back(self, scene: AccountScene) -> None:
        people = [scene.person(f"p{number}", address=f"203.0.113.{number}") for number in range(60)]
        answers = await asyncio.gather(*(person.sign_in() for person in people))
        statuses = {answer.status_code for answer in answers}
        assert statuses <= {401, 503}
        for answer in answers:
            if answer.status_code == 503:
                assert code_of(answer, 503) == "accounts_busy"
                assert answer.headers["retry-after"] == "2"

    async def test_every_answer_with_a_secret_is_kept_by_nobody(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        answers = [
            await person.sign_in(),
            await person.refresh(),
            await person.ask("GET", "/auth/me"),
            await person.ask("GET", "/auth/me/export"),
            await person.ask("POST", "/auth/keys", json={"name": "k", "scopes": ["read"]}),
            await person.sign_in("a wrong password"),
            await person.client.get("/auth/me"),
        ]
        for answer in answers:
            assert "no-store" in answer.headers["cache-control"]
            assert "set-cookie" not in answer.headers


async def test_without_signing_keys_the_rest_of_the_api_answers(pool: asyncpg.Pool) -> None:
    app = create_app(pool, version="1.2.3")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
        assert (await client.get("/health/live")).status_code == 200
        for answer in (
            await client.post("/auth/token", json={"email": "a@example.org", "password": PASSWORD}),
            await client.get("/auth/me", headers={"Authorization": "Bearer abc"}),
        ):
            assert code_of(answer, 503) == "accounts_off"


async def test_the_address_is_the_one_that_the_edge_tells(scene: AccountScene) -> None:
    """Behind a proxy everybody is connected from one address; the edge knows whose requests they are."""

    async def edge(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"address": "2001:db8:1:2::/64"}
        await scene.app(scope, receive, send)

    person = await scene.signed_in()
    transport = httpx.ASGITransport(edge, client=("10.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
        for _ in range(PAIR_FREE):
            answer = await client.post("/auth/token", json={"email": person.email, "password": "wrong guess"})
            assert code_of(answer, 401) == "wrong_credentials"
        answer = await client.post("/auth/token", json={"email": person.email, "password": PASSWORD})
        assert code_of(answer, 429) == "too_many_attempts"
    log = (await person.ask("GET", "/auth/audit?kind=sign_in_failed")).json()["items"]
    assert {entry["address"] for entry in log} == {"2001:db8:1:2::/64"}
    assert (await person.sign_in()).status_code == 200
