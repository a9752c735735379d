"""People with accounts, for tests: an API whose clock the test moves, and whoever signs in there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from litestar import Litestar
from tests.account_clock import MovedClock
from tests.integration.test_api_endpoints import check_problem

from skatestock.accounts.accounts import Accounts, AuthSettings
from skatestock.accounts.signing_keys import make_signing_key, parse_signing_keys
from skatestock.api.app import create_app

PASSWORD = "four words nobody guesses"


def code_of(answer: httpx.Response, status: int) -> str:
    """Check that an answer is a problem with this status, and return its code."""
    assert answer.status_code == status, answer.text
    return check_problem(answer)


@dataclass
class Person:
    """Somebody with a client of their own: an address, an e-mail address, and perhaps tokens."""

    client: httpx.AsyncClient
    email: str
    password: str = PASSWORD
    tokens: dict[str, Any] = field(default_factory=dict)

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    async def sign_up(self) -> httpx.Response:
        body = {"email": self.email, "password": self.password}
        return await self.client.post("/auth/signup", json=body)

    async def sign_in(self, password: str | None = None) -> httpx.Response:
        body = {"email": self.email, "password": password or self.password}
        answer = await self.client.post("/auth/token", json=body)
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer

    async def refresh(self, token: str | None = None) -> httpx.Response:
        body = {"refresh_token": token or self.tokens["refresh_token"]}
        answer = await self.client.post("/auth/refresh", json=body)
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.client.request(method, path, headers=self.bearer, **options)

    async def make_key(self, *scopes: str, **options: Any) -> str:
        answer = await self.ask("POST", "/auth/keys", json={"name": "a key", "scopes": scopes, **options})
        assert answer.status_code == 201, answer.text
        key: str = answer.json()["key"]
        return key


class AccountScene:
    """An API with accounts, and the people who use it."""

    def __init__(self, pool: Any, **auth: Any) -> None:
        self.clock = MovedClock()
        self.keys = parse_signing_keys(make_signing_key("test"))
        self.auth = AuthSettings(self.keys, **auth)
        self.app = create_app(pool, version="1.2.3", clock=self.clock, auth=self.auth)
        self._clients: list[httpx.AsyncClient] = []

    @property
    def accounts(self) -> Accounts:
        accounts = self.app.state.accounts
        assert isinstance(accounts, Accounts)
        return accounts

    def person(
        self, name: str = "kareem", *, address: str = "203.0.113.7", app: Litestar | None = None
    ) -> Person:
        """Bring somebody in from a network address, without an account yet."""
        transport = httpx.ASGITransport(app or self.app, client=(address, 4711))  # type: ignore[arg-type] # Litestar types its scope more narrowly
        client = httpx.AsyncClient(transport=transport, base_url="http://api.example")
        self._clients.append(client)
        return Person(client, f"{name}@example.org")

    async def signed_in(self, name: str = "kareem", *, address: str = "203.0.113.7") -> Person:
        """Bring somebody in who has signed up and in."""
        person = self.person(name, address=address)
        assert (await person.sign_up()).status_code == 202
        assert (await person.sign_in()).status_code == 200
        return person

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()
        self.accounts.close()


@asynccontextmanager
async def account_scene(pool: Any, **auth: Any) -> AsyncIterator[AccountScene]:
    """Set the scene on a database; `auth` are settings of sign-ins."""
    scene = AccountScene(pool, **auth)
    try:
        yield scene
    finally:
        await scene.close()
