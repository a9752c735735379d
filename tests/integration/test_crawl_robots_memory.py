"""On the wire: the last known robots.txt, dates in Retry-After, and two workers with one spacing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import msgspec
import pytest
from tests.crawl_scene import FAST, Scene

from skatestock.crawl.ports import KnownRobots
from skatestock.crawl.session import CrawlOutcome, connect_cache, crawl_shop
from skatestock.crawl.spacing import ValkeySpacingGate

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

ONE_PRODUCT = b'{"products": [{"id": 1, "handle": "deck", "variants": [{"id": 2, "price": "60.00"}]}]}'
RULES = b"User-agent: *\nDisallow: /products.json\n"


class Memory:
    """Remembers robots.txt in this process."""

    def __init__(self, **known: bytes | None) -> None:
        self.known = {host: KnownRobots(body) for host, body in known.items()}

    async def find(self, host: str) -> KnownRobots | None:
        """Find the rules of whatever host: there is one in a test."""
        return next(iter(self.known.values()), None)

    async def keep(self, host: str, known: KnownRobots) -> None:
        """Remember what the host said."""
        self.known[host] = known


def http(body: bytes, status: str = "200 OK", head: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


@asynccontextmanager
async def serve(answer: Callable[[str], bytes]) -> AsyncIterator[tuple[Scene, list[tuple[str, float]]]]:
    """Serve bytes chosen by the path, and keep what was asked and when."""
    asked: list[tuple[str, float]] = []

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append((head.split()[1].partition("?")[0], asyncio.get_running_loop().time()))
        writer.write(answer(asked[-1][0]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Scene({"labor": f"http://127.0.0.1:{port}"}), asked
    finally:
        server.close()
        await server.wait_closed()


async def crawl(scene: Scene, memory: Memory) -> CrawlOutcome:
    ports = msgspec.structs.replace(scene.ports, robots_memory=memory)
    return await crawl_shop(scene.request(), ports, FAST, scene.clock)


@pytest.mark.parametrize("robots", [http(b"no", "500 Oops"), b"", http(b"#" * 600_000)])
@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({}, "robots_unreachable"),
        ({"host": RULES}, "robots_disallowed"),
        ({"host": b"User-agent: *\n"}, "complete"),
        ({"host": None}, "complete"),
    ],
)
async def test_while_robots_txt_cannot_be_had_its_last_known_rules_hold(
    robots: bytes, known: dict[str, bytes | None], reason: str
) -> None:
    memory = Memory(**known)
    async with serve(lambda path: robots if path == "/robots.txt" else http(ONE_PRODUCT)) as (scene, asked):
        outcome = await crawl(scene, memory)
    assert outcome.reason == reason, outcome.detail
    assert ("/products.json" in [path for path, _ in asked]) == (reason == "complete")
    assert len(memory.known) == len(known), "what could not be had is not remembered"


@pytest.mark.parametrize(("robots", "body"), [(http(RULES), RULES), (http(b"no", "404 Not Found"), None)])
async def test_what_robots_txt_says_is_remembered_also_that_there_is_none(
    robots: bytes, body: bytes | None
) -> None:
    memory = Memory()
    async with serve(lambda path: robots if path == "/robots.txt" else http(ONE_PRODUCT)) as (scene, _):
        await crawl(scene, memory)
    assert list(memory.known.values()) == [KnownRobots(body)]


async def test_a_retry_after_that_is_a_date_is_waited_for() -> None:
    answers = iter([True, False])

    def answer(path: str) -> bytes:
        if path == "/robots.txt" or not next(answers):
            return http(b"User-agent: *\n" if path == "/robots.txt" else ONE_PRODUCT)
        now = datetime.now(UTC).replace(microsecond=0)
        later = format_datetime(now + timedelta(seconds=1), usegmt=True)
        head = f"Date: {format_datetime(now, usegmt=True)}\r\nRetry-After: {later}\r\n"
        return http(b"slow down", "429 Too Many Requests", head)

    async with serve(answer) as (scene, asked):
        outcome = await crawl(scene, Memory())
    assert outcome.complete, outcome.detail
    moments = [moment for path, moment in asked if path == "/products.json"]
    assert moments[1] - moments[0] >= 1


async def test_two_workers_never_come_closer_to_one_host_than_two_seconds(valkey_url: str) -> None:
    pages = {"/robots.txt": b"User-agent: *\n"}
    async with serve(lambda path: http(pages.get(path, ONE_PRODUCT))) as (scene, asked):
        caches = [connect_cache(valkey_url) for _ in range(2)]
        workers = [
            msgspec.structs.replace(scene.ports, spacing_gate=ValkeySpacingGate(cache)) for cache in caches
        ]
        polite = msgspec.structs.replace(FAST, spacing_seconds=2.0)
        outcomes = await asyncio.gather(
            *(crawl_shop(scene.request(), ports, polite, scene.clock) for ports in workers)
        )
        for cache in caches:
            await cache.aclose()
    assert all(outcome.complete for outcome in outcomes)
    moments = [moment for _, moment in asked]
    assert len(moments) == 4
    assert min(later - sooner for sooner, later in pairwise(moments)) >= 1.99
