"""A stream of events that was opened with a token or key ends with it, and no other stream does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from tests.account_scene import PASSWORD, AccountScene, Person, account_scene
from tests.integration.api_process import served
from tests.servers import PostgresServer

from skatestock.accounts import commands
from skatestock.accounts.accounts import Accounts
from skatestock.accounts.watching import LOOKED_AT_SECONDS
from skatestock.api.events import Changes
from skatestock.catalog.change_queries import find_clock

WATCH_SECONDS = 0.1
# A look, a farewell, and a machine that is busy.
SOON_SECONDS = LOOKED_AT_SECONDS + 8


@pytest.fixture
async def scene(pool: asyncpg.Pool) -> AsyncIterator[AccountScene]:
    async with account_scene(pool, watch_seconds=WATCH_SECONDS) as scene:
        changes: Changes = scene.app.state["changes"]
        async with pool.acquire() as connection:
            changes.on_confirmed(await find_clock(connection))
        yield scene
        await changes.close()


class Stream:
    """A stream that somebody has open, as the server before the application sees it."""

    def __init__(self, scene: AccountScene, headers: dict[str, str], query: str = "") -> None:
        self._scene = scene
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._query = query.encode()
        self._never = asyncio.Event()
        self.began = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/events",
            "raw_path": b"/events",
            "query_string": self._query,
            "headers": self._headers,
            "client": ("203.0.113.7", 1),
            "server": ("api.example", 80),
            # the edge tells whom the request is counted as
            "state": {"client": await self._scene.accounts.identify(self._headers)},
        }
        await self._scene.app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self._never.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200
        else:
            self.began.set()

    async def wait_until_ended(self, seconds: float = SOON_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            await self.task


@asynccontextmanager
async def opened(scene: AccountScene, headers: dict[str, str], query: str = "") -> AsyncIterator[Stream]:
    """Open a stream and wait until it has begun."""
    stream = Stream(scene, headers, query)
    async with asyncio.timeout(SOON_SECONDS):
        await stream.began.wait()
    yield stream
    stream.task.cancel()
    await asyncio.gather(stream.task, return_exceptions=True)


async def sign_out(scene: AccountScene, pool: asyncpg.Pool, person: Person, key: str) -> None:
    assert (await person.ask("POST", "/auth/logout")).status_code == 204


async def change_password_elsewhere(
    scene: AccountScene, pool: asyncpg.Pool, person: Person, key: str
) -> None:
    elsewhere = scene.person()
    await elsewhere.sign_in()
    change = {"current_password": PASSWORD, "new_password": "another good password"}
    assert (await elsewhere.ask("PUT", "/auth/password", json=change)).status_code == 204


async def reuse(scene: AccountScene, pool: asyncpg.Pool, person: Person, key: str) -> None:
    used = person.tokens["refresh_token"]
    await person.refresh()
    assert (await person.refresh(used)).status_code == 401


async def expire(scene: AccountScene, pool: asyncpg.Pool, person: Person, key: str) -> None:
    scene.clock.move(minutes=10)


async def disable(scene: AccountScene, pool: asyncpg.Pool, person: Person, key: str) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await commands.disable_account(connection, person.email, scene.clock())


async def delete(scene: AccountScene, pool: asyncpg.Pool, person: Person, key: str) -> None:
    assert (await person.ask("DELETE", "/auth/me", json={"password": PASSWORD})).status_code == 204


async def revoke_key(scene: AccountScene, pool: asyncpg.Pool, person: Person, key: str) -> None:
    assert (await person.ask("DELETE", f"/auth/keys/{key.split('_')[1]}")).status_code == 204


async def expire_key(scene: AccountScene, pool: asyncpg.Pool, person: Person, key: str) -> None:
    scene.clock.move(days=1)


@pytest.mark.parametrize(
    ("end", "with_key"),
    [
        (sign_out, False),
        (change_password_elsewhere, False),
        (reuse, False),
        (expire, False),
        (disable, False),
        (delete, False),
        (revoke_key, True),
        (expire_key, True),
        (disable, True),
        (delete, True),
    ],
    ids=lambda value: value.__name__ if callable(value) else ("key" if value else "token"),
)
async def test_a_stream_ends_soon_after_what_it_was_opened_with(
    scene: AccountScene, pool: asyncpg.Pool, end: Any, with_key: bool
) -> None:
    person, other = await scene.signed_in(), await scene.signed_in("rodney")
    key = await person.make_key("read", expires_in_days=1)
    lasting = await other.make_key("read", expires_in_days=None)
    shown = {"X-API-Key": key} if with_key else person.bearer
    async with (
        opened(scene, shown) as ending,
        opened(scene, {}) as anonymous,
        opened(scene, {"X-API-Key": lasting}) as of_another,
    ):
        await end(scene, pool, person, key)
        await ending.wait_until_ended()
        await asyncio.sleep(5 * WATCH_SECONDS)
        assert not anonymous.task.done()
        assert not of_another.task.done()
        assert scene.app.state["changes"].streams == 2


async def test_while_the_database_is_away_nothing_is_ended_but_what_expires(
    scene: AccountScene, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await scene.signed_in()
    key = await person.make_key("read")
    looked: list[float] = []

    async def gone(*_arguments: Any) -> set[Any]:
        looked.append(time.monotonic())
        raise ConnectionError("the database is away")

    monkeypatch.setattr("skatestock.accounts.accounts.find_holding", gone)
    async with opened(scene, person.bearer) as by_token, opened(scene, {"X-API-Key": key}) as by_key:
        async with asyncio.timeout(SOON_SECONDS):
            while len(looked) < 2:
                await asyncio.sleep(0.05)
        assert not by_token.task.done()
        scene.clock.move(minutes=10)
        await by_token.wait_until_ended()
        assert not by_key.task.done()


async def test_nothing_is_asked_for_where_nobody_is_watched(
    scene: AccountScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(Accounts, "_find_holding", lambda self, *more: asked.append(more))
    async with opened(scene, {}, "seconds=1") as stream:
        await stream.wait_until_ended()
    assert asked == []


@pytest.fixture(scope="module")
def web(postgres_server: PostgresServer) -> Iterator[str]:
    dsn = postgres_server.create_database(migrated=True)
    with served(dsn, workers=2, events_heartbeat_seconds=1.0) as (_, url):
        yield url
    postgres_server.drop_database(dsn)


async def test_streams_of_a_session_end_on_every_process_when_it_signs_out(web: str) -> None:
    who = {"email": "kareem@example.org", "password": PASSWORD}
    async with httpx.AsyncClient(base_url=web, timeout=SOON_SECONDS) as client:
        assert (await client.post("/auth/signup", json=who)).status_code == 202
        token = (await client.post("/auth/token", json=who)).json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        begun = asyncio.Semaphore(0)

        async def follow(headers: dict[str, str], seconds: int) -> float:
            address = f"/events?seconds={seconds}"
            async with client.stream("GET", address, headers=headers) as answer:
                assert answer.status_code == 200
                async for _line in answer.aiter_lines():
                    begun.release()
            return time.monotonic()

        following = [asyncio.create_task(follow(bearer, 60)) for _ in range(6)]
        nobodys = asyncio.create_task(follow({}, 60))
        for _ in range(7):
            await begun.acquire()
        await asyncio.sleep(LOOKED_AT_SECONDS)
        assert not any(task.done() for task in following)
        assert (await client.post("/auth/logout", headers=bearer)).status_code == 204
        signed_out_at = time.monotonic()
        async with asyncio.timeout(SOON_SECONDS):
            ended_at = await asyncio.gather(*following)
        assert max(ended_at) - signed_out_at < SOON_SECONDS
        assert not nobodys.done()
        nobodys.cancel()
        await asyncio.gather(nobodys, return_exceptions=True)
