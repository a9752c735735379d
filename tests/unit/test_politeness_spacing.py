"""The gate of one process: never closer than the spacing, never shorter than a hold."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

from skatestock.crawl.spacing import LocalSpacingGate


async def test_turns_at_one_host_are_never_closer_than_the_spacing() -> None:
    gate = LocalSpacingGate()
    starts: list[float] = []

    async def work() -> None:
        for _ in range(3):
            await gate.wait_turn("a", 0.05)
            starts.append(time.monotonic())

    await asyncio.gather(work(), work())
    assert len(starts) == 6
    assert min(later - earlier for earlier, later in pairwise(starts)) >= 0.05


async def test_hosts_do_not_wait_for_each_other_and_no_spacing_means_no_wait() -> None:
    gate = LocalSpacingGate()
    began = time.monotonic()
    for host in ("a", "b", "c"):
        await gate.wait_turn(host, 30)
    for _ in range(50):
        await gate.wait_turn("d", 0)
    assert time.monotonic() - began < 1


async def test_a_hold_is_obeyed_and_never_shortened() -> None:
    gate = LocalSpacingGate()
    await gate.hold("a", 0.2)
    await gate.hold("a", 0.01)
    began = time.monotonic()
    await gate.wait_turn("a", 0)
    assert time.monotonic() - began >= 0.19
