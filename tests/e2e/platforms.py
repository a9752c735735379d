"""The platform's rooms wired together in the process of a test, on the servers of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from tests.e2e.processes import EVIDENCE_URL

from skatestock.cli.platform import Platform, open_platform, prepare_database
from skatestock.settings import load_settings


class RoundClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Tell the moment that was set."""
        return self.now


@asynccontextmanager
async def open_test_platform(
    database_dsn: str, valkey_url: str | None, evidence_url: str = EVIDENCE_URL
) -> AsyncIterator[Platform]:
    """Connect the rooms to a database, with topics and partitions made, and to a Valkey."""
    await prepare_database(database_dsn)
    settings = load_settings(
        {}, database_url=database_dsn, redis_url=valkey_url, evidence_url=evidence_url, log_level="warning"
    )
    async with open_platform(settings, "tests") as platform:
        yield platform
