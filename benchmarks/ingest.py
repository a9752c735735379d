"""How fast ingest writes, beside the limit: a raw binary COPY of the very same rows, measured in the same run.

Each round, in fresh databases on one durable server (fsync on): the messages are appended to the event log
(untimed), ingest drains it through its handler (timed), the rows it wrote are copied out, and copied into an
identical, empty schema in binary form in one transaction (timed). Once for listings that are new, once for the
same listings with every price changed. Rows are listings, offers and price points.

    python -m benchmarks.ingest [--listings 20000] [--offers 5] [--rounds 3] [--batch 2000] [--dsn URL]
"""

import argparse
import asyncio
import gc
import hashlib
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, ParamSpec, TypeVar
from unittest.mock import patch

import asyncpg

from skatestock.catalog.commands import ensure_shops
from skatestock.catalog.model import ShopRecord
from skatestock.database.migrations import migrate
from skatestock.database.pool import Pool, create_pool
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.events.codec import decode, encode
from skatestock.events.model import ListingObserved, OfferObserved
from skatestock.eventlog.port import Message
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.ingest import consumer as ingest
from skatestock.vocabulary.availability import Availability

_P = ParamSpec("_P")
_R = TypeVar("_R")

SHOP = ShopRecord(slug="bench", name="Bench", url="http://127.0.0.1/", currency="USD", platform="shopify")
BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOUNS = ("Deck", "Hoodie", "T-Shirt", "Wheels 54mm", "Trucks", "Pants", "Shoes", "Beanie", "Backpack", "Jacket")
TABLES = ("listings", "offers", "price_points")
LIMIT_RATIO = 0.3


# ---------------------------------------------------------------- what is observed


def observe(number: int, offers: int, observed_at: datetime, price_minor: int, crawl_id: str) -> ListingObserved:
    """Make one listing as a shop's page gives it."""
    noun = NOUNS[number % len(NOUNS)]
    name = f"Model {number:05d} {noun}"
    brand = f"Brand {number % 97}"
    return ListingObserved(
        event_id=f"{crawl_id}-{number}",
        shop=SHOP.slug,
        crawl_id=crawl_id,
        listing_id=str(7_000_000_000_000 + number),
        observed_at=observed_at,
        url=f"https://bench.example/products/model-{number:05d}-{number % 97}",
        handle=f"model-{number:05d}-{number % 97}",
        title=f"{brand} - {name} (Black/White)",
        name=name,
        vendor=brand,
        brand=brand,
        colourway="Black/White",
        product_type=noun,
        image_url=f"https://bench.example/cdn/files/model-{number:05d}.jpg",
        currency="USD",
        offers=tuple(observe_offer(number, place, price_minor) for place in range(offers)),
        parser="shopify",
        parser_version=1,
        fingerprint=hashlib.sha256(f"{number}-{price_minor}".encode()).digest(),
    )


def observe_offer(number: int, place: int, price_minor: int) -> OfferObserved:
    """Make one of a listing's variants."""
    return OfferObserved(
        offer_id=str(40_000_000_000_000 + number * 100 + place),
        title=f"Black / {8 + place}",
        options={"Color": "Black", "Size": str(8 + place)},
        sku=f"BR-{number:05d}-{place}",
        price_minor=price_minor,
        compare_at_minor=9000 if number % 4 == 0 else None,
        availability=Availability.IN_STOCK if (number + place) % 3 else Availability.OUT_OF_STOCK,
    )


def make_messages(listings: int, offers: int, crawl: int) -> list[Message]:
    """Make the messages of one crawl; each crawl has other prices."""
    at = BEGIN + timedelta(minutes=30 * crawl)
    return [
        Message(
            key=SHOP.slug,
            value=encode(observe(number, offers, at, 6000 + number % 50 - 500 * crawl, f"bench-{crawl}")),
            headers={"event": "ListingObserved"},
        )
        for number in range(listings)
    ]


# ---------------------------------------------------------------- where the time goes


class Stopwatch:
    """Sums the seconds of named phases."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def timed(self, name: str, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Wrap a function."""

        def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - began

        return run

    def timed_async(self, name: str, function: Callable[_P, Awaitable[_R]]) -> Callable[_P, Awaitable[_R]]:
        """Wrap a coroutine function."""

        async def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            began = time.perf_counter()
            try:
                return await function(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - began

        return run

    @contextmanager
    def watching_ingest(self) -> Iterator[None]:
        """Time the parts of the handler while the block runs."""
        parts = (
            patch.object(ingest, "load_shop_states", self.timed_async("load", ingest.load_shop_states)),
            patch.object(ingest, "record_shop_states", self.timed_async("write", ingest.record_shop_states)),
            patch.object(ingest, "apply_event", self.timed("apply", ingest.apply_event)),
        )
        with parts[0], parts[1], parts[2]:
            yield


# ---------------------------------------------------------------- one measurement


async def drain(log: PostgresEventLog, listings: int, batch: int) -> tuple[float, Stopwatch]:
    """Ingest what waits in the log; return the seconds and where they went."""
    watch = Stopwatch()
    handler = ingest.IngestHandler(decode_event=watch.timed("decode", decode))
    consumer = await log.open_consumer(ingest.GROUP, ingest.TOPIC)
    done = 0
    gc.collect()
    with watch.watching_ingest():
        began = time.perf_counter()
        while done < listings:
            done += await consumer.process(handler, max_records=batch, wait_seconds=0.1)
        seconds = time.perf_counter() - began
    await consumer.close()
    if handler.tally.dead:
        raise SystemExit(f"dead letters: {handler.tally.dead}")
    return seconds, watch


async def copy_out(pool: Pool, query: str) -> list[bytes]:
    """Read a query's rows in PostgreSQL's binary COPY form."""
    chunks: list[bytes] = []

    async def keep(data: bytes) -> None:
        chunks.append(data)

    async with pool.acquire() as connection:
        await connection.copy_from_query(query, output=keep, format="binary", timeout=600)
    return chunks


async def copy_in(connection: Any, table: str, chunks: list[bytes]) -> int:
    """Send rows in binary COPY form into a table; return their number."""

    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    done: str = await connection.copy_to_table(table, source=source(), format="binary", timeout=600)
    return int(done.split()[-1])


async def copy_raw(pool: Pool, since: datetime, server: "Server") -> tuple[float, int]:
    """Copy the rows that stand in `pool`'s catalogue into an identical empty one; return seconds and rows."""
    aside = {table: await copy_out(pool, f"SELECT * FROM {table}") for table in ("shops", "brands", "products")}
    rows = {table: await copy_out(pool, f"SELECT * FROM {table}") for table in TABLES[:2]}
    rows["price_points"] = await copy_out(
        pool, f"SELECT * FROM price_points WHERE observed_at >= '{since.isoformat()}'"
    )
    async with server.database() as target, target.acquire() as connection:
        for table, chunks in aside.items():
            await copy_in(connection, table, chunks)
        await ingest.PricePointMonths().ensure(connection, [since])
        await connection.execute("CHECKPOINT")
        gc.collect()
        began = time.perf_counter()
        async with connection.transaction():
            count = sum([await copy_in(connection, table, chunks) for table, chunks in rows.items()])
        return time.perf_counter() - began, count


# ---------------------------------------------------------------- the server


class Server:
    """Gives fresh, migrated databases on one PostgreSQL."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._count = 0

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Pool]:
        """Lend a pool on a database that is dropped afterwards."""
        self._count += 1
        name = f"bench_ingest_{self._count}"
        await self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await self._execute(f"CREATE DATABASE {name}")
        dsn = self._dsn.rpartition("/")[0] + f"/{name}"
        await migrate(dsn)
        pool = await create_pool(dsn, application_name="bench", statement_timeout_seconds=600)
        try:
            yield pool
        finally:
            await pool.close()
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@asynccontextmanager
async def open_server(dsn: str | None) -> AsyncIterator[Server]:
    """Use the server at `dsn`, or start a durable embedded one."""
    if dsn is not None:
        yield Server(dsn)
        return
    folder = Path(tempfile.mkdtemp(prefix="skatestock-bench-"))
    folder.chmod(0o755)
    embedded = EmbeddedPostgres(folder / "postgres")
    await embedded.start()
    try:
        yield Server(embedded.dsn)
    finally:
        await embedded.stop()
        shutil.rmtree(folder, ignore_errors=True)


# ---------------------------------------------------------------- rounds


class Result:
    """The measurements of one kind over all rounds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ours: list[float] = []
        self.raw: list[float] = []
        self.phases: list[dict[str, float]] = []

    def add(self, seconds: float, watch: Stopwatch, raw_seconds: float, rows: int) -> None:
        """Take over one round."""
        self.ours.append(rows / seconds)
        self.raw.append(rows / raw_seconds)
        phases = dict(watch.seconds)
        phases["rest"] = seconds - sum(phases.values())
        self.phases.append({name: part / seconds for name, part in phases.items()})

    @property
    def ratio(self) -> float:
        """Our speed as a part of the limit's, as the median of the rounds."""
        return median(ours / raw for ours, raw in zip(self.ours, self.raw, strict=True))

    def print(self) -> None:
        """Print the medians."""
        verdict = "reached" if self.ratio >= LIMIT_RATIO else "MISSED"
        print(
            f"{self.name:18} {median(self.ours):9,.0f} rows/s   raw binary COPY {median(self.raw):9,.0f} rows/s"
            f"   ratio {self.ratio:.2f} (at least {LIMIT_RATIO}: {verdict})"
        )
        names = ("decode", "load", "apply", "write", "rest")
        shares = (f"{name} {median(phase[name] for phase in self.phases):.0%}" for name in names)
        print(f"{'':18} of ingest's time: {', '.join(shares)} (rest: reading the log, commit)")


async def run_round(server: Server, options: argparse.Namespace, new: Result, changed: Result) -> None:
    """Measure new and then changed listings, each directly before its limit."""
    async with server.database() as pool:
        log = PostgresEventLog(pool, topics={ingest.TOPIC: 6})
        await log.ensure_topics()
        async with pool.acquire() as connection:
            await ensure_shops(connection, [SHOP])
        for crawl, result in enumerate((new, changed)):
            messages = make_messages(options.listings, options.offers, crawl)
            for first in range(0, len(messages), 2000):
                await log.append(ingest.TOPIC, messages[first : first + 2000])
            await pool.execute("VACUUM ANALYZE")
            await pool.execute("CHECKPOINT")
            seconds, watch = await drain(log, options.listings, options.batch)
            raw_seconds, rows = await copy_raw(pool, BEGIN + timedelta(minutes=30 * crawl), server)
            expected = options.listings * (1 + 2 * options.offers)
            if rows != expected:
                raise SystemExit(f"{rows} rows, not {expected}: nothing was measured")
            result.add(seconds, watch, raw_seconds, rows)
        await log.close()


async def run(options: argparse.Namespace) -> int:
    """Run all rounds and print; return the exit code."""
    new, changed = Result("new listings"), Result("changed listings")
    async with open_server(options.dsn) as server:
        for _ in range(options.rounds):
            await run_round(server, options, new, changed)
    print(
        f"{options.listings:,} listings x {options.offers} offers, batches of {options.batch:,}, "
        f"medians of {options.rounds} rounds"
    )
    new.print()
    changed.print()
    return 0 if min(new.ratio, changed.ratio) >= LIMIT_RATIO else 1


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--listings", type=int, default=20_000)
    parser.add_argument("--offers", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=2_000)
    parser.add_argument("--dsn", help="measure on this server instead of an embedded one")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    raise SystemExit(main())
