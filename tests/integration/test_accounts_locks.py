"""One order of locks for all that is an account's: whoever writes waits, and nobody ends in a deadlock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from tests.account_at_work import AccountAtWork

from skatestock.accounts import commands_keys, commands_sessions
from skatestock.accounts.errors import AccountsError
from skatestock.database.pool import create_pool

PATIENCE_SECONDS = 20


@pytest.fixture
async def scene(database_dsn: str) -> AsyncIterator[AccountAtWork]:
    pool = await create_pool(database_dsn, application_name="tests", max_size=20)
    scene = AccountAtWork(pool)
    await scene.move_in()
    yield scene
    scene.accounts.close()
    await pool.close()


async def wait_until_it_waits(pool: asyncpg.Pool, task: asyncio.Task[None]) -> None:
    """Wait until a task is done, or its transaction waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(PATIENCE_SECONDS), pool.acquire() as watching:
        while not task.done() and not await watching.fetchval(waiting):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("name", ["reuse", "renew", "sign_out", "revoke", "use", "another_key", "sign_in"])
async def test_what_is_written_for_an_account_and_its_deletion_never_wait_for_each_other(
    scene: AccountAtWork, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The writer is held up before its last statement, while the deletion goes as far as it can."""
    held, go = asyncio.Event(), asyncio.Event()

    def hold_up(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def late(*arguments: Any, **options: Any) -> Any:
            held.set()
            await go.wait()
            return await work(*arguments, **options)

        return late

    for module, last in (
        (commands_sessions, "record_audit"),
        (commands_sessions, "_issue_token"),
        (commands_keys, "record_audit"),
        (commands_keys, "record_key_use"),
    ):
        monkeypatch.setattr(module, last, hold_up(getattr(module, last)))
    writing: asyncio.Task[None] = asyncio.create_task(getattr(scene, name)())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await held.wait()
    deleting = asyncio.create_task(scene.delete_as_operator())
    await wait_until_it_waits(scene.pool, deleting)
    go.set()
    outcomes = await asyncio.gather(writing, deleting, return_exceptions=True)
    for outcome in outcomes:
        assert outcome is None or isinstance(outcome, AccountsError | asyncpg.ForeignKeyViolationError), (
            outcome
        )
    assert outcomes[1] is None
    assert await scene.pool.fetchval("SELECT count(*) FROM accounts") == 0


async def test_all_that_may_happen_to_an_account_at_once_ends_without_a_deadlock(
    scene: AccountAtWork,
) -> None:
    works = [
        scene.reuse,
        scene.renew,
        scene.sign_in,
        scene.sign_out,
        scene.revoke,
        scene.use,
        scene.search,
        scene.another_key,
        scene.disable,
        scene.change_password,
        scene.prune,
    ]
    chance = random.Random(7)
    seen: set[str] = set()
    for _ in range(25):
        await scene.pool.execute("TRUNCATE accounts, sign_in_attempts CASCADE")
        scene.clock.move(seconds=1)
        await scene.move_in()
        together = [chance.choice(works) for _ in range(14)]
        deletion = chance.choice([scene.delete, scene.delete_as_operator])
        together.insert(chance.randrange(14), deletion)
        outcomes = await asyncio.gather(*(work() for work in together), return_exceptions=True)
        for work, outcome in zip(together, outcomes, strict=True):
            assert outcome is None or isinstance(outcome, AccountsError | asyncpg.ForeignKeyViolationError), (
                work,
                outcome,
            )
            seen.add("" if outcome is None else type(outcome).__name__)
    assert {"", "RefreshRefusedError"} <= seen
