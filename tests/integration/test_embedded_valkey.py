"""Valkey in a folder: a cache that is bounded, private, and forgets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from skatestock.embedded.errors import PortInUseError
from skatestock.embedded.valkey import EmbeddedValkey


async def test_a_killed_valkey_comes_back_empty_at_the_same_address(data_folder: Path) -> None:
    server = EmbeddedValkey(data_folder / "valkey", max_memory="32mb")
    await server.start()
    try:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await client.set("fingerprint", "stale")
        url = server.url
        await server.crash()
        assert server.url == url
        async with redis.asyncio.Redis.from_url(url) as client:
            assert await client.dbsize() == 0
            assert (await client.config_get("maxmemory"))["maxmemory"] == str(32 * 1024 * 1024)
            assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "allkeys-lru"
    finally:
        await server.stop()


async def test_a_snapshot_in_the_folder_never_comes_back(data_folder: Path) -> None:
    server = EmbeddedValkey(data_folder / "valkey")
    await server.start()
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.set("fingerprint", "stale")
        await client.save()
    assert list((data_folder / "valkey").resolve().glob("home/*.rdb"))
    await server.stop()
    await server.start()
    try:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            assert await client.dbsize() == 0
    finally:
        await server.stop()


async def test_nobody_gets_in_without_the_password(data_folder: Path) -> None:
    server = EmbeddedValkey(data_folder / "valkey")
    await server.start()
    try:
        for password in (None, "wrong"):
            once = Retry(NoBackoff(), 0)
            client = redis.asyncio.Redis(port=server.port, password=password, retry=once)
            with pytest.raises(redis.exceptions.AuthenticationError):
                await client.ping()
            await client.aclose()
    finally:
        await server.stop()
    assert server.pid is None


async def test_a_configured_port_in_use_is_named(data_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = EmbeddedValkey(data_folder / "valkey", port=taken.getsockname()[1])
        with pytest.raises(PortInUseError, match="Valkey is to listen on"):
            await server.start()
