"""The API as processes: started, asked, killed and stopped for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from tests.integration.api_process import PATIENCE_SECONDS, find_port, served, wait_for
from tests.integration.catalog_rows import Catalogue
from tests.servers import PostgresServer
from tests.shared_data import missing

DOCS = Path(__file__).parents[2] / "docs" / "API.md"


def wait_until_gone(process: psutil.Process) -> None:
    """Wait until a process has ended; one that nobody has reaped yet counts as ended."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < give_up_at, f"process {process.pid} did not end"
        time.sleep(0.05)


def find_workers(parent: psutil.Process) -> list[psutil.Process]:
    """Find the workers among the children: whoever listens or serves, not Python's own resource tracker."""
    return [child for child in parent.children() if _is_worker(child)]


def _is_worker(child: psutil.Process) -> bool:
    try:
        return "resource_tracker" not in " ".join(child.cmdline())
    except psutil.NoSuchProcess:
        # It died between the listing and the look; a zombie counts as that.
        return False


def test_it_answers_and_stops_on_sigterm(database_dsn: str) -> None:
    with served(database_dsn, demo=True) as (process, api):
        assert wait_for(f"{api}/health/ready").json() == {"status": "ok"}
        answer = httpx.get(f"{api}/products")
        assert (answer.json()["total"], answer.headers["x-skatestock-data"]) == (0, "demo")
        workers = find_workers(process)
        process.send_signal(signal.SIGTERM)
        wait_until_gone(process)
        for worker in workers:
            wait_until_gone(worker)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{api}/health/live")


def test_it_starts_without_a_database_and_says_so() -> None:
    with served(f"postgresql://nobody@127.0.0.1:{find_port()}/none") as (_, api):
        assert httpx.get(f"{api}/health").json()["status"] == "degraded"
        answer = httpx.get(f"{api}/products", timeout=20)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")


def test_a_worker_that_dies_is_replaced(database_dsn: str) -> None:
    with served(database_dsn, workers=2) as (process, api):
        first = {worker.pid for worker in find_workers(process)}
        assert len(first) == 2
        os.kill(min(first), signal.SIGKILL)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while len({worker.pid for worker in find_workers(process)} - first) < 1:
            assert time.monotonic() < give_up_at
            time.sleep(0.1)
        assert wait_for(f"{api}/health/ready").status_code == 200


def test_workers_do_not_outlive_their_parent(database_dsn: str) -> None:
    with served(database_dsn) as (process, _):
        workers = find_workers(process)
        assert workers
        process.kill()
        for worker in workers:
            wait_until_gone(worker)


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /products?q=\xff\xfe%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xf0\x9f\x9b\xb9%ff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /products/%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /products?" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /products HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 500_000 + b"\r\n\r\n",
        b"GET /products HTTP/1.1\r\nContent-Length: -5\r\nHost: x\r\n\r\n",
        b"BREW /products HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
    ],
    ids=["query", "path", "id", "address", "header", "length", "method", "noise"],
)
def test_no_raw_request_makes_it_fail(raw_api: tuple[str, int], request_text: bytes) -> None:
    with socket.create_connection(raw_api, timeout=10) as connection:
        connection.sendall(request_text)
        answer = read_status(connection)
    # A header however large is no fault of a request that the server chose to read.
    assert answer is None or answer == 200 or 400 <= answer < 500
    assert httpx.get(f"http://{raw_api[0]}:{raw_api[1]}/health/live").status_code == 200


def read_status(connection: socket.socket) -> int | None:
    """Read the answer's status; None where the connection was closed without one."""
    try:
        first = connection.recv(4096).split(b"\r\n")[0].split(b" ")
    except ConnectionResetError:
        return None
    return int(first[1]) if len(first) > 1 else None


@pytest.fixture(scope="module")
def raw_api(postgres_server: PostgresServer) -> Iterator[tuple[str, int]]:
    dsn = postgres_server.create_database(migrated=True)
    with served(dsn) as (_, api):
        host, port = api.removeprefix("http://").split(":")
        yield host, int(port)
    postgres_server.drop_database(dsn)


async def test_the_examples_in_the_docs_work(pool: asyncpg.Pool, database_dsn: str) -> None:
    curl, shell = shutil.which("curl"), shutil.which("sh")
    if curl is None or shell is None:
        missing("curl", "curl is not installed")
    catalogue = Catalogue(pool)
    await catalogue.add_listing(await catalogue.add_product("Deck"), await catalogue.add_shop("labor"))
    await pool.execute("UPDATE shops SET url = 'https://laborskateshop.com'")
    await pool.execute("UPDATE listings SET handle = 'busenitz'")
    # what needs an account is another test's, as one example needs what the last one answered
    without_account = DOCS.read_text().partition("\n## Accounts\n")[0]
    examples = re.findall(r"^curl .*$", without_account, re.MULTILINE)
    assert len(examples) >= 18
    with served(database_dsn) as (_, api):
        for example in examples:
            done = subprocess.run(
                [shell, "-c", example],
                env={"API": api, "PATH": os.environ["PATH"]},
                capture_output=True,
                check=True,
            )
            if "/events" in example:
                assert b"\nid: " in done.stdout, example
                continue
            answer = json.loads(done.stdout)
            assert answer == 200 or "code" not in answer, example
