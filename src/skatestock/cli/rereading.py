"""Kept evidence, read again and compared with the catalogue: the work of `skatestock replay`."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

import msgspec

from skatestock.catalog.observation_queries import find_known_listing_ids, find_observed_listings
from skatestock.cli.platform import Platform
from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import ParsedPage
from skatestock.crawl.rereading import CrawlReader
from skatestock.crawl.shops import Shop
from skatestock.events.model import ListingObserved
from skatestock.evidence.errors import EvidenceDamagedError, EvidenceMissingError
from skatestock.evidence.model import KeptCrawl, KeptPage
from skatestock.evidence.store import EvidenceStore
from skatestock.ingest.comparing import FieldChange, compare_reading, find_obstacle
from skatestock.vocabulary.errors import InvalidValueError


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A listing whose last observation would read differently."""

    shop: str
    crawl_id: str
    listing_id: str
    title: str
    observed_at: datetime
    evidence: str | None
    parser: str
    version_before: int
    version_after: int
    obstacle: str | None
    """Why it cannot be written, as a code; None where it can."""
    changes: tuple[FieldChange, ...]


class Counts(msgspec.Struct, kw_only=True):
    """What became of the pages and of what they show."""

    crawls: int = 0
    pages: int = 0
    pages_missing: int = 0
    """Noted, but their body is gone or damaged."""
    pages_refused: int = 0
    """Bodies that today's parser refuses whole."""
    pages_of_other_shops: int = 0
    """Of shops that nobody watches any more, or that are read by another parser today."""
    observations: int = 0
    compared: int = 0
    """Of those, the ones that are their listing's last: only they can be corrected."""
    newly_readable: int = 0
    """Of those, listings that the catalogue does not have: the next crawl will say them."""
    no_longer_readable: int = 0
    """Last observations that today's parser finds no more in the page that they are from."""


class Correction(NamedTuple):
    """A difference that can be written, and the event that does it."""

    difference: Difference
    event: ListingObserved


class Rereading:
    """Everything that was found so far."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.differences: list[Difference] = []
        self.corrections: list[Correction] = []

    @property
    def fields(self) -> Counter[str]:
        """Count the changes by field."""
        return Counter(change.field for found in self.differences for change in found.changes)


async def reread(
    platform: Platform,
    store: EvidenceStore,
    shops: Sequence[Shop],
    *,
    wanted_shops: Iterable[str] = (),
    crawl_id: str | None = None,
    since: date | None = None,
) -> Rereading:
    """Read kept pages again, crawl by crawl, and compare them with the catalogue; writes nothing."""
    found = Rereading()
    by_slug = {shop.slug: shop for shop in shops}
    slugs: list[str | None] = [*wanted_shops] or [None]
    for shop in slugs:
        for crawl in await store.find_crawls(shop, since):
            if crawl_id in (None, crawl.crawl_id):
                await _reread_crawl(platform, store, by_slug, crawl, found)
    return found


async def _reread_crawl(
    platform: Platform, store: EvidenceStore, shops: Mapping[str, Shop], crawl: KeptCrawl, found: Rereading
) -> None:
    pages = await store.read_pages(crawl)
    if not pages:
        return
    found.counts.crawls += 1
    found.counts.pages += len(pages)
    shop = shops.get(crawl.shop)
    reader = None if shop is None else CrawlReader(shop, crawl.crawl_id)
    if reader is None or not all(map(reader.knows, pages)):
        found.counts.pages_of_other_shops += len(pages)
        return
    events: dict[tuple[str, datetime], ListingObserved] = {}
    read_at: set[datetime] = set()
    async for page, read in _read_pages(store, reader, pages, found.counts):
        read_at.add(page.seen.observed_at)
        events.update({(event.listing_id, event.observed_at): event for event in read.observations})
    found.counts.observations += len(events)
    await _compare(platform, crawl, events, read_at, found)


async def _read_pages(
    store: EvidenceStore, reader: CrawlReader, pages: list[KeptPage], counts: Counts
) -> AsyncIterator[tuple[KeptPage, ParsedPage]]:
    for page in pages:
        try:
            read = reader.read_page(page, await store.get(page.key))
        except (EvidenceDamagedError, EvidenceMissingError):
            counts.pages_missing += 1
        except (PageError, InvalidValueError):
            counts.pages_refused += 1
        else:
            if read is not None:
                yield page, read


async def _compare(
    platform: Platform,
    crawl: KeptCrawl,
    events: Mapping[tuple[str, datetime], ListingObserved],
    read_at: set[datetime],
    found: Rereading,
) -> None:
    listing_ids = sorted({listing_id for listing_id, _ in events})
    async with platform.pool.acquire() as connection:
        last = await find_observed_listings(connection, crawl.shop, crawl.crawl_id)
        known = await find_known_listing_ids(connection, crawl.shop, listing_ids)
    found.counts.newly_readable += sum(listing_id not in known for listing_id in listing_ids)
    for stored in last.values():
        event = events.get((stored.listing_id, stored.observed_at))
        if event is None:
            # Unless its page is away, and so says nothing.
            found.counts.no_longer_readable += stored.observed_at in read_at
            continue
        found.counts.compared += 1
        changes = compare_reading(stored, event)
        if not changes:
            continue
        obstacle = find_obstacle(stored, event)
        difference = Difference(
            shop=crawl.shop,
            crawl_id=crawl.crawl_id,
            listing_id=stored.listing_id,
            title=stored.title,
            observed_at=stored.observed_at,
            evidence=event.evidence,
            parser=event.parser,
            version_before=stored.parser_version,
            version_after=event.parser_version,
            obstacle=None if obstacle is None else obstacle.code,
            changes=tuple(changes),
        )
        found.differences.append(difference)
        if obstacle is None:
            found.corrections.append(Correction(difference, event))
