"""The Bloom filter of never-seen listings at a million listings: how often it errs, and what it costs.

A million listings of five shops are recorded as crawls record them, 250 at a time. Then listings that were
never recorded are asked about: how many of them does the filter take for perhaps seen, against the rate that
it is made for. Its memory is what the server says of the key, against the same listings in a set. A page of
250 listings is asked about in turns with a bare PING. Where the server has `BF.*` too, both are measured.

    python -m benchmarks.bloom [--listings 1000000] [--rounds 300] [--url redis://…]

With `--url` it works on that server, in keys of its own that it removes again.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from statistics import median
from typing import Any, cast

from benchmarks.figures import Figure, make_report, publish
from benchmarks.rounds import percentile, time_in_turns
from benchmarks.servers import make_folder
from redis.asyncio import Redis

from skatestock.crawl.bloom import FALSE_POSITIVE_RATE, BitFields, NativeFilters, has_native_filters
from skatestock.embedded.valkey import EmbeddedValkey
from skatestock.replica.model import SHOP_SLUGS

WHAT = "the Bloom filter of never-seen listings"
PAGE = 250
_STRANGERS = 200_000
_KEY = "skatestock-bench:{seen}"
_MEBIBYTE = 2**20
_MILLISECONDS = 1000.0


def list_members(first: int, count: int) -> Iterator[list[str]]:
    """Yield pages of members with ids as Shopify gives them, every page of one shop."""
    for begin in range(first, first + count, PAGE):
        shop = SHOP_SLUGS[begin // PAGE % len(SHOP_SLUGS)]
        yield [f"{shop}\0{7_000_000_000_000 + 97 * number}" for number in range(begin, begin + PAGE)]


async def measure_filter(
    client: Redis, name: str, store: BitFields | NativeFilters, key: str, listings: int, rounds: int
) -> list[Figure]:
    """Fill one kind of filter, then ask it."""
    began = time.perf_counter()
    for page in list_members(0, listings):
        await store.add(page)
    seconds = time.perf_counter() - began
    found = 0
    for page in list_members(listings, _STRANGERS):
        found += sum(answer[0] for answer in await store.find(page))
    for page in list_members(0, PAGE * 40):
        if not all(answer[0] for answer in await store.find(page)):
            raise SystemExit("a listing that was recorded is taken for never seen")
    rate = 100 * found / _STRANGERS
    memory = await cast(Any, client.memory_usage(key, samples=0)) / _MEBIBYTE
    pages = list(list_members(0, PAGE * 8))
    return [
        Figure(
            name=f"false positives, {name}",
            unit="%",
            value=rate,
            limit_name="made for",
            limit=100 * FALSE_POSITIVE_RATE,
            ratio=rate / (100 * FALSE_POSITIVE_RATE),
            ratio_reach=1.1,
            samples=_STRANGERS,
            note=f"{listings:,} listings recorded in {seconds:.1f} s",
        ),
        await measure_memory(client, name, memory, listings),
        *await measure_question(client, name, lambda number: store.find(pages[number % len(pages)]), rounds),
    ]


async def measure_memory(client: Redis, name: str, memory: float, listings: int) -> Figure:
    """Compare with a set of the same members, of which a tenth is enough to know the rest."""
    key = f"{_KEY}:set"
    for page in list_members(0, listings // 10):
        await cast(Any, client.sadd(key, *page))
    exact = await cast(Any, client.memory_usage(key, samples=0)) / _MEBIBYTE * 10
    await client.delete(key)
    return Figure(
        name=f"memory, {name}",
        unit="MiB",
        value=memory,
        limit_name="the same in a set",
        limit=exact,
        ratio=memory / exact,
        note=f"{8 * memory * _MEBIBYTE / listings:.1f} bits a listing",
    )


async def measure_question(
    client: Redis, name: str, ask: Callable[[int], Awaitable[object]], rounds: int
) -> list[Figure]:
    """Time a question about a page beside a bare round trip."""
    numbers = iter(range(10 * rounds))
    works: dict[str, Callable[[], Awaitable[object]]] = {
        "page": lambda: ask(next(numbers)),
        "ping": lambda: cast(Awaitable[object], client.ping()),
    }
    taken = await time_in_turns(works, rounds)
    ratio = median(page / ping for page, ping in zip(taken["page"], taken["ping"], strict=True))
    return [
        Figure(
            name=f"page of {PAGE} p{percent}, {name}",
            unit="ms",
            value=percentile(taken["page"], percent) * _MILLISECONDS,
            limit_name="PING",
            limit=percentile(taken["ping"], percent) * _MILLISECONDS,
            ratio=ratio if percent == 50 else None,
            samples=rounds,
        )
        for percent in (50, 99)
    ]


async def measure(client: Redis, listings: int, rounds: int) -> list[Figure]:
    """Measure both kinds where the server has both."""
    figures: list[Figure] = []
    kinds: dict[str, type[BitFields] | type[NativeFilters]] = {"bit field": BitFields}
    if await has_native_filters(client):
        kinds["BF.*"] = NativeFilters
    for name, kind in kinds.items():
        key = f"{_KEY}:{name}"
        await client.delete(key)
        try:
            store = kind(client, [key])
            figures += await measure_filter(client, name, store, key, listings, rounds)
        finally:
            await client.delete(key)
    return figures


async def run(listings: int, rounds: int, url: str | None) -> list[Figure]:
    """Start a Valkey, unless one is given, and measure."""
    if url is not None:
        return await _measure_at(url, listings, rounds)
    with make_folder() as folder:
        server = EmbeddedValkey(folder / "valkey")
        await server.start()
        try:
            return await _measure_at(server.url, listings, rounds)
        finally:
            await server.stop()


async def _measure_at(url: str, listings: int, rounds: int) -> list[Figure]:
    client: Redis = Redis.from_url(url)
    try:
        return await measure(client, listings, rounds)
    finally:
        await client.aclose()


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bloom", description=f"Errors and cost of {WHAT}."
    )
    parser.add_argument("--listings", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--url", help="a server to measure on; a Valkey of its own without")
    options = parser.parse_args(arguments)
    figures = asyncio.run(run(options.listings, options.rounds, options.url))
    return publish(make_report("bloom", WHAT, figures))


if __name__ == "__main__":
    raise SystemExit(main())
