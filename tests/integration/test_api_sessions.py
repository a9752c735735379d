"""Sessions over a real PostgreSQL: how long they last, what ends them, and whose they are."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.account_scene import PASSWORD, AccountScene, Person, account_scene, code_of

from skatestock.accounts.signing_keys import make_signing_key, parse_signing_keys
from skatestock.accounts.tokens import issue_access_token, read_access_token
from skatestock.api.app import create_app


@pytest.fixture
async def scene(pool: asyncpg.Pool) -> AsyncIterator[AccountScene]:
    async with account_scene(pool) as scene:
        yield scene


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
