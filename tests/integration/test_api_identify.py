"""Whose requests the edge counts: cheap, never raising, and never enough to show data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from tests.account_scene import AccountScene, account_scene, code_of

from skatestock.accounts.model import Client
from skatestock.accounts.tokens import read_access_token
from skatestock.api.app import create_app


@pytest.fixture
async def scene(pool: asyncpg.Pool) -> AsyncIterator[AccountScene]:
    async with account_scene(pool) as scene:
        yield scene


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
