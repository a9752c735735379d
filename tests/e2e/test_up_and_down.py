"""`skatestock up` in a fresh folder: started, looked at, hurt, stopped, started again, removed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest
from tests.e2e.processes import run_command
from tests.e2e.running import RunningPlatform, run_platform

from skatestock.cli.demo import format_shops
from skatestock.crawl.shops import derive_demo_shops, load_shops
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

LISTINGS = 10
SERVERS = {"postgres", "valkey"}
PROCESSES = {"ingest", "index", "api", "crawl", "maintain"}


@pytest.fixture
async def environ(data_folder: Path) -> AsyncIterator[dict[str, str]]:
    """Serve replica shops for as long as a test runs, and give the settings that name them."""
    async with ReplicaServers(World(3, datetime(2026, 5, 1, tzinfo=UTC), LISTINGS)) as servers:
        shops = derive_demo_shops(load_shops(), servers.addresses.shop_urls)
        file = data_folder / "shops.toml"
        file.write_text(format_shops(shops))
        yield {"SKATESTOCK_SHOPS_FILE": str(file)}


async def look(folder: Path) -> dict[str, Any]:
    ended = await asyncio.to_thread(run_command, "status", "--json", "--data", str(folder))
    assert ended.returncode == 0, ended.stderr
    described: dict[str, Any] = json.loads(ended.stdout)
    return described


async def wait_until_stored(folder: Path) -> int:
    """Wait until every shop was seen whole, and tell how many listings there are."""
    async with asyncio.timeout(60):
        while True:
            shops = (await look(folder))["shops"]
            if len(shops) == 5 and all(shop["last_complete_at"] and shop["listings"] for shop in shops):
                return sum(shop["listings"] for shop in shops)


def fetch_products(running: RunningPlatform) -> dict[str, Any]:
    address = running.children()["api"]["address"].removesuffix("/api-docs")
    with urlopen(f"{address}/products?limit=5", timeout=10) as answer:
        body: dict[str, Any] = json.load(answer)
    return body


def fetch_metrics(address: str) -> str:
    with urlopen(address, timeout=10) as answer:
        return str(answer.read().decode())


async def wait_for_metric(address: str, name: str) -> None:
    """Wait for a figure of a process; one that was just started again does not answer at once."""
    async with asyncio.timeout(30):
        while True:
            with suppress(URLError):
                if f"\n{name}{{" in await asyncio.to_thread(fetch_metrics, address):
                    return
            await asyncio.sleep(0.2)


def pids_of(running: RunningPlatform) -> list[int]:
    """Return every process of the platform, down to the workers of its servers."""
    supervisor = psutil.Process(running.supervisor.pid)
    return [supervisor.pid, *(child.pid for child in supervisor.children(recursive=True))]


def alive(pids: Iterable[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid)]


async def test_up_from_a_fresh_folder_to_its_removal(data_folder: Path, environ: dict[str, str]) -> None:
    async with run_platform(data_folder, environ) as running:
        folder = running.folder
        processes = {process["name"]: process for process in (await look(folder))["processes"]}
        assert processes.keys() == SERVERS | PROCESSES | {"prepare"}
        assert {process["state"] for process in processes.values()} == {"ready", "done"}
        assert all(psutil.pid_exists(processes[name]["pid"]) for name in SERVERS | PROCESSES)

        second = await asyncio.to_thread(run_command, "up", "--data", str(folder), "--port", "0")
        assert second.returncode == 1
        assert f"held by process {running.supervisor.pid}" in second.stderr

        await check_restart(running, "ingest")
        listings = await wait_until_stored(folder)
        products = await asyncio.to_thread(fetch_products, running)
        assert products["items"]
        await wait_for_metric(processes["crawl"]["address"], "skatestock_crawls_completed_total")
        await wait_for_metric(processes["ingest"]["address"], "skatestock_eventlog_lag")

        pids = pids_of(running)
        assert len(pids) > len(SERVERS | PROCESSES)
        down = await asyncio.to_thread(run_command, "down", "--data", str(folder))
        assert (down.returncode, down.stdout) == (0, f"Stopped what ran in {folder}.\n")
        assert running.supervisor.wait(5) == 0
        assert alive(pids) == []
        assert (await asyncio.to_thread(run_command, "status", "--data", str(folder))).returncode == 3

    # The shops are away, so that what is there now was there before.
    environ["SKATESTOCK_SHOPS_FILE"] = write_dead_shops(data_folder)
    async with run_platform(data_folder, environ) as running:
        shops = (await look(folder))["shops"]
        assert sum(shop["listings"] for shop in shops) == listings
        pids = pids_of(running)
        running.supervisor.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(running.supervisor.wait, 60) == 0
        assert alive(pids) == []

    removed = await asyncio.to_thread(run_command, "down", "--remove", "--data", str(folder))
    assert (removed.returncode, removed.stdout) == (0, f"Nothing runs in {folder}.\nRemoved {folder}.\n")
    assert not folder.exists()


async def check_restart(running: RunningPlatform, name: str) -> None:
    """Kill a process; another takes its place, and the supervisor counts it."""
    before = running.children()[name]["pid"]
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(30):
        while running.children()[name]["restarts"] == 0 or running.children()[name]["state"] != "ready":
            await asyncio.sleep(0.1)
    after = running.children()[name]
    assert (after["pid"] != before, after["restarts"]) == (True, 1)
    assert psutil.pid_exists(after["pid"])


def write_dead_shops(folder: Path) -> str:
    """Write a file of the same shops at addresses where nobody listens."""
    shops = load_shops()
    dead = derive_demo_shops(
        shops, {shop.slug: f"http://127.0.0.1:{place}" for place, shop in enumerate(shops, 2)}
    )
    file = folder / "dead.toml"
    file.write_text(format_shops(dead))
    return str(file)
