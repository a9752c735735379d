"""What happens to an account while a request about it is under way: decided under its lock, told alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.account_at_work import EMAIL, HOME, PASSWORD, AccountAtWork

from skatestock.accounts import commands
from skatestock.accounts.commands_attempts import ADDRESS_FREE, count_address
from skatestock.accounts.errors import (
    AttemptsExhaustedError,
    CredentialsRefusedError,
    PasswordsBusyError,
    TokenRefusedError,
    WrongPasswordError,
)
from skatestock.accounts.passwords import Passwords
from skatestock.accounts.queries import find_secret
from skatestock.database.pool import create_pool

PATIENCE_SECONDS = 20
OTHER = "another good password"


class HeldPasswords(Passwords):
    """Passwords whose next work waits until the test lets it go on, or for which there is no time."""

    def __init__(self) -> None:
        super().__init__(memory_kib=64, passes=1)
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()
        self.has_no_time_to_hash = False

    async def hash(self, password: str) -> str:
        if self.has_no_time_to_hash:
            raise PasswordsBusyError("busy")
        return await super().hash(password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        fits = await super().verify(password_hash, password)
        self.begun.set()
        await self.go.wait()
        return fits

    def hold(self) -> None:
        self.begun.clear()
        self.go.clear()

    async def wait_until_held(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.begun.wait()


@pytest.fixture
def passwords() -> HeldPasswords:
    return HeldPasswords()


@pytest.fixture
async def scene(database_dsn: str, passwords: HeldPasswords) -> AsyncIterator[AccountAtWork]:
    pool = await create_pool(database_dsn, application_name="tests", max_size=8)
    scene = AccountAtWork(pool, passwords)
    await scene.move_in()
    yield scene
    scene.accounts.close()
    await pool.close()


@pytest.mark.parametrize("name", ["change_password", "delete"])
async def test_a_password_that_is_changed_while_it_confirms_something_confirms_nothing(
    scene: AccountAtWork, passwords: HeldPasswords, pool: asyncpg.Pool, name: str
) -> None:
    """Or whoever knew the old one could win the account back from its owner."""
    passwords.hold()
    late = asyncio.create_task(getattr(scene, name)())
    await passwords.wait_until_held()
    async with pool.acquire() as connection:
        # the session stays open here: it is the password alone that counts
        changed = await Passwords(memory_kib=64, passes=1).hash(OTHER)
        await connection.execute("UPDATE accounts SET password_hash = $1", changed)
    passwords.go.set()
    with pytest.raises(WrongPasswordError):
        await late
    assert await pool.fetchval("SELECT password_hash FROM accounts") == changed
    await scene.accounts.sign_in(EMAIL, OTHER, HOME)


@pytest.mark.parametrize("name", ["change_password", "delete"])
async def test_a_session_that_ends_while_its_password_is_checked_changes_nothing(
    scene: AccountAtWork, passwords: HeldPasswords, pool: asyncpg.Pool, name: str
) -> None:
    passwords.hold()
    late = asyncio.create_task(getattr(scene, name)())
    await passwords.wait_until_held()
    await scene.sign_out()
    before = await pool.fetchval("SELECT password_hash FROM accounts")
    passwords.go.set()
    with pytest.raises(TokenRefusedError):
        await late
    assert await pool.fetchval("SELECT password_hash FROM accounts") == before


async def test_no_key_is_made_by_a_session_that_has_ended(scene: AccountAtWork, pool: asyncpg.Pool) -> None:
    """Whoever ends a stolen session looks at the keys next: none may be made by it after that."""
    await scene.sign_out()
    with pytest.raises(TokenRefusedError):
        await scene.another_key()
    assert await pool.fetchval("SELECT count(*) FROM api_keys") == 1


async def test_who_signs_up_anew_is_not_deleted_by_what_was_asked_before(
    scene: AccountAtWork, passwords: HeldPasswords, pool: asyncpg.Pool
) -> None:
    """The e-mail address is the same, and the password too; the account is another one."""
    passwords.hold()
    late = asyncio.create_task(scene.delete())
    await passwords.wait_until_held()
    await scene.delete_as_operator()
    await scene.accounts.sign_up(EMAIL, PASSWORD, HOME)
    passwords.go.set()
    with pytest.raises(Exception, match="the account is gone"):
        await late
    assert await pool.fetchval("SELECT count(*) FROM accounts") == 1


@pytest.mark.parametrize("password", [PASSWORD, "a wrong password"])
async def test_who_is_deleted_while_signing_in_is_told_like_anybody(
    scene: AccountAtWork, passwords: HeldPasswords, pool: asyncpg.Pool, password: str
) -> None:
    passwords.hold()
    late = asyncio.create_task(scene.accounts.sign_in(EMAIL, password, HOME))
    await passwords.wait_until_held()
    await scene.delete_as_operator()
    passwords.go.set()
    with pytest.raises(CredentialsRefusedError):
        await late
    kinds = await pool.fetch("SELECT kind, account_id FROM audit_log ORDER BY id")
    assert [tuple(row) for row in kinds] == [("account_deleted", None), ("sign_in_failed", None)]


async def test_who_signs_up_in_the_middle_of_a_deletion_has_an_account(
    scene: AccountAtWork, pool: asyncpg.Pool
) -> None:
    async with pool.acquire() as connection:
        deletion = connection.transaction()
        await deletion.start()
        await commands.delete_account(connection, scene.caller.account_id, scene.clock())
        signing_up = asyncio.create_task(scene.accounts.sign_up(EMAIL, OTHER, HOME))
        await asyncio.sleep(0.2)
        assert not signing_up.done()
        await deletion.commit()
    await signing_up
    await scene.accounts.sign_in(EMAIL, OTHER, HOME)


async def test_a_sign_in_that_comes_late_takes_nobody_elses_delay_away(
    scene: AccountAtWork, passwords: HeldPasswords, pool: asyncpg.Pool
) -> None:
    """Its own count was open again when another guess was counted: that one's delay stays."""
    accounts = scene.accounts
    for number in range(ADDRESS_FREE):
        with pytest.raises(CredentialsRefusedError):
            await accounts.sign_in(f"victim{number}@example.org", "a wrong guess", HOME)
    scene.clock.move(seconds=1)
    passwords.hold()
    own = asyncio.create_task(accounts.sign_in(EMAIL, PASSWORD, HOME))
    await passwords.wait_until_held()
    scene.clock.move(seconds=2)
    guess = asyncio.create_task(accounts.sign_in("victim@example.org", "a wrong guess", HOME))
    key = count_address(HOME.address).key
    counted = "SELECT failures FROM sign_in_attempts WHERE key = $1"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await pool.fetchval(counted, key) < ADDRESS_FREE + 2:
            await asyncio.sleep(0.01)
    passwords.go.set()
    await own
    with pytest.raises(CredentialsRefusedError):
        await guess
    with pytest.raises(AttemptsExhaustedError):
        await accounts.sign_in("one.more@example.org", "a wrong guess", HOME)


async def test_without_time_to_renew_a_hash_whoever_has_the_password_still_gets_in(
    scene: AccountAtWork, passwords: HeldPasswords, pool: asyncpg.Pool
) -> None:
    old = await Passwords(memory_kib=32, passes=1).hash(PASSWORD)
    await pool.execute("UPDATE accounts SET password_hash = $1", old)
    passwords.has_no_time_to_hash = True
    await scene.accounts.sign_in(EMAIL, PASSWORD, HOME)
    assert await pool.fetchval("SELECT password_hash FROM accounts") == old
    passwords.has_no_time_to_hash = False
    await scene.accounts.sign_in(EMAIL, PASSWORD, HOME)
    assert await pool.fetchval("SELECT password_hash FROM accounts") != old


async def test_a_sign_up_that_there_was_no_time_for_is_not_counted(
    scene: AccountAtWork, passwords: HeldPasswords, pool: asyncpg.Pool
) -> None:
    passwords.has_no_time_to_hash = True
    for number in range(3 * ADDRESS_FREE):
        with pytest.raises(PasswordsBusyError):
            await scene.accounts.sign_up(f"new{number}@example.org", PASSWORD, HOME)
    passwords.has_no_time_to_hash = False
    await scene.accounts.sign_up("new@example.org", PASSWORD, HOME)
    async with pool.acquire() as connection:
        assert await find_secret(connection, "new@example.org") is not None
