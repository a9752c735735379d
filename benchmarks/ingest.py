"""How fast ingest writes, beside the limit: a raw binary COPY of the same rows, measured in the same run.

Each round works in fresh databases on one durable server (fsync on). The messages of a crawl are appended
to the event log (untimed). Then, batch by batch: ingest takes one batch through its handler and commits
(timed), the rows it wrote are copied out (untimed), and copied in binary form, in one transaction, into the
same tables of a twin database (timed). Once for listings that are new, once for the same listings with every
price changed. Rows are listings, observations, offers and price points. Because each batch is measured
directly before its limit, other work on the machine disturbs both alike.

    python -m benchmarks.ingest [--listings 20000] [--offers 5] [--rounds 3] [--batch 4000] [--dsn URL]
"""

import argparse
import asyncio
import gc
import hashlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, ParamSpec, TypeVar
from unittest.mock import patch

import asyncpg
from benchmarks.figures import Figure, make_report, publish
from benchmarks.servers import make_folder

from skatestock.catalog import commands_load, commands_record
from skatestock.catalog.commands import ensure_shops
from skatestock.catalog.model import ShopRecord
from skatestock.database.migrations import migrate
from skatestock.database.pool import Pool, create_pool
from skatestock.embedded.postgres import EmbeddedPostgres
from skatestock.eventlog.port import Consumer, Message
from skatestock.eventlog.postgres import PostgresEventLog
from skatestock.events.codec import Codec, encode
from skatestock.events.model import Event, ListingObserved, OfferObserved
from skatestock.ingest import consumer as ingest
from skatestock.ingest import model as rules
from skatestock.telemetry.logs import configure_logging
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.time import Clock, utc_now

_P = ParamSpec("_P")
_R = TypeVar("_R")

SHOP = ShopRecord(slug="bench", name="Bench", url="http://127.0.0.1/", currency="USD", platform="shopify")
BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOUNS = (
    "Deck",
    "Hoodie",
    "T-Shirt",
    "Wheels 54mm",
    "Trucks",
    "Pants",
    "Shoes",
    "Beanie",
    "Backpack",
    "Jacket",
)
PHASES = ("decode", "load", "apply", "write")
LEAST_SHARE = 0.3


# ---------------------------------------------------------------- what is observed


def observe(
    number: int, offers: int, observed_at: datetime, price_minor: int, crawl_id: str
) -> ListingObserved:
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


def moment_of_batch(crawl: int, batch: int) -> datetime:
    """Give each batch a moment of its own, by which its rows are found again."""
    return BEGIN + timedelta(hours=12 * crawl, minutes=batch)


def make_messages(options: argparse.Namespace, crawl: int) -> list[Message]:
    """Make the messages of one crawl; each crawl has other prices."""
    return [
        Message(
            key=SHOP.slug,
            value=encode(
                observe(
                    number,
                    options.offers,
                    moment_of_batch(crawl, number // options.batch),
                    6000 + number % 50 - 500 * crawl,
                    f"bench-{crawl}",
                )
            ),
            headers={"event": "ListingObserved"},
        )
        for number in range(options.listings)
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
            patch.object(
                ingest, "load_shop_states", self.timed_async("load", commands_load.load_shop_states)
            ),
            patch.object(
                ingest, "record_shop_states", self.timed_async("write", commands_record.record_shop_states)
            ),
            patch.object(ingest, "apply_event", self.timed("apply", rules.apply_event)),
        )
        with parts[0], parts[1], parts[2]:
            yield


class TimedCodec(Codec):
    """Decodes as ingest does, and keeps the time."""

    def __init__(self, watch: Stopwatch) -> None:
        super().__init__()
        self._watch = watch

    def decode(self, value: bytes, *, clock: Clock = utc_now) -> Event:
        """Read an event; see `Codec`."""
        began = time.perf_counter()
        try:
            return super().decode(value, clock=clock)
        finally:
            self._watch.seconds["decode"] += time.perf_counter() - began


# ---------------------------------------------------------------- one measurement


class Ingest:
    """One consumer on the log, measured batch by batch."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._watch = Stopwatch()
        self._handler = ingest.IngestHandler(codec=TimedCodec(self._watch))

    async def take_batch(self, size: int) -> tuple[float, dict[str, float]]:
        """Ingest one batch; return the seconds and where they went."""
        self._watch.seconds.clear()
        gc.collect()
        with self._watch.watching_ingest():
            began = time.perf_counter()
            count = await self._consumer.process(self._handler, max_records=size, wait_seconds=5)
            seconds = time.perf_counter() - began
        if count != size or self._handler.tally.dead:
            raise SystemExit(f"{count} of {size} records, dead letters: {dict(self._handler.tally.dead)}")
        return seconds, dict(self._watch.seconds)


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


async def copy_raw(pool: Pool, twin: Pool, at: datetime) -> tuple[float, int]:
    """Copy the rows of one batch, which stand in `pool`, into the twin; return seconds and rows."""
    batch = f"SELECT * FROM listings WHERE observed_at = '{at.isoformat()}'"
    aside = {
        "brands": await copy_out(pool, "SELECT * FROM brands"),
        "products": await copy_out(
            pool, f"SELECT p.* FROM products p JOIN ({batch}) l ON l.product_id = p.id"
        ),
    }
    rows = {
        "listings": await copy_out(pool, batch),
        "offers": await copy_out(pool, f"SELECT o.* FROM offers o JOIN ({batch}) l ON l.id = o.listing_id"),
        "price_points": await copy_out(
            pool, f"SELECT * FROM price_points WHERE observed_at = '{at.isoformat()}'"
        ),
        "observations": await copy_out(
            pool, f"SELECT * FROM observations WHERE observed_at = '{at.isoformat()}'"
        ),
    }
    async with twin.acquire() as connection:
        if not await connection.fetchval("SELECT count(*) FROM brands"):
            await copy_in(connection, "brands", aside["brands"])
        await copy_in(connection, "products", aside["products"])
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
    with make_folder() as folder:
        embedded = EmbeddedPostgres(folder / "postgres")
        await embedded.start()
        try:
            yield Server(embedded.dsn)
        finally:
            await embedded.stop()


# ---------------------------------------------------------------- rounds


class Result:
    """The measurements of one kind over all batches of all rounds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds: list[float] = []
        self.raw_seconds: list[float] = []
        self.phases: list[dict[str, float]] = []
        self.rows = 0

    def add(self, seconds: float, phases: dict[str, float], raw_seconds: float, rows: int) -> None:
        """Take over one batch."""
        self.seconds.append(seconds)
        self.raw_seconds.append(raw_seconds)
        self.phases.append({name: part / seconds for name, part in phases.items()})
        self.rows = rows

    def to_figure(self) -> Figure:
        """Tell the median batch, and what became of its time."""
        limit = 1000 * median(self.raw_seconds)
        speed = self.rows / median(self.seconds)
        ratio = median(ours / raw for ours, raw in zip(self.seconds, self.raw_seconds, strict=True))
        shares = (f"{name} {median(phase[name] for phase in self.phases):.0%}" for name in PHASES)
        return Figure(
            name=self.name,
            unit="ms",
            value=1000 * median(self.seconds),
            limit_name="raw binary COPY",
            limit=limit,
            ratio=ratio,
            reach=round(limit / LEAST_SHARE, 1),
            samples=len(self.seconds),
            note=f"{self.rows:,} rows a batch, {speed:,.0f} rows/s, {1 / ratio:.2f} of COPY's speed; "
            f"of the time {', '.join(shares)} (decoding runs beside the others)",
        )


async def run_round(server: Server, options: argparse.Namespace, results: tuple[Result, ...]) -> None:
    """Measure new and then changed listings, each batch directly before its limit."""
    async with server.database() as pool:
        log = PostgresEventLog(pool, topics={ingest.TOPIC: 6})
        await log.ensure_topics()
        async with pool.acquire() as connection:
            await ensure_shops(connection, [SHOP])
        consumer = await log.open_consumer(ingest.GROUP, ingest.TOPIC)
        for crawl, result in enumerate(results):
            async with server.database() as twin:
                await prepare_twin(twin)
                messages = make_messages(options, crawl)
                for first in range(0, len(messages), 2000):
                    await log.append(ingest.TOPIC, messages[first : first + 2000])
                await pool.execute("VACUUM ANALYZE")
                await pool.execute("CHECKPOINT")
                await run_batches(options, crawl, result, (Ingest(consumer), pool, twin))
        await consumer.close()
        await log.close()


async def prepare_twin(twin: Pool) -> None:
    """Put into an empty catalogue what batches refer to."""
    async with twin.acquire() as connection:
        await ensure_shops(connection, [SHOP])
        await commands_record.PricePointMonths().ensure(connection, [BEGIN])


async def run_batches(
    options: argparse.Namespace, crawl: int, result: Result, parts: tuple[Ingest, Pool, Pool]
) -> None:
    """Measure every batch of one crawl."""
    ours, pool, twin = parts
    expected = options.batch * (2 + 2 * options.offers)
    for batch in range(options.listings // options.batch):
        seconds, phases = await ours.take_batch(options.batch)
        raw_seconds, rows = await copy_raw(pool, twin, moment_of_batch(crawl, batch))
        if rows != expected:
            raise SystemExit(f"{rows} rows, not {expected}: nothing was measured")
        result.add(seconds, phases, raw_seconds, rows)


async def run(options: argparse.Namespace) -> int:
    """Run all rounds and publish; return the exit code."""
    configure_logging("bench", json=False, level="warning")
    new, changed = Result("new listings"), Result("changed listings")
    async with open_server(options.dsn) as server:
        for _ in range(options.rounds):
            await run_round(server, options, (new, changed))
    what = (
        f"batches of {options.batch:,} listings with {options.offers} offers from the log into the "
        f"catalogue, beside COPY of the same rows (at least {LEAST_SHARE:g} of its speed)"
    )
    return publish(make_report("ingest", what, [new.to_figure(), changed.to_figure()]))


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--listings", type=int, default=20_000)
    parser.add_argument("--offers", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4_000)
    parser.add_argument("--dsn", help="measure on this server instead of an embedded one")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    raise SystemExit(main())
