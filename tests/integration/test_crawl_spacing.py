"""The gate that all workers share, on a real Valkey, and what holds when it is away."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import redis.asyncio

from skatestock.crawl.session import connect_cache
from skatestock.crawl.spacing import LocalSpacingGate, ValkeySpacingGate, spacing_key


async def starts_of(gates: list[ValkeySpacingGate], rounds: int, spacing_seconds: float) -> list[float]:
    starts: list[float] = []

    async def work(gate: ValkeySpacingGate) -> None:
        for _ in range(rounds):
            await gate.wait_turn("shop.example", spacing_seconds)
            starts.append(time.monotonic())

    await asyncio.gather(*(work(gate) for gate in gates))
    return sorted(starts)


def least_gap(starts: list[float]) -> float:
    return min(later - earlier for earlier, later in pairwise(starts))


async def test_workers_with_gates_of_their_own_share_one_spacing(valkey_url: str) -> None:
    clients = [connect_cache(valkey_url) for _ in range(3)]
    starts = await starts_of([ValkeySpacingGate(client) for client in clients], 3, 0.1)
    # The server's clock spaces the turns; our own sees them with the jitter of the event loop.
    assert least_gap(starts) >= 0.09
    assert starts[-1] - starts[0] >= 0.1 * 8 * 0.99
    for client in clients:
        await client.aclose()


async def test_a_hold_of_one_worker_stops_the_others(valkey: redis.asyncio.Redis) -> None:
    one, other = ValkeySpacingGate(valkey), ValkeySpacingGate(valkey)
    await one.hold("shop.example", 0.3)
    await one.hold("shop.example", 0.05)
    began = time.monotonic()
    await other.wait_turn("shop.example", 0)
    assert time.monotonic() - began >= 0.29


async def test_a_flushed_valkey_lets_no_process_come_closer(valkey: redis.asyncio.Redis) -> None:
    gate = ValkeySpacingGate(valkey)
    await gate.wait_turn("shop.example", 0.3)
    began = time.monotonic()
    await valkey.flushall()
    await gate.wait_turn("shop.example", 0.3)
    assert time.monotonic() - began >= 0.29


async def test_without_valkey_the_fallback_keeps_the_workers_apart() -> None:
    fallback = LocalSpacingGate()
    gone = [connect_cache("redis://127.0.0.1:1/0", timeout_seconds=0.2) for _ in range(2)]
    starts = await starts_of([ValkeySpacingGate(client, fallback) for client in gone], 2, 0.1)
    assert least_gap(starts) >= 0.1
    for client in gone:
        await client.aclose()


async def test_keys_of_hosts_expire_by_themselves(valkey: redis.asyncio.Redis) -> None:
    await ValkeySpacingGate(valkey).wait_turn("shop.example", 2)
    assert 2000 < await valkey.pttl(spacing_key("shop.example")) <= 3000
