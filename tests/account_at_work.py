"""One account with sessions and a key on a real PostgreSQL, and everything that can be written for it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
from tests.account_clock import MovedClock

from skatestock.accounts import commands
from skatestock.accounts.accounts import Accounts, AuthSettings, SignedIn
from skatestock.accounts.commands_keys import make_key, revoke_key, touch_key
from skatestock.accounts.commands_sessions import end_session
from skatestock.accounts.commands_wishes import save_search
from skatestock.accounts.model import Caller, Origin
from skatestock.accounts.passwords import Passwords
from skatestock.accounts.signing_keys import make_signing_key, parse_signing_keys
from skatestock.accounts.tokens import Credential, make_api_key, read_access_token
from skatestock.database.pool import Connection

EMAIL, PASSWORD = "kareem@example.org", "four words nobody guesses"
HOME = Origin("203.0.113.7", "tests")
KEYS = parse_signing_keys(make_signing_key("test"))


class AccountAtWork:
    """One account with a session whose first token was used, and a key."""

    def __init__(self, pool: asyncpg.Pool, passwords: Passwords | None = None) -> None:
        self.pool = pool
        self.clock = MovedClock()
        passwords = passwords or Passwords(memory_kib=64, passes=1)
        self.accounts = Accounts(self.connect, AuthSettings(KEYS), clock=self.clock, passwords=passwords)
        self.used = self.last = SignedIn("", 0, "", "user")
        self.caller = Caller(0, EMAIL, "user", None, None, ())
        self.key = make_api_key()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        async with self.pool.acquire() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.connect() as connection, connection.transaction():
            yield connection

    async def move_in(self) -> None:
        await self.accounts.sign_up(EMAIL, PASSWORD, HOME)
        self.used = await self.accounts.sign_in(EMAIL, PASSWORD, HOME)
        self.last = await self.accounts.refresh(self.used.refresh_token, HOME)
        shown = Credential(self.last.access_token, is_key=False)
        self.caller = await self.accounts.authenticate(shown, HOME.address)
        async with self.transaction() as connection:
            await self.make_key(connection)

    async def make_key(self, connection: Connection) -> None:
        self.key = make_api_key()
        await make_key(connection, self.caller, self.key, "a key", ["read"], None, self.clock(), HOME.address)

    @property
    def session_id(self) -> UUID:
        return read_access_token(KEYS, self.used.access_token, now=self.clock()).session_id

    async def reuse(self) -> None:
        await self.accounts.refresh(self.used.refresh_token, HOME)

    async def renew(self) -> None:
        self.last = await self.accounts.refresh(self.last.refresh_token, HOME)

    async def sign_in(self) -> None:
        await self.accounts.sign_in(EMAIL, PASSWORD, HOME)

    async def sign_out(self) -> None:
        async with self.transaction() as connection:
            own, now = self.caller.account_id, self.clock()
            await end_session(connection, own, self.session_id, now, "signed_out", HOME.address)

    async def revoke(self) -> None:
        async with self.transaction() as connection:
            await revoke_key(connection, self.caller.account_id, self.key.id, self.clock(), HOME.address)

    async def use(self) -> None:
        async with self.transaction() as connection:
            own, address = self.caller.account_id, f"192.0.2.{random.randrange(200)}"
            await touch_key(connection, own, self.key.id, self.clock(), address)

    async def search(self) -> None:
        async with self.transaction() as connection:
            await save_search(connection, self.caller.account_id, "a search", "", self.clock())

    async def another_key(self) -> None:
        async with self.transaction() as connection:
            await self.make_key(connection)

    async def disable(self) -> None:
        async with self.transaction() as connection:
            await commands.disable_account(connection, EMAIL, self.clock())
            await commands.enable_account(connection, EMAIL, self.clock())

    async def change_password(self) -> None:
        await self.accounts.change_password(self.caller, PASSWORD, PASSWORD, HOME)

    async def delete(self) -> None:
        await self.accounts.delete(self.caller, PASSWORD, HOME)

    async def delete_as_operator(self) -> None:
        async with self.transaction() as connection:
            await commands.delete_account(connection, self.caller.account_id, self.clock())

    async def prune(self) -> None:
        async with self.transaction() as connection:
            await commands.prune_accounts(connection, self.clock(), audit_days=90)
