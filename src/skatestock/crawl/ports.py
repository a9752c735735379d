"""What a crawl needs of the rooms behind it, as small protocols; `cli` hands in what fulfils them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from skatestock.crawl.completeness import EarlierCounts
from skatestock.eventlog.port import Message
from skatestock.evidence.model import PageSeen


class KnownRobots(NamedTuple):
    """What a host's robots.txt said."""

    body: bytes | None
    """None if the host has none."""


class Publisher(Protocol):
    """The way to the event log."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Append all messages or none, and return once they are durable; the crawl ends when this raises."""


class LastFingerprints(Protocol):
    """What the catalogue knows of the last states of a shop's listings: the truth behind the cache."""

    async def fetch(self, shop: str, listing_ids: Sequence[str] | None = None) -> Mapping[str, bytes] | None:
        """Return the last fingerprint of each listing that is known; of all of the shop for None.

        None means that nobody can vouch for it: when this was first asked, the log held events of this shop
        that ingest has still not applied. A crawl asks first before it appends anything, so that its own
        events do not stand in the way, with no listings at all; then page by page.
        """


class ListingCounts(Protocol):
    """What is known of a shop's earlier crawls."""

    async def fetch(self, shop: str) -> EarlierCounts:
        """Return how many listings earlier crawls of the shop saw."""


class SpacingGate(Protocol):
    """Keeps requests to one host apart, across all workers that share the gate."""

    async def wait_turn(self, host: str, spacing_seconds: float) -> None:
        """Wait until the host may be asked, and let nobody else ask it for the spacing's time."""

    async def hold(self, host: str, seconds: float) -> None:
        """Let nobody ask the host for so long from now; never shortens a longer hold."""


class RobotsMemory(Protocol):
    """What hosts' robots.txt said last, for the time in which a host cannot say it."""

    async def find(self, host: str) -> KnownRobots | None:
        """Find the last rules that may still be relied on."""

    async def keep(self, host: str, known: KnownRobots) -> None:
        """Remember what a host has just said."""


class EvidenceKeeper(Protocol):
    """Keeps the bodies behind what one crawl sees."""

    async def keep(self, body: bytes, seen: PageSeen) -> str | None:
        """Keep a page's body and return its key; None where it could not be kept, which stops no crawl."""


class LeaseGuard(Protocol):
    """The lease under which a crawl works."""

    async def check(self) -> None:
        """Raise an error if the lease is lost; the crawl then ends at once and says nothing more."""
