"""A few products of a shop, read but not said on the log: for whoever adds or checks a shop."""

from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

from skatestock.crawl.conditional import Fetched
from skatestock.crawl.errors import CrawlStoppedError
from skatestock.crawl.observing import Sighting
from skatestock.crawl.platforms import woocommerce
from skatestock.crawl.platforms.port import Body, PageRequest
from skatestock.crawl.platforms.registry import open_platform
from skatestock.crawl.platforms.sitemap_walk import PRODUCT
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.shops import Shop
from skatestock.events.model import ListingObserved, RejectedObservation

UNKNOWN_CURRENCY = "XXX"
"""ISO 4217's own code for no currency: that of a shop that is still to be found out."""

_SAMPLE_ID = "sample"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a few pages of a shop showed."""

    observations: tuple[ListingObserved, ...]
    read: tuple[ListingObserved, ...]
    """Whatever the pages showed, beyond those that were wanted: they were fetched anyway."""
    rejected: tuple[RejectedObservation, ...]
    listings: int
    """All that were found so far, or that the shop tells of."""
    is_all: bool
    """Whether those are all of them."""
    requests_of_crawl: int
    """What a crawl of so many takes, robots.txt included."""
    text: str
    """What the pages said, joined, for a look at their words."""


class Ask:
    """Fetches each address once."""

    def __init__(self, fetch: Callable[[str, str | None], Awaitable[Fetched]]) -> None:
        self._fetch = fetch
        self._answers: dict[str, Fetched] = {}

    async def __call__(self, url: str) -> Fetched:
        """Fetch an address, or return what it answered before; raises CrawlStoppedError."""
        if url not in self._answers:
            self._answers[url] = await self._fetch(url, None)
        return self._answers[url]


async def sample_shop(
    ask: Ask, shop: Shop, politeness: Politeness, now: datetime, *, wanted: int, most: int
) -> Sample:
    """Read pages, `most` of them, until `wanted` listings were understood; raises what a crawl raises."""
    reading = _Sampling(shop, politeness, now)
    if shop.platform == "woocommerce":
        await reading.read_woocommerce(ask)
    else:
        await reading.read(ask, wanted, most)
    return reading.to_sample(wanted)


class _Sampling:
    def __init__(self, shop: Shop, politeness: Politeness, now: datetime) -> None:
        self._shop = shop
        self._politeness = politeness
        self._now = now
        self._observations: list[ListingObserved] = []
        self._rejected: list[RejectedObservation] = []
        self._texts: list[str] = []
        self._listings = 0
        self._left = 0
        self._is_all = True

    async def read(self, ask: Ask, wanted: int, most: int) -> None:
        """Walk as a crawl does, as far as needed."""
        walk = open_platform(self._shop, self._politeness).open_walk()
        pending = deque(walk.first_requests())
        while pending and most > 0 and self._understood() < wanted:
            request = pending.popleft()
            if request.again:
                continue
            most -= 1
            try:
                answer = await ask(request.url)
            except CrawlStoppedError as error:
                forbidden = error.reason is CrawlReason.ROBOTS_DISALLOWED and request.listing_id is not None
                if forbidden or (request.may_be_gone and error.gone):
                    continue
                raise
            page = walk.read_page(request, self._note(answer), self._sighting(request))
            self._observations += page.observations
            self._rejected += page.rejected
            self._listings += len(page.listing_ids)
            pending.extend(walk.next_requests(request, page))
        further = [request for request in pending if not request.again]
        # Of pages that show one product each the number is known, of others only that there are more.
        self._left = sum(request.kind == PRODUCT for request in further)
        self._is_all = self._left == len(further)

    def _understood(self) -> int:
        # Until the currency is known, every listing in one is rejected for it.
        is_draft = self._shop.currency == UNKNOWN_CURRENCY
        return self._listings if is_draft else len(self._observations)

    async def read_woocommerce(self, ask: Ask) -> None:
        """Read the first products with the first variations: a walk would read all variations before."""
        url, size = self._shop.url, min(self._politeness.page_limit, woocommerce.MAX_PAGE_SIZE)
        products = await ask(woocommerce.products_url(url, 1, size))
        if not products.body.lstrip().startswith(b"["):
            woocommerce.parse_products_page(products.body, self._sighting(None), {})
        variations = woocommerce.parse_variations_page(
            (await ask(woocommerce.variations_url(url, 1, size))).body
        )
        known = dict(variations.variations)
        page = woocommerce.parse_products_page(self._note(products).body, self._sighting(None), known)
        self._observations += page.observations
        self._rejected += page.rejected
        total = products.headers.get("x-wp-total", "")
        self._listings = int(total) if total.isascii() and total.isdigit() else page.product_count
        self._is_all = total.isdigit() or page.product_count < size

    def to_sample(self, wanted: int) -> Sample:
        """Sum up."""
        listings = self._listings + self._left
        offers = sum(len(listing.offers) for listing in self._observations)
        per_listing = offers / max(1, len(self._observations))
        platform = open_platform(self._shop, self._politeness)
        return Sample(
            observations=tuple(self._observations[:wanted]),
            read=tuple(self._observations),
            rejected=tuple(self._rejected),
            listings=listings,
            is_all=self._is_all,
            requests_of_crawl=1 + platform.estimate_requests(listings, round(listings * per_listing)),
            text="\n".join(self._texts),
        )

    def _note(self, answer: Fetched) -> Body:
        self._texts.append(answer.body[:1_000_000].decode("utf-8", "replace"))
        return Body(body=answer.body, headers=answer.headers)

    def _sighting(self, request: PageRequest | None) -> Sighting:
        number = 1 if request is None else request.number
        return Sighting(shop=self._shop, crawl_id=_SAMPLE_ID, observed_at=self._now, page=number)
