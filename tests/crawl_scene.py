"""A replica, and everything that a crawl of it needs, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from tests.crawl_ports import HandClock, LogCounts, LogFingerprints, MemoryLog, new_crawl_id

from skatestock.crawl.politeness import Politeness
from skatestock.crawl.ports import LeaseGuard
from skatestock.crawl.session import CrawlOutcome, CrawlPorts, CrawlRequest, crawl_shop
from skatestock.crawl.shops import Shop, derive_demo_shops, load_shops
from skatestock.crawl.spacing import LocalSpacingGate
from skatestock.replica.faults import Fault
from skatestock.replica.schemas import RequestRecord
from skatestock.replica.server import ReplicaServers

START_AT = datetime(2026, 3, 1, tzinfo=UTC)
FAST = Politeness(
    spacing_seconds=0,
    backoff_seconds=0.01,
    request_timeout_seconds=2,
    crawl_timeout_seconds=20,
    retries=2,
    page_limit=50,
    max_body_bytes=8 * 2**20,
    contact="https://example.org/contact",
)


class Scene:
    """One replica and everything a crawl of it needs."""

    def __init__(self, shop_urls: Mapping[str, str], replica: ReplicaServers | None = None) -> None:
        self._replica = replica
        self.shops = {shop.slug: shop for shop in derive_demo_shops(load_shops(), shop_urls)}
        self.log = MemoryLog()
        self.fingerprints = LogFingerprints(self.log)
        self.clock = HandClock(START_AT)
        self.ports = CrawlPorts(
            publisher=self.log,
            last_fingerprints=self.fingerprints,
            listing_counts=LogCounts(self.log),
            spacing_gate=LocalSpacingGate(),
        )

    @classmethod
    def of(cls, replica: ReplicaServers) -> Scene:
        """Make the scene of a running replica."""
        return cls(replica.addresses.shop_urls, replica)

    @property
    def replica(self) -> ReplicaServers:
        """Return the replica of a scene that has one."""
        assert self._replica is not None
        return self._replica

    def shop(self, slug: str = "labor") -> Shop:
        """Return one of the demo shops."""
        return self.shops[slug]

    def request(self, slug: str = "labor", lease: LeaseGuard | None = None) -> CrawlRequest:
        """Ask for a crawl, a minute later than the last."""
        self.clock.advance(60)
        return CrawlRequest(shop=self.shop(slug), crawl_id=new_crawl_id(), lease=lease)

    async def crawl(
        self, slug: str = "labor", politeness: Politeness = FAST, stop: asyncio.Event | None = None
    ) -> CrawlOutcome:
        """Crawl one shop to its end."""
        return await crawl_shop(self.request(slug), self.ports, politeness, self.clock, stop)

    def fault(
        self, kind: str, times: int | None = None, page: int | None = None, **parameters: int | str
    ) -> Fault:
        """Set a fault at the shop `labor`."""
        return self.replica.set_fault(Fault("labor", kind, times, None, page, dict(parameters)))

    def asked(self) -> list[RequestRecord]:
        """List what the shop `labor` was asked."""
        return self.replica.log.requests(0, "labor")
