"""Sessions on a real PostgreSQL: a refresh token is good once, whatever happens and however it is raced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.account_clock import MovedClock

from skatestock.accounts.accounts import Accounts, AuthSettings, SignedIn
from skatestock.accounts.commands_sessions import end_session
from skatestock.accounts.errors import CredentialsRefusedError, RefreshRefusedError, TokenRefusedError
from skatestock.accounts.model import MAX_SESSIONS, Origin
from skatestock.accounts.passwords import Passwords
from skatestock.accounts.queries import find_audit, find_sessions
from skatestock.accounts.signing_keys import make_signing_key, parse_signing_keys
from skatestock.accounts.tokens import Credential, make_refresh_token, read_access_token
from skatestock.database.pool import Connection, create_pool

EMAIL, PASSWORD = "kareem@example.org", "four words nobody guesses"
HOME = Origin("203.0.113.7", "tests")
KEYS = parse_signing_keys(make_signing_key("test"))


def make_accounts(pool: asyncpg.Pool, clock: MovedClock) -> Accounts:
    """Make accounts whose passwords are hashed at once: it is not hashing that is tested here."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        async with pool.acquire() as connection:
            yield connection

    cheap = Passwords(memory_kib=64, passes=1)
    return Accounts(connect, AuthSettings(KEYS), clock=clock, passwords=cheap)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def accounts(pool: asyncpg.Pool, clock: MovedClock) -> AsyncIterator[Accounts]:
    accounts = make_accounts(pool, clock)
    await accounts.sign_up(EMAIL, PASSWORD, HOME)
    yield accounts
    accounts.close()


async def is_open(accounts: Accounts, signed_in: SignedIn) -> bool:
    try:
        await accounts.authenticate(Credential(signed_in.access_token, is_key=False), HOME.address)
    except TokenRefusedError:
        return False
    return True


async def try_refresh(accounts: Accounts, token: str) -> SignedIn | None:
    try:
        return await accounts.refresh(token, HOME)
    except RefreshRefusedError:
        return None


async def test_of_many_who_show_one_token_at_once_one_is_heard_and_the_session_ends(
    accounts: Accounts, pool: asyncpg.Pool
) -> None:
    for _ in range(10):
        signed_in = await accounts.sign_in(EMAIL, PASSWORD, HOME)
        answers = await asyncio.gather(*(try_refresh(accounts, signed_in.refresh_token) for _ in range(8)))
        (given,) = [answer for answer in answers if answer is not None]
        assert not await is_open(accounts, signed_in)
        assert not await is_open(accounts, given)
        assert await try_refresh(accounts, given.refresh_token) is None
    async with pool.acquire() as connection:
        told = await find_audit(connection, kind="refresh_token_reused")
    assert len(told) == 10


async def test_a_reused_token_ends_its_own_session_only(accounts: Accounts) -> None:
    first, second = [await accounts.sign_in(EMAIL, PASSWORD, HOME) for _ in range(2)]
    renewed = await accounts.refresh(first.refresh_token, HOME)
    assert await is_open(accounts, first)
    assert await try_refresh(accounts, first.refresh_token) is None
    assert not await is_open(accounts, first)
    assert not await is_open(accounts, renewed)
    assert await is_open(accounts, second)
    assert await try_refresh(accounts, second.refresh_token) is not None


async def test_a_made_up_token_ends_nothing(accounts: Accounts) -> None:
    signed_in = await accounts.sign_in(EMAIL, PASSWORD, HOME)
    for token in ("", "ssr_x", make_refresh_token().text, signed_in.access_token):
        assert await try_refresh(accounts, token) is None
    assert await is_open(accounts, signed_in)


async def test_a_session_that_rests_too_long_or_lives_too_long_ends(
    accounts: Accounts, clock: MovedClock
) -> None:
    resting = await accounts.sign_in(EMAIL, PASSWORD, HOME)
    living = await accounts.sign_in(EMAIL, PASSWORD, HOME)
    for _ in range(8):
        clock.move(days=11)
        living = await accounts.refresh(living.refresh_token, HOME)
        assert await is_open(accounts, living)
    assert await try_refresh(accounts, resting.refresh_token) is None
    clock.move(days=2)
    assert not await is_open(accounts, living)
    assert await try_refresh(accounts, living.refresh_token) is None


async def test_too_many_sessions_end_those_that_rested_longest(
    accounts: Accounts, pool: asyncpg.Pool, clock: MovedClock
) -> None:
    first = await accounts.sign_in(EMAIL, PASSWORD, HOME)
    account_id = read_access_token(KEYS, first.access_token, now=clock()).account_id
    for _ in range(MAX_SESSIONS):
        clock.move(seconds=1)
        last = await accounts.sign_in(EMAIL, PASSWORD, HOME)
    async with pool.acquire() as connection:
        assert len(await find_sessions(connection, account_id, clock())) == MAX_SESSIONS
    assert not await is_open(accounts, first)
    assert await is_open(accounts, last)


async def test_a_password_that_is_changed_while_it_is_checked_begins_no_session(
    accounts: Accounts, pool: asyncpg.Pool
) -> None:
    """The hash is compared again under the account's lock: the sign-in that comes too late is refused."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("UPDATE accounts SET password_hash = 'another' WHERE email = $1", EMAIL)
        late = asyncio.create_task(accounts.sign_in(EMAIL, PASSWORD, HOME))
        async with asyncio.timeout(10), pool.acquire() as watching:
            while not await watching.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            ):
                await asyncio.sleep(0.01)
        await transaction.commit()
    with pytest.raises(CredentialsRefusedError):
        await late
    assert await pool.fetchval("SELECT count(*) FROM sessions") == 0


async def test_an_old_hash_is_renewed_at_the_next_sign_in(
    accounts: Accounts, pool: asyncpg.Pool, clock: MovedClock
) -> None:
    before = await pool.fetchval("SELECT password_hash FROM accounts")

    @asynccontextmanager
    async def connect() -> AsyncIterator[Connection]:
        async with pool.acquire() as connection:
            yield connection

    stronger = Passwords(memory_kib=128, passes=2)
    later = Accounts(connect, AuthSettings(KEYS), clock=clock, passwords=stronger)
    await later.sign_in(EMAIL, PASSWORD, HOME)
    after = await pool.fetchval("SELECT password_hash FROM accounts")
    assert "m=64,t=1" in before
    assert "m=128,t=2" in after
    await later.sign_in(EMAIL, PASSWORD, HOME)
    assert await pool.fetchval("SELECT password_hash FROM accounts") == after
    later.close()


@dataclass
class Family:
    """What a session should be: its tokens so far, of which the last one is good, and whether it is open."""

    tokens: list[SignedIn]
    open: bool = True
    used: list[str] = field(default_factory=list)


class Sessions(RuleBasedStateMachine):
    """Any order of sign-ins, refreshes, reuses, races and sign-outs, against what should be true."""

    pool: asyncpg.Pool
    runner: asyncio.Runner
    families = Bundle("families")

    def __init__(self) -> None:
        super().__init__()
        self.clock = MovedClock()
        self.accounts = make_accounts(self.pool, self.clock)
        self.all: list[Family] = []

    def run_now(self, work: Any) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run_now(self.pool.execute("TRUNCATE accounts CASCADE"))
        self.run_now(self.pool.execute("TRUNCATE sign_in_attempts"))
        self.accounts.close()

    @initialize()
    def sign_up(self) -> None:
        self.run_now(self.accounts.sign_up(EMAIL, PASSWORD, HOME))

    @rule(target=families)
    def sign_in(self) -> Family:
        family = Family([self.run_now(self.accounts.sign_in(EMAIL, PASSWORD, HOME))])
        self.all.append(family)
        return family

    @rule(family=families)
    def refresh(self, family: Family) -> None:
        token = family.tokens[-1].refresh_token
        given = self.run_now(try_refresh(self.accounts, token))
        assert (given is not None) == family.open
        if given is not None:
            family.used.append(token)
            family.tokens.append(given)

    @rule(family=families, data=st.data())
    def reuse(self, family: Family, data: st.DataObject) -> None:
        if not family.used:
            return
        token = data.draw(st.sampled_from(family.used))
        assert self.run_now(try_refresh(self.accounts, token)) is None
        family.open = False

    @rule(family=families, others=st.integers(min_value=1, max_value=3))
    def race(self, family: Family, others: int) -> None:
        token = family.tokens[-1].refresh_token

        async def together() -> list[SignedIn | None]:
            return await asyncio.gather(*(try_refresh(self.accounts, token) for _ in range(1 + others)))

        answers = [answer for answer in self.run_now(together()) if answer is not None]
        assert len(answers) == (1 if family.open else 0)
        if answers:
            family.used.append(token)
            family.tokens += answers
        family.open = False

    @rule(family=consumes(families))
    def sign_out(self, family: Family) -> None:
        if family.open:
            claims = read_access_token(KEYS, family.tokens[-1].access_token, now=self.clock())

            async def end() -> None:
                async with self.pool.acquire() as connection, connection.transaction():
                    await end_session(
                        connection,
                        claims.account_id,
                        claims.session_id,
                        self.clock(),
                        "signed_out",
                        HOME.address,
                    )

            self.run_now(end())
            family.open = False

    @invariant()
    def every_token_of_an_open_session_is_good_and_no_other(self) -> None:
        for family in self.all:
            for tokens in (family.tokens[0], family.tokens[-1]):
                assert self.run_now(is_open(self.accounts, tokens)) == family.open


def test_any_order_of_sign_ins_refreshes_reuses_and_sign_outs(database_dsn: str) -> None:
    with asyncio.Runner() as runner:
        pool = runner.run(create_pool(database_dsn, application_name="tests", max_size=6))
        machine = type("BoundSessions", (Sessions,), {"pool": pool, "runner": runner})
        bounded = settings(
            max_examples=40,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(machine, settings=bounded)
        runner.run(pool.close())
