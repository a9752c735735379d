"""The servers that every other test stands on."""

from __future__ import annotations

import asyncpg
import pytest
import redis.asyncio
from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import SchemaRegistryClient


@pytest.mark.parametrize("attempt", [1, 2])
async def test_each_test_gets_an_empty_database_of_its_own(empty_database_dsn: str, attempt: int) -> None:
    connection = await asyncpg.connect(empty_database_dsn)
    try:
        await connection.execute("CREATE TABLE left_behind (attempt int)")
        assert await connection.fetchval("SELECT count(*) FROM left_behind") == 0
    finally:
        await connection.close()


async def test_the_fixture_server_is_postgres_15_or_newer(any_empty_database_dsn: str) -> None:
    connection = await asyncpg.connect(any_empty_database_dsn)
    try:
        assert await connection.fetchval("SHOW server_version_num") >= "150000"
        assert await connection.fetchval("SHOW server_encoding") == "UTF8"
        assert await connection.fetchval("SELECT datcollate FROM pg_database LIMIT 1") == "C"
        assert await connection.fetchval("SHOW data_checksums") == "on"
    finally:
        await connection.close()


@pytest.mark.parametrize("attempt", [1, 2])
async def test_each_test_gets_an_empty_valkey(valkey: redis.asyncio.Redis, attempt: int) -> None:
    assert await valkey.dbsize() == 0
    await valkey.set("left behind", attempt)


@pytest.mark.xdist_group("kafka")
def test_the_fixture_broker_and_the_registry_answer(kafka_server: str, schema_registry_url: str) -> None:
    assert len(AdminClient({"bootstrap.servers": kafka_server}).list_topics(timeout=20).brokers) == 1
    with SchemaRegistryClient({"url": schema_registry_url}) as client:
        assert isinstance(client.get_subjects(), list)
