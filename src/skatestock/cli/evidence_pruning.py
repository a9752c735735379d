"""Deletes evidence that is older than the settings keep it; called by `skatestock maintain`."""

from datetime import date, timedelta

from skatestock.cli.platform import Platform, fetch_today
from skatestock.evidence.address import open_store
from skatestock.evidence.errors import EvidenceError
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import RETRIES

# In one round, and between two deletions of up to 500 objects: crawls write to the same storage.
_LIMIT = 50_000
_PAUSE_SECONDS = 0.2

_log = get_logger(__name__)


async def prune_evidence(platform: Platform) -> int:
    """Delete what is too old, at most a part of it at a time; tells how many objects that were.

    A storage that is away is told and left for the next round: nothing else waits for it.
    """
    settings = platform.settings
    async with platform.pool.acquire() as connection:
        today = await fetch_today(connection)
    # The day on which its youngest crawl can be too old is over by then.
    before = today - timedelta(days=settings.evidence_days) if settings.evidence_days else date.max
    try:
        store = open_store(settings.evidence_url, settings.evidence_folder)
        pruned = await store.prune(before, limit=_LIMIT, pause_seconds=_PAUSE_SECONDS)
    except EvidenceError as error:
        RETRIES.labels(part="evidence", kind=type(error).__name__).inc()
        _log.warning("evidence_not_pruned", error=str(error))
        return 0
    return pruned.objects
