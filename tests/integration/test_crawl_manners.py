"""How a crawl behaves on the wire: spacing, robots.txt, retries, stopping; by real requests on loopback."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
import redis.asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.http import Response
from tests.crawl_scene import FAST, START_AT, Scene
from tests.ports import refusing_port
from tests.scripted_shop import http, paths, scripted_shop

from skatestock.crawl.errors import ReactorError
from skatestock.crawl.middlewares import Manners, SpacingMiddleware
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.session import CrawlOutcome, connect_cache, crawl_shop, crawl_shops, crawling_reactor
from skatestock.crawl.spacing import LocalSpacingGate
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]

EMPTY_ROBOTS = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ONE_PRODUCT = b'{"products": [{"id": 1, "handle": "deck", "variants": [{"id": 2, "price": "60.00"}]}]}'


@pytest_asyncio.fixture(loop_scope="session")
async def scene() -> AsyncIterator[Scene]:
    async with ReplicaServers(World(7, START_AT, listings_per_shop=120)) as replica:
        yield Scene.of(replica)


@pytest_asyncio.fixture(loop_scope="session")
async def cache(valkey_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    client = connect_cache(valkey_url)
    yield client
    await client.aclose()


async def test_requests_never_come_closer_than_the_spacing_also_after_errors(scene: Scene) -> None:
    scene.fault("unavailable", times=1)
    scene.fault("connection_reset", times=1, page=2)
    polite = msgspec.structs.replace(FAST, spacing_seconds=0.25)
    outcome = await scene.crawl(politeness=polite)
    assert outcome.complete
    arrivals = [record.monotonic_seconds for record in scene.asked()]
    assert len(arrivals) == outcome.requests == 7
    assert min(later - earlier for earlier, later in pairwise(arrivals)) >= 0.25


async def test_the_two_seconds_of_the_default_are_kept(scene: Scene) -> None:
    polite = msgspec.structs.replace(FAST, spacing_seconds=2.0, page_limit=250)
    assert (await scene.crawl(politeness=polite)).complete
    robots, page = scene.asked()
    assert page.monotonic_seconds - robots.monotonic_seconds >= 2.0


async def test_two_crawls_of_one_host_share_its_spacing(scene: Scene) -> None:
    polite = msgspec.structs.replace(FAST, spacing_seconds=0.1)
    outcomes = await crawl_shops([scene.request(), scene.request()], scene.ports, polite, scene.clock)
    assert all(isinstance(outcome, CrawlOutcome) and outcome.complete for outcome in outcomes)
    arrivals = [record.monotonic_seconds for record in scene.asked()]
    # Between two connections the way to the server may differ by a little; the gate's turns do not.
    assert min(later - earlier for earlier, later in pairwise(arrivals)) >= 0.09


async def test_who_we_are_stands_in_every_request_and_robots_is_asked_first(scene: Scene) -> None:
    await scene.crawl()
    asked = scene.asked()
    assert [record.target for record in asked] == [
        "/robots.txt",
        *(f"/products.json?limit=50&page={page}" for page in (1, 2, 3, 1)),
    ]
    assert {record.user_agent for record in asked} == {FAST.user_agent}
    assert "(+https://example.org/contact)" in FAST.user_agent


async def test_retry_after_is_waited_for_and_then_the_crawl_goes_on(scene: Scene) -> None:
    scene.fault("too_many_requests", times=1, retry_after_seconds=1)
    assert (await scene.crawl()).complete
    refused, again = [record for record in scene.asked() if "page=1" in record.target][:2]
    assert again.monotonic_seconds - refused.monotonic_seconds >= 1.0


async def test_429_slows_the_rest_of_the_crawl_down(scene: Scene) -> None:
    scene.fault("too_many_requests", times=1, retry_after_seconds=0)
    polite = msgspec.structs.replace(FAST, spacing_seconds=0.1)
    assert (await scene.crawl(politeness=polite)).complete
    later = [record.monotonic_seconds for record in scene.asked()][2:]
    assert min(b - a for a, b in pairwise(later)) >= 0.2


@pytest.mark.parametrize("kind", ["unavailable", "connection_reset", "truncated_body", "truncated_gzip"])
async def test_what_passes_is_retried_and_forgotten(scene: Scene, kind: str) -> None:
    scene.fault(kind, times=2)
    assert (await scene.crawl()).complete


async def test_430_is_asked_once_and_the_shop_left_alone_for_hours(scene: Scene) -> None:
    scene.fault("security_rejection")
    outcome = await scene.crawl()
    assert outcome.retry_not_before is not None
    assert (outcome.retry_not_before - scene.clock()).total_seconds() == 6 * 3600
    assert [record.status for record in scene.asked()] == [200, 430]


async def test_the_moment_of_a_long_retry_after_is_handed_on(scene: Scene) -> None:
    scene.fault("unavailable", form="date", retry_after_seconds=4000)
    outcome = await scene.crawl()
    assert outcome.retry_not_before is not None
    assert 3995 <= (outcome.retry_not_before - scene.clock()).total_seconds() <= 4001


async def test_a_drift_that_passes_is_mended_by_reading_again(scene: Scene) -> None:
    scene.fault("page_drift", times=1, page=2)
    outcome = await scene.crawl()
    assert (outcome.reason, outcome.pages) == ("complete", 2 + 4)


async def test_a_page_as_long_as_its_limit_is_followed_by_an_empty_one(scene: Scene) -> None:
    listings = len(scene.replica.world.state_at("labor"))
    exact = msgspec.structs.replace(FAST, page_limit=listings)
    outcome = await scene.crawl(politeness=exact)
    assert (outcome.listings, outcome.pages, outcome.complete) == (listings, 3, True)


@pytest.mark.parametrize(
    ("robots", "reason"),
    [
        (http(b"User-agent: SkateStock\nDisallow: /products.json\n"), "robots_disallowed"),
        (http(b"User-agent: *\nDisallow: /\n"), "robots_disallowed"),
        (http(b"no", status="404 Not Found"), "complete"),
        (http(b"no", status="403 Forbidden"), "complete"),
        (http(b"no", status="500 Internal Server Error"), "robots_unreachable"),
        (http(b"no", status="503 Unavailable", head="Retry-After: 9999\r\n"), "retry_later"),
        (http(b"no", status="430 Rejected"), "blocked"),
        (http(b"", status="302 Found", head="Location: /robots.txt\r\n"), "robots_unreachable"),
        (
            http(b"", status="302 Found", head="Location: http://elsewhere.invalid/robots.txt\r\n"),
            "robots_unreachable",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nUser-agent: *\n", "robots_unreachable"),
        (http(b"#" * 600_000), "robots_unreachable"),
        (
            http(gzip.compress(b"User-agent: *\nDisallow: /\n"), "Content-Encoding: gzip\r\n"),
            "robots_disallowed",
        ),
        (b"", "robots_unreachable"),
    ],
)
async def test_without_a_robots_txt_that_allows_it_nothing_is_fetched(robots: bytes, reason: str) -> None:
    def answer(path: str) -> bytes:
        return robots if path == "/robots.txt" else http(ONE_PRODUCT)

    async with scripted_shop(answer) as (scene, heads):
        outcome = await scene.crawl()
    assert outcome.reason == reason, outcome.detail
    assert any("products" in path for path in paths(heads)) == (reason == "complete")


async def test_a_crawl_delay_longer_than_ours_is_kept() -> None:
    loop = asyncio.get_running_loop()
    arrivals: list[float] = []

    def answer(path: str) -> bytes:
        arrivals.append(loop.time())
        return http(b"User-agent: *\nCrawl-delay: 0.4\n") if path == "/robots.txt" else http(ONE_PRODUCT)

    async with scripted_shop(answer) as (scene, _):
        assert (await scene.crawl()).complete
    assert arrivals[1] - arrivals[0] >= 0.4


async def test_a_crawl_delay_that_no_crawl_waits_for_ends_it_at_once() -> None:
    def answer(path: str) -> bytes:
        return http(b"User-agent: *\nCrawl-delay: 86400\n") if path == "/robots.txt" else http(ONE_PRODUCT)

    async with scripted_shop(answer) as (scene, heads):
        outcome = await scene.crawl()
    assert (outcome.reason, paths(heads)) == ("retry_later", ["/robots.txt"])
    assert outcome.retry_not_before == scene.clock() + timedelta(days=1)


async def test_a_shops_addresses_with_and_without_www_share_one_turn() -> None:
    asked: list[str] = []

    class Gate(LocalSpacingGate):
        async def wait_turn(self, host: str, spacing_seconds: float) -> None:
            asked.append(host)

        async def hold(self, host: str, seconds: float) -> None:
            asked.append(host)

    spacing = SpacingMiddleware(Crawler(Spider), Manners(Politeness(), Gate(), "SkateStock"))
    for url in ("https://shop.example/products.json", "https://www.shop.example/products.json"):
        await spacing.process_request(Request(url))
        await spacing.process_response(Request(url), Response(url))
    assert asked == ["shop.example"] * 4


async def test_robots_of_the_place_a_redirect_leads_to_counts_too() -> None:
    def answer(path: str) -> bytes:
        if path == "/robots.txt":
            return http(b"User-agent: *\nDisallow: /en/\n")
        return http(b"", "Location: /en/products.json\r\n", status="302 Found")

    async with scripted_shop(answer) as (scene, heads):
        outcome = await scene.crawl()
    assert outcome.reason == "robots_disallowed"
    assert not any("/en/" in path for path in paths(heads))


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (http(ONE_PRODUCT), "complete"),
        (http(gzip.compress(ONE_PRODUCT), "Content-Encoding: gzip\r\n"), "complete"),
        (http(ONE_PRODUCT, "Set-Cookie: a=b\r\n"), "complete"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + ONE_PRODUCT, "complete"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + ONE_PRODUCT[:50], "truncated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" + ONE_PRODUCT[:32], "truncated"),
        (http(b"x", "Content-Encoding: br\r\n"), "unknown_encoding"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "too_large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(17 * 2**20), "too_large"),
        (http(b"", status="204 No Content"), "refused"),
        (http(b"", status="418 Teapot"), "refused"),
        (b"nonsense\r\n\r\n", "unreachable"),
    ],
)
async def test_what_the_wire_brings_is_whole_or_named(page: bytes, reason: str) -> None:
    def answer(path: str) -> bytes:
        return http(b"", status="404 Not Found") if path == "/robots.txt" else page

    async with scripted_shop(answer) as (scene, heads):
        outcome = await scene.crawl()
        again = await scene.crawl()
    assert outcome.reason == again.reason == reason, outcome.detail
    assert not any("cookie" in head.lower() for head in heads)
    assert all("Accept-Encoding: gzip, deflate\r\n" in head for head in heads)


async def test_a_shop_that_answers_nobody_is_unreachable() -> None:
    with refusing_port() as port:
        outcome = await Scene({"labor": f"http://127.0.0.1:{port}"}).crawl()
    assert (outcome.reason, outcome.requests) == ("robots_unreachable", FAST.retries + 1)


async def test_a_crawl_that_takes_too_long_is_ended(scene: Scene) -> None:
    scene.fault("slow_drip", page=2, bytes_per_second=100)
    hasty = msgspec.structs.replace(FAST, crawl_timeout_seconds=0.5, request_timeout_seconds=30)
    outcome = await scene.crawl(politeness=hasty)
    assert (outcome.reason, outcome.listings) == ("timed_out", 50)


async def interrupted(
    scene: Scene, end: Callable[[asyncio.Task[CrawlOutcome], asyncio.Event], object]
) -> CrawlOutcome:
    scene.fault("slow_drip", page=2, bytes_per_second=100)
    stop = asyncio.Event()
    patient = msgspec.structs.replace(FAST, request_timeout_seconds=30)
    task = asyncio.create_task(scene.crawl(politeness=patient, stop=stop))
    while not scene.log.events:
        await asyncio.sleep(0.01)
    end(task, stop)
    return await asyncio.wait_for(task, 5)


async def test_a_stop_ends_the_crawl_in_good_order(scene: Scene) -> None:
    outcome = await interrupted(scene, lambda task, stop: stop.set())
    assert (outcome.reason, outcome.listings) == ("interrupted", 50)
    assert scene.log.completed()[-1].reason == "interrupted"


async def test_a_cancelled_crawl_says_so_and_stays_cancelled(scene: Scene) -> None:
    with pytest.raises(asyncio.CancelledError):
        await interrupted(scene, lambda task, stop: task.cancel())
    assert scene.log.completed()[-1].reason == "interrupted"


async def test_when_the_log_is_away_the_crawl_raises_and_others_go_on(scene: Scene) -> None:
    scene.log.fail_before = True
    with pytest.raises(ConnectionError):
        await scene.crawl()
    assert scene.log.events == []
    scene.log.fail_before = False
    assert (await scene.crawl()).complete


class LostLease:
    """A lease that is lost after so many checks."""

    def __init__(self, checks: int) -> None:
        self.checks = checks

    async def check(self) -> None:
        self.checks -= 1
        if self.checks < 0:
            raise PermissionError("the lease is lost")


async def test_a_crawl_that_lost_its_lease_says_nothing_more(scene: Scene) -> None:
    with pytest.raises(PermissionError):
        await crawl_shop(scene.request(lease=LostLease(1)), scene.ports, FAST, scene.clock)
    assert len(scene.log.observed()) == 50
    assert scene.log.completed() == []


async def test_five_shops_are_crawled_at_once_round_after_round(scene: Scene) -> None:
    for _ in range(2):
        requests = [scene.request(slug) for slug in scene.shops]
        outcomes = await crawl_shops(requests, scene.ports, FAST, scene.clock)
        shops = [
            outcome.shop for outcome in outcomes if isinstance(outcome, CrawlOutcome) and outcome.complete
        ]
        assert shops == list(scene.shops)
    assert {event.shop for event in scene.log.completed()} == set(scene.shops)


async def test_one_shop_that_fails_leaves_the_others_alone(scene: Scene) -> None:
    requests = [scene.request("labor", lease=LostLease(0)), scene.request("nj")]
    failed, fine = await crawl_shops(requests, scene.ports, FAST, scene.clock)
    assert isinstance(failed, PermissionError)
    assert isinstance(fine, CrawlOutcome)
    assert fine.complete


async def test_a_process_has_one_reactor_for_one_loop(scene: Scene) -> None:
    with pytest.raises(ReactorError):
        async with crawling_reactor():
            pass

    async def elsewhere() -> None:
        with pytest.raises(ReactorError):
            await scene.crawl()

    await asyncio.to_thread(_run_in_new_loop, elsewhere)


def _run_in_new_loop(work: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await work()

    asyncio.run(run())


async def crawl_again(scene: Scene, outcome: CrawlOutcome) -> CrawlOutcome:
    """Crawl with what the crawl before left behind."""
    request = msgspec.structs.replace(scene.request(), filter_state=outcome.filter_state)
    return await crawl_shop(request, scene.ports, FAST, scene.clock)


async def test_pages_that_have_not_changed_are_not_sent_again(
    scene: Scene, cache: redis.asyncio.Redis
) -> None:
    scene.ports = msgspec.structs.replace(scene.ports, cache=cache)
    first = await scene.crawl()
    again = await crawl_again(scene, first)
    # Each time robots.txt, three pages and a look back at the first; a cache that is new is not yet asked.
    assert [record.status for record in scene.asked()] == [200, 200, 200, 200, 200, 200, 304, 304, 304, 304]
    assert (again.complete, again.changed, again.requests, again.pages) == (True, 0, 5, 4)
    assert again.listings == first.listings
    assert set(scene.log.completed()[0].listing_ids) == set(scene.log.completed()[1].listing_ids)
    scene.replica.clock.set_to(START_AT + timedelta(days=30))
    later = await crawl_again(scene, again)
    assert later.complete
    truth = {str(listing.listing_id) for listing in scene.replica.world.state_at("labor")}
    assert set(scene.log.completed()[-1].listing_ids) == truth


async def test_a_tag_is_named_to_the_address_it_came_from_and_to_no_other(
    cache: redis.asyncio.Redis,
) -> None:
    moved = False

    def answer(path: str) -> bytes:
        if path == "/robots.txt":
            return EMPTY_ROBOTS
        if path.startswith("/new/"):
            return http(ONE_PRODUCT, 'ETag: "new"\r\n')
        if moved:
            return http(b"", "Location: /new/products.json\r\n", status="302 Found")
        return http(ONE_PRODUCT, 'ETag: "old"\r\n')

    async with scripted_shop(answer) as (scene, heads):
        scene.ports = msgspec.structs.replace(scene.ports, cache=cache)
        outcome = await scene.crawl()
        moved = True
        for _ in range(2):
            outcome = await crawl_again(scene, outcome)
            assert outcome.complete
    named = [("/new/" in head, 'If-None-Match: "old"' in head) for head in heads if "robots" not in head]
    assert named == [(False, False), *2 * [(False, True), (True, False)]]
    assert not any('"new"' in head for head in heads)


async def test_a_304_is_an_answer_only_to_who_named_a_tag(cache: redis.asyncio.Redis) -> None:
    headers = 'ETag: W/"a"\r\nContent-Encoding: gzip\r\n'

    def answer(path: str) -> bytes:
        if path == "/robots.txt":
            return EMPTY_ROBOTS
        named = 'If-None-Match: W/"a"' in heads[-1]
        if named or always:
            return b"HTTP/1.1 304 Not Modified\r\nContent-Length: 999\r\n" + headers.encode() + b"\r\n"
        return http(gzip.compress(ONE_PRODUCT), headers)

    always = False
    async with scripted_shop(answer) as (scene, heads):
        scene.ports = msgspec.structs.replace(scene.ports, cache=cache)
        first = await scene.crawl()
        again = await crawl_again(scene, first)
        assert (again.complete, again.listings, again.changed) == (True, 1, 0)
        always = True
        unasked = await scene.crawl()
    assert (unasked.reason, unasked.listings) == ("refused", 0)


def make_untrusted_certificate(folder: Path) -> ssl.SSLContext:
    """Make the TLS of a server whose certificate nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "server.pem"
    file.write_bytes(private + certificate.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def test_a_shop_with_a_certificate_that_nobody_vouches_for_is_not_read(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=make_untrusted_certificate(tmp_path))
    async with server:
        scene = Scene({"labor": f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"})
        outcome = await scene.crawl()
    assert (outcome.reason, [head for head in asked if head]) == ("robots_unreachable", [])
    assert "certificate" in outcome.detail
