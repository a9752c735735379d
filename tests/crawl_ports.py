"""What crawls need of the other rooms, in memory: a log, and answers made from what it was told."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from skatestock.crawl.completeness import EarlierCounts
from skatestock.eventlog.port import Message
from skatestock.events.codec import decode
from skatestock.events.model import CrawlCompleted, Event, ListingObserved

_numbers = itertools.count(1)


def new_crawl_id() -> str:
    """Make a crawl id that no other crawl of this process has."""
    return f"crawl-{next(_numbers)}"


class MemoryLog:
    """A publisher that keeps and decodes every message.

    An append may fail before or after it stands, or, where it is slow, stand only when it arrives.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.events: list[Event] = []
        self.under_way: list[Event] = []
        self.fail_before = False
        self.fail_after = False
        self.slow = False

    async def publish(self, messages: Sequence[Message]) -> None:
        if self.fail_before:
            raise ConnectionError("the log is away")
        events = [
            decode(message.value, clock=lambda: datetime(2100, 1, 1, tzinfo=UTC)) for message in messages
        ]
        if self.slow:
            self.under_way.extend(events)
            raise ConnectionError("the log has not answered yet")
        self.messages.extend(messages)
        self.events.extend(events)
        if self.fail_after:
            raise ConnectionError("the log has not answered")

    def arrive(self) -> None:
        """Let what is under way stand."""
        self.events.extend(self.under_way)
        self.under_way.clear()

    def observed(self, crawl_id: str | None = None) -> list[ListingObserved]:
        """List the observations, of one crawl or of all."""
        found = [event for event in self.events if isinstance(event, ListingObserved)]
        return [event for event in found if crawl_id in (None, event.crawl_id)]

    def completed(self) -> list[CrawlCompleted]:
        """List the ends of crawls."""
        return [event for event in self.events if isinstance(event, CrawlCompleted)]

    def fold(self, shop: str) -> dict[str, ListingObserved]:
        """Apply observations as a consumer does: the later one wins, a repeated moment changes nothing."""
        states: dict[str, ListingObserved] = {}
        for event in self.observed():
            known = states.get(event.listing_id)
            if event.shop == shop and (known is None or event.observed_at > known.observed_at):
                states[event.listing_id] = event
        return states


class LogFingerprints:
    """Last fingerprints folded from the log, as a consumer that has caught up knows them."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.asked: list[tuple[str, ...]] = []
        self.can_vouch = True

    async def fetch(self, shop: str, listing_ids: Sequence[str] | None = None) -> Mapping[str, bytes] | None:
        self.asked.append(() if listing_ids is None else tuple(listing_ids))
        if not self.can_vouch:
            return None
        known = {listing_id: event.fingerprint for listing_id, event in self.log.fold(shop).items()}
        wanted = known if listing_ids is None else listing_ids
        return {listing_id: known[listing_id] for listing_id in wanted if listing_id in known}


class LogCounts:
    """Earlier counts read from the ends of crawls on the log."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log

    async def fetch(self, shop: str) -> EarlierCounts:
        last: int | None = None
        implausible: list[int] = []
        for event in self.log.completed():
            if event.shop == shop and event.complete:
                last, implausible = len(event.listing_ids), []
            elif event.shop == shop and event.reason == "implausible":
                implausible.append(len(event.listing_ids))
        return EarlierCounts(last_complete=last, implausible_since=tuple(implausible))


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: int) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
