"""What a shop is that nobody has described yet: its platform, its currency, and what we understand of it.

Everything goes through the polite way to the shop: robots.txt first, spacing always, limits on time and size.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from html import unescape
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from skatestock.crawl.conditional import Fetched
from skatestock.crawl.errors import CrawlError, CrawlStoppedError, PageError
from skatestock.crawl.habits import Habits, SeenTitle, find_habits
from skatestock.crawl.platforms.registry import open_platform
from skatestock.crawl.platforms.sitemap import parse_sitemap
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.reasons import CrawlReason, RejectReason
from skatestock.crawl.sampling import UNKNOWN_CURRENCY, Ask, Sample, sample_shop
from skatestock.crawl.shops import Shop
from skatestock.vocabulary.text import clean_text
from skatestock.vocabulary.titles import TitleHabit

Fetch = Callable[[str, str | None], Awaitable[Fetched]]
Found = Literal["shopify", "woocommerce", "squarespace", "schema-org"]

SAMPLED = 5
"""So many products are shown to whoever adds a shop."""
# What no other platform would mend: the shop does not want us, or there is none.
_FINAL = frozenset({
    CrawlReason.BLOCKED,
    CrawlReason.RATE_LIMITED,
    CrawlReason.RETRY_LATER,
    CrawlReason.ROBOTS_UNREACHABLE,
    CrawlReason.UNREACHABLE,
    CrawlReason.PRIVATE_ADDRESS,
    CrawlReason.TIMED_OUT,
    CrawlReason.PASSWORD_PAGE,
})  # fmt: skip
_CURRENCIES = re.compile(
    r'"(?:currency|currency_code|priceCurrency)"\s*:\s*"([A-Z]{3})"'
    r'|Shopify\.currency\s*=\s*\{\s*"active"\s*:\s*"([A-Z]{3})"'
    r'|price:currency"\s+content="([A-Z]{3})"|itemprop="priceCurrency"\s+content="([A-Z]{3})"'
)
_NAMES = (
    re.compile(r'<meta[^>]{1,200}og:site_name["\'][^>]{0,50}content="([^"]{1,200})"', re.IGNORECASE),
    re.compile(r"<title[^>]{0,100}>([^<]{1,300})</title>", re.IGNORECASE),
)
_PRODUCT_PATHS = ("/products/", "/product/", "/shop/p/", "/store/p/", "/p/", "/item/", "/items/")
_SITEMAPS = ("/sitemap.xml", "/sitemap_index.xml", "/wp-sitemap.xml")
_STORES = ("/store", "/shop", "/")
_LOOKED_INTO = 4
_READ_FOR_FACTS = 2_000_000


class DiscoveryError(CrawlError):
    """The shop cannot be added as it is; the message says why and what to do."""


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever adds a shop knows better than its pages."""

    slug: str
    name: str | None = None
    currency: str | None = None
    title_habit: TitleHabit | None = None
    """None leaves it to the titles."""
    vendor_is_shop: tuple[str, ...] | None = None
    """None leaves it to the vendors."""
    crawl_every_seconds: int = 1800


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """A shop as it was found."""

    shop: Shop
    sample: Sample
    habits: Habits
    tried: tuple[str, ...]
    """What else it was asked, and why it was not that."""


class _Meta(msgspec.Struct):
    """What Shopify's `/meta.json` says of a shop."""

    name: str | None = None
    city: str | None = None
    province: str | None = None
    currency: str | None = None
    published_products_count: int | None = None


async def discover_shop(
    fetch: Fetch, url: str, wishes: Wishes, politeness: Politeness, now: datetime
) -> Discovery:
    """Find out what a shop is; raises DiscoveryError with what was tried, or CrawlStoppedError."""
    ask = Ask(fetch)
    home = await _find_home(ask, url)
    search = _Search(ask, _origin_of(home.url) if home else url, wishes, politeness, now, _text_of(home))
    for attempt in (search.try_shopify, search.try_woocommerce, search.try_squarespace, search.try_schema):
        try:
            found = await attempt()
        except (CrawlStoppedError, PageError) as error:
            if error.reason in _FINAL:
                raise
            search.note(error.detail)
            continue
        if found is not None:
            return found
    tried = "; ".join(search.tried)
    raise DiscoveryError(
        f"{search.url} is on no platform that is found by itself ({tried}). A shop of any other kind is "
        "described by a recipe in a file of shops; docs/DATA_SOURCES.md says how"
    )


def find_currency(text: str) -> str | None:
    """Find the currency that a page names most often."""
    codes = Counter(next(filter(None, match)) for match in _CURRENCIES.findall(text[:_READ_FOR_FACTS]))
    return codes.most_common(1)[0][0] if codes else None


def find_shop_name(text: str) -> str | None:
    """Find what a shop's first page calls it."""
    for pattern in _NAMES:
        match = pattern.search(text[:200_000])
        if match is not None:
            name = clean_text(re.split(r"\s+[|–—-]\s+", unescape(match[1]))[0], 200)
            if name:
                return name
    return None


def find_product_paths(urls: Sequence[str]) -> list[str]:
    """Find how the paths of product pages may begin, the likeliest first."""
    paths = [urlsplit(url).path for url in urls]
    counts = {
        start: sum(path.startswith(start) and path != start for path in paths) for start in _PRODUCT_PATHS
    }
    known = sorted((start for start in counts if counts[start]), key=lambda start: -counts[start])
    firsts = Counter(f"/{path.split('/')[1]}/" for path in paths if path.count("/") > 1 and len(path) > 2)
    others = [start for start, count in firsts.most_common(2) if count >= SAMPLED and start not in known]
    return known + others


class _Search:
    """The tries at one shop, one after another."""

    def __init__(
        self, ask: Ask, url: str, wishes: Wishes, politeness: Politeness, now: datetime, home: str
    ) -> None:
        self.url = url
        self.tried: list[str] = []
        self._ask = ask
        self._wishes = wishes
        self._politeness = politeness
        self._now = now
        self._home = home
        self._platform = ""

    def note(self, why: str) -> None:
        """Keep why the shop is not on the platform that was tried last."""
        self.tried.append(f"{self._platform}: {why[:200]}")

    async def try_shopify(self) -> Discovery | None:
        """Try `/products.json`, and ask `/meta.json` for what it does not say."""
        self._platform = "shopify"
        # With an unknown currency nothing is rejected: Shopify's prices name none.
        draft = self._draft("shopify", UNKNOWN_CURRENCY)
        sample = await sample_shop(self._ask, draft, self._politeness, self._now, wanted=SAMPLED, most=1)
        if not sample.observations:
            self.note("no products")
            return None
        meta = await self._find_meta()
        shop = self._draft("shopify", meta.currency or find_currency(self._home), meta)
        found = await self._find_habits(shop, sample, most=1)
        count = meta.published_products_count
        if not count:
            return found
        requests = 1 + open_platform(found.shop, self._politeness).estimate_requests(count, 0)
        again = msgspec.structs.replace(found.sample, listings=count, is_all=True, requests_of_crawl=requests)
        return msgspec.structs.replace(found, sample=again)

    async def try_woocommerce(self) -> Discovery | None:
        """Try the Store API, which names its currency."""
        self._platform = "woocommerce"
        return await self._try(self._draft("woocommerce", UNKNOWN_CURRENCY))

    async def try_squarespace(self) -> Discovery | None:
        """Try the usual places of a store as JSON, where robots.txt allows it."""
        self._platform = "squarespace"
        # Its pages always speak of Squarespace; a shop whose pages do not is asked once.
        for path in _STORES if "squarespace" in self._home.casefold() else _STORES[:1]:
            try:
                found = await self._try(self._draft("squarespace", UNKNOWN_CURRENCY, store_path=path))
            except (CrawlStoppedError, PageError) as error:
                if error.reason in _FINAL or error.reason is CrawlReason.ROBOTS_DISALLOWED:
                    raise
                self.note(error.detail)
                continue
            if found is not None:
                return found
        return None

    async def try_schema(self) -> Discovery | None:
        """Try the sitemap, and the product pages that it seems to name."""
        self._platform = "schema-org"
        sitemap_path, urls = await self._find_pages()
        starts = find_product_paths(urls)
        if not starts:
            self.note("its sitemap names no product pages" if sitemap_path else "there is no sitemap")
        for start in starts[:_LOOKED_INTO]:
            draft = self._draft(
                "schema-org", UNKNOWN_CURRENCY, sitemap_path=sitemap_path, product_paths=(start,)
            )
            found = await self._try(draft)
            if found is not None:
                return found
        return None

    async def _try(self, draft: Shop) -> Discovery | None:
        """Sample the shop, first for its currency, then in it; what was read once is not asked again."""
        pages = await sample_shop(self._ask, draft, self._politeness, self._now, wanted=SAMPLED, most=12)
        if not pages.listings:
            self.note("no products")
            return None
        currency = self._wishes.currency or find_currency(pages.text) or find_currency(self._home)
        if currency is None and all(reject.reason == RejectReason.NOT_A_PRODUCT for reject in pages.rejected):
            self.note("no products")
            return None
        if currency is None:
            self.note("its products name no currency; say which it is, as in `--currency USD`")
            return None
        shop = msgspec.structs.replace(draft, currency=currency)
        sample = await sample_shop(self._ask, shop, self._politeness, self._now, wanted=SAMPLED, most=12)
        if not sample.observations:
            why = sample.rejected[0].detail if sample.rejected else "no products"
            self.note(f"none of its products could be read: {why}")
            return None
        return await self._find_habits(shop, sample, most=12)

    async def _find_habits(self, shop: Shop, sample: Sample, *, most: int) -> Discovery:
        """Find how the shop writes, and read its pages once more by that; nothing is asked again."""
        seen = [SeenTitle(one.title, one.vendor) for one in sample.read]
        habits = find_habits(seen, [shop.name], self.url)
        own = self._wishes.vendor_is_shop
        shop = msgspec.structs.replace(
            shop,
            title_habit=self._wishes.title_habit or habits.title_habit or TitleHabit.PLAIN,
            vendor_is_shop=habits.vendor_is_shop if own is None else own,
        )
        again = await sample_shop(self._ask, shop, self._politeness, self._now, wanted=SAMPLED, most=most)
        return Discovery(shop=shop, sample=again, habits=habits, tried=tuple(self.tried))

    def _draft(
        self,
        platform: Found,
        currency: str | None,
        meta: _Meta | None = None,
        *,
        store_path: str | None = None,
        sitemap_path: str = "/sitemap.xml",
        product_paths: tuple[str, ...] = (),
    ) -> Shop:
        meta = meta or _Meta()
        host = (urlsplit(self.url).hostname or self.url).removeprefix("www.")
        return Shop(
            slug=self._wishes.slug,
            name=self._wishes.name or clean_text(meta.name or "", 200) or find_shop_name(self._home) or host,
            city=clean_text(meta.city or "", 200) or None,
            region=clean_text(meta.province or "", 200) or None,
            url=self.url,
            currency=currency if currency == UNKNOWN_CURRENCY else self._choose_currency(currency),
            platform=platform,
            store_path=store_path,
            sitemap_path=sitemap_path,
            product_paths=product_paths,
            title_habit=self._wishes.title_habit or TitleHabit.PLAIN,
            crawl_every_seconds=self._wishes.crawl_every_seconds,
        )

    def _choose_currency(self, found: str | None) -> str:
        currency = self._wishes.currency or found
        if currency is None:
            raise DiscoveryError(f"{self.url} names no currency; say which it is, as in `--currency USD`")
        return currency

    async def _find_meta(self) -> _Meta:
        try:
            return msgspec.json.decode((await self._ask(self.url + "/meta.json")).body, type=_Meta)
        except (CrawlStoppedError, msgspec.DecodeError, UnicodeDecodeError) as error:
            if isinstance(error, CrawlStoppedError) and error.reason in _FINAL:
                raise
            return _Meta()

    async def _find_pages(self) -> tuple[str, list[str]]:
        """Find the sitemap's path, and the addresses that it and the likeliest of its parts name."""
        for path in _SITEMAPS:
            try:
                first = parse_sitemap((await self._ask(self.url + path)).body, self.url)
            except (CrawlStoppedError, PageError) as error:
                if error.reason in _FINAL:
                    raise
                self.note(error.detail)
                continue
            urls = list(first.pages)
            for part in sorted(first.sitemaps, key=lambda url: "product" not in url)[:_LOOKED_INTO]:
                urls += parse_sitemap((await self._ask(part)).body, self.url).pages
            return path, urls
        return "", []


async def _find_home(ask: Ask, url: str) -> Fetched | None:
    try:
        return await ask(url + "/")
    except CrawlStoppedError as error:
        # Without it, a shop may still be read; where it leads elsewhere, it is another shop's address.
        if error.reason in _FINAL or error.reason is CrawlReason.REDIRECTED_AWAY:
            raise
        return None


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _text_of(page: Fetched | None) -> str:
    return "" if page is None else page.body[:_READ_FOR_FACTS].decode("utf-8", "replace")
