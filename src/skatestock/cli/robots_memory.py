"""The last robots.txt of each host, kept in the catalogue for the day on which the host cannot be asked."""

from dataclasses import dataclass
from datetime import timedelta

from skatestock.catalog.commands_shops import keep_robots
from skatestock.catalog.shop_queries import find_robots
from skatestock.crawl.ports import KnownRobots
from skatestock.database.pool import Pool
from skatestock.database.transactions import is_transient
from skatestock.telemetry.logs import get_logger
from skatestock.vocabulary.time import Clock

MAX_AGE = timedelta(days=1)
"""Older rules are not relied on: RFC 9309 lets robots.txt be cached for 24 hours."""

_log = get_logger(__name__)


@dataclass(frozen=True)
class CatalogRobots:
    """Remembers robots.txt for all workers; without the database it remembers nothing."""

    pool: Pool
    clock: Clock
    keeps: bool = True
    """Whether it remembers anything new: who only looks leaves no trace."""

    async def find(self, host: str) -> KnownRobots | None:
        """Find the last rules, if they are of the last 24 hours."""
        try:
            async with self.pool.acquire() as connection:
                kept = await find_robots(connection, host)
        except Exception as error:
            if not is_transient(error):
                raise
            return None
        if kept is None or abs(self.clock() - kept.fetched_at) > MAX_AGE:
            return None
        return KnownRobots(kept.body)

    async def keep(self, host: str, known: KnownRobots) -> None:
        """Remember what a host has just said."""
        if not self.keeps:
            return
        try:
            async with self.pool.acquire() as connection:
                await keep_robots(connection, host, known.body, self.clock())
        except Exception as error:
            # Not worth a crawl: the next one will remember.
            if not is_transient(error):
                raise
            _log.warning("robots_not_kept", host=host, error=str(error))
