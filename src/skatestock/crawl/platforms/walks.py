"""The ways through shops whose pages show many listings each. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import msgspec

from skatestock.crawl.observing import ParsedPage, Sighting
from skatestock.crawl.platforms import recipe, shopify, squarespace, woocommerce
from skatestock.crawl.platforms.port import Body, PageRequest, Walk
from skatestock.crawl.platforms.recipe_model import Recipe

LISTINGS = "listings"
VARIATIONS = "variations"


class PagedWalk:
    """What is the same wherever listings come page by page: each listing on one page, the first unmoved."""

    parser: str
    parser_version: int

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._first_ids: Sequence[str] | None = None

    def find_drift(self, request: PageRequest, page: ParsedPage) -> str | None:
        """Tell what on this page shows that the pages moved, or None."""
        if request.kind == VARIATIONS:
            return None
        if request.again:
            same = page.listing_ids == self._first_ids
            return None if same else "page 1 changed while the others were read"
        if page.repeated:
            return f"page {request.number} shows a listing twice"
        again = self._seen.intersection(page.listing_ids)
        if again:
            return f"page {request.number} repeats {len(again)} listings of earlier pages"
        self._seen.update(page.listing_ids)
        self._first_ids = page.listing_ids if self._first_ids is None else self._first_ids
        return None

    def end_at(self, request: PageRequest, first: PageRequest) -> Sequence[PageRequest]:
        """Return what to ask when there is no further page: the first once more, if there were others."""
        if request.again or request.number == first.number:
            return ()
        return (msgspec.structs.replace(first, again=True),)


class ShopifyWalk(PagedWalk):
    """Page after page of `/products.json` until one is short."""

    parser = shopify.PARSER
    parser_version = shopify.PARSER_VERSION

    def __init__(self, shop_url: str, limit: int) -> None:
        super().__init__()
        self._shop_url = shop_url
        self._limit = limit
        self._page_size = limit

    def first_requests(self) -> Sequence[PageRequest]:
        """Return the first page."""
        return (self._request(1),)

    def read_page(self, request: PageRequest, body: Body, sighting: Sighting) -> ParsedPage:
        """Read one page of products."""
        return shopify.parse_products_page(body.body, sighting)

    def next_requests(self, request: PageRequest, page: ParsedPage) -> Sequence[PageRequest]:
        """Return the page after it, or the first once more when that was the last."""
        if request.again:
            return ()
        if request.number == 1:
            self._page_size = shopify.page_size(page.product_count, self._limit)
        if page.product_count < self._page_size:
            return self.end_at(request, self._request(1))
        return (self._request(request.number + 1),)

    def _request(self, number: int) -> PageRequest:
        url = shopify.products_url(self._shop_url, number, self._limit)
        return PageRequest(url=url, number=number, memory=number)


class WooCommerceWalk(PagedWalk):
    """First the pages of variations, then those of products, each as many as the shop's own count says."""

    parser = woocommerce.PARSER
    parser_version = woocommerce.PARSER_VERSION

    def __init__(self, shop_url: str, limit: int) -> None:
        super().__init__()
        self._shop_url = shop_url
        self._limit = min(limit, woocommerce.MAX_PAGE_SIZE)
        self._variations: dict[str, woocommerce.Variation] = {}
        self._variation_pages = 0
        self._total: str | None = None
        self._moved: str | None = None
        self._is_last = True

    def first_requests(self) -> Sequence[PageRequest]:
        """Return the first page of variations."""
        return (self._request(VARIATIONS, 1, 1),)

    def read_page(self, request: PageRequest, body: Body, sighting: Sighting) -> ParsedPage:
        """Read one page of variations, which shows no listing, or of products."""
        pages = woocommerce.parse_total_pages(body.headers)
        place = request.number - self._variation_pages
        if request.kind == VARIATIONS:
            read = woocommerce.parse_variations_page(body.body)
            self._variations.update(read.variations)
            self._is_last = self._is_end(request.number, pages, read.row_count)
            return ParsedPage(observations=(), product_count=read.row_count, listing_ids=())
        self._note_total(body.headers.get("x-wp-total"), request.number)
        page = woocommerce.parse_products_page(body.body, sighting, self._variations)
        self._is_last = self._is_end(place, pages, page.product_count)
        return page

    def find_drift(self, request: PageRequest, page: ParsedPage) -> str | None:
        """Tell what shows that the pages moved: a repeated listing, or a total that changed."""
        return self._moved or super().find_drift(request, page)

    def next_requests(self, request: PageRequest, page: ParsedPage) -> Sequence[PageRequest]:
        """Return the page after it, and after the last of the variations the first of the products."""
        number = request.number + 1
        if request.kind == VARIATIONS and self._is_last:
            self._variation_pages = request.number
            return (self._request(LISTINGS, number, 1),)
        if request.again or self._is_last:
            return self.end_at(request, self._request(LISTINGS, self._variation_pages + 1, 1))
        return (self._request(request.kind, number, number - self._variation_pages),)

    def _is_end(self, place: int, pages: int | None, rows: int) -> bool:
        return rows < self._limit if pages is None else place >= pages

    def _note_total(self, total: str | None, number: int) -> None:
        # Products stand in the order of their ids: one that vanished meanwhile moved those behind it.
        if self._total is not None and total != self._total:
            self._moved = f"the shop told of {self._total[:20]} products, and on page {number} of {total}"
        self._total = total if self._total is None else self._total

    def _request(self, kind: str, number: int, place: int) -> PageRequest:
        make = woocommerce.variations_url if kind == VARIATIONS else woocommerce.products_url
        return PageRequest(url=make(self._shop_url, place, self._limit), number=number, kind=kind)


class LinkedWalk(PagedWalk, ABC):
    """Page after page as each names the next."""

    def __init__(self, first_url: str) -> None:
        super().__init__()
        self._first = PageRequest(url=first_url, number=1)
        self._next_url: str | None = None

    def first_requests(self) -> Sequence[PageRequest]:
        """Return the first page."""
        return (self._first,)

    def read_page(self, request: PageRequest, body: Body, sighting: Sighting) -> ParsedPage:
        """Read one page, and keep which is the next."""
        page, self._next_url = self.read_linked(request, body, sighting)
        return page

    def next_requests(self, request: PageRequest, page: ParsedPage) -> Sequence[PageRequest]:
        """Return the page that this one names, or the first once more after the last."""
        if request.again or self._next_url is None:
            return self.end_at(request, self._first)
        return (PageRequest(url=self._next_url, number=request.number + 1),)

    @abstractmethod
    def read_linked(
        self, request: PageRequest, body: Body, sighting: Sighting
    ) -> tuple[ParsedPage, str | None]:
        """Read one page and the address of the next; None for the last."""


class SquarespaceWalk(LinkedWalk):
    """Page after page of a store as JSON."""

    parser = squarespace.PARSER
    parser_version = squarespace.PARSER_VERSION

    def __init__(self, shop_url: str, store_path: str) -> None:
        super().__init__(squarespace.store_url(shop_url, store_path))

    def read_linked(
        self, request: PageRequest, body: Body, sighting: Sighting
    ) -> tuple[ParsedPage, str | None]:
        """Read one page of the store and the address of the next."""
        read = squarespace.parse_store_page(body.body, sighting)
        return read.page, read.next_url


class RecipeWalk(LinkedWalk):
    """Page after page by a shop's own recipe."""

    parser = recipe.PARSER
    parser_version = recipe.PARSER_VERSION

    def __init__(self, shop_url: str, known: Recipe) -> None:
        super().__init__(recipe.page_url(shop_url, known, 1))
        self._recipe = known

    def read_linked(
        self, request: PageRequest, body: Body, sighting: Sighting
    ) -> tuple[ParsedPage, str | None]:
        """Read one listing page and the address of the next."""
        read = recipe.parse_listing_page(body.body, request.url, self._recipe, sighting)
        return read.page, read.next_url


class PagedPlatform(msgspec.Struct, frozen=True, kw_only=True):
    """A platform whose pages show many listings each."""

    open_walk: Callable[[], Walk]
    page_size: int
    max_pages: int
    variation_size: int | None = None
    """How many offers a page of variations shows; None where they come with their listings."""
    extra_requests: int = 0
    """How many requests for single listings may come on top."""

    def limit_requests(self) -> int:
        """Return the limit of pages."""
        return self.max_pages

    def estimate_requests(self, listings: int, offers: int) -> int:
        """Count the pages, the first once more where there are several, and what single listings take."""
        pages = max(1, -(-listings // self.page_size))
        variations = 0 if self.variation_size is None else max(1, -(-offers // self.variation_size))
        return variations + pages + (pages > 1) + min(listings, self.extra_requests)
