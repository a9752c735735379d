"""What the edge and the API cost beside the least that the same answers could cost on the same server.

Each round puts some seconds of load on every server in turn, and takes the processor time of the server's own
processes for each request: other work on the machine slows the clock, not that. `GET /products/{id}`:

- cached: through the whole edge of `skatestock api`, beside a bare ASGI function on the same granian that
  sends the same bytes and as many headers, and beside nginx that sends them from a file (where there is one);
- uncached: through edge and API, beside a bare ASGI function that runs the same statement by asyncpg, and
  beside pgbench that runs it without any web server.

Then a hundred users at once ask for a mix of everything, beside what the earlier system claimed.

    python -m benchmarks.edge [--rounds 7] [--seconds 3] [--listings 20000] [--users-seconds 60]
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median
from urllib.parse import urlsplit

import psutil
from benchmarks.figures import Figure, make_report, publish
from benchmarks.load import Work, ask_in_turn, find_wrk, put_load
from benchmarks.product_catalogue import Scale, write_catalogue
from benchmarks.servers import Servers, open_servers
from benchmarks.web_servers import WebServer, fetch, serve_bare, serve_nginx, serve_ours

from skatestock.catalog.queries import FIND_PRODUCT
from skatestock.database.pool import connect
from skatestock.embedded.binaries import get_postgres

WHAT = "answer GET /products/{id} through edge and API, by the processor time of the server"
REACH_CACHED, REACH_UNCACHED = 0.80, 0.45
CLAIMED_PER_SECOND, CLAIMED_P50_MS, CLAIMED_P95_MS, CLAIMED_ERRORS_PERCENT = 847.5, 105.0, 245.0, 0.02

_HEADERS = {"Accept-Encoding": "br"}
_PLAIN = {"Accept-Encoding": "identity"}
_MEGABYTE = 1_048_576

Works = dict[str, list[Work]]


async def take_rounds(
    servers: dict[str, WebServer], paths: Sequence[str], options: argparse.Namespace, headers: dict[str, str]
) -> Works:
    """Put load on each server once a round, in turns, after a round that does not count."""
    works: Works = {name: [] for name in servers}
    for number in range(options.rounds + 1):
        for name, server in servers.items():
            seconds = options.seconds if number else 1.0
            work = await put_load(server.pid, server.port, paths, seconds, headers)
            if work.load.failed:
                raise SystemExit(f"{name}: {work.load.failed} requests failed, nothing was measured")
            if number:
                works[name].append(work)
    return works


def compare_works(
    name: str, ours: Sequence[Work], limit_name: str, limit: Sequence[Work], reach: float | None
) -> Figure:
    """Make the figure of two servers: the share of the limit's speed is 1 / ratio."""
    ratio = median(mine.cpu_ms / theirs.cpu_ms for mine, theirs in zip(ours, limit, strict=True))
    return Figure(
        name=name,
        unit="ms of CPU",
        value=median(work.cpu_ms for work in ours),
        limit_name=limit_name,
        limit=median(work.cpu_ms for work in limit),
        ratio=ratio,
        ratio_reach=None if reach is None else 1 / reach,
        samples=len(ours),
        note=f"{1 / ratio:.2f} of its speed; {describe(ours)}; {limit_name}: {describe(limit)}",
    )


def describe(works: Sequence[Work]) -> str:
    """Say how many requests a second of the processor gave, and how long they took."""
    per_cpu = 1000 / median(work.cpu_ms for work in works)
    p50, p99 = median(work.load.p50_ms for work in works), median(work.load.p99_ms for work in works)
    return f"{per_cpu:,.0f} requests a CPU second, p50 {p50:.1f} ms, p99 {p99:.1f} ms"


async def measure_cached(servers: Servers, options: argparse.Namespace) -> list[Figure]:
    """Measure a cached answer."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(serve_ours(servers))
        for _ in range(20):
            answer = fetch(ours.port, "/products/1", _HEADERS)
            if dict(answer.headers).get(b"x-cache") == b"hit":
                break
            await asyncio.sleep(0.2)
        else:
            raise SystemExit(f"the answer is not cached: {answer}")
        bare = await stack.enter_async_context(serve_bare(servers.folder, answer))
        nginx = await stack.enter_async_context(serve_nginx(servers.folder, answer))
        compared = {"ours": ours, "bare": bare} | ({} if nginx is None else {"nginx": nginx})
        works = await take_rounds(compared, ["/products/1"], options, _HEADERS)
    figures = [compare_works("cached", works["ours"], "bare ASGI", works["bare"], REACH_CACHED)]
    if nginx is None:
        print("nginx is not installed: cached answers are not compared with it")
    else:
        figures.append(compare_works("cached", works["ours"], "nginx", works["nginx"], None))
    return figures


async def measure_uncached(servers: Servers, options: argparse.Namespace) -> list[Figure]:
    """Measure an answer that is made anew each time: nothing is kept, in memory or in Redis."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(serve_ours(servers, edge_cache_mb="0"))
        answer = fetch(ours.port, "/products/1", _PLAIN)
        bare = await stack.enter_async_context(
            serve_bare(servers.folder, answer, servers.postgres.dsn, FIND_PRODUCT)
        )
        paths = [f"/products/{number}" for number in range(1, 2000)]
        works = await take_rounds({"ours": ours, "bare": bare}, paths, options, _PLAIN)
    benched = await asyncio.to_thread(run_pgbench, servers, options)
    ours_ms = 1000 / median(work.load.per_second for work in works["ours"])
    pgbench = Figure(
        name="uncached, by the clock",
        unit="ms",
        value=ours_ms,
        limit_name="pgbench",
        limit=benched,
        ratio=ours_ms / benched,
        samples=options.rounds,
        note=f"{1000 / ours_ms:,.0f} requests a second; pgbench {1000 / benched:,.0f} on 10 connections",
    )
    return [
        compare_works("uncached", works["ours"], "bare ASGI + asyncpg", works["bare"], REACH_UNCACHED),
        pgbench,
    ]


def run_pgbench(servers: Servers, options: argparse.Namespace) -> float:
    """Run the same statement by pgbench, and return the milliseconds of the clock for each."""
    program = get_postgres().folder / "pgbench"
    found = str(program) if program.exists() else shutil.which("pgbench")
    if found is None:
        raise SystemExit("there is no pgbench beside the embedded PostgreSQL nor on the path")
    script = servers.folder / "product.sql"
    statement = FIND_PRODUCT.strip().replace("$1", ":id")
    script.write_text(f"\\set id random(1, 2000)\n{statement};\n", "utf-8")
    dsn = urlsplit(servers.postgres.dsn)
    environ = {**os.environ, "PGPASSWORD": dsn.password or ""}
    command = [found, "-n", "-M", "prepared", "-c10", "-j1", f"-T{round(options.seconds * 3)}"]
    command += ["-h", dsn.hostname or "", "-p", str(dsn.port), "-U", dsn.username or "", "-f", str(script)]
    said = subprocess.run(
        [*command, dsn.path[1:]], env=environ, capture_output=True, text=True, check=True
    ).stdout
    tps = re.search(r"tps = ([\d.]+)", said)
    if tps is None:
        raise SystemExit(f"pgbench said no speed:\n{said}")
    return 1000 / float(tps[1])


async def measure_users(servers: Servers, options: argparse.Namespace) -> list[Figure]:
    """Measure a hundred users at once who ask for everything, and what the process holds afterwards."""
    seconds = options.users_seconds
    async with serve_ours(servers) as ours:
        load = await ask_in_turn(ours.port, make_mix(ours.port), seconds, _HEADERS, 100)
        workers = psutil.Process(ours.pid).children(recursive=True)
        memory = max(worker.memory_info().rss for worker in workers) / _MEGABYTE
    errors = 100 * load.failed / max(1, load.requests)
    claim = "the earlier system's claim"
    return [
        Figure(
            name="100 users, for each request",
            unit="ms of the clock",
            value=1000 / load.per_second,
            limit_name=claim,
            limit=1000 / CLAIMED_PER_SECOND,
            reach=1000 / CLAIMED_PER_SECOND,
            samples=load.requests,
            note=f"{load.per_second:,.0f} requests a second; the claim is {CLAIMED_PER_SECOND}",
        ),
        Figure(
            name="100 users, p50",
            unit="ms",
            value=load.p50_ms,
            limit_name=claim,
            limit=CLAIMED_P50_MS,
            reach=CLAIMED_P50_MS,
        ),
        Figure(
            name="100 users, p95",
            unit="ms",
            value=load.p95_ms,
            limit_name=claim,
            limit=CLAIMED_P95_MS,
            reach=CLAIMED_P95_MS,
        ),
        Figure(
            name="100 users, errors",
            unit="%",
            value=errors,
            limit_name=claim,
            limit=CLAIMED_ERRORS_PERCENT,
            reach=CLAIMED_ERRORS_PERCENT,
        ),
        Figure(name="memory of a worker after that", unit="MiB", value=memory),
    ]


def make_mix(port: int) -> list[str]:
    """Make what users ask for: mostly products, also histories, lists, searches and shops."""
    hot = [f"/products/{1 + number % 100}" for number in range(500)]
    rest = [f"/products/{number}" for number in range(1, 2000, 8)]
    histories = [f"/products/{number}/price-history" for number in range(1, 100)]
    lists = [f"/products?page={page}" for page in range(1, 30)]
    searches = [f"/products?q={word}" for word in ("busenitz", "classic", "logo", "team", "skyline")]
    shops = ["/shops"] * 20
    asked = [*histories[:1], lists[0], searches[0], shops[0]]
    refused = [path for path in asked if fetch(port, path).status != 200]
    if refused:
        print(f"left out of the mix, because the server refuses it: {', '.join(refused)}")
    parts = [(histories[0], histories), (lists[0], lists), (searches[0], searches * 4), (shops[0], shops)]
    return [*hot, *rest, *(path for first, paths in parts if first not in refused for path in paths)]


async def measure(options: argparse.Namespace) -> list[Figure]:
    """Fill a catalogue, and measure what is asked for."""
    async with open_servers() as servers:
        connection = await connect(servers.postgres.dsn, application_name="bench")
        await write_catalogue(connection, Scale(listings=options.listings))
        await connection.close()
        await build_index(servers)
        figures: list[Figure] = []
        for name, part in PARTS.items():
            if name in options.parts:
                figures += await part(servers, options)
        return figures


async def build_index(servers: Servers) -> None:
    """Let `skatestock index` read the catalogue before lists are asked for."""
    command = [sys.executable, "-m", "skatestock", "index", "--rebuild"]
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **servers.environ})
    if await process.wait():
        raise SystemExit("the product index could not be built")


PARTS = {"cached": measure_cached, "uncached": measure_uncached, "users": measure_users}


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge", description=f"Time to {WHAT}.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; else all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--listings", type=int, default=20_000)
    parser.add_argument("--users-seconds", type=float, default=60.0)
    options = parser.parse_args(arguments)
    options.parts = options.parts or list(PARTS)
    print("load by wrk" if find_wrk() else "wrk is not installed: load by connections of our own")
    return publish(make_report("edge", WHAT, asyncio.run(measure(options))))


if __name__ == "__main__":
    raise SystemExit(main())
