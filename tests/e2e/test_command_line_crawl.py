"""`skatestock crawl SHOP` against replica shops: a whole crawl, a broken one, and an interrupted one."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.e2e.processes import command_environ, run_command

from skatestock.cli.demo import format_shops
from skatestock.crawl.shops import derive_demo_shops, load_shops
from skatestock.replica.faults import EVERY_SHOP, Fault
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

LISTINGS = 12


@pytest.fixture
async def replica() -> AsyncIterator[ReplicaServers]:
    async with ReplicaServers(World(7, datetime(2026, 5, 1, tzinfo=UTC), LISTINGS)) as servers:
        yield servers


@pytest.fixture
def environ(replica: ReplicaServers, database_dsn: str, valkey_url: str, tmp_path: Path) -> dict[str, str]:
    shops = derive_demo_shops(load_shops(), replica.addresses.shop_urls)
    file = tmp_path / "shops.toml"
    file.write_text(format_shops(shops))
    environ = {
        "SKATESTOCK_DATABASE_URL": database_dsn,
        "SKATESTOCK_REDIS_URL": valkey_url,
        "SKATESTOCK_SHOPS_FILE": str(file),
    }
    assert run_command("migrate", environ=environ).returncode == 0
    return environ


async def test_a_whole_crawl_is_stored_and_a_broken_one_says_why(
    replica: ReplicaServers, environ: dict[str, str]
) -> None:
    whole = await asyncio.to_thread(run_command, "crawl", "labor", environ=environ)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert f"labor        complete; {LISTINGS} listings" in whole.stdout

    replica.set_fault(Fault(shop="labor", kind="security_rejection"))
    broken = await asyncio.to_thread(run_command, "crawl", "labor", "nj", environ=environ)
    assert broken.returncode == 4, broken.stderr
    assert "labor        incomplete, " in broken.stdout
    assert "nj           complete; " in broken.stdout

    status = await asyncio.to_thread(run_command, "status", "--json", environ=environ)
    shops = {shop["slug"]: shop for shop in json.loads(status.stdout)["shops"]}
    assert (shops["labor"]["state"], shops["labor"]["listings"]) == ("blocked", LISTINGS)
    assert shops["labor"]["last_reason"] in broken.stdout
    assert (shops["nj"]["state"], shops["nj"]["demo"]) == ("fresh", True)


async def test_an_interrupted_crawl_ends_with_130_and_without_a_traceback(
    replica: ReplicaServers, environ: dict[str, str]
) -> None:
    replica.set_fault(Fault(shop=EVERY_SHOP, kind="slow_drip"))
    process = subprocess.Popen(
        [sys.executable, "-m", "skatestock", "crawl", "--once"],
        env=command_environ(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    async with asyncio.timeout(30):
        while not replica.log.requests():
            await asyncio.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, said = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 130, said
    assert "interrupted" in out
    assert "Traceback" not in said
