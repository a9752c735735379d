"""What every answer carries, whom browsers let read it, and what is refused: the running web over sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.integration.api_process import served
from tests.integration.fuzz_scene import fill
from tests.servers import PostgresServer

PAGE = "https://page.example"
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
# Longer than a server waits for headers, and for an answer.
PATIENCE_SECONDS = 40.0


@pytest.fixture(scope="module")
def web(postgres_server: PostgresServer) -> Iterator[str]:
    dsn = postgres_server.create_database(migrated=True)
    asyncio.run(fill(dsn))
    with served(dsn, cors_origins=PAGE, rate_limit_address=0) as (_, address):
        yield address
    postgres_server.drop_database(dsn)


@pytest.fixture
def raw(web: str) -> Iterator[socket.socket]:
    with connect(web) as connection:
        yield connection


def connect(web: str) -> socket.socket:
    host, port = web.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)


Slow = dict[str, Future[tuple[float, bytes]]]


@pytest.fixture(scope="module", autouse=True)
def slow(web: str) -> Iterator[Slow]:
    """Begin at once all that a server ends after a while only, so that the other tests pass meanwhile.

    Gives how many seconds each took to end, and what was answered.
    """

    def play(talk: Callable[[socket.socket], bytes]) -> tuple[float, bytes]:
        began = time.monotonic()
        with connect(web) as connection:
            answer = talk(connection)
        return time.monotonic() - began, answer

    talks = (say_nothing, never_end_headers, drop_headers, never_send_a_body)
    with ThreadPoolExecutor(len(talks)) as threads:
        yield {talk.__name__: threads.submit(play, talk) for talk in talks}


def say_nothing(connection: socket.socket) -> bytes:
    return read_all(connection)


def never_end_headers(connection: socket.socket) -> bytes:
    connection.sendall(b"GET /products HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    return read_all(connection)


def drop_headers(connection: socket.socket) -> bytes:
    """Send a header every half second, until the server listens no more; at most for 30 s."""
    connection.sendall(b"GET /products HTTP/1.1\r\nHost: x\r\n")
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        try:
            connection.sendall(b"X-Drop: a\r\n")
        except OSError:
            break
        time.sleep(0.5)
    return b""


def never_send_a_body(connection: socket.socket) -> bytes:
    """Promise a body; what is answered within 30 s is returned."""
    connection.sendall(
        b"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b'Content-Length: 100\r\nConnection: close\r\n\r\n{"email'
    )
    connection.settimeout(30)
    return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    read = b""
    try:
        while piece := connection.recv(65_536):
            read += piece
    except ConnectionResetError:
        pass
    return read


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/products", {}, 200),
        ("GET", "/products/1", {}, 200),
        ("HEAD", "/products/1", {}, 200),
        ("GET", "/health", {}, 200),
        ("GET", "/api-docs", {}, 200),
        ("GET", "/api-docs/openapi.json", {}, 200),
        ("GET", "/api-docs/assets/start.js", {}, 200),
        ("OPTIONS", "/products", {}, 204),
        ("OPTIONS", "/products", {"Origin": PAGE, "Access-Control-Request-Method": "GET"}, 204),
        ("GET", "/products?limit=0", {}, 400),
        ("GET", "/wishlist", {}, 401),
        ("GET", "/wishlist", {"Authorization": "Bearer nonsense"}, 401),
        ("GET", "/nowhere", {}, 404),
        ("POST", "/products", {}, 405),
        ("POST", "/auth/token", {"Content-Type": "application/json", "Content-Length": "70000"}, 413),
        ("GET", "/products?q=" + "a" * 9000, {}, 414),
        ("POST", "/auth/token", {"Content-Type": "text/plain"}, 415),
        ("GET", "/products", {"X-Long": "a" * 20_000}, 431),
    ],
)
def test_every_answer_carries_the_security_headers(
    web: str, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    content = b"x" * int(headers.get("Content-Length", "0")) or None
    answer = httpx.request(method, f"{web}{path}", headers=headers, content=content)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert len(answer.headers.get_list("content-security-policy")) == 1
    assert answer.headers["x-request-id"]
    assert "set-cookie" not in answer.headers
    assert "surrogate-key" not in answer.headers
    if answer.content:
        assert answer.headers["content-type"].split(";")[0] in (
            "application/json",
            "application/problem+json",
            "text/html",
            "text/javascript",
        )


def test_a_kept_answer_carries_them_too(web: str) -> None:
    give_up_at = time.monotonic() + 20
    while True:
        answer = httpx.get(f"{web}/products/1")
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        if answer.headers["x-cache"] == "hit":
            return
        assert time.monotonic() < give_up_at, "the answer was never kept"


class TestCors:
    """A listed origin may read answers and send credentials of its own; others may not; cookies never."""

    def test_a_listed_origin_may_read_and_others_may_not(self, web: str) -> None:
        for path in ("/products", "/wishlist"):
            allowed = httpx.get(f"{web}{path}", headers={"Origin": PAGE})
            assert allowed.headers["access-control-allow-origin"] == PAGE
            for origin in ("https://evil.example", "null", f"{PAGE}.evil.example", "http://page.example"):
                refused = httpx.get(f"{web}{path}", headers={"Origin": origin})
                assert "access-control-allow-origin" not in refused.headers
                assert "Origin" in refused.headers["vary"]
            assert "access-control-allow-credentials" not in allowed.headers

    @pytest.mark.parametrize(("origin", "allowed"), [(PAGE, PAGE), ("https://evil.example", None)])
    def test_a_preflight_tells_what_a_page_may_do(self, web: str, origin: str, allowed: str | None) -> None:
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization, content-type",
        }
        answer = httpx.options(f"{web}/wishlist/1", headers=asked)
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert ("PUT" in answer.headers.get("access-control-allow-methods", "")) == (allowed is not None)

    def test_nothing_is_changed_by_what_a_form_of_another_page_can_send(self, web: str) -> None:
        """Forms send no JSON and no Authorization: what they send is refused without a preflight."""
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            answer = httpx.post(
                f"{web}/auth/signup",
                headers={"Origin": "https://evil.example", "Content-Type": kind},
                content=b'{"email": "a@example.org", "password": "four words nobody guesses"}',
            )
            assert answer.status_code == 415


class TestLimits:
    """What is too slow, too large or in two minds is ended by the server itself."""

    @pytest.mark.parametrize("talk", ["never_end_headers", "drop_headers", "say_nothing"])
    def test_whoever_never_ends_its_headers_is_not_listened_to(self, slow: Slow, talk: str) -> None:
        seconds, answer = slow[talk].result()
        assert seconds < 30
        assert talk != "say_nothing" or answer == b""

    def test_more_headers_than_the_server_reads_are_refused_without_a_word(self, web: str) -> None:
        answer = httpx.get(f"{web}/products", headers={f"X-{number}": "a" for number in range(120)})
        assert (answer.status_code, answer.content) == (431, b"")

    def test_a_body_that_never_comes_is_answered_in_time(self, slow: Slow) -> None:
        _, answer = slow["never_send_a_body"].result()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"request_timeout" in answer

    def test_a_body_in_chunks_cannot_be_longer_than_any_other(self, web: str) -> None:
        def send() -> Iterator[bytes]:
            for _ in range(20):
                yield b"a" * 8192

        answer = httpx.post(
            f"{web}/auth/token", content=send(), headers={"Content-Type": "application/json"}, timeout=30
        )
        assert answer.status_code == 413

    @pytest.mark.parametrize(
        "head",
        [
            b"Content-Length: 5\r\nContent-Length: 6\r\n",
            b"Content-Length: 5, 6\r\n",
            b"Content-Length: -1\r\n",
            b"Transfer-Encoding: chunked, identity\r\n",
            b"Transfer-Encoding: xchunked\r\n",
        ],
    )
    def test_a_body_whose_length_is_unclear_is_refused(self, raw: socket.socket, head: bytes) -> None:
        raw.sendall(b"POST /auth/token HTTP/1.1\r\nHost: x\r\n" + head + b"\r\nabcdef")
        assert read_all(raw).startswith(b"HTTP/1.1 400 ")

    def test_nothing_is_smuggled_behind_a_body_of_two_lengths(self, raw: socket.socket) -> None:
        raw.sendall(
            b"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        # one answer at most, and an end
        assert read_all(raw).count(b"HTTP/1.1 ") <= 1

    @pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PATCH", "PROPFIND", "DEBUG"])
    def test_other_methods_are_not_known(self, web: str, method: str) -> None:
        answer = httpx.request(method, f"{web}/products", headers={"X-Secret": "do not echo"})
        assert answer.status_code in (400, 405)
        assert "do not echo" not in answer.text

    def test_another_protocol_is_not_spoken(self, raw: socket.socket) -> None:
        raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert b"HTTP/2" not in read_all(raw)


@pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL", "CRAWL_CONTACT", "AUTH_KEYS"])
def test_in_production_the_api_does_not_start_without_its_secrets(data_folder: Path, missing: str) -> None:
    settings = {
        "ENVIRONMENT": "production",
        "DATA": str(data_folder),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "CRAWL_CONTACT": "https://shop.example/contact",
        "AUTH_KEYS": "k1:" + "A" * 43,
    }
    del settings[missing]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SKATESTOCK_")}
    done = subprocess.run(
        [sys.executable, "-m", "skatestock", "api", "--port", "0"],
        env=environ | {f"SKATESTOCK_{name}": value for name, value in settings.items()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert f"SKATESTOCK_{missing}" in done.stdout + done.stderr
    assert "A" * 43 not in done.stdout + done.stderr
