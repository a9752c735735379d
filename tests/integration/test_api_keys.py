"""API keys over a real PostgreSQL: what they may do, until when, and what is written of their use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.account_scene import AccountScene, account_scene, code_of
from tests.integration.test_api_endpoints import check_problem


@pytest.fixture
async def scene(pool: asyncpg.Pool) -> AsyncIterator[AccountScene]:
    async with account_scene(pool) as scene:
        yield scene


class TestKeys:
    async def test_a_key_is_shown_once_and_stored_as_a_hash(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person = await scene.signed_in()
        key = await person.make_key("read", "wishlist")
        listed = (await person.ask("GET", "/auth/keys")).json()["items"]
        assert [(item["scopes"], item["used_at"]) for item in listed] == [(["read", "wishlist"], None)]
        secret = key[-43:]
        stored = str([tuple(row) for row in await pool.fetch("SELECT * FROM api_keys")])
        assert secret not in stored
        assert secret not in str(listed)

    @pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
    async def test_a_key_does_what_its_scopes_say(self, scene: AccountScene, header: str) -> None:
        person = await scene.signed_in()
        key = await person.make_key("wishlist")
        sent = {header: key if header == "X-API-Key" else f"Bearer {key}"}
        ask = scene.person().client
        assert (await ask.get("/wishlist", headers=sent)).status_code == 200
        refused = await ask.get("/searches", headers=sent)
        assert code_of(refused, 403) == "scope_missing"
        assert "insufficient_scope" in refused.headers["www-authenticate"]
        assert code_of(await ask.get("/auth/me", headers=sent), 403) == "scope_missing"

    async def test_a_key_shows_who_it_is(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        key = await person.make_key("read")
        me = (await person.client.get("/auth/me", headers={"X-API-Key": key})).json()
        assert (me["email"], me["scopes"]) == ("kareem@example.org", ["read"])
        assert me["key_id"] in key

    async def test_no_key_may_do_what_is_about_accounts(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        key = {"X-API-Key": await person.make_key("read", "wishlist", "searches")}
        for method, path in (
            ("POST", "/auth/logout"),
            ("DELETE", "/auth/me"),
            ("GET", "/auth/me/export"),
            ("PUT", "/auth/password"),
            ("POST", "/auth/keys"),
            ("GET", "/auth/keys"),
            ("DELETE", "/auth/keys/abc"),
            ("GET", "/auth/sessions"),
            ("DELETE", "/auth/sessions/abc"),
            ("GET", "/auth/audit"),
        ):
            answer = await person.client.request(method, path, headers=key)
            assert code_of(answer, 403) == "key_not_allowed", path
        assert len((await person.ask("GET", "/auth/keys")).json()["items"]) == 1

    async def test_a_key_ends_when_it_is_revoked_or_expires(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        lasting, brief = await person.make_key("read"), await person.make_key("read", expires_in_days=1)
        for key in (lasting, brief):
            assert (await person.client.get("/auth/me", headers={"X-API-Key": key})).status_code == 200
        scene.clock.move(days=1)
        assert code_of(await person.client.get("/auth/me", headers={"X-API-Key": brief}), 401)
        await person.sign_in()
        key_id = lasting.split("_")[1]
        assert (await person.ask("DELETE", f"/auth/keys/{key_id}")).status_code == 204
        answer = await person.client.get("/auth/me", headers={"X-API-Key": lasting})
        assert code_of(answer, 401) == "invalid_token"
        assert code_of(await person.ask("DELETE", f"/auth/keys/{key_id}"), 404) == "key_not_found"

    async def test_another_secret_with_a_known_id_is_refused(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        key = await person.make_key("read")
        other = key[:-43] + ("A" if key[-43] != "A" else "B") + key[-42:]
        answer = await person.client.get("/auth/me", headers={"X-API-Key": other})
        assert code_of(answer, 401) == "invalid_token"

    async def test_an_account_has_twenty_keys_at_most_however_fast_they_are_made(
        self, scene: AccountScene
    ) -> None:
        person = await scene.signed_in()
        answers = await asyncio.gather(
            *(person.ask("POST", "/auth/keys", json={"name": "k", "scopes": ["read"]}) for _ in range(25))
        )
        assert sorted(answer.status_code for answer in answers) == [201] * 20 + [409] * 5
        assert {check_problem(answer) for answer in answers if answer.status_code == 409} == {"limit_reached"}

    async def test_the_use_of_a_key_is_written_once_a_minute_and_told_once_an_hour_and_address(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person = await scene.signed_in()
        key = {"X-API-Key": await person.make_key("read")}
        other = scene.person(address="192.0.2.1").client

        async def used() -> list[str]:
            answer = await person.ask("GET", "/auth/audit?kind=key_used")
            return [entry["address"] for entry in answer.json()["items"]]

        begun = scene.clock()
        for _ in range(5):
            await person.client.get("/auth/me", headers=key)
            scene.clock.move(seconds=10)
        assert await pool.fetchval("SELECT used_at FROM api_keys") == begun
        assert await used() == ["203.0.113.7"]
        scene.clock.move(seconds=20)
        await other.get("/auth/me", headers=key)
        assert await pool.fetchval("SELECT used_at FROM api_keys") == scene.clock()
        assert await used() == ["192.0.2.1", "203.0.113.7"]
        scene.clock.move(hours=1)
        await person.sign_in()
        await other.get("/auth/me", headers=key)
        assert await used() == ["192.0.2.1", "192.0.2.1", "203.0.113.7"]

    async def test_a_key_that_is_passed_around_does_not_fill_the_log(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person = await scene.signed_in()
        key = {"X-API-Key": await person.make_key("read")}
        for number in range(40):
            await scene.person(address=f"192.0.2.{number}").client.get("/auth/me", headers=key)
        assert await pool.fetchval("SELECT count(*) FROM audit_log WHERE kind = 'key_used'") == 20
