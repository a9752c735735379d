"""What every endpoint is given: the database and what the process was started with."""

from typing import NamedTuple

from redis.asyncio import Redis

from skatestock.api.connections import Database
from skatestock.api.events import Changes
from skatestock.vocabulary.time import Clock

STALE_AFTER_SECONDS = 5400
"""How long after its last complete crawl a shop is called stale: three times the half hour between crawls."""


class Context(NamedTuple):
    """The parts that endpoints work with; one per process."""

    database: Database
    changes: Changes
    cache: Redis | None
    version: str
    newest_revision: str
    demo: bool
    stale_after_seconds: int
    clock: Clock
