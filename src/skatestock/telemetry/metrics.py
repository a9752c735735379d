"""The numbers each process tells Prometheus; a test holds `docs/METRICS.md` to this file."""

from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from skatestock.telemetry.errors import MetricsServerError

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

CRAWL_PAGES = Counter("skatestock_crawl_pages", "Pages of listings that crawls have read.", ["shop"])

CRAWL_LISTINGS = Counter(
    "skatestock_crawl_listings",
    "Listings that crawls have seen; the outcome is changed, unchanged or rejected.",
    ["shop", "outcome"],
)

CRAWLS_COMPLETED = Counter(
    "skatestock_crawls_completed",
    "Crawls that have ended; the reason is complete, or why the crawl was not.",
    ["shop", "reason"],
)

INGEST_RECORDS = Counter(
    "skatestock_ingest_records",
    "Records of the event log that ingest has settled; the outcome is applied, unchanged, late or dead.",
    ["outcome"],
)

INGEST_BATCH_SECONDS = Histogram(
    "skatestock_ingest_batch_seconds",
    "Time from a batch's arrival to its commit, in seconds.",
    buckets=_SECONDS,
)

INGEST_PRICE_POINTS = Counter(
    "skatestock_ingest_price_points",
    "Changes that ingest has recorded in price points; one price point may carry several.",
    ["change"],
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
    port: int, host: str = "127.0.0.1", registry: CollectorRegistry = REGISTRY
) -> MetricsServer:
    """Serve the metrics over HTTP from a thread of its own; port 0 takes a free one.

    Raises MetricsServerError when the address is taken or is none of this machine's.
    """
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise MetricsServerError(f"cannot serve metrics at {host}:{port}: {error.strerror}") from error
    return MetricsServer(server, thread)
