"""Production's topology under fire: three consumers, six partitions, kills and freezes of every process.

The number of attacks is SKATESTOCK_TEST_KAFKA_KILLS; `make test-kafka-kills` runs the full campaign.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.e2e.campaign import Attack, Campaign, run_campaign
from tests.e2e.processes import run_command
from tests.servers import require_kafka

ATTACKS_IN_ALL = int(os.environ.get("SKATESTOCK_TEST_KAFKA_KILLS", "11"))
SESSION_SECONDS = 6
# Frozen for longer than the session: Kafka gives the partitions away, and a zombie wakes up afterwards.
FROZEN_SECONDS = SESSION_SECONDS + 4
CONSUMERS = ("ingest", "ingest-2", "ingest-3")
ATTACKS = [
    Attack("ingest"),
    Attack("ingest-2", FROZEN_SECONDS),
    Attack("kafka"),
    Attack("ingest-3"),
    Attack("ingest", FROZEN_SECONDS),
    Attack("postgres"),
    Attack("ingest-2"),
    Attack("ingest-3", FROZEN_SECONDS),
    Attack("crawl"),
    Attack("registry"),
    Attack("valkey"),
]

# What the offsets tell of themselves: every step of every partition, with the consumer that took it.
_WATCH_OFFSETS = """
    CREATE TABLE watched_offsets (
        n bigserial, partition int, before bigint, after bigint, owner_before text, owner_after text
    );
    CREATE FUNCTION watch_offsets() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO watched_offsets (partition, before, after, owner_before, owner_after)
        VALUES (new.partition, coalesce(old.next_offset, 0), new.next_offset, old.owner, new.owner);
        RETURN new;
    END $$;
    CREATE TRIGGER watch_offsets AFTER INSERT OR UPDATE ON consumer_offsets
        FOR EACH ROW EXECUTE FUNCTION watch_offsets();
"""
_STEPS = "SELECT partition, before, after, owner_before, owner_after FROM watched_offsets ORDER BY n"
_STORED = "SELECT partition, next_offset FROM consumer_offsets WHERE log <> 'tables'"

pytestmark = [pytest.mark.xdist_group("kafka-processes"), pytest.mark.kafka_kills]


@pytest.mark.timeout(7200)
async def test_kafka_consumers_that_die_freeze_and_wake_store_everything_once(data_folder: Path) -> None:
    cache = await asyncio.to_thread(require_kafka)
    environ = {
        "SKATESTOCK_CACHE": str(cache),
        "SKATESTOCK_INGEST_PROCESSES": str(len(CONSUMERS)),
        "SKATESTOCK_KAFKA_SESSION_SECONDS": str(SESSION_SECONDS),
    }
    async with run_campaign(data_folder, ATTACKS, "up", "--kafka", environ=environ) as campaign:
        await _watch_offsets(campaign)
        await campaign.take_step()
        attacking = asyncio.create_task(campaign.attack_until(ATTACKS_IN_ALL))
        while not attacking.done():
            await campaign.take_step()
        await attacking
        await campaign.take_step()
        assert sum(campaign.attacks.values()) == ATTACKS_IN_ALL
        assert min(campaign.attacks.values()) >= ATTACKS_IN_ALL // len(ATTACKS)
        await campaign.check()
        await _check_books(campaign)


async def _check_books(campaign: Campaign) -> None:
    """No step of an offset was left out or taken twice, nobody wrote for another, and nothing waits."""
    async with asyncio.timeout(60):
        while sum((described := await _fetch_status(campaign))["lag"].values()):
            await asyncio.sleep(1)
    assert described["dead_letters_waiting"] == 0
    connection = await asyncpg.connect(campaign.running.database_url)
    try:
        # the shops are still being crawled: both must be of one moment
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            steps = await connection.fetch(_STEPS)
            stored = {partition: offset for partition, offset in await connection.fetch(_STORED)}  # noqa: C416
    finally:
        await connection.close()
    reached: dict[int, int] = {}
    for partition, before, after, owner_before, owner_after in steps:
        assert before == reached.get(partition, 0), f"partition {partition} jumped from {before}"
        assert after == before or owner_before == owner_after, "an offset was moved by another than its owner"
        reached[partition] = after
    assert reached == stored
    assert len({owner for *_, owner in steps}) > len(CONSUMERS), "no partition has ever changed hands"


async def _fetch_status(campaign: Campaign) -> dict[str, Any]:
    folder = str(campaign.running.folder)
    answer = await asyncio.to_thread(run_command, "status", "--json", "--data", folder)
    described: dict[str, Any] = json.loads(answer.stdout)
    return described


async def _watch_offsets(campaign: Campaign) -> None:
    connection = await asyncpg.connect(campaign.running.database_url)
    try:
        await connection.execute(_WATCH_OFFSETS)
    finally:
        await connection.close()
