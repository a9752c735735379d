"""A campaign against the running platform: its processes die and freeze while a world of shops goes on."""

import asyncio
import itertools
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import asyncpg
from tests.e2e.history import Histories, fetch_histories
from tests.e2e.reference import Point
from tests.e2e.running import RunningPlatform, run_platform

from skatestock.cli.demo import format_shops
from skatestock.crawl.shops import derive_demo_shops, load_shops
from skatestock.replica.model import SHOP_SLUGS, TruthRecord
from skatestock.replica.server import ReplicaServers
from skatestock.replica.truth import sample
from skatestock.replica.world import World

_STEP = timedelta(hours=9)
_SEED = 4711

_SHOPS_SEEN_TWICE = """
    SELECT count(*) FROM shops s WHERE (
        SELECT count(*) FROM crawls c WHERE c.shop_id = s.id AND c.complete AND c.started_at > $1
    ) >= 2
"""
# The shops are crawled far more often here than their schedule says.
_DUE_NOW = """
    UPDATE job_leases SET due_at = date_trunc('second', now())
    WHERE kind = 'crawl' AND leased_until IS NULL AND due_at > now()
"""


class Attack(NamedTuple):
    """What is done to a process: SIGKILL, or SIGSTOP for so many seconds."""

    target: str
    frozen_seconds: float | None = None


class Campaign:
    """A world that goes on step by step, and a platform whose processes die meanwhile."""

    def __init__(
        self,
        world: World,
        replica: ReplicaServers,
        running: RunningPlatform,
        attacks: Sequence[Attack],
        began_at: datetime,
    ) -> None:
        self.world = world
        self._began_at = began_at
        self.replica = replica
        self.running = running
        self.steps: list[tuple[datetime, datetime]] = []
        """For each step the world's moment and the real one from which on it holds."""
        self.settled: list[datetime] = []
        """For each step the real moment at which every shop had been seen whole twice."""
        self.attacks: dict[Attack, int] = dict.fromkeys(attacks, 0)
        """How often each was carried out."""

    async def take_step(self) -> None:
        """Let the world go on, and wait until every shop was crawled whole twice and everything is stored."""
        moment = self.world.now + _STEP if self.steps else self.world.now
        self.replica.clock.set_to(moment)
        # A crawl that began within this very second may have seen the world before.
        began_at = datetime.now(UTC).replace(microsecond=0)
        # The first crawls may be at it before the first step: the world has stood so since it began.
        self.steps.append((moment, began_at if self.steps else self._began_at))
        async with asyncio.timeout(240):
            while not await self._is_settled(began_at):
                await asyncio.sleep(0.3)
        self.settled.append(datetime.now(UTC))

    async def attack_until(self, count: int) -> None:
        """Attack one process after another, at random moments, until so many attacks were carried out.

        In a round of attacks everything must have a chance to get somewhere: a process that dies again and
        again as soon as it is up is started later and later, and then the campaign only tests the waiting.
        """
        chance = random.Random(_SEED)
        async with asyncio.TaskGroup() as freezing:
            for attack in itertools.cycle(self.attacks):
                if sum(self.attacks.values()) >= count:
                    return
                await asyncio.sleep(chance.uniform(1.5, 4.5))
                if self._carry_out(attack, freezing):
                    self.attacks[attack] += 1

    def _carry_out(self, attack: Attack, freezing: asyncio.TaskGroup) -> bool:
        if attack.frozen_seconds is None:
            return self.running.kill(attack.target)
        pid = self.running.signal(attack.target, signal.SIGSTOP)
        if pid is None:
            return False
        freezing.create_task(_thaw(pid, attack.frozen_seconds))
        return True

    async def check(self) -> None:
        """The history equals the world's, to the step; raises AssertionError."""
        found = await fetch_histories(self.running.database_url)
        expected = expect_states(self.world.truth(), [world_at for world_at, _ in self.steps])
        assert {key: states_of(points) for key, points in found.items()} == expected
        untimely = find_untimely(found, self, expected)
        assert not untimely, f"{untimely[:5]} of the steps {self.steps}, settled at {self.settled}"

    async def _is_settled(self, began_at: datetime) -> bool:
        try:
            connection = await asyncpg.connect(self.running.database_url, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InternalClientError):
            return False
        try:
            await connection.execute(_DUE_NOW)
            return bool(await connection.fetchval(_SHOPS_SEEN_TWICE, began_at) == len(SHOP_SLUGS))
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        ):
            return False
        finally:
            connection.terminate()


async def _thaw(pid: int, after_seconds: float) -> None:
    try:
        await asyncio.sleep(after_seconds)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def run_campaign(
    folder: Path, attacks: Sequence[Attack], *arguments: str, environ: Mapping[str, str]
) -> AsyncIterator[Campaign]:
    """Run a platform on a world of its own; `arguments` are those of `skatestock`, `up` unless told."""
    world = World(_SEED, datetime(2026, 8, 1, 12, tzinfo=UTC), listings_per_shop=40)
    began_at = datetime.now(UTC).replace(microsecond=0)
    async with ReplicaServers(world) as replica:
        shops_file = folder / "shops.toml"
        shops_file.write_text(format_shops(derive_demo_shops(load_shops(), replica.addresses.shop_urls)))
        # Short leases, so that a killed crawl is soon taken over.
        usual = {"SKATESTOCK_SHOPS_FILE": str(shops_file), "SKATESTOCK_LEASE_SECONDS": "3"}
        async with run_platform(folder, {**usual, **environ}, *arguments) as running:
            yield Campaign(world, replica, running, attacks, began_at)
    assert running.supervisor.returncode == 0


State = tuple[int, int | None, str]


def states_of(points: Sequence[Point]) -> list[State]:
    return [point[1:] for point in points]


def expect_states(truth: Sequence[TruthRecord], moments: Sequence[datetime]) -> dict[object, list[State]]:
    """Tell the states of every offer step by step: each step was seen twice, so that nothing stays held."""
    expected: dict[object, list[State]] = {}
    for key, samples in sample(truth, moments).items():
        states: list[State] = []
        for _, seen in samples:
            if seen is not None:
                price, compare, available = seen
                state = (price, compare or None, "in_stock" if available else "out_of_stock")
            else:
                state = (*states[-1][:2], "gone")
            if not states or states[-1] != state:
                states.append(state)
        expected[key] = states
    return expected


def find_untimely(
    found: Histories, campaign: Campaign, expected: dict[object, list[State]]
) -> list[tuple[object, Point]]:
    """Find price points that were not written while the world was in that state."""
    untimely: list[tuple[object, Point]] = []
    samples = sample(campaign.world.truth(), [world_at for world_at, _ in campaign.steps])
    for key, points in found.items():
        changed = _find_steps_of_changes(samples[key], campaign)
        assert len(changed) == len(expected[key])
        for point, step in zip(points, changed, strict=True):
            if not campaign.steps[step][1] <= point.at <= campaign.settled[step]:
                untimely.append((key, point))
    return untimely


def _find_steps_of_changes(samples: Sequence[tuple[datetime, object]], campaign: Campaign) -> list[int]:
    numbers = {world_at: number for number, (world_at, _) in enumerate(campaign.steps)}
    steps: list[int] = []
    before: object = ()
    for world_at, seen in samples:
        state = None if seen is None else (seen[0], seen[1] or None, seen[2])  # type: ignore[index]
        if state != before:
            steps.append(numbers[world_at])
        before = state
    return steps
