"""`skatestock shops`: a shop is added by its address, crawled, checked, disabled, enabled, and told of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from tests.e2e.processes import run_command

from skatestock.cli.demo import format_shops
from skatestock.crawl.shops import derive_demo_shops, load_shops
from skatestock.replica.faults import Fault
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

LISTINGS = 12


@pytest.fixture
async def replica() -> AsyncIterator[ReplicaServers]:
    world = World(7, datetime(2026, 5, 1, tzinfo=UTC), LISTINGS)
    async with ReplicaServers(world, platforms={"nj": "woocommerce"}) as servers:
        yield servers


@pytest.fixture
def environ(replica: ReplicaServers, database_dsn: str, valkey_url: str, tmp_path: Path) -> dict[str, str]:
    labor = {"labor": replica.addresses.shop_urls["labor"]}
    file = tmp_path / "shops.toml"
    file.write_text(format_shops(derive_demo_shops(load_shops(), labor)))
    environ = {
        "SKATESTOCK_DATABASE_URL": database_dsn,
        "SKATESTOCK_REDIS_URL": valkey_url,
        "SKATESTOCK_SHOPS_FILE": str(file),
        "COLUMNS": "160",
    }
    assert run_command("migrate", environ=environ).returncode == 0
    return environ


async def call(environ: dict[str, str], *arguments: str, code: int = 0) -> str:
    """Run a command, expect its exit code, and return what it said."""
    ended: CompletedProcess[str] = await asyncio.to_thread(run_command, *arguments, environ=environ)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout if code in (0, 4) else ended.stderr


async def read(environ: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Ask a command for JSON, by slug."""
    return {one["slug"]: one for one in json.loads(await call(environ, *arguments, "--json"))}


async def test_a_shop_is_added_by_its_address_and_crawled_like_any_other(
    replica: ReplicaServers, environ: dict[str, str]
) -> None:
    url = replica.addresses.shop_urls["nj"]
    private = await call(environ, "shops", "add", url, "--yes", code=1)
    assert "private_address" in private
    assert replica.log.requests(0, "nj") == []
    asked = await call(environ, "shops", "add", url, "--allow-private", code=2)
    assert "--yes" in asked

    options = ("--allow-private", "--slug", "corner", "--every-seconds", "600")
    looked = await call(environ, "shops", "add", url, *options, "--dry-run")
    assert "woocommerce" in looked
    assert f"{LISTINGS} listings" in looked
    assert "titles    brand-dash (" in looked
    assert "itself    NJ Skateshop, as vendor of " in looked
    assert "Nothing was stored." in looked
    assert set(await read(environ, "shops")) == {"labor"}

    added = json.loads(await call(environ, "shops", "add", url, *options, "--yes", "--json"))
    assert (added["stored"], added["listings"], added["shop"]["currency"]) == (True, LISTINGS, "USD")
    assert len(added["products"]) == 5
    assert (added["shop"]["title_habit"], added["shop"]["vendor_is_shop"]) == ("brand-dash", ["NJ Skateshop"])
    assert all(product["price"].endswith("USD") for product in added["products"])
    assert "already" in await call(environ, "shops", "add", url, "--allow-private", "--yes", code=2)

    shops = await read(environ, "shops")
    assert (shops["corner"]["added"], shops["labor"]["added"]) == (True, False)
    assert shops["corner"]["crawl_every_seconds"] == 600
    assert (shops["corner"]["title_habit"], shops["corner"]["vendor_is_shop"]) == (
        "brand-dash",
        ["NJ Skateshop"],
    )
    assert "complete" in await call(environ, "crawl", "corner")
    health = await read(environ, "shops", "health")
    assert (health["corner"]["state"], health["corner"]["listings"]) == ("fresh", LISTINGS)
    assert health["corner"]["next_crawl_at"]


async def test_a_shop_is_disabled_until_it_is_enabled(
    replica: ReplicaServers, environ: dict[str, str]
) -> None:
    assert "is disabled" in await call(environ, "shops", "disable", "labor")
    assert "already" in await call(environ, "shops", "disable", "labor")
    assert "shops enable labor" in await call(environ, "crawl", "labor", code=2)
    await call(environ, "crawl", "--once")
    assert replica.log.requests(0, "labor") == []
    health = await read(environ, "shops", "health")
    assert (health["labor"]["state"], health["labor"]["next_crawl_at"]) == ("disabled", None)
    assert "disabled by command" in await call(environ, "shops", "health")

    assert "is enabled" in await call(environ, "shops", "enable", "labor")
    assert "complete" in await call(environ, "crawl", "labor")
    assert (await read(environ, "shops", "health"))["labor"]["state"] == "fresh"
    assert "no shop 'nowhere'" in await call(environ, "shops", "disable", "nowhere", code=1)


async def test_a_check_looks_and_stores_nothing(replica: ReplicaServers, environ: dict[str, str]) -> None:
    found = (await read(environ, "shops", "check", "labor"))["labor"]
    assert (found["ok"], found["listings"]) == (True, LISTINGS)
    replica.set_fault(Fault("labor", "html_instead_of_json"))
    broken = await call(environ, "shops", "check", code=4)
    assert "not readable" in broken
    assert "not_json" in broken
    assert await read(environ, "shops", "health") == {}


async def test_a_blocked_shop_is_shown_as_blocked(replica: ReplicaServers, environ: dict[str, str]) -> None:
    replica.set_fault(Fault("labor", "security_rejection"))
    await call(environ, "crawl", "labor", code=4)
    labor = (await read(environ, "shops", "health"))["labor"]
    assert (labor["state"], labor["failures"], labor["seconds_since_complete"]) == ("blocked", 1, None)
    assert labor["seconds_to_next"] > 5 * 3600
    status = json.loads(await call(environ, "status", "--json"))
    assert status["shops"][0]["state"] == "blocked"
