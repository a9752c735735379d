"""How fast ingest goes: batches that fit the database's speed, and pauses while a server is away."""

import asyncio
import random

import asyncpg

from skatestock.catalog.errors import is_transient
from skatestock.eventlog.errors import LogUnavailableError, RegistryUnavailableError
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import RETRIES, RETRY_PAUSE_SECONDS

_PART = "ingest"
_TARGET_SECONDS = 2.0
# Below this a batch's fixed costs outweigh its records, and a slow database would only become slower.
_SMALLEST_BATCH = 50
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_ROLLBACK_SECONDS = 5.0

_log = get_logger(__name__)


class BatchSizer:
    """Chooses how many records a batch may have, so that its transaction stays short.

    Halved by a batch that takes longer than the target; doubled by a full one that takes less than a quarter
    of it, which twice as many records cannot bring over the target again.
    """

    def __init__(
        self, largest: int, *, smallest: int = _SMALLEST_BATCH, target_seconds: float = _TARGET_SECONDS
    ) -> None:
        self._largest = largest
        self._smallest = min(smallest, largest)
        self._target_seconds = target_seconds
        self.size = largest
        """Records that the next batch may have."""

    def settle(self, count: int, seconds: float) -> None:
        """Learn from a batch that was stored."""
        if seconds > self._target_seconds:
            self.shrink()
        elif count >= self.size and seconds < self._target_seconds / 4:
            self.size = min(self.size * 2, self._largest)

    def shrink(self) -> None:
        """Learn from a batch that took too long, whether it was stored or not."""
        self.size = max(self.size // 2, self._smallest)


class Patience:
    """Bears errors that pass: each is logged and counted, and the pause after it is longer than the last."""

    def __init__(self, stop: asyncio.Event) -> None:
        """`stop` ends every pause at once."""
        self._stop = stop
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    async def bear(self, error: Exception) -> None:
        """Wait before the next try; raises the error itself when waiting cannot mend it."""
        if not is_worth_another_try(error):
            raise error
        kind = type(error).__name__
        # two processes that ran into the same trouble must not come back at the same moment
        seconds = self._pause_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
        _log.warning(
            "ingest_retry",
            waits_for=name_server(error),
            error=str(error),
            kind=kind,
            in_seconds=round(seconds, 3),
        )
        RETRIES.labels(part=_PART, kind=kind).inc()
        RETRY_PAUSE_SECONDS.labels(part=_PART).inc(seconds)
        await pause(self._stop, seconds)
        self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)

    def relax(self) -> None:
        """Begin with the shortest pause again: something has succeeded."""
        self._pause_seconds = _FIRST_PAUSE_SECONDS


def is_worth_another_try(error: BaseException) -> bool:
    """Tell whether a batch may succeed later: a statement that ran out of time as well, being read again."""
    return is_transient(error) or isinstance(error, asyncpg.QueryCanceledError)


def name_server(error: BaseException) -> str:
    """Say in words which server an error that passes comes from."""
    if isinstance(error, RegistryUnavailableError):
        return "the schema registry"
    if isinstance(error, LogUnavailableError):
        return "the event log (Kafka)"
    return "PostgreSQL"


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait for so long, or until `stop` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def finish(working: "asyncio.Task[None]", stop: asyncio.Event, within_seconds: float) -> bool:
    """Wait for work that ends soon after `stop`, and tell whether it did; what takes longer is cancelled.

    Work that not even ends then is left alone: a server that has frozen answers no rollback either, and only
    the end of its connections helps.
    """
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({working}, timeout=within_seconds)
        return working.done()
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.wait({working}, timeout=_ROLLBACK_SECONDS)
