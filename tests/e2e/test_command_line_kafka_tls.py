"""The way of the data over TLS with a login by SCRAM, by settings alone, and what is said of wrong ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.e2e.kafka_commands import LISTINGS, prepare, replica_shops, run
from tests.kafka_tls import PASSWORD, SecureKafka, run_secure_kafka

# Every offer with the number of its price points, in both forms that say how often a crawl was stored.
_POINTS = "SELECT offer_id, count(*) FROM price_points GROUP BY offer_id ORDER BY offer_id"
_STORED = "SELECT count(*), count(DISTINCT crawl_id) FROM crawls"

pytestmark = pytest.mark.xdist_group("kafka")


@pytest.fixture(scope="module")
def kafka() -> Iterator[SecureKafka]:
    with run_secure_kafka() as kafka:
        yield kafka


@pytest.fixture
def external(
    kafka: SecureKafka, schema_registry_url: str, database_dsn: str, valkey_url: str
) -> dict[str, str]:
    """Name all servers as production does."""
    return kafka.settings() | {
        "SKATESTOCK_DATABASE_URL": database_dsn,
        "SKATESTOCK_REDIS_URL": valkey_url,
        "SKATESTOCK_SCHEMA_REGISTRY_URL": schema_registry_url,
    }


async def fetch_stored(dsn: str) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Read what price points there are, and how many crawls."""
    connection = await asyncpg.connect(dsn)
    try:
        points = [(offer, count) for offer, count in await connection.fetch(_POINTS)]
        stored = await connection.fetchrow(_STORED)
        assert stored is not None
        return points, (stored[0], stored[1])
    finally:
        await connection.close()


async def test_a_crawl_is_stored_once_over_tls_and_scram_and_status_tells_of_it(
    external: dict[str, str], kafka: SecureKafka, database_dsn: str, tmp_path: Path
) -> None:
    await prepare(external)
    async with replica_shops(tmp_path) as shops:
        crawled = await run("crawl", "labor", "nj", environ=external | shops)
        assert f"labor        complete; {LISTINGS} listings" in crawled
        # the second confirms the prices that the first one held, and the third says nothing new
        await run("crawl", "labor", "nj", environ=external | shops)
        points, crawls = await fetch_stored(database_dsn)
        assert len(points) > LISTINGS
        assert {count for _, count in points} == {1}
        assert crawls == (4, 4)
        await run("crawl", "labor", "nj", environ=external | shops)
    await run("ingest", "--until-idle", environ=external)
    assert await fetch_stored(database_dsn) == (points, (6, 6))

    status = json.loads(await run("status", "--json", environ=external))
    assert status["log"]["servers"]["event_log"] == f"Kafka at {kafka.servers} (sasl_tls)"
    # each crawl's end, and each listing once: none has changed
    assert sum(one["end_offset"] for one in status["log"]["partitions"]) == 2 * LISTINGS + 6
    assert sum(status["lag"].values()) == status["dead_letters_waiting"] == 0
    assert PASSWORD not in json.dumps(status)


async def test_what_is_wrong_with_the_settings_is_one_line(
    external: dict[str, str], kafka: SecureKafka, tmp_path: Path
) -> None:
    wrong: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
        "password": (kafka.settings(KAFKA_PASSWORD="guessed"), ("refuses the login", "KAFKA_PASSWORD")),
        "mechanism": (kafka.settings(KAFKA_SASL="SCRAM-SHA-256"), ("refuses the login", "KAFKA_SASL")),
        "authority": (
            kafka.settings(KAFKA_CA_FILE=str(kafka.other_ca_file)),
            ("is not trusted", "local issuer", "KAFKA_CA_FILE"),
        ),
        "host": (
            kafka.settings(KAFKA_SERVERS=kafka.misnamed_servers),
            ("is not trusted", "not valid for '127.0.0.1'", "KAFKA_SERVERS"),
        ),
        "no TLS": (
            kafka.settings(KAFKA_SECURITY="sasl_plaintext"),
            ("hangs up", "may want TLS", "KAFKA_SECURITY"),
        ),
        "neither": (kafka.settings(KAFKA_SECURITY="plaintext"), ("hangs up", "TLS or a login")),
        "no login": (kafka.settings(KAFKA_SECURITY="tls"), ("hangs up", "TLS or a login")),
        "TLS to none": (
            kafka.settings(KAFKA_SERVERS=kafka.plain_servers),
            ("does not speak sasl_tls", "KAFKA_SECURITY"),
        ),
    }
    for name, (settings, words) in wrong.items():
        said = await run("topics", "ensure", environ=external | settings, code=3)
        assert all(word in said for word in words), f"{name}: {said}"
        assert settings["SKATESTOCK_KAFKA_SERVERS"] in said
        assert PASSWORD not in said
        assert "guessed" not in said
    untrusted = external | kafka.settings(KAFKA_CA_FILE=str(kafka.other_ca_file))
    for command in (("up",), ("ingest", "--until-idle"), ("crawl", "labor")):
        said = await run(*command, "--data", str(tmp_path), environ=untrusted, code=3)
        assert "is not trusted" in said
