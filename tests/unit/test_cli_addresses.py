"""Where `up` and `demo` let the API listen, and how they ask for it and name it."""

from __future__ import annotations

import shlex
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from skatestock.cli.errors import AddressTakenError
from skatestock.cli.running import answers, api_address, resolve_port
from skatestock.cli.terminal import spell_command
from skatestock.settings import Settings


class Greeter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def greeter() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Greeter) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def six() -> Iterator[socket.socket]:
    """Listen on a port of IPv6's loopback only, which nobody has on IPv4's."""
    listener = None
    with suppress(OSError):
        while listener is None:
            listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
            try:
                socket.create_server(("127.0.0.1", listener.getsockname()[1])).close()
            except OSError:
                listener.close()
                listener = None
    if listener is None:
        pytest.skip("this machine has no IPv6 loopback")
    with listener:
        yield listener


def test_a_taken_port_is_told_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressTakenError, match=rf"127\.0\.0\.1:{port}: .*--port"):
            resolve_port(Settings(api_port=port))


def test_a_port_is_looked_at_where_the_api_is_to_listen(six: socket.socket) -> None:
    port = six.getsockname()[1]
    with pytest.raises(AddressTakenError, match=rf"::1:{port}"):
        resolve_port(Settings(api_host="::1", api_port=port))
    elsewhere = Settings(api_host="127.0.0.1", api_port=port)
    assert resolve_port(elsewhere) == elsewhere


@pytest.mark.parametrize("port", [0, 8000])
def test_an_address_of_another_machine_is_told(port: int) -> None:
    with pytest.raises(AddressTakenError, match=rf"192\.0\.2\.1:{port}: .*SKATESTOCK_API_HOST"):
        resolve_port(Settings(api_host="192.0.2.1", api_port=port))


def test_port_0_becomes_a_free_one() -> None:
    port = resolve_port(Settings(api_port=0)).api_port
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("shops.lan", "http://shops.lan:80"),
    ],
)
def test_the_address_that_is_named_can_be_visited(host: str, address: str) -> None:
    assert api_address(Settings(api_host=host, api_port=80)) == address


async def test_our_own_processes_are_asked_past_any_proxy(
    greeter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert await answers(f"{greeter}/well")()
    assert not await answers(f"{greeter}/ill")()


async def test_nobody_there_is_no_answer() -> None:
    assert not await answers("http://127.0.0.1:9/")()


def test_a_command_is_spelt_so_that_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "with space" / "bin" / "python"))
    monkeypatch.chdir(tmp_path)
    assert shlex.split(spell_command("status", "--data", "a b")) == [
        "with space/bin/skatestock",
        "status",
        "--data",
        "a b",
    ]
    monkeypatch.chdir("/")
    assert shlex.split(spell_command("status"))[0] == str(
        tmp_path / "with space/bin/skatestock"
    ).removeprefix("/")
