"""Barcodes that a shop says only of one listing at a time: asked for new and changed ones, sparingly.

They are worth a few requests and nothing else: whatever goes wrong with one, its listing is said without
barcodes. Only a shop that wants to be left alone is, as after any other request.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic

import msgspec

from skatestock.crawl.conditional import Fetched
from skatestock.crawl.errors import CrawlStoppedError, PageError
from skatestock.crawl.platforms.port import BarcodeSource
from skatestock.crawl.reasons import CrawlReason
from skatestock.events.model import ListingObserved
from skatestock.events.sense import find_nonsense
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.metrics import CRAWL_BARCODES

FetchOnce = Callable[[str], Awaitable[Fetched]]
"""Fetches an address, and asks a second time only where a redirect leads."""
KeepBody = Callable[[str, Fetched], Awaitable[None]]
"""Keeps what came from an address as evidence."""

_LEAVE_ALONE = (CrawlReason.BLOCKED, CrawlReason.RETRY_LATER)

_log = get_logger(__name__)


class BarcodeQuestions:
    """What one crawl asks of one shop."""

    def __init__(
        self,
        source: BarcodeSource,
        fetch_once: FetchOnce,
        keep: KeepBody,
        *,
        shop: str,
        most: int,
        patience_seconds: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._source = source
        self._fetch_once = fetch_once
        self._keep = keep
        self._shop = shop
        self._left = most
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._until: float | None = None
        self.refusal: CrawlStoppedError | None = None
        """What the shop answered when it wanted to be left alone: the crawl must end."""

    async def add_barcodes(self, events: Sequence[ListingObserved]) -> list[ListingObserved]:
        """Return the observations with the barcodes that the shop tells; the others as they are."""
        return [await self._add(event) for event in events]

    async def _add(self, event: ListingObserved) -> ListingObserved:
        if not self._may_ask():
            CRAWL_BARCODES.labels(self._shop, "left").inc()
            return event
        self._left -= 1
        barcodes = await self._find_barcodes(event)
        if barcodes is None:
            CRAWL_BARCODES.labels(self._shop, "failed").inc()
            return event
        told = with_barcodes(event, barcodes)
        CRAWL_BARCODES.labels(self._shop, "none" if told is event else "told").inc()
        return told

    def _may_ask(self) -> bool:
        now = self._clock()
        if self._until is None:
            self._until = now + self._patience_seconds
        return self._left > 0 and now < self._until

    async def _find_barcodes(self, event: ListingObserved) -> Mapping[str, str] | None:
        """Ask for a listing's barcodes by offer id; None where they cannot be had."""
        url = self._source.url_of(event)
        try:
            answer = await self._fetch_once(url)
            await self._keep(url, answer)
            return self._source.read_barcodes(answer.body)
        except PageError as error:
            self._tell(url, error)
        except CrawlStoppedError as error:
            self._tell(url, error)
            if not error.gone:
                # What one listing does not get, the next one will not get either.
                self._left = 0
            if error.reason in _LEAVE_ALONE:
                self.refusal = error
        return None

    def _tell(self, url: str, error: PageError | CrawlStoppedError) -> None:
        _log.warning("barcodes_not_had", shop=self._shop, url=url, error=str(error))


def with_barcodes(event: ListingObserved, barcodes: Mapping[str, str]) -> ListingObserved:
    """Put barcodes to the offers that have these ids; the observation itself where none has."""
    if not any(offer.offer_id in barcodes for offer in event.offers):
        return event
    offers = tuple(
        msgspec.structs.replace(offer, barcode=barcodes.get(offer.offer_id, offer.barcode))
        for offer in event.offers
    )
    told = msgspec.structs.replace(event, offers=offers)
    # A listing at the limit of what an event may say is said without.
    return event if find_nonsense(told) is not None else told
