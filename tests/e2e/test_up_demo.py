"""`skatestock demo`: a past crawled for real, labelled as demo, and the same world after a restart."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import asyncpg
import psutil
from tests.e2e.running import RunningPlatform, run_platform

LISTINGS = 20
STEPS = 2
DEMO = ("demo", "--listings", str(LISTINGS), "--days", "1", "--step-hours", str(24 // STEPS))


def fetch(running: RunningPlatform, path: str) -> dict[str, Any]:
    address = running.children()["api"]["address"].removesuffix("/api-docs")
    with urlopen(f"{address}{path}", timeout=10) as answer:
        body: dict[str, Any] = json.load(answer)
    return body


async def fetch_history(running: RunningPlatform) -> tuple[int, int, int]:
    """Tell how many shops, complete crawls of the past (over half an hour old) and listings there are."""
    connection = await asyncpg.connect(running.database_url)
    try:
        row = await connection.fetchrow(
            """
            SELECT (SELECT count(*) FROM shops WHERE demo),
                (SELECT count(*) FROM crawls WHERE complete AND started_at < now() - interval '30 minutes'),
                (SELECT count(*) FROM listings)
            """
        )
        assert row is not None
        return tuple(row)
    finally:
        await connection.close()


async def wait_for_history(running: RunningPlatform, shops: int = 5) -> tuple[int, int, int]:
    async with asyncio.timeout(60):
        while (found := await fetch_history(running))[1] < shops * STEPS:
            await asyncio.sleep(0.2)
    return found


async def stop(running: RunningPlatform) -> None:
    pids = [child.pid for child in psutil.Process(running.supervisor.pid).children(recursive=True)]
    running.supervisor.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(running.supervisor.wait, 60) == 0
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []


async def fetch_longest_wait_seconds(running: RunningPlatform) -> float:
    connection = await asyncpg.connect(running.database_url)
    try:
        return float(
            await connection.fetchval(
                "SELECT max(extract(epoch FROM due_at - now())) FROM job_leases WHERE kind = 'crawl'"
            )
        )
    finally:
        await connection.close()


def read_world(running: RunningPlatform) -> dict[str, object]:
    """Read which world a demo is in; its ports are chosen anew when somebody took them meanwhile."""
    plan: dict[str, object] = json.loads((running.folder / "world.json").read_text())
    del plan["base_port"]
    return plan


async def test_a_demo_has_a_past_is_labelled_and_goes_on_after_a_restart(data_folder: Path) -> None:
    # A proxy that is away must not be asked for what is on this machine.
    proxied = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    async with run_platform(data_folder, proxied, *DEMO) as running:
        shops, crawls, listings = await wait_for_history(running)
        assert (shops, crawls) == (5, 5 * STEPS)
        assert 4 * LISTINGS <= listings <= 6 * LISTINGS
        products = await asyncio.to_thread(fetch, running, "/products?limit=3")
        assert [product["demo"] for product in products["items"]] == [True] * 3
        world = read_world(running)
        assert await fetch_longest_wait_seconds(running) <= 60, (
            "from now on every shop is crawled once a minute"
        )
        await stop(running)

    async with run_platform(data_folder, {}, *DEMO) as running:
        assert read_world(running) == world
        shops, crawls, again = await fetch_history(running)
        assert (shops, crawls) == (5, 5 * STEPS), "the past is not crawled twice"
        assert listings <= again <= listings + 10
        await stop(running)

    said = (data_folder / "supervisor.log").read_text()
    assert f"Going on with the world of {running.folder}: {LISTINGS} listings a shop" in said
    assert "Traceback" not in said


async def test_a_mixed_demo_has_ten_shops_over_all_platforms(data_folder: Path) -> None:
    async with run_platform(data_folder, {}, *DEMO, "--mixed") as running:
        shops, crawls, listings = await wait_for_history(running, 10)
        assert (shops, crawls) == (10, 10 * STEPS)
        assert 8 * LISTINGS <= listings <= 12 * LISTINGS
        assert read_world(running)["mixed"] is True
        await stop(running)
    assert "ten replica shops" in (data_folder / "supervisor.log").read_text()
