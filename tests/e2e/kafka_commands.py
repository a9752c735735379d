"""Commands of the platform on servers that settings name, for the tests of Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.e2e.processes import run_command

from skatestock.cli.demo import format_shops
from skatestock.crawl.shops import derive_demo_shops, load_shops
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

LISTINGS = 12
"""Of each replica shop."""


async def run(*arguments: str, environ: dict[str, str], code: int = 0) -> str:
    """Run a command; what it says may be one line where it fails, and no traceback ever."""
    ended = await asyncio.to_thread(run_command, *arguments, environ=environ)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    if code:
        assert ended.stderr.count("\n") == 1, ended.stderr
        return ended.stderr
    return ended.stdout


async def prepare(environ: dict[str, str]) -> None:
    """Take the steps of deploying."""
    for step in (("migrate",), ("topics", "ensure"), ("schemas", "register")):
        await run(*step, environ=environ)


@asynccontextmanager
async def replica_shops(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Run replica shops, and name their file."""
    async with ReplicaServers(World(7, datetime(2026, 5, 1, tzinfo=UTC), LISTINGS)) as replica:
        file = folder / "shops.toml"
        file.write_text(format_shops(derive_demo_shops(load_shops(), replica.addresses.shop_urls)))
        yield {"SKATESTOCK_SHOPS_FILE": str(file)}
