"""One's own data over a real PostgreSQL: what is shown, exported, deleted and pruned, and to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from tests.account_scene import PASSWORD, AccountScene, account_scene, code_of

from skatestock.accounts import commands
from skatestock.accounts.accounts import Accounts
from skatestock.accounts.model import Caller


@pytest.fixture
async def scene(pool: asyncpg.Pool) -> AsyncIterator[AccountScene]:
    async with account_scene(pool) as scene:
        yield scene


class TestOnesOwnData:
    async def test_the_export_holds_everything_and_no_secret(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person = await scene.signed_in()
        key = await person.make_key("read")
        await person.ask("POST", "/searches", json={"name": "vulcs", "query": "in_stock=true"})
        answer = await person.ask("GET", "/auth/me/export")
        export = answer.json()
        assert export["account"]["email"] == "kareem@example.org"
        assert [search["name"] for search in export["searches"]] == ["vulcs"]
        assert [entry["kind"] for entry in export["audit"]] == [
            "data_exported",
            "key_made",
            "signed_in",
            "signed_up",
        ]
        assert len(export["keys"]) == len(export["sessions"]) == 1
        for secret in (key, key[-43:], "argon2", person.tokens["refresh_token"]):
            assert secret not in answer.text

    async def test_the_export_holds_what_has_ended_and_is_kept(self, scene: AccountScene) -> None:
        person, elsewhere = await scene.signed_in(), scene.person(address="192.0.2.1")
        await elsewhere.sign_in()
        key = await person.make_key("read")
        assert (await elsewhere.ask("POST", "/auth/logout")).status_code == 204
        assert (await person.ask("DELETE", f"/auth/keys/{key.split('_')[1]}")).status_code == 204
        export = (await person.ask("GET", "/auth/me/export")).json()
        endings = {one["address"]: (one["ended_because"], one["current"]) for one in export["sessions"]}
        assert endings == {"203.0.113.7": (None, True), "192.0.2.1": ("signed_out", False)}
        (revoked,) = export["keys"]
        assert revoked["revoked_at"] is not None
        assert (await person.ask("GET", "/auth/keys")).json()["items"] == []
        assert len((await person.ask("GET", "/auth/sessions")).json()["items"]) == 1

    async def test_a_deleted_account_leaves_nothing_that_names_anybody(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person, other = await scene.signed_in(), await scene.signed_in("rodney")
        key = await person.make_key("read")
        await person.ask("POST", "/searches", json={"name": "vulcs", "query": ""})
        wrong = await person.ask("DELETE", "/auth/me", json={"password": "a wrong password"})
        assert code_of(wrong, 403) == "wrong_password"
        assert (await person.ask("DELETE", "/auth/me", json={"password": PASSWORD})).status_code == 204
        assert code_of(await person.ask("GET", "/auth/me"), 401) == "invalid_token"
        assert code_of(await person.client.get("/auth/me", headers={"X-API-Key": key}), 401)
        assert code_of(await person.sign_in(), 401) == "wrong_credentials"
        assert (await other.ask("GET", "/auth/me")).status_code == 200
        (left,) = await pool.fetch(
            """SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM api_keys),
            (SELECT count(*) FROM saved_searches), (SELECT count(*) FROM sessions)"""
        )
        assert tuple(left) == (1, 0, 0, 1)
        (line,) = await pool.fetch("SELECT * FROM audit_log WHERE kind = 'account_deleted'")
        assert (line["account_id"], line["address"], line["detail"]) == (None, None, None)
        assert (await person.sign_up()).status_code == 202
        assert (await person.sign_in()).status_code == 200

    async def test_the_audit_log_tells_one_only_of_oneself_and_an_admin_of_all(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        admin, person = await scene.signed_in("admin"), await scene.signed_in("kareem", address="192.0.2.1")
        await person.sign_in("a wrong password")
        await scene.person("nobody").sign_in()
        own = (await person.ask("GET", "/auth/audit")).json()["items"]
        assert [entry["kind"] for entry in own] == ["sign_in_failed", "signed_in", "signed_up"]
        assert {entry["email"] for entry in own} == {"kareem@example.org"}
        refused = await admin.ask("GET", "/auth/audit?everyone=true")
        assert code_of(refused, 403) == "role_missing"
        async with pool.acquire() as connection, connection.transaction():
            await commands.set_role(connection, "admin@example.org", "admin", scene.clock())
        everyone = (await admin.ask("GET", "/auth/audit?everyone=true")).json()["items"]
        assert {entry["email"] for entry in everyone} == {"admin@example.org", "kareem@example.org", None}
        assert len(everyone) == 7

    async def test_the_audit_log_is_read_page_by_page(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        for _ in range(6):
            await person.sign_in()
        whole = (await person.ask("GET", "/auth/audit")).json()
        assert whole["next_before"] is None
        seen: list[int] = []
        path = "/auth/audit?limit=3"
        while path:
            page = (await person.ask("GET", path)).json()
            seen += [entry["id"] for entry in page["items"]]
            path = page["next_before"] and f"/auth/audit?limit=3&before={page['next_before']}"
        assert seen == [entry["id"] for entry in whole["items"]]

    async def test_no_password_token_or_key_is_written_anywhere(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person = await scene.signed_in()
        first = person.tokens["refresh_token"]
        await person.refresh()
        key = await person.make_key("read")
        await person.client.get("/auth/me", headers={"X-API-Key": key})
        await person.sign_in("a password typed wrongly")
        await person.refresh(first)
        tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables:
            kept = str([tuple(row) for row in await pool.fetch(f'SELECT * FROM "{table}"')])
            for secret in (PASSWORD, "typed wrongly", first[4:], key[-43:]):
                assert secret not in kept, table


class TestPruning:
    async def test_what_has_been_kept_long_enough_goes_and_nothing_else(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person = await scene.signed_in()
        brief = await person.make_key("read", expires_in_days=1)
        await person.sign_in("a wrong password")

        async def prune() -> None:
            async with pool.acquire() as connection:
                await commands.prune_accounts(connection, scene.clock(), audit_days=90)

        async def count(table: str) -> int:
            counted: int = await pool.fetchval(f"SELECT count(*) FROM {table}")
            return counted

        tables = ("audit_log", "sessions", "refresh_tokens", "api_keys", "sign_in_attempts")
        before = [await count(table) for table in tables]
        await prune()
        assert [await count(table) for table in tables] == before
        scene.clock.move(days=20)
        await person.sign_in()
        await prune()
        assert [await count(table) for table in tables] == [before[0] + 1, 2, 1, 1, 1]
        scene.clock.move(days=12)
        assert code_of(await person.client.get("/auth/me", headers={"X-API-Key": brief}), 401)
        await prune()
        assert await count("api_keys") == 0
        scene.clock.move(days=60)
        await prune()
        assert await count("audit_log") == 1
        scene.clock.move(days=200)
        await prune()
        assert [await count(table) for table in tables] == [0, 0, 0, 0, 0]
        assert await count("accounts") == 1


async def test_whoever_is_deleted_in_the_middle_of_a_request_is_told_so(
    scene: AccountScene, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks is checked before; then the account goes, and nothing is written for it."""
    authenticate = Accounts.authenticate

    async def then_gone(self: Accounts, *arguments: Any, **options: Any) -> Caller:
        caller = await authenticate(self, *arguments, **options)
        await pool.execute("DELETE FROM accounts")
        return caller

    product = await pool.fetchval("INSERT INTO products (name, created_at) VALUES ('p', now()) RETURNING id")
    for method, path, body in (
        ("POST", "/auth/keys", {"name": "k", "scopes": ["read"]}),
        ("POST", "/searches", {"name": "s", "query": ""}),
        ("PUT", f"/wishlist/{product}", {}),
        ("PUT", "/auth/password", {"current_password": "wrong guess", "new_password": "another good one"}),
        ("GET", "/auth/me", None),
        ("GET", "/auth/me/export", None),
    ):
        person = await scene.signed_in()
        monkeypatch.setattr(Accounts, "authenticate", then_gone)
        answer = await person.ask(method, path, json=body)
        monkeypatch.undo()
        assert code_of(answer, 401) == "invalid_token", path
    for table in ("api_keys", "saved_searches", "wishes"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_two_people_never_see_each_others_data(scene: AccountScene) -> None:
    kareem, rodney = await scene.signed_in("kareem"), await scene.signed_in("rodney", address="192.0.2.1")
    key = await kareem.make_key("searches")
    search = (await kareem.ask("POST", "/searches", json={"name": "mine", "query": ""})).json()
    session = (await kareem.ask("GET", "/auth/sessions")).json()["items"][0]
    for method, path, options in (
        ("GET", f"/searches/{search['id']}", {}),
        ("PUT", f"/searches/{search['id']}", {"json": {"name": "yours", "query": ""}}),
        ("DELETE", f"/searches/{search['id']}", {}),
        ("DELETE", f"/auth/keys/{key.split('_')[1]}", {}),
        ("DELETE", f"/auth/sessions/{session['id']}", {}),
    ):
        assert (await rodney.ask(method, path, **options)).status_code == 404
    for path in ("/searches", "/auth/keys", "/wishlist"):
        assert (await rodney.ask("GET", path)).json()["items"] == []
    assert len((await rodney.ask("GET", "/auth/sessions")).json()["items"]) == 1
    export = (await rodney.ask("GET", "/auth/me/export")).text
    for theirs in ("kareem", "mine", session["id"], key.split("_")[1], "203.0.113.7"):
        assert theirs not in export
    assert (await kareem.ask("GET", f"/searches/{search['id']}")).json() == search
    assert (await kareem.client.get("/searches", headers={"X-API-Key": key})).json()["items"] == [search]
    assert (await kareem.ask("GET", "/auth/me")).status_code == 200
