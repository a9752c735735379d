"""The endpoints of accounts over a real PostgreSQL: who gets in, who does not, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher
from tests.account_scene import PASSWORD, AccountScene, Person, account_scene
from tests.integration.test_api_endpoints import check_problem

from skatestock.accounts import commands
from skatestock.accounts.accounts import Accounts
from skatestock.accounts.commands_attempts import PAIR_FREE
from skatestock.accounts.model import Caller, Client
from skatestock.accounts.signing_keys import make_signing_key, parse_signing_keys
from skatestock.accounts.tokens import issue_access_token, read_access_token
from skatestock.api.app import create_app


@pytest.fixture
async def scene(pool: asyncpg.Pool) -> AsyncIterator[AccountScene]:
    async with account_scene(pool) as scene:
        yield scene


def code_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return check_problem(answer)


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


class TestSessions:
    async def test_an_access_token_is_good_for_ten_minutes_and_a_refresh_renews_it(
        self, scene: AccountScene
    ) -> None:
        person = await scene.signed_in()
        scene.clock.move(minutes=10)
        answer = await person.ask("GET", "/auth/me")
        assert code_of(answer, 401) == "invalid_token"
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert (await person.refresh()).status_code == 200
        assert (await person.ask("GET", "/auth/me")).status_code == 200

    async def test_a_refresh_token_that_is_used_twice_ends_the_session(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        first = person.tokens["refresh_token"]
        await person.refresh()
        assert code_of(await person.refresh(first), 401) == "invalid_refresh_token"
        assert code_of(await person.ask("GET", "/auth/me"), 401) == "invalid_token"
        assert code_of(await person.refresh(), 401) == "invalid_refresh_token"
        await person.sign_in()
        log = (await person.ask("GET", "/auth/audit?kind=refresh_token_reused")).json()["items"]
        assert [entry["address"] for entry in log] == ["203.0.113.7"]

    async def test_signing_out_ends_this_session_at_once_and_no_other(self, scene: AccountScene) -> None:
        here, there = await scene.signed_in(), scene.person(address="192.0.2.1")
        await there.sign_in()
        answer = await here.ask("POST", "/auth/logout")
        assert (answer.status_code, answer.content) == (204, b"")
        assert code_of(await here.ask("GET", "/auth/me"), 401) == "invalid_token"
        assert code_of(await here.refresh(), 401) == "invalid_refresh_token"
        assert (await there.ask("GET", "/auth/me")).status_code == 200

    async def test_a_session_elsewhere_can_be_seen_and_ended(self, scene: AccountScene) -> None:
        here, there = await scene.signed_in(), scene.person(address="192.0.2.1")
        await there.client.post(
            "/auth/token",
            json={"email": there.email, "password": PASSWORD},
            headers={"User-Agent": "curl/8.5.0 \x7f" + "x" * 500},
        )
        sessions = (await here.ask("GET", "/auth/sessions")).json()["items"]
        assert [session["current"] for session in sessions].count(True) == 1
        (other,) = [session for session in sessions if not session["current"]]
        assert other["address"] == "192.0.2.1"
        assert other["program"].startswith("curl/8.5.0 xxx")
        assert len(other["program"]) == 200
        assert (await here.ask("DELETE", f"/auth/sessions/{other['id']}")).status_code == 204
        again = await here.ask("DELETE", f"/auth/sessions/{other['id']}")
        assert code_of(again, 404) == "session_not_found"
        assert len((await here.ask("GET", "/auth/sessions")).json()["items"]) == 1

    async def test_a_new_password_ends_every_other_session(self, scene: AccountScene) -> None:
        here, there = await scene.signed_in(), scene.person(address="192.0.2.1")
        await there.sign_in()
        change = {"current_password": PASSWORD, "new_password": "another good password"}
        assert (await here.ask("PUT", "/auth/password", json=change)).status_code == 204
        assert (await here.ask("GET", "/auth/me")).status_code == 200
        assert code_of(await there.ask("GET", "/auth/me"), 401) == "invalid_token"
        assert code_of(await there.sign_in(), 401) == "wrong_credentials"
        assert (await there.sign_in("another good password")).status_code == 200

    async def test_a_new_password_needs_the_old_one_and_must_be_a_good_one(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        wrong = {"current_password": "a wrong password", "new_password": "another good password"}
        assert code_of(await person.ask("PUT", "/auth/password", json=wrong), 403) == "wrong_password"
        easy = {"current_password": PASSWORD, "new_password": "password123"}
        answer = await person.ask("PUT", "/auth/password", json=easy)
        assert code_of(answer, 400) == "invalid_body"
        assert answer.json()["errors"][0]["parameter"] == "new_password"
        assert (await person.sign_in()).status_code == 200

    async def test_keys_are_changed_without_signing_anybody_out(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person = await scene.signed_in()
        old_keys = scene.auth.keys
        new_keys = parse_signing_keys(make_signing_key("new"))
        both = create_app(
            pool, version="1", clock=scene.clock, auth=scene.auth._replace(keys=(*new_keys, *old_keys))
        )
        only_new = create_app(pool, version="1", clock=scene.clock, auth=scene.auth._replace(keys=new_keys))
        late, later = scene.person(app=both), scene.person(app=only_new)
        late.tokens = later.tokens = person.tokens
        assert (await late.ask("GET", "/auth/me")).status_code == 200
        assert code_of(await later.ask("GET", "/auth/me"), 401) == "invalid_token"
        assert (await later.refresh()).status_code == 200
        assert (await later.ask("GET", "/auth/me")).status_code == 200
        for app in (both, only_new):
            app.state.accounts.close()


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


class TestIdentify:
    """Whose requests the edge counts: cheap, never raising, and never enough to show data."""

    async def test_a_person_and_a_key_are_told(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        key = await person.make_key("read")
        bearer = person.bearer["Authorization"].encode()
        told = await scene.accounts.identify([(b"authorization", bearer)])
        assert told is not None
        assert (told.kind, told.tier) == ("user", "user")
        assert await scene.accounts.identify([(b"x-api-key", key.encode())]) == Client(
            "key", key.split("_")[1], "user"
        )

    @pytest.mark.parametrize(
        "headers",
        [
            [],
            [(b"authorization", b"Bearer nonsense")],
            [(b"authorization", b"Basic abc")],
            [(b"x-api-key", b"ssk_aaaaaaaaaaaaaaaa_" + b"a" * 43)],
            [(b"x-api-key", b"\xff\x00")],
            [(b"authorization", b"Bearer a"), (b"x-api-key", b"b")],
        ],
    )
    async def test_what_does_not_hold_is_nobodys(
        self, scene: AccountScene, headers: list[tuple[bytes, bytes]]
    ) -> None:
        assert await scene.accounts.identify(headers) is None

    async def test_a_key_is_asked_for_once_in_five_seconds(
        self, scene: AccountScene, pool: asyncpg.Pool
    ) -> None:
        person = await scene.signed_in()
        headers = [(b"x-api-key", (await person.make_key("read")).encode())]
        assert await scene.accounts.identify(headers)
        await pool.execute("UPDATE api_keys SET revoked_at = now()")
        assert await scene.accounts.identify(headers)
        # but the endpoints look for themselves
        key = headers[0][1].decode()
        assert code_of(await person.client.get("/auth/me", headers={"X-API-Key": key}), 401)

    async def test_without_a_database_nobody_is_told_and_nothing_is_raised(self, scene: AccountScene) -> None:
        person = await scene.signed_in()
        key = (await person.make_key("read")).encode()
        gone = await asyncpg.create_pool(min_size=0, host="127.0.0.1", port=9, timeout=1)
        app = create_app(gone, version="1", auth=scene.auth, clock=scene.clock)
        bearer = person.bearer["Authorization"].encode()
        assert await app.state.accounts.identify([(b"x-api-key", key)]) is None
        assert await app.state.accounts.identify([(b"authorization", bearer)]) is not None
        answer = await scene.person(app=app).client.get("/auth/me", headers=person.bearer)
        assert code_of(answer, 503) == "database_unavailable"
        app.state.accounts.close()

    async def test_what_the_edge_verified_is_not_verified_twice(
        self, scene: AccountScene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The edge hands its client on in the scope's state; the session is still looked up."""
        person = await scene.signed_in()
        verified: list[str] = []
        read = read_access_token

        def watched(*arguments: Any, **options: Any) -> Any:
            verified.append("once")
            return read(*arguments, **options)

        monkeypatch.setattr("skatestock.accounts.accounts.read_access_token", watched)

        async def edge(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = {"client": await scene.accounts.identify(scope["headers"])}
            await scene.app(scope, receive, send)

        transport = httpx.ASGITransport(edge, client=("203.0.113.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
            assert (await client.get("/auth/me", headers=person.bearer)).status_code == 200
            assert verified == ["once"]
            await person.ask("POST", "/auth/logout")
            answer = await client.get("/auth/me", headers=person.bearer)
            assert code_of(answer, 401) == "invalid_token"


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


async def test_without_signing_keys_the_rest_of_the_api_answers(pool: asyncpg.Pool) -> None:
    app = create_app(pool, version="1.2.3")
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type] # Litestar types its scope more narrowly
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
        assert (await client.get("/health/live")).status_code == 200
        for answer in (
            await client.post("/auth/token", json={"email": "a@example.org", "password": PASSWORD}),
            await client.get("/auth/me", headers={"Authorization": "Bearer abc"}),
        ):
            assert code_of(answer, 503) == "accounts_off"


async def test_a_person_is_only_who_the_token_says(scene: AccountScene) -> None:
    """A token of one account does not go with the session of another, whoever signed it."""
    kareem, rodney = await scene.signed_in("kareem"), await scene.signed_in("rodney")
    claims = [
        read_access_token(scene.keys, person.tokens["access_token"], now=scene.clock())
        for person in (kareem, rodney)
    ]
    mixed = issue_access_token(
        scene.keys, claims[0].account_id, claims[1].session_id, "admin", now=scene.clock(), life_seconds=60
    )
    person: Person = scene.person()
    person.tokens = {"access_token": mixed}
    assert code_of(await person.ask("GET", "/auth/me"), 401) == "invalid_token"


async def test_the_role_in_a_token_is_not_believed(scene: AccountScene) -> None:
    person = await scene.signed_in()
    claims = read_access_token(scene.keys, person.tokens["access_token"], now=scene.clock())
    person.tokens["access_token"] = issue_access_token(
        scene.keys, claims.account_id, claims.session_id, "admin", now=scene.clock(), life_seconds=60
    )
    assert (await person.ask("GET", "/auth/me")).json()["role"] == "user"
    assert code_of(await person.ask("GET", "/auth/audit?everyone=true"), 403) == "role_missing"


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
