"""The way through a shop that is known by its sitemap: every product page that it names. Pure."""

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit
from zlib import crc32

import msgspec

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.crawl.platforms import schema_org
from skatestock.crawl.platforms.port import Body, PageRequest, Walk
from skatestock.crawl.platforms.sitemap import MAX_ADDRESSES, parse_sitemap
from skatestock.crawl.reasons import CrawlReason, RejectReason

SITEMAP = "sitemap"
PRODUCT = "product"

_MAX_SITEMAPS = 50
_MAX_DEPTH = 3
# So many pages in a row without a product are no shop: its pages have changed, or a wall stands there.
MAX_EMPTY = 20


class SitemapWalk:
    """Reads the sitemaps, then each product page once."""

    parser = schema_org.PARSER
    parser_version = schema_org.PARSER_VERSION

    def __init__(self, shop_url: str, sitemap_path: str, product_paths: Sequence[str]) -> None:
        self._shop_url = shop_url
        self._product_paths = tuple(product_paths)
        self._first = PageRequest(url=shop_url + sitemap_path, number=1, kind=SITEMAP)
        self._found: list[PageRequest] = []
        self._known: set[str] = {self._first.url}
        self._listing_ids: set[str] = set()
        self._depths = {self._first.url: 0}
        self._number = 1
        self._empty = 0

    def first_requests(self) -> Sequence[PageRequest]:
        """Return the sitemap."""
        return (self._first,)

    def read_page(self, request: PageRequest, body: Body, sighting: Sighting) -> ParsedPage:
        """Read a sitemap, which shows no listing, or the page of one product."""
        if request.kind == SITEMAP:
            self._read_sitemap(request, body.body)
            return ParsedPage(observations=(), product_count=0, listing_ids=())
        page = schema_org.parse_product_page(body.body, request.url, sighting)
        is_empty = any(reject.reason == RejectReason.NOT_A_PRODUCT for reject in page.rejected)
        self._empty = self._empty + 1 if is_empty else 0
        if self._empty >= MAX_EMPTY:
            detail = f"{self._empty} pages in a row show no product, the last at {request.url[:200]}"
            raise PageError(CrawlReason.NOT_PRODUCTS, detail)
        return page

    def find_drift(self, request: PageRequest, page: ParsedPage) -> str | None:
        """Return None: a page names its own listing, whatever others do."""
        return None

    def next_requests(self, request: PageRequest, page: ParsedPage) -> Sequence[PageRequest]:
        """Return what a sitemap names, the product pages of it all."""
        found, self._found = self._found, []
        return found

    def _read_sitemap(self, request: PageRequest, body: bytes) -> None:
        sitemap = parse_sitemap(body, self._shop_url)
        depth = self._depths[request.url] + 1
        for url in sitemap.sitemaps:
            if len(self._depths) >= _MAX_SITEMAPS or depth > _MAX_DEPTH:
                raise PageError(CrawlReason.TOO_LARGE, f"over {_MAX_SITEMAPS} sitemaps, or too many deep")
            if url not in self._known:
                self._depths[url] = depth
                self._add(url, SITEMAP)
        for url in sitemap.pages:
            if self._is_product(url):
                self._add_product(url)

    def _is_product(self, url: str) -> bool:
        path = unquote(urlsplit(url).path)
        return any(path.startswith(prefix) and path != prefix for prefix in self._product_paths)

    def _add_product(self, url: str) -> None:
        listing_id = schema_org.read_listing_id(url)
        # One address with and without `www.` or a final slash is one listing.
        if listing_id not in self._listing_ids:
            self._listing_ids.add(listing_id)
            self._add(url, PRODUCT, listing_id)

    def _add(self, url: str, kind: str, listing_id: str | None = None) -> None:
        self._known.add(url)
        self._number += 1
        self._found.append(
            PageRequest(
                url=url,
                number=self._number,
                kind=kind,
                memory=crc32(url.encode()) if kind == PRODUCT else None,
                may_be_gone=kind == PRODUCT,
                listing_id=listing_id,
            )
        )


class SitemapPlatform(msgspec.Struct, frozen=True, kw_only=True):
    """Any shop with a sitemap and schema.org data."""

    shop_url: str
    sitemap_path: str
    product_paths: tuple[str, ...]

    def open_walk(self) -> Walk:
        """Begin at the sitemap."""
        return SitemapWalk(self.shop_url, self.sitemap_path, self.product_paths)

    def limit_requests(self) -> int:
        """Return as many as a sitemap may name: the time that a crawl may take ends it before."""
        return MAX_ADDRESSES

    def estimate_requests(self, listings: int, offers: int) -> int:
        """Count a request for each listing, and two for the sitemap and its index."""
        return listings + 2
