"""Guessing is slowed, exactly and for everybody alike, and nobody is locked out by a stranger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from tests.account_clock import MovedClock

from skatestock.accounts.accounts import Accounts, AuthSettings
from skatestock.accounts.commands_attempts import (
    ADDRESS_FREE,
    LONGEST_DELAY_SECONDS,
    PAIR_FREE,
    SIGN_UPS_FREE,
)
from skatestock.accounts.errors import (
    AccountsError,
    AttemptsExhaustedError,
    CredentialsRefusedError,
    PasswordsBusyError,
    WrongPasswordError,
)
from skatestock.accounts.model import Caller, Origin
from skatestock.accounts.passwords import Passwords
from skatestock.accounts.signing_keys import make_signing_key, parse_signing_keys
from skatestock.accounts.tokens import Credential
from skatestock.database.pool import Connection

EMAIL, PASSWORD = "kareem@example.org", "four words nobody guesses"
HOME, STRANGER = Origin("203.0.113.7"), Origin("198.51.100.9")
KEYS = parse_signing_keys(make_signing_key("test"))


class SlowPasswords(Passwords):
    """Passwords of which none can be looked at now."""

    busy = False

    async def verify(self, password_hash: str | None, password: str) -> bool:
        if self.busy:
            raise PasswordsBusyError("busy")
        return await super().verify(password_hash, password)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def passwords() -> SlowPasswords:
    return SlowPasswords(memory_kib=64, passes=1)


@pytest.fixture
async def accounts(
    pool: asyncpg.Pool, clock: MovedClock, passwords: SlowPasswords
) -> AsyncIterator[Accounts]:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        async with pool.acquire() as connection:
            yield connection

    accounts = Accounts(connect, AuthSettings(KEYS), clock=clock, passwords=passwords)
    await accounts.sign_up(EMAIL, PASSWORD, HOME)
    yield accounts
    accounts.close()


async def attempt(
    accounts: Accounts, password: str = "a wrong guess", origin: Origin = HOME, email: str = EMAIL
) -> str:
    """Try to sign in, and tell how it went; of a delay, its seconds."""
    try:
        await accounts.sign_in(email, password, origin)
    except AttemptsExhaustedError as error:
        return f"wait {error.retry_after_seconds}"
    except AccountsError as error:
        return type(error).__name__
    return "signed in"


async def test_the_sixth_guess_waits_and_each_further_one_twice_as_long(
    accounts: Accounts, clock: MovedClock
) -> None:
    for _ in range(PAIR_FREE):
        assert await attempt(accounts) == "CredentialsRefusedError"
    delay = 1
    while delay < LONGEST_DELAY_SECONDS:
        assert await attempt(accounts, PASSWORD) == f"wait {delay}"
        clock.move(seconds=delay)
        assert await attempt(accounts) == "CredentialsRefusedError"
        delay = min(2 * delay, LONGEST_DELAY_SECONDS)
    assert await attempt(accounts) == f"wait {LONGEST_DELAY_SECONDS}"


async def test_waiting_while_asking_again_makes_nothing_longer(accounts: Accounts, clock: MovedClock) -> None:
    for _ in range(PAIR_FREE + 1):
        await attempt(accounts)
    for _ in range(20):
        assert await attempt(accounts) == "wait 1"
    clock.move(seconds=1)
    assert await attempt(accounts, PASSWORD) == "signed in"


async def test_an_address_that_nobody_has_is_counted_like_one_that_somebody_has(accounts: Accounts) -> None:
    known = [await attempt(accounts) for _ in range(PAIR_FREE + 3)]
    unknown = [await attempt(accounts, email="nobody@example.org") for _ in range(PAIR_FREE + 3)]
    assert known == unknown
    assert known[-1] == "wait 1"


async def test_a_burst_of_guesses_is_counted_before_any_of_them_is_looked_at(accounts: Accounts) -> None:
    outcomes = await asyncio.gather(*(attempt(accounts, f"guess {number}") for number in range(40)))
    assert outcomes.count("CredentialsRefusedError") == PAIR_FREE
    assert outcomes.count("wait 1") == 40 - PAIR_FREE


async def test_a_stranger_elsewhere_locks_nobody_out(accounts: Accounts, clock: MovedClock) -> None:
    for _ in range(100):
        outcome = await attempt(accounts, origin=STRANGER)
        if outcome.startswith("wait"):
            clock.move(seconds=int(outcome.removeprefix("wait ")))
        assert await attempt(accounts, PASSWORD) == "signed in"


async def test_one_address_that_tries_one_password_on_many_accounts_is_slowed(accounts: Accounts) -> None:
    outcomes = [
        await attempt(accounts, origin=STRANGER, email=f"somebody{number}@example.org")
        for number in range(ADDRESS_FREE + 2)
    ]
    assert outcomes[:ADDRESS_FREE] == ["CredentialsRefusedError"] * ADDRESS_FREE
    assert outcomes[ADDRESS_FREE:] == ["wait 1"] * 2
    assert await attempt(accounts, PASSWORD) == "signed in"


async def test_signing_in_oneself_between_guesses_wins_nothing(accounts: Accounts, clock: MovedClock) -> None:
    """A success takes back its own count at the address, and no guess of another account."""
    await accounts.sign_up("mallory@example.org", PASSWORD, STRANGER)
    refused = 0
    for number in range(200):
        outcome = await attempt(accounts, f"guess {number}", STRANGER, f"victim{number}@example.org")
        refused += outcome == "CredentialsRefusedError"
        await attempt(accounts, PASSWORD, STRANGER, "mallory@example.org")
    assert refused == ADDRESS_FREE
    assert (await attempt(accounts, origin=STRANGER)).startswith("wait")


async def test_a_success_forgets_the_failures_before_it(accounts: Accounts) -> None:
    for _ in range(30):
        for _ in range(PAIR_FREE - 1):
            assert await attempt(accounts) == "CredentialsRefusedError"
        if await attempt(accounts, PASSWORD) != "signed in":
            break
    else:
        pytest.fail("the address should have been slowed")
    # the pair never was: it is the address that has seen twenty wrong guesses by now
    assert await attempt(accounts, origin=STRANGER) == "CredentialsRefusedError"


async def test_after_a_day_of_rest_all_is_forgotten(accounts: Accounts, clock: MovedClock) -> None:
    for _ in range(PAIR_FREE + 1):
        await attempt(accounts)
    clock.move(days=1, seconds=1)
    for _ in range(PAIR_FREE):
        assert await attempt(accounts) == "CredentialsRefusedError"
    assert await attempt(accounts) == "wait 1"


async def test_an_attempt_that_nobody_had_time_to_look_at_is_no_failure(
    accounts: Accounts, passwords: SlowPasswords
) -> None:
    passwords.busy = True
    for _ in range(3 * ADDRESS_FREE):
        assert await attempt(accounts, PASSWORD) == "PasswordsBusyError"
    passwords.busy = False
    assert await attempt(accounts, PASSWORD) == "signed in"


async def test_sign_ups_from_one_address_are_slowed(accounts: Accounts) -> None:
    for number in range(SIGN_UPS_FREE):
        await accounts.sign_up(f"new{number}@example.org", PASSWORD, STRANGER)
    with pytest.raises(AttemptsExhaustedError):
        await accounts.sign_up("one.more@example.org", PASSWORD, STRANGER)
    await accounts.sign_up("one.more@example.org", PASSWORD, Origin("192.0.2.1"))


async def test_whoever_has_a_stolen_token_cannot_guess_the_password_with_it_either(
    accounts: Accounts,
) -> None:
    signed_in = await accounts.sign_in(EMAIL, PASSWORD, HOME)
    credential = Credential(signed_in.access_token, is_key=False)
    caller: Caller = await accounts.authenticate(credential, STRANGER.address)
    for number in range(PAIR_FREE):
        with pytest.raises(WrongPasswordError):
            await accounts.delete(caller, f"guess {number}", STRANGER)
    with pytest.raises(AttemptsExhaustedError):
        await accounts.change_password(caller, PASSWORD, "another good password", STRANGER)
    with pytest.raises(CredentialsRefusedError):
        await accounts.sign_in(EMAIL, "another good password", HOME)


async def test_nothing_readable_is_kept_of_who_was_tried(accounts: Accounts, pool: asyncpg.Pool) -> None:
    await attempt(accounts, "a password that was typed", email="typed.by.mistake@example.org")
    for table in ("sign_in_attempts", "audit_log"):
        kept = str([tuple(row) for row in await pool.fetch(f"SELECT * FROM {table}")])
        assert kept
        assert "mistake" not in kept
        assert "was typed" not in kept
