"""The stream of events on a real server: what it says, to whom, and where it goes on."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import asyncpg
import httpx
import psutil
import pytest
from tests.ingest_shop import OUT, add_shop, at, ended, ingest, offer, seen
from tests.integration.api_process import served
from tests.integration.event_client import Heard, listening, read_stream
from tests.servers import PostgresServer

from skatestock.database.pool import create_pool
from skatestock.events.model import Event
from skatestock.vocabulary.time import format_moment

_numbers = itertools.count(1)


class Server(NamedTuple):
    """A server of two processes, and its database."""

    dsn: str
    process: psutil.Process
    url: str


class Scene(NamedTuple):
    """A shop of the test's own, with two listings, and the server that tells of it."""

    pool: asyncpg.Pool
    url: str
    shop: str

    @property
    def events(self) -> str:
        return f"{self.url}/events"

    async def ingest(self, *events: Event) -> None:
        await ingest(self.pool, *events)


@pytest.fixture(scope="module")
def server(postgres_server: PostgresServer) -> Iterator[Server]:
    dsn = postgres_server.create_database(migrated=True)
    with served(dsn, workers=2) as (process, url):
        yield Server(dsn, process, url)
    postgres_server.drop_database(dsn)


@pytest.fixture
async def scene(server: Server) -> AsyncIterator[Scene]:
    pool = await create_pool(server.dsn, application_name="tests", max_size=2)
    shop = f"shop{next(_numbers)}"
    await add_shop(pool, shop)
    await ingest(
        pool,
        seen(1, offer(6000), offer(7000, OUT, offer_id="b"), shop=shop),
        seen(1, listing="2", shop=shop),
        ended(1, "1", "2", shop=shop),
    )
    yield Scene(pool, server.url, shop)
    await pool.close()


def kinds(heard: list[Heard]) -> list[str]:
    return [one.name for one in heard]


async def listen(scene: Scene, query: str = "", **headers: str) -> list[Heard]:
    return await asyncio.to_thread(read_stream, f"{scene.events}?seconds=1&{query}", **headers)


async def test_what_a_commit_changes_is_told_as_it_is_committed(scene: Scene) -> None:
    with listening(scene.events) as client:
        changed = [
            seen(2, offer(4500, compare=6000), offer(7000, offer_id="b"), shop=scene.shop),
            seen(2, offer(6000), offer(100, offer_id="c"), listing="2", shop=scene.shop),
            seen(2, offer(3000), listing="3", shop=scene.shop),
        ]
        await scene.ingest(*changed)
        committed_at = time.monotonic()
        await asyncio.to_thread(client.wait, lambda: len(client.heard) >= 4)
        assert time.monotonic() - committed_at < 5
    by_kind = {(one.name, one.data["listing"]["title"][-9]): one.data for one in client.heard}
    assert len(client.heard) == 4
    dropped = by_kind["price_changed", "1"]
    assert dropped["now"]["price"] == {"minor": 4500, "currency": "USD", "decimal": "45.00"}
    assert dropped["now"]["compare_at"]["minor"] == 6000
    assert dropped["now"]["discount_percent"] == 25
    assert dropped["before"]["price"]["minor"] == 6000
    assert dropped["changes"] == ["price_down", "compare_at_changed"]
    assert dropped["at"] == format_moment(at(2))
    assert dropped["offer"]["offer_id"] == "a"
    assert dropped["shop"]["slug"] == scene.shop
    restocked = by_kind["restocked", "1"]
    assert (restocked["offer"]["offer_id"], restocked["now"]["availability"]) == ("b", "in_stock")
    further = by_kind["listed", "2"]
    assert (further["offer"]["offer_id"], further["before"]) == ("c", None)
    new = by_kind["listed", "3"]
    assert (new["offer"], new["now"]["price"]["minor"]) == (None, 3000)


async def test_a_delisting_and_an_offer_that_sold_out_are_told(scene: Scene) -> None:
    with listening(scene.events) as client:
        await scene.ingest(
            seen(2, offer(6000, OUT), offer(7000, OUT, offer_id="b"), shop=scene.shop),
            ended(2, "1", shop=scene.shop),
        )
        await scene.ingest(ended(20, "1", shop=scene.shop))
        await asyncio.to_thread(client.wait, lambda: len(client.heard) >= 2)
    assert kinds(client.heard) == ["sold_out", "delisted"]
    assert client.heard[1].data["now"]["availability"] == "gone"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["price_changed", "restocked", "price_changed"]),
        ("kind=restocked", ["restocked"]),
        ("kind=restocked&kind=listed", ["restocked"]),
        ("kind=listed", []),
        ("shop={shop}", ["price_changed", "restocked", "price_changed"]),
        ("shop=premier", []),
        ("brand=krooked", ["price_changed", "restocked", "price_changed"]),
        ("brand=baker", []),
        ("min_discount=25", ["price_changed"]),
        ("min_discount=26", []),
        ("product={second}", ["price_changed"]),
        ("product={second}&product=999999", ["price_changed"]),
        ("product=999999", []),
    ],
)
async def test_a_stream_tells_what_it_was_asked_for(scene: Scene, query: str, expected: list[str]) -> None:
    second = await scene.pool.fetchval(
        "SELECT product_id FROM listings l JOIN shops s ON s.id = l.shop_id"
        " WHERE listing_id = '2' AND slug = $1",
        scene.shop,
    )
    (start,) = [line for line in await first_lines(scene.events) if line.startswith("id: ")]
    await scene.ingest(
        seen(2, offer(4500, compare=6000), offer(7000, offer_id="b"), shop=scene.shop),
        seen(2, offer(5900), listing="2", shop=scene.shop),
    )
    heard = await listen(
        scene, query.format(second=second, shop=scene.shop), **{"Last-Event-ID": start.removeprefix("id: ")}
    )
    assert kinds(heard) == expected


async def first_lines(url: str) -> list[str]:
    async with httpx.AsyncClient() as client, client.stream("GET", f"{url}?seconds=1", timeout=10) as answer:
        return [line async for line in answer.aiter_lines()][:5]


async def test_every_id_resumes_exactly_after_itself_on_every_process(scene: Scene) -> None:
    (start,) = [line for line in await first_lines(scene.events) if line.startswith("id: ")]
    for minute in range(2, 6):
        observed = [
            seen(
                minute,
                offer(6000 - 100 * minute),
                offer(7000 - 50 * minute, OUT, offer_id="b"),
                shop=scene.shop,
            ),
            seen(minute, offer(5000), listing=f"new{minute}", shop=scene.shop),
        ]
        await scene.ingest(*observed)
    whole = await listen(scene, **{"Last-Event-ID": start.removeprefix("id: ")})
    assert len(whole) == 12
    for place, one in enumerate(whole):
        rest = await listen(scene, f"last_event_id={one.id}")
        assert rest == whole[place + 1 :]


async def test_a_header_counts_more_than_the_parameter_that_an_address_keeps(scene: Scene) -> None:
    (start,) = [line for line in await first_lines(scene.events) if line.startswith("id: ")]
    first = start.removeprefix("id: ")
    await scene.ingest(
        seen(2, offer(5000), offer(7000, OUT, offer_id="b"), shop=scene.shop),
        seen(2, offer(1), listing="9", shop=scene.shop),
    )
    whole = await listen(scene, f"last_event_id={first}")
    assert len(whole) == 2
    assert await listen(scene, f"last_event_id={first}", **{"Last-Event-ID": whole[0].id}) == whole[1:]


async def test_what_is_no_longer_kept_is_told_as_resync(scene: Scene) -> None:
    (start,) = [line for line in await first_lines(scene.events) if line.startswith("id: ")]
    last_id = start.removeprefix("id: ")
    await scene.ingest(seen(2, offer(5000), shop=scene.shop))
    await scene.ingest(seen(3, offer(4000), shop=scene.shop))
    await scene.pool.execute("DELETE FROM catalogue_changes")
    (resync,) = await listen(scene, **{"Last-Event-ID": last_id})
    assert (resync.name, resync.data) == ("resync", {"reason": "too_old"})
    assert await listen(scene, **{"Last-Event-ID": resync.id}) == []


@pytest.mark.parametrize("last_id", ["999999-0-{catalogue}", "1-0-00000000"])
async def test_an_id_of_another_catalogue_is_told_as_resync(scene: Scene, last_id: str) -> None:
    (start,) = [line for line in await first_lines(scene.events) if line.startswith("id: ")]
    catalogue = start.rpartition("-")[2]
    (resync,) = await listen(scene, **{"Last-Event-ID": last_id.format(catalogue=catalogue)})
    assert (resync.name, resync.data) == ("resync", {"reason": "another_catalogue"})


@pytest.mark.parametrize(
    ("query", "headers", "at_fault"),
    [
        ("kind=gift", {}, "kind"),
        ("product=0", {}, "product"),
        ("product=x", {}, "product"),
        ("min_discount=101", {}, "min_discount"),
        ("last_event_id=1-2", {}, "last_event_id"),
        ("seconds=0", {}, "seconds"),
        ("since=1", {}, "since"),
        ("", {"Last-Event-ID": "latest"}, "Last-Event-ID"),
    ],
)
async def test_a_senseless_question_is_refused_by_name(
    scene: Scene, query: str, headers: dict[str, str], at_fault: str
) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{scene.events}?{query}", headers=headers)
    assert answer.status_code == 400
    assert [error["parameter"] for error in answer.json()["errors"]] == [at_fault]


async def test_a_stream_begins_at_once_and_nothing_keeps_or_squeezes_it(scene: Scene) -> None:
    headers = {"Accept-Encoding": "gzip, br"}
    async with httpx.AsyncClient() as client, client.stream("GET", scene.events, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in answer.headers
        assert "x-request-id" in answer.headers
        lines = []
        async with asyncio.timeout(2):
            async for line in answer.aiter_lines():
                lines.append(line)
                if line == "":
                    break
    assert lines[1] == "retry: 2000"
    assert lines[2].startswith("id: ")


async def test_head_answers_without_a_stream(scene: Scene) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.head(scene.events, timeout=5)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_one_client_may_have_ten_streams_per_process_and_no_more(
    pool: asyncpg.Pool, database_dsn: str
) -> None:
    with served(database_dsn) as (_, url):
        connections = []
        for _ in range(11):
            connection = socket.create_connection(("127.0.0.1", httpx.URL(url).port))
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            connections.append((connection, connection.recv(100)))
        statuses = [first.split()[1] for _, first in connections]
        assert statuses == [b"200"] * 10 + [b"429"]
        connections[0][0].close()
        give_up_at = time.monotonic() + 5
        while httpx.head(url + "/events").status_code and time.monotonic() < give_up_at:
            with httpx.stream("GET", f"{url}/events?seconds=1") as answer:
                if answer.status_code == 200:
                    break
            time.sleep(0.1)
        assert answer.status_code == 200
        for connection, _ in connections:
            connection.close()


async def test_a_server_that_is_told_to_stop_does_not_wait_for_its_streams(database_dsn: str) -> None:
    with (
        served(database_dsn, workers=2) as (process, url),
        listening(f"{url}/events"),
        listening(f"{url}/events"),
    ):
        workers = process.children()
        os.kill(process.pid, signal.SIGTERM)
        # whoever is still there after ten seconds is killed
        _, alive = await asyncio.to_thread(psutil.wait_procs, [process, *workers], timeout=9)
        assert not alive
