"""The web servers that benchmarks compare, each a process of its own on a free port of loopback."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.bare_asgi import write_answer
from benchmarks.servers import Servers

from skatestock.settings import PREFIX

_ASKED_SECONDS = 60.0
# What the server adds by itself, or what belongs to one connection.
_NOT_OURS = frozenset({"server", "date", "connection", "transfer-encoding"})

NO_LIMIT = {
    f"{PREFIX}RATE_LIMIT_ADDRESS": "60000000",
    f"{PREFIX}RATE_LIMIT_ADDRESS_BURST": "60000",
}


class WebServer(NamedTuple):
    """A running server."""

    pid: int
    port: int


class Answer(NamedTuple):
    """What a server says."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def find_port() -> int:
    """Find a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def fetch(port: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Ask a server on loopback one question."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            lines = [(k.lower().encode(), v.encode()) for k, v in answer.headers.items()]
            kept = [line for line in lines if line[0].decode() not in _NOT_OURS]
            return Answer(answer.status, kept, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, [], error.read())


@asynccontextmanager
async def serve_ours(servers: Servers, **settings: str) -> AsyncGenerator[WebServer]:
    """Run `skatestock api` on a benchmark's servers."""
    port = find_port()
    more = {PREFIX + name.upper(): value for name, value in settings.items()}
    environ = {**servers.environ, **NO_LIMIT, f"{PREFIX}API_PORT": str(port), **more}
    async with _run([sys.executable, "-m", "skatestock", "api"], port, "/health/ready", environ) as server:
        yield server


@asynccontextmanager
async def serve_bare(
    folder: Path, answer: Answer, dsn: str | None = None, statement: str = ""
) -> AsyncGenerator[WebServer]:
    """Run the bare application on the same server program, with the same bytes and headers."""
    port = find_port()
    file = folder / f"answer-{port}"
    write_answer(file, answer.headers, answer.body)
    command = [sys.executable, "-m", "benchmarks.bare_asgi", str(port), str(file)]
    if dsn is not None:
        (folder / "statement.sql").write_text(statement, "utf-8")
        command += [dsn, str(folder / "statement.sql")]
    async with _run(command, port, "/products/1", {}) as server:
        yield server


@asynccontextmanager
async def serve_nginx(folder: Path, answer: Answer) -> AsyncGenerator[WebServer | None]:
    """Run nginx with one worker and the same bytes and headers from a file; None where there is none."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        yield None
        return
    port = find_port()
    place = folder / "nginx"
    (place / "products").mkdir(parents=True)
    (place / "products" / "1").write_bytes(answer.body)
    place.chmod(0o755)
    (place / "nginx.conf").write_text(_configure(place, port, answer), "utf-8")
    command = [program, "-e", str(place / "error.log"), "-p", str(place), "-c", str(place / "nginx.conf")]
    async with _run(command, port, "/products/1", {}) as server:
        yield server


def _configure(place: Path, port: int, answer: Answer) -> str:
    # a file's length, type and tag are nginx's own
    own = (b"content-length", b"content-type", b"etag")
    lines = [
        f'add_header {name.decode()} "{value.decode().replace(chr(34), "")}";'
        for name, value in answer.headers
        if name not in own
    ]
    return f"""
daemon off; worker_processes 1; pid {place}/nginx.pid;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=100;
  default_type application/json; etag on;
  client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
  uwsgi_temp_path {place}; scgi_temp_path {place};
  server {{ listen 127.0.0.1:{port}; root {place}; {" ".join(lines)} }}
}}
"""


@asynccontextmanager
async def _run(
    command: list[str], port: int, path: str, environ: Mapping[str, str]
) -> AsyncGenerator[WebServer]:
    process = subprocess.Popen(command, env={**os.environ, **environ})
    try:
        await _wait_until_answered(process, port, path)
        yield WebServer(process.pid, port)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)


async def _wait_until_answered(process: "subprocess.Popen[bytes]", port: int, path: str) -> None:
    until = time.monotonic() + _ASKED_SECONDS
    while time.monotonic() < until:
        try:
            if (await asyncio.to_thread(fetch, port, path)).status == 200:
                return
        except OSError:
            pass
        if process.poll() is not None:
            raise SystemExit(f"a server ended with {process.returncode} before it answered")
        await asyncio.sleep(0.1)
    raise SystemExit("a server did not answer in time")
