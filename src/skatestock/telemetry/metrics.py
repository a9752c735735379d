"""The numbers each process tells Prometheus; a test holds `docs/METRICS.md` to this file."""

from errno import EADDRINUSE
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from skatestock.telemetry.errors import MetricsServerError

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# From one record to the most that a batch is ever set to.
_RECORDS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 5000)
# From a record that is waited for to a backlog of hours.
_DELAY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)

CRAWL_PAGES = Counter("skatestock_crawl_pages", "Pages of listings that crawls have read.", ["shop"])

CRAWL_LISTINGS = Counter(
    "skatestock_crawl_listings",
    "Listings that crawls have seen; the outcome is changed, unchanged or rejected.",
    ["shop", "outcome"],
)

CRAWL_BARCODES = Counter(
    "skatestock_crawl_barcodes",
    "New and changed listings of shops with barcodes; the outcome is told, none, failed or left.",
    ["shop", "outcome"],
)

CRAWLS_COMPLETED = Counter(
    "skatestock_crawls_completed",
    "Crawls that have ended; the reason is complete, or why the crawl was not.",
    ["shop", "reason"],
)

SHOPS_DISABLED = Counter(
    "skatestock_shops_disabled", "Shops that were disabled because they failed for too long.", ["shop"]
)

SHOPS_RECOVERED = Counter(
    "skatestock_shops_recovered",
    "Shops that a probe saw whole again after they were disabled for failing.",
    ["shop"],
)

CRAWL_FILTER_ANSWERS = Counter(
    "skatestock_crawl_filter_answers",
    "Listings that the unchanged-filter was asked about; the answer is hit, miss or away.",
    ["answer"],
)

EVIDENCE_PAGES = Counter(
    "skatestock_evidence_pages",
    "Pages whose body a crawl wanted to keep; the outcome is kept or lost.",
    ["outcome"],
)

EVIDENCE_BYTES = Counter("skatestock_evidence_bytes", "Bytes of bodies that were kept, compressed.")

EVIDENCE_SECONDS = Histogram(
    "skatestock_evidence_seconds", "Time that it took to keep one page, in seconds.", buckets=_SECONDS
)

EVIDENCE_PRUNED = Counter(
    "skatestock_evidence_pruned", "Pieces of evidence that were deleted because of their age."
)

INGEST_RECORDS = Counter(
    "skatestock_ingest_records",
    "Records of the event log that ingest has settled; the outcome is applied, unchanged, late or dead.",
    ["outcome"],
)

INGEST_BYTES = Counter("skatestock_ingest_bytes", "Bytes of the records that ingest has settled.")

INGEST_BATCH_RECORDS = Histogram(
    "skatestock_ingest_batch_records", "Records of a committed batch.", buckets=_RECORDS
)

INGEST_BATCH_LIMIT = Gauge(
    "skatestock_ingest_batch_limit", "Records that the next batch may have; smaller while batches take long."
)

INGEST_BATCH_SECONDS = Histogram(
    "skatestock_ingest_batch_seconds",
    "Time from a batch's arrival to its commit, in seconds.",
    buckets=_SECONDS,
)

INGEST_COMMIT_DELAY_SECONDS = Histogram(
    "skatestock_ingest_commit_delay_seconds",
    "Time from the append of a batch's oldest record to the batch's commit, in seconds.",
    buckets=_DELAY_SECONDS,
)

INGEST_PRICE_POINTS = Counter(
    "skatestock_ingest_price_points",
    "Changes that ingest has recorded in price points; one price point may carry several.",
    ["change"],
)

INDEX_PRODUCTS = Counter("skatestock_index_products", "Products that the product index has made anew.")

INDEX_DELAY_SECONDS = Histogram(
    "skatestock_index_delay_seconds",
    "Time from the oldest change of a step to the product index that shows it, in seconds.",
    buckets=_DELAY_SECONDS,
)

DEAD_LETTERS = Counter(
    "skatestock_dead_letters",
    "Messages that could not be processed; the kind says why.",
    ["kind"],
)

EVENTLOG_LAG = Gauge(
    "skatestock_eventlog_lag",
    "Records of a partition that ingest has not settled yet.",
    ["partition"],
)

EVENTLOG_APPENDED_MESSAGES = Counter(
    "skatestock_eventlog_appended_messages", "Messages that the log has acknowledged.", ["topic"]
)

EVENTLOG_APPENDED_BYTES = Counter(
    "skatestock_eventlog_appended_bytes", "Bytes of the messages that the log has acknowledged.", ["topic"]
)

EVENTLOG_APPEND_SECONDS = Histogram(
    "skatestock_eventlog_append_seconds",
    "Time that the log took to acknowledge one append, in seconds.",
    ["topic"],
    buckets=_SECONDS,
)

EVENTLOG_APPEND_FAILURES = Counter(
    "skatestock_eventlog_append_failures",
    "Appends that the log did not acknowledge; the kind is the error's.",
    ["topic", "kind"],
)

EVENTLOG_FENCED = Counter(
    "skatestock_eventlog_fenced",
    "Batches that were not stored because the consumer had lost its partition; they come again.",
    ["group"],
)

EVENTLOG_REBALANCES = Counter(
    "skatestock_eventlog_rebalances",
    "Partitions that changed hands in a consumer group; the event is assigned, revoked or lost.",
    ["event"],
)

EVENTLOG_PAUSED_SECONDS = Counter(
    "skatestock_eventlog_paused_seconds",
    "Time for which partitions were not fetched because what waits in memory was enough, in seconds.",
)

EVENTLOG_BUFFERED_RECORDS = Gauge(
    "skatestock_eventlog_buffered_records", "Records that were fetched and wait in memory for their batch."
)

EVENTLOG_BUFFERED_BYTES = Gauge(
    "skatestock_eventlog_buffered_bytes", "Bytes that were fetched and wait in memory for their batch."
)

QUALITY_ISSUES = Gauge(
    "skatestock_quality_issues",
    "Open issues of data quality, as the last check of the shop found them.",
    ["shop", "kind", "severity"],
)

QUALITY_CHECK_SECONDS = Histogram(
    "skatestock_quality_check_seconds",
    "Time that the check of one shop's data quality took, in seconds.",
    buckets=_SECONDS,
)

API_REQUESTS = Counter(
    "skatestock_api_requests",
    "Requests that the API has answered, by the path template of the endpoint.",
    ["endpoint", "method", "status"],
)

API_REQUEST_SECONDS = Histogram(
    "skatestock_api_request_seconds",
    "Time from a request's arrival to the end of its answer, in seconds.",
    ["endpoint"],
    buckets=_SECONDS,
)

API_EVENT_STREAMS = Gauge("skatestock_api_event_streams", "Streams of events that are open.")

API_EVENT_STREAMS_ENDED = Counter(
    "skatestock_api_event_streams_ended",
    "Streams of events that have ended; the reason is done, left, slow, refused or failed.",
    ["reason"],
)

EDGE_ANSWERS = Counter(
    "skatestock_edge_answers",
    "Requests that the edge has answered or passed on; the outcome says from where.",
    ["outcome"],
)

EDGE_NOT_MODIFIED = Counter(
    "skatestock_edge_not_modified", "Answers of the edge that said that nothing has changed (304)."
)

EDGE_CACHE_BYTES = Gauge("skatestock_edge_cache_bytes", "Bytes of answers that this process keeps in memory.")

EDGE_CACHE_ENTRIES = Gauge("skatestock_edge_cache_entries", "Answers that this process keeps in memory.")

EDGE_CACHE_EVICTIONS = Counter(
    "skatestock_edge_cache_evictions", "Answers that left the memory to make room for others."
)

EDGE_REDIS_CALLS = Counter("skatestock_edge_redis_calls", "Commands that the edge has sent to Redis.")

EDGE_REDIS_CONNECTED = Gauge("skatestock_edge_redis_connected", "1 while the edge reaches Redis, else 0.")

RETRIES = Counter(
    "skatestock_retries",
    "Tries that failed for a reason that passes and are made again; the kind is the error's.",
    ["part", "kind"],
)

RETRY_PAUSE_SECONDS = Counter(
    "skatestock_retry_pause_seconds", "Time waited before tries that are made again, in seconds.", ["part"]
)

SIGN_INS = Counter(
    "skatestock_sign_ins",
    "Attempts to sign in; the outcome is signed_in, refused, delayed or busy.",
    ["outcome"],
)

EVENT_LOOP_LAG_SECONDS = Gauge(
    "skatestock_event_loop_lag_seconds",
    "The longest time by which the event loop woke too late in the last ten seconds.",
)


class MetricsServer:
    """Serves the metrics of this process until it is closed."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.port: int = server.server_port

    def close(self) -> None:
        """Stop serving; idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def start_metrics_server(
    port: int, host: str = "127.0.0.1", registry: CollectorRegistry = REGISTRY, *, ports: int = 1
) -> MetricsServer:
    """Serve the metrics over HTTP from a thread of its own; port 0 takes a free one.

    Of `ports` following each other, the first free one is taken: one for each process of several that were
    told the same. Raises MetricsServerError when all are taken, or the host is none of this machine's.
    """
    for place in range(ports):
        try:
            return MetricsServer(*start_http_server(port + place if port else 0, host, registry))
        except OSError as error:
            if error.errno != EADDRINUSE or place == ports - 1:
                where = f"{host}:{port + place}"
                raise MetricsServerError(f"cannot serve metrics at {where}: {error.strerror}") from error
    raise ValueError(f"ports must be at least 1, not {ports}")
