"""The crawl worker and jobs that are not its own."""

from __future__ import annotations

import asyncio

from tests.e2e.platforms import open_test_platform

from skatestock.cli.crawling import KIND, CrawlWorker, job_of
from skatestock.crawl.shops import load_shops
from skatestock.jobs.commands import ensure_jobs
from skatestock.jobs.queries import fetch_now, find_jobs


async def test_a_shop_that_another_file_names_is_left_to_those_who_know_it(database_dsn: str) -> None:
    async with open_test_platform(database_dsn, None) as platform:
        async with platform.pool.acquire() as connection:
            await ensure_jobs(connection, KIND, {job_of("elsewhere"): 60}, await fetch_now(connection))
        worker, stop = CrawlWorker(platform, load_shops()), asyncio.Event()
        running = asyncio.create_task(worker.run(stop))
        await asyncio.sleep(1.5)
        stop.set()
        await asyncio.wait_for(running, 10)
        async with platform.pool.acquire() as connection:
            (job,) = await find_jobs(connection, KIND)
        assert (job.token, job.holder) == (0, None)
