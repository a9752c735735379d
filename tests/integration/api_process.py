"""The API served in processes of its own, for tests that ask it over a socket."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import psutil

from skatestock.accounts.signing_keys import make_signing_key
from skatestock.cli.web import serve_web
from skatestock.settings import Settings
from skatestock.telemetry.logs import configure_logging
from skatestock.telemetry.metrics import start_metrics_server

PATIENCE_SECONDS = 60.0
AUTH_KEYS = make_signing_key("tests")


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def wait_for(url: str, *, until: int = 200) -> httpx.Response:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        try:
            answer = httpx.get(url, timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if answer.status_code == until:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{url} did not answer {until} within {PATIENCE_SECONDS} s")


def prepare(workers: int, metrics_port: int | None) -> None:
    """Set up logs and metrics in a worker, as the command does."""
    configure_logging("api", json=True)
    if metrics_port is not None:
        start_metrics_server(metrics_port, ports=workers)


@contextmanager
def served(
    dsn: str,
    *,
    workers: int = 1,
    demo: bool = False,
    metrics_port: int | None = None,
    redis_url: str | None = None,
    **settings: Any,
) -> Iterator[tuple[psutil.Process, str]]:
    """Serve in a process of its own; gives it and the API's address. `settings` are further ones."""
    port = find_port()
    chosen = Settings(
        database_url=dsn,
        redis_url=redis_url,
        api_port=port,
        **{"data": "/nonexistent", "auth_keys": AUTH_KEYS, **settings},
    )
    process = multiprocessing.get_context("spawn").Process(
        target=partial(
            serve_web,
            chosen,
            demo=demo,
            workers=workers,
            prepare=partial(prepare, workers, metrics_port),
        )
    )
    process.start()
    assert process.pid is not None
    running = psutil.Process(process.pid)
    family = [running]
    try:
        wait_for(f"http://127.0.0.1:{port}/health/live")
        family += running.children(recursive=True)
        yield running, f"http://127.0.0.1:{port}"
    finally:
        for member in family:
            if member.is_running():
                member.kill()
        process.join(PATIENCE_SECONDS)
