"""Reads the kept pages of a crawl again, with today's parsers. Pure."""

from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.crawl.platforms.port import BARCODES, Body, PageRequest, Walk
from skatestock.crawl.platforms.registry import open_platform
from skatestock.crawl.platforms.sitemap_walk import SITEMAP
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.shops import Shop
from skatestock.evidence.model import KeptPage


class CrawlReader:
    """Reads the pages of one crawl in their order, as the crawl itself did."""

    def __init__(self, shop: Shop, crawl_id: str) -> None:
        self._shop = shop
        self._crawl_id = crawl_id
        self._platform = open_platform(shop, Politeness())
        self._walk = self._platform.open_walk()
        self._walk_number: int | None = None

    @property
    def parser(self) -> str:
        """Name the parser that reads this shop today."""
        return self._walk.parser

    def knows(self, page: KeptPage) -> bool:
        """Tell whether a page is one of those that this shop is read by today."""
        return page.seen.kind == BARCODES or page.seen.parser == self.parser

    def read_page(self, page: KeptPage, body: bytes) -> ParsedPage | None:
        """Read one page; None for one that shows no listings. Raises PageError for one that is none."""
        seen = page.seen
        if seen.kind in (SITEMAP, BARCODES):
            # A sitemap only says which pages there are, and these are known; barcodes are no listings.
            return None
        sighting = Sighting(
            shop=self._shop,
            crawl_id=self._crawl_id,
            observed_at=seen.observed_at,
            page=seen.number,
            evidence=page.key,
        )
        request = PageRequest(url=seen.url, number=seen.number, kind=seen.kind)
        return self._walk_of(page).read_page(request, Body(body=body, headers=seen.headers), sighting)

    def _walk_of(self, page: KeptPage) -> Walk:
        # What the pages of one walk say of each other holds for that walk only.
        if page.seen.walk != self._walk_number:
            self._walk, self._walk_number = self._platform.open_walk(), page.seen.walk
        return self._walk
