"""How far ingest is behind the log, for the metrics."""

import asyncio

from skatestock.eventlog.port import EventLog
from skatestock.ingest.pacing import is_worth_another_try
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import EVENTLOG_LAG, RETRIES

_EVERY_SECONDS = 5.0

_log = get_logger(__name__)


async def watch_lag(log: EventLog, group: str, topic: str, *, every_seconds: float = _EVERY_SECONDS) -> None:
    """Publish the lag of every partition until cancelled, also while a batch takes long.

    While servers are away the last lag stands. Raises what waiting cannot mend.
    """
    while True:
        try:
            for part in await log.fetch_lag(group, topic):
                EVENTLOG_LAG.labels(partition=str(part.partition)).set(part.lag)
        except Exception as error:
            if not is_worth_another_try(error):
                raise
            RETRIES.labels(part="lag", kind=type(error).__name__).inc()
            _log.debug("lag_unknown", error=str(error))
        await asyncio.sleep(every_seconds)
