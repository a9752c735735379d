"""SIGKILL for every process in turn while everything runs, and at the end the same history as without.

The number of kills is SKATESTOCK_TEST_KILLS; `make test-kills` runs the full campaign.
"""

import asyncio
import os
from pathlib import Path

import asyncpg
import pytest
from tests.e2e.campaign import Attack, run_campaign

KILLS = int(os.environ.get("SKATESTOCK_TEST_KILLS", "12"))
ATTACKS = [Attack(target) for target in ("crawl", "ingest", "postgres", "valkey")]

_LAG = """
    SELECT sum(e.next_offset - o.next_offset) FROM eventlog_ends e
    JOIN consumer_offsets o USING (topic, partition) WHERE o.log = 'tables'
"""


@pytest.mark.kills
@pytest.mark.timeout(3600)
async def test_killing_every_process_again_and_again_loses_nothing_and_doubles_nothing(
    data_folder: Path,
) -> None:
    async with run_campaign(data_folder, ATTACKS, environ={}) as campaign:
        await campaign.take_step()
        killing = asyncio.create_task(campaign.attack_until(KILLS))
        while not killing.done():
            await campaign.take_step()
        await killing
        await campaign.take_step()
        assert sum(campaign.attacks.values()) == KILLS
        assert min(campaign.attacks.values()) >= KILLS // len(ATTACKS)
        await campaign.check()
        await _check_books(campaign.running.database_url)


async def _check_books(dsn: str) -> None:
    """Nothing waits for good, and nothing was unreadable."""
    connection = await asyncpg.connect(dsn)
    try:
        assert await connection.fetchval("SELECT count(*) FROM dead_letters") == 0
        # the shops are still being crawled: at any one moment the end of a crawl may be on its way
        async with asyncio.timeout(30):
            while await connection.fetchval(_LAG):
                await asyncio.sleep(0.05)
    finally:
        await connection.close()
