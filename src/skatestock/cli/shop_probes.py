"""Looks at shops from the command line: what a new one is, and whether a known one is still readable."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec
from rich.markup import escape

from skatestock.cli.errors import UsageError
from skatestock.cli.platform import Platform
from skatestock.cli.robots_memory import CatalogRobots
from skatestock.cli.terminal import Terminal, count_of, make_table
from skatestock.crawl.addresses import read_shop_address
from skatestock.crawl.discovery import Discovery, DiscoveryError, Wishes, discover_shop, find_currency
from skatestock.crawl.errors import CrawlStoppedError, PageError
from skatestock.crawl.fetching import Fetcher, open_fetcher
from skatestock.crawl.middlewares import Manners
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.sampling import Ask, sample_shop
from skatestock.crawl.session import connect_cache
from skatestock.crawl.shops import Shop
from skatestock.crawl.spacing import LocalSpacingGate, ValkeySpacingGate
from skatestock.events.model import ListingObserved
from skatestock.vocabulary.money import Money
from skatestock.vocabulary.normaliser import current_normaliser
from skatestock.vocabulary.time import utc_now

_LIMITS = Politeness(retries=1, request_timeout_seconds=30.0, max_body_bytes=32 * 1024 * 1024)
_LONGEST_LOOK_SECONDS = 300.0
_SHOWN_SIZES = 8
_LONGEST_INTERVAL_SECONDS = 7 * 86400


class ShopCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at a known shop found."""

    slug: str
    ok: bool
    detail: str
    currency: str
    currency_found: str | None = None
    """None where its pages name none."""
    listings: int | None = None
    """Found on the pages that were read."""
    requests: int = 0


def read_url(text: str) -> str:
    """Read a shop's address; raises UsageError with what is wrong with it."""
    try:
        return read_shop_address(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def make_slug(url: str) -> str:
    """Make a slug of a shop's host: `https://www.labor-skateshop.co.uk` is `labor-skateshop`."""
    host = (urlsplit(url).hostname or "").removeprefix("www.")
    first = host.split(".")[0] if not host.replace(".", "").isdigit() else host.replace(".", "-")
    return first.lower()[:60]


async def discover(
    platform: Platform, url: str, wishes: dict[str, Any], *, allow_private: bool
) -> tuple[Discovery, float]:
    """Find out what a shop is; returns the pause between its requests too.

    Raises DiscoveryError or CrawlStoppedError, which says why, in one line.
    """
    manners = _manners(platform, public_only=not allow_private)
    limits = manners.politeness
    try:
        async with asyncio.timeout(_LONGEST_LOOK_SECONDS), open_fetcher(manners) as fetcher:
            found = await discover_shop(fetcher.fetch, url, Wishes(**wishes), limits, utc_now())
            return found, fetcher.spacing_seconds
    except TimeoutError:
        raise DiscoveryError(f"{url} was not understood within {_LONGEST_LOOK_SECONDS:.0f} s") from None


async def check_one(platform: Platform, shop: Shop, *, public_only: bool) -> ShopCheck:
    """Look at one page of a shop, storing nothing; whatever is wrong with it is told, not raised."""
    manners = _manners(platform, public_only=public_only, agent=shop.robots_agent)
    try:
        async with open_fetcher(manners) as fetcher:
            return await _look(fetcher, shop, manners.politeness)
    except (CrawlStoppedError, PageError) as error:
        return ShopCheck(
            slug=shop.slug, ok=False, detail=str(error), currency=shop.currency, requests=manners.requests
        )


async def _look(fetcher: Fetcher, shop: Shop, limits: Politeness) -> ShopCheck:
    ask = Ask(fetcher.fetch)
    sample = await sample_shop(ask, shop, limits, utc_now(), wanted=1, most=4)
    found = find_currency(sample.text)
    if found is None and shop.platform == "shopify":
        # Its products name none, but its first page does.
        found = find_currency((await ask(shop.url + "/")).body.decode("utf-8", "replace"))
    detail = f"still {shop.platform}"
    if not sample.observations:
        why = f": {sample.rejected[0].detail}" if sample.rejected else ""
        detail = f"none of its products could be read{why}"
    elif found not in (None, shop.currency):
        detail = f"its pages name {found}, not {shop.currency}"
    return ShopCheck(
        slug=shop.slug,
        ok=bool(sample.observations) and found in (None, shop.currency),
        detail=detail,
        currency=shop.currency,
        currency_found=found,
        listings=sample.listings,
        requests=fetcher.requests,
    )


def describe_discovery(found: Discovery, spacing_seconds: float, longest_seconds: float) -> dict[str, Any]:
    """Say what was found, for scripts."""
    sample = found.sample
    seconds = round(sample.requests_of_crawl * spacing_seconds)
    return {
        "shop": msgspec.to_builtins(found.shop),
        "habits": msgspec.to_builtins(found.habits),
        "products": [_describe_product(listing) for listing in sample.observations],
        "listings": sample.listings,
        "listings_is_all": sample.is_all,
        "requests": sample.requests_of_crawl,
        "seconds": seconds,
        "warnings": find_warnings(seconds, found.shop.crawl_every_seconds, longest_seconds),
        "tried": list(found.tried),
    }


def find_warnings(seconds: int, every_seconds: int, longest_seconds: float) -> list[str]:
    """Tell what is wrong with a crawl that takes so many seconds, the answers left out."""
    warnings = []
    if seconds > every_seconds:
        warnings.append(
            f"a crawl takes longer than the {every_seconds} s between two: they follow each other without a "
            f"pause; say --every-seconds {min(_LONGEST_INTERVAL_SECONDS, 2 * seconds)}, for example"
        )
    if seconds > longest_seconds:
        warnings.append(
            f"a crawl ends after {longest_seconds:.0f} s, so this shop is never seen whole: set "
            "SKATESTOCK_CRAWL_LONGEST_SECONDS higher"
        )
    return warnings


def print_discovery(found: Discovery, spacing_seconds: float, longest_seconds: float) -> None:
    """Show what was found, for people."""
    described = describe_discovery(found, spacing_seconds, longest_seconds)
    terminal, shop = Terminal(), found.shop
    place = ", ".join(part for part in (shop.city, shop.region) if part)
    terminal.say(f"[bold]{escape(shop.name)}[/] ({shop.slug})" + (f", {escape(place)}" if place else ""))
    terminal.say(f"address   {escape(shop.url)}")
    terminal.say(f"platform  {shop.platform}" + _say_keys(shop))
    terminal.say(f"currency  {shop.currency}")
    terminal.say(f"titles    {_say_titles(found)}")
    terminal.say(f"itself    {escape(_say_vendors(found))}")
    table = make_table("title", "brand", "price", "sizes", "in stock")
    for product in described["products"]:
        sizes = ", ".join(product["sizes"][:_SHOWN_SIZES])
        sizes += " …" if len(product["sizes"]) > _SHOWN_SIZES else ""
        stock = f"{product['offers_in_stock']} of {product['offers']}"
        words = (product["title"][:60], product["brand"] or "-", product["price"], sizes, stock)
        table.add_row(*map(escape, words))
    terminal.print(table, "")
    minutes = max(1, round(described["seconds"] / 60))
    least = "" if described["listings_is_all"] else "at least "
    terminal.say(
        f"{least}{count_of(described['listings'], 'listing')}; a crawl takes {least}"
        f"{count_of(described['requests'], 'request')}, some {count_of(minutes, 'minute')}, every "
        f"{shop.crawl_every_seconds // 60} min"
    )
    for warning in described["warnings"]:
        terminal.say(f"[yellow]warning[/]   {escape(warning)}")


def _say_titles(found: Discovery) -> str:
    chosen, habits = found.shop.title_habit, found.habits
    if habits.title_habit is None:
        why = f"not clear from {count_of(habits.titles, 'title')}; --title-habit says it"
    elif habits.title_habit is chosen:
        why = f"{habits.titles_so} of {count_of(habits.titles, 'title')}"
    else:
        why = f"as you say; {habits.titles_so} of {count_of(habits.titles, 'title')} are {habits.title_habit}"
    return f"{chosen} ({why})"


def _say_vendors(found: Discovery) -> str:
    names = ", ".join(found.shop.vendor_is_shop)
    if not names:
        return "no vendor is the shop's own name"
    count = found.habits.vendors_so
    return f"{names}, as vendor of {count_of(count, 'listing')}: no brand" if count else f"{names}: no brand"


def _say_keys(shop: Shop) -> str:
    if shop.platform == "squarespace":
        return f", store at {shop.store_path}"
    if shop.platform == "schema-org":
        return f", {shop.sitemap_path}, products under {', '.join(shop.product_paths)}"
    return ""


def _describe_product(listing: ListingObserved) -> dict[str, Any]:
    reading = current_normaliser().read_listing(
        listing.title, listing.name, listing.brand, listing.product_type
    )
    read = current_normaliser().read_sizes([offer.options for offer in listing.offers], reading)
    prices = sorted({offer.price_minor for offer in listing.offers})
    ends = prices if len(prices) < 2 else [prices[0], prices[-1]]
    return {
        "title": listing.title,
        "brand": reading.brand,
        "price": " to ".join(str(Money(price, listing.currency)) for price in ends),
        "sizes": list(dict.fromkeys(size.label for size in read if size is not None)),
        "offers": len(listing.offers),
        "offers_in_stock": sum(offer.availability.value == "in_stock" for offer in listing.offers),
    }


def _manners(platform: Platform, *, public_only: bool, agent: str | None = None) -> Manners:
    settings = platform.settings
    limits = msgspec.structs.replace(
        _LIMITS, spacing_seconds=settings.crawl_spacing_seconds, contact=settings.crawl_contact
    )
    gate = (
        LocalSpacingGate()
        if platform.redis_url is None
        else ValkeySpacingGate(connect_cache(platform.redis_url))
    )
    return Manners(
        limits,
        gate,
        agent or "SkateStock",
        robots_memory=CatalogRobots(platform.pool, utc_now, keeps=False),
        public_only=public_only,
    )
