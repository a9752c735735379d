"""What the outside learns of a batch from its arrival to its commit: metrics, a span, a line in the log."""

from datetime import UTC, datetime
from time import perf_counter

from skatestock.eventlog.port import Batch
from skatestock.events.model import CrawlCompleted
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import (
    INGEST_BATCH_RECORDS,
    INGEST_BATCH_SECONDS,
    INGEST_BYTES,
    INGEST_COMMIT_DELAY_SECONDS,
)
from skatestock.telemetry.tracing import begin_span, extract_links, format_trace_id, within

_CRAWL_END = CrawlCompleted.__name__

_log = get_logger(__name__)


class BatchInHand:
    """One batch, from its arrival on."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._began = perf_counter()
        links = extract_links(record.headers for record in batch.records)
        self._crawls = list(dict.fromkeys(map(format_trace_id, links)))
        self.span = begin_span(
            "ingest batch",
            links,
            topic=batch.topic,
            partition=batch.partition,
            from_offset=batch.records[0].offset,
            records=len(batch.records),
        )
        """Belongs to no crawl, for a batch may hold several: it is linked to the span of each."""

    @property
    def seconds(self) -> float:
        """Return how long ago the batch arrived."""
        return perf_counter() - self._began

    def commit(self) -> None:
        """Tell of a batch that is stored."""
        records = self._batch.records
        INGEST_BATCH_SECONDS.observe(self.seconds)
        INGEST_BATCH_RECORDS.observe(len(records))
        INGEST_BYTES.inc(sum(len(record.value) for record in records))
        # Tables keep whole seconds, so there the delay looks up to a second longer than it was.
        waited = datetime.now(UTC) - min(record.appended_at for record in records)
        INGEST_COMMIT_DELAY_SECONDS.observe(max(0.0, waited.total_seconds()))
        with within(self.span):
            self._tell()
        self.span.end()

    def fail(self, error: BaseException) -> None:
        """Tell of a batch that is not stored, and comes again."""
        self.span.record_exception(error)
        self.span.set_attribute("stored", False)
        self.span.end()

    def _tell(self) -> None:
        records = self._batch.records
        # A crawl's end comes after all that it saw: this line says that the whole crawl is stored.
        ends = any(record.headers.get("event") == _CRAWL_END for record in records)
        (_log.info if ends else _log.debug)(
            "batch_committed",
            partition=self._batch.partition,
            from_offset=records[0].offset,
            to_offset=records[-1].offset,
            records=len(records),
            seconds=round(self.seconds, 3),
            crawl_traces=self._crawls,
        )
