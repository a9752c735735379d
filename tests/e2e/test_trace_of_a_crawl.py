"""What an operator does: from a crawl's line in one process's log to its commit in another's."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.processes import command_environ, run_command
from tests.ports import choose_quiet_port

from skatestock.cli.demo import format_shops
from skatestock.crawl.shops import derive_demo_shops, load_shops
from skatestock.database.pool import Pool
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World


@asynccontextmanager
async def logging_process(command: str, environ: Mapping[str, str], log: Path) -> AsyncIterator[None]:
    """Run one of our commands with its log in a file."""
    with log.open("w") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", "skatestock", command], env=command_environ(environ), stderr=out
        )
    try:
        yield
    finally:
        started.terminate()
        assert await asyncio.to_thread(started.wait, timeout=30) == 0, log.read_text()


def lines(log: Path, event: str) -> list[dict[str, Any]]:
    # the last line may still be being written
    whole = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in map(json.loads, whole) if line["event"] == event]


async def wait_for_lines(log: Path, event: str, count: int = 1) -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        while len(found := lines(log, event)) < count:
            await asyncio.sleep(0.1)
    return found


def fetch_metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


async def test_a_crawl_is_followed_by_its_trace_to_the_commit_that_stored_it(
    database_dsn: str, pool: Pool, tmp_path: Path
) -> None:
    port = choose_quiet_port()
    async with ReplicaServers(World(7, datetime(2026, 5, 1, tzinfo=UTC), 12)) as replica:
        shops = derive_demo_shops(load_shops(), replica.addresses.shop_urls)[:1]
        file = tmp_path / "shops.toml"
        file.write_text(format_shops(shops))
        environ = {
            "SKATESTOCK_DATABASE_URL": database_dsn,
            "SKATESTOCK_SHOPS_FILE": str(file),
            "SKATESTOCK_LOG_JSON": "true",
        }
        ended = await asyncio.to_thread(run_command, "migrate", environ=environ)
        assert ended.returncode == 0, ended.stderr
        measured = {**environ, "SKATESTOCK_METRICS_PORT": str(port)}
        crawl_log, ingest_log = tmp_path / "crawl.log", tmp_path / "ingest.log"
        async with (
            logging_process("crawl", environ, crawl_log),
            logging_process("ingest", measured, ingest_log),
        ):
            async with asyncio.timeout(60):
                while not replica.log.requests():
                    # as soon as there is a job, nobody waits for its turn
                    await pool.execute("UPDATE job_leases SET due_at = now() WHERE holder IS NULL")
                    await asyncio.sleep(0.1)
            (crawl, *_) = await wait_for_lines(crawl_log, "crawl_completed")
            (commit, *_) = await wait_for_lines(ingest_log, "batch_committed")
            told = await asyncio.to_thread(fetch_metrics, port)
    assert crawl["trace_id"] in commit["crawl_traces"]
    assert commit["trace_id"] != crawl["trace_id"]
    headers = await pool.fetch("SELECT headers ->> 'traceparent' AS parent FROM eventlog_records")
    assert {row["parent"].split("-")[1] for row in headers} >= {crawl["trace_id"]}
    for name in ("ingest_batch_records_count", "ingest_commit_delay_seconds_count", "ingest_batch_limit"):
        assert f"skatestock_{name} " in told
    assert "skatestock_eventlog_lag{" in told
