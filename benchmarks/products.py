"""`GET /products` on 100,000 listings: the API's application, uncached, beside the bare statement.

With --history also `GET /analytics/discount-patterns`, on five million price points of their offers.
"""

import argparse
import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import msgspec
from benchmarks.figures import RESULTS, Figure, make_report, publish
from benchmarks.price_history import write_history
from benchmarks.product_catalogue import NOW, Scale, write_catalogue
from benchmarks.rounds import compare, percentile, time_in_turns
from benchmarks.servers import open_servers

from skatestock.api.app import create_app
from skatestock.catalog.commands_discounts import read_out_next
from skatestock.catalog.commands_index import begin_build, build_next
from skatestock.catalog.index_queries import Statement, write_list
from skatestock.catalog.product_filter import ProductFilter, Sort
from skatestock.catalog.search import find_search
from skatestock.database.pool import Pool, connect, create_pool
from skatestock.embedded.binaries import get_postgres

_REACH_MS = 30.0
_THREE = {"category": "decks", "size": '8.25"', "in_stock": "true", "sort": "price"}
_WANTED = ProductFilter(categories=("decks",), sizes=('8.25"',), in_stock=True)
_QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "three filters, wide": {"in_stock": "true", "on_sale": "true", "max_price": "90", "sort": "discount"},
    "no filter": {},
    "q, two words": {"q": "busenitz vulc"},
    "q, a slip": {"q": "bussenitz"},
    "facets of three filters": {**_THREE, "facets": "true"},
    "facets without a filter": {"facets": "true"},
    "facets of one filter": {"category": "decks", "facets": "true"},
    "facets of what is in stock": {"in_stock": "true", "facets": "true"},
}
"""What is asked besides, with no limit of its own."""
_PATTERNS: Mapping[str, str] = {
    "discounts of 30 days": "/analytics/discount-patterns",
    "discounts of 90 days": "/analytics/discount-patterns?days=90",
    "discounts of one shop": "/analytics/discount-patterns?shop=shop-3",
    "discounts of a category": "/analytics/discount-patterns?category=decks",
}
_PATTERNS_REACH_MS = 1000.0

Ask = Callable[[str], Awaitable[bytes]]


def make_asker(app: Any) -> Ask:
    """Return what asks the application itself for a path: no server and no socket stand between."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def ask(address: str) -> bytes:
        path, _, query = address.partition("?")
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"api.example")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await app(scope, receive, send)
        if sent[0]["status"] != 200:
            raise RuntimeError(f"{address} answered {sent[0]['status']}")
        return b"".join(message.get("body", b"") for message in sent[1:])

    return ask


def address_of(question: Mapping[str, str]) -> str:
    """Write a question as an address."""
    return f"/products?{urlencode(question)}" if question else "/products"


async def build_catalogue(dsn: str, listings: int) -> float:
    """Write the catalogue, build its index, and return the seconds that building took."""
    connection = await connect(dsn, application_name="bench")
    try:
        await write_catalogue(connection, Scale(listings=listings))
        began = time.perf_counter()
        await begin_build(connection)
        while not (await build_next(connection)).done:
            pass
        seconds = time.perf_counter() - began
        # as autovacuum does in time
        await connection.execute("VACUUM ANALYZE")
        return seconds
    finally:
        await connection.close()


async def find_deep_cursor(ask: Ask, pages: int = 40) -> str:
    """Read on for some pages, and return the cursor of the next."""
    cursor = ""
    for _ in range(pages):
        question = {**_THREE, "limit": "100", **({"cursor": cursor} if cursor else {})}
        found = msgspec.json.decode(await ask(address_of(question)))["next_cursor"]
        if found is None:
            break
        cursor = found
    return cursor


async def measure(dsn: str, samples: int) -> list[Figure]:
    """Time the application and the bare statement in turns, and everything else by itself."""
    pool = await create_pool(dsn, application_name="bench api", min_size=1, max_size=2)
    try:
        ask = make_asker(create_app(pool, version="bench", clock=lambda: NOW))
        await write_plan(pool)
        three = address_of(_THREE)
        bare = write_list(_WANTED, None, sort=Sort.PRICE, offset=0, limit=24, after=None)
        works: dict[str, Callable[[], Awaitable[object]]] = {
            "app": lambda: ask(three),
            "bare": lambda: run_bare(pool, bare),
        }
        taken = await time_in_turns(works, samples)
        first = compare(
            "three filters", taken["app"], "the bare statement", taken["bare"], _spread(taken["app"])
        )
        benched = await asyncio.to_thread(run_pgbench, dsn, bare)
        figures = [
            msgspec.structs.replace(first, reach=_REACH_MS),
            Figure(
                name="the same, pgbench",
                unit="ms",
                value=benched,
                limit_name="the bare statement",
                limit=first.limit,
                ratio=None if first.limit is None else benched / first.limit,
                note="the mean of one client for five seconds, the statement prepared",
            ),
        ]
        asked = {name: address_of(question) for name, question in _QUESTIONS.items()}
        asked["a deep cursor"] = address_of({**_THREE, "limit": "100", "cursor": await find_deep_cursor(ask)})
        for name, address in asked.items():
            figures.append(await _time_alone(name, ask, address, samples // 4))
        return figures
    finally:
        await pool.close()


async def measure_history(dsn: str, samples: int) -> list[Figure]:
    """Write a history, and time what is told of its discounts, before and after it was read out."""
    pool = await create_pool(dsn, application_name="bench api", min_size=1, max_size=2)
    try:
        ask = make_asker(create_app(pool, version="bench", clock=lambda: NOW))
        async with pool.acquire() as connection:
            await connection.execute("SET statement_timeout = 0")
            points = await write_history(connection)
            await connection.execute("VACUUM ANALYZE")
        before = {name: await ask(address) for name, address in _PATTERNS.items()}
        whole = await time_in_turns({"history": lambda: ask(_PATTERNS["discounts of 30 days"])}, 3)
        async with pool.acquire() as connection:
            began = time.perf_counter()
            while await read_out_next(connection, NOW):
                pass
            seconds = time.perf_counter() - began
        if before != {name: await ask(address) for name, address in _PATTERNS.items()}:
            raise RuntimeError("what is kept of the history answers otherwise than the history")
        figures = [
            msgspec.structs.replace(
                await _time_alone(name, ask, address, samples // 4), reach=_PATTERNS_REACH_MS
            )
            for name, address in _PATTERNS.items()
        ]
        said = f"{points:,} price points"
        from_history = percentile(whole["history"], 50)
        return [
            *figures,
            Figure(name="the first, from the history", unit="s", value=from_history, note=said),
            Figure(name="reading out 90 days", unit="s", value=seconds),
        ]
    finally:
        await pool.close()


async def run_bare(pool: Pool, statement: Statement) -> object:
    """Run the statement of a list, and make nothing of its rows."""
    async with pool.acquire() as connection:
        return await connection.fetch(statement.sql, *statement.arguments)


async def write_plan(pool: Pool) -> None:
    """Keep the plans of the list with three filters, and of a search."""
    async with pool.acquire() as connection:
        search = await find_search(connection, "busenitz vulc")
        lists = {
            "three filters": write_list(_WANTED, None, sort=Sort.PRICE, offset=0, limit=24, after=None),
            "q=busenitz vulc": write_list(
                ProductFilter(search="busenitz vulc"),
                search,
                sort=Sort.RELEVANCE,
                offset=0,
                limit=24,
                after=None,
            ),
        }
        lines: list[str] = []
        for name, statement in lists.items():
            rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement.sql}", *statement.arguments)
            lines += [f"-- {name}", statement.sql.strip(), "", *(row[0] for row in rows), ""]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "products_plan.txt").write_text("\n".join(lines), encoding="utf-8")


def run_pgbench(dsn: str, statement: Statement) -> float:
    """Run the statement by pgbench, prepared, and return the mean milliseconds."""
    sql = statement.sql
    for number in range(len(statement.arguments), 0, -1):
        sql = sql.replace(f"${number}", _write_literal(statement.arguments[number - 1]))
    script = RESULTS / "products_pgbench.sql"
    RESULTS.mkdir(exist_ok=True)
    # pgbench takes a colon and a name for a variable; casts have two colons and stay
    script.write_text(" ".join(sql.split()) + ";\n", encoding="utf-8")
    program = Path(get_postgres().folder) / "pgbench"
    ended = subprocess.run(
        [str(program), "-n", "-T", "5", "-M", "prepared", "-f", str(script), dsn],
        capture_output=True,
        text=True,
        check=True,
    )
    script.unlink()
    said = next(line for line in ended.stdout.splitlines() if line.startswith("latency average"))
    return float(said.split("=")[1].split()[0])


def _write_literal(value: object) -> str:
    if isinstance(value, list):
        return "ARRAY[" + ", ".join(_write_literal(one) for one in value) + "]"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


async def _time_alone(name: str, ask: Ask, address: str, samples: int) -> Figure:
    taken = await time_in_turns({name: lambda: ask(address)}, max(10, samples))
    values = taken[name]
    return Figure(
        name=name, unit="ms", value=percentile(values, 50) * 1000, samples=len(values), note=_spread(values)
    )


def _spread(values: list[float]) -> str:
    return f"p95 {percentile(values, 95) * 1000:.1f} ms, p99 {percentile(values, 99) * 1000:.1f} ms"


async def run(listings: int, samples: int, *, history: bool) -> int:
    """Measure, print, and return the exit code."""
    async with open_servers() as servers:
        built = await build_catalogue(servers.postgres.dsn, listings)
        figures = await measure(servers.postgres.dsn, samples)
        figures.append(Figure(name="building the index", unit="s", value=built))
        if history:
            figures += await measure_history(servers.postgres.dsn, samples)
        what = f"GET /products on {listings:,} listings with five offers each, p50 uncached"
        return publish(make_report("products", what, figures))


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listings", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--history", action="store_true", help="also measure on a history of price points")
    options = parser.parse_args()
    try:
        return asyncio.run(run(options.listings, options.samples, history=options.history))
    except asyncpg.PostgresError as error:
        print(f"the benchmark failed: {error}")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
