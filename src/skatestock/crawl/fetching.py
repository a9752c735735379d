"""The one place where Scrapy runs: an engine per crawl with our middlewares, and the reactor under all."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib import import_module
from typing import Any, cast

from scrapy import Request, Spider
from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler
from scrapy.crawler import AsyncCrawlerRunner, Crawler
from scrapy.settings import Settings
from scrapy.utils.reactor import is_asyncio_reactor_installed, is_reactor_installed
from twisted.internet import asyncioreactor

from skatestock.crawl import middlewares
from skatestock.crawl.addresses import GuardedResolver
from skatestock.crawl.conditional import Fetched, parse_entity_tag
from skatestock.crawl.errors import ReactorError
from skatestock.crawl.middlewares import Manners
from skatestock.crawl.platforms.port import PAGING_HEADERS

_READY_SECONDS = 30.0


class _OnceHandler(HTTP11DownloadHandler):
    """Sends each request once: Twisted repeats one on a broken kept connection, without any pause."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._pool.retryAutomatically = False


_SETTINGS: dict[str, Any] = {
    "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    # Nothing of Scrapy's own stands between a crawl and its shop, and nothing listens.
    "EXTENSIONS_BASE": {},
    "SPIDER_MIDDLEWARES_BASE": {},
    "DOWNLOADER_MIDDLEWARES_BASE": {},
    "DOWNLOADER_MIDDLEWARES": {
        middlewares.HeadersMiddleware: 100,
        middlewares.RobotsMiddleware: 200,
        middlewares.PaceMiddleware: 300,
        middlewares.SpacingMiddleware: 400,
    },
    "DOWNLOAD_HANDLERS_BASE": {"http": _OnceHandler, "https": _OnceHandler},
    "TELNETCONSOLE_ENABLED": False,
    "REMOTE_CONTROL_ENABLED": False,
    "COOKIES_ENABLED": False,
    "LOG_ENABLED": False,
    "STATS_DUMP": False,
    # The spacing gate alone says when a request goes out.
    "DOWNLOAD_DELAY": 0,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
    "DOWNLOAD_FAIL_ON_DATALOSS": True,
    "DOWNLOAD_WARNSIZE": 0,
    "DOWNLOAD_VERIFY_CERTIFICATES": True,
    "DNS_TIMEOUT": 20,
}


class _ShopSpider(Spider):
    """Keeps the engine open for as long as the crawl asks for pages; it sends nothing by itself."""

    name = "shop"

    def __init__(self, ready: asyncio.Event, done: asyncio.Event, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._ready = ready
        self._done = done

    async def start(self) -> AsyncIterator[Any]:
        """Yield nothing until the crawl is done."""
        self._ready.set()
        await self._done.wait()
        nothing: tuple[Any, ...] = ()
        for item in nothing:
            yield item


class Fetcher:
    """Fetches addresses of one shop, politely; see `open_fetcher`."""

    def __init__(self, crawler: Crawler, manners: Manners) -> None:
        self._crawler = crawler
        self._manners = manners

    @property
    def requests(self) -> int:
        """Return how many requests went out, those to robots.txt and the repeated ones included."""
        return self._manners.requests

    @property
    def spacing_seconds(self) -> float:
        """Return the pause between two requests to this shop, as it now asks for it."""
        return self._manners.spacing_seconds

    async def fetch(self, url: str, tag: str | None = None) -> Fetched:
        """Fetch one whole body, decompressed; with a tag only if it no longer reads as under that tag.

        Raises CrawlStoppedError when the crawl must end.
        """
        headers = {} if tag is None else {"If-None-Match": tag}
        return await self._fetch(Request(url, headers=headers, dont_filter=True))

    async def fetch_once(self, url: str) -> Fetched:
        """Fetch what a crawl can do without: as `fetch`, but what fails is not asked for again.

        The pause that a failure asks for holds for whatever is asked next.
        """
        return await self._fetch(Request(url, meta={"once": True}, dont_filter=True))

    async def _fetch(self, request: Request) -> Fetched:
        response = await self._crawler.engine.download_async(request)
        # A tag holds for the address that was asked; after a redirect it is another's.
        stated = response.headers.get("ETag") if response.url == request.url else None
        return Fetched(
            body=response.body,
            url=response.url,
            tag=parse_entity_tag(None if stated is None else stated.decode("latin-1")),
            unchanged=response.status == HTTPStatus.NOT_MODIFIED,
            headers={
                name: value.decode("latin-1")
                for name in PAGING_HEADERS
                if (value := response.headers.get(name)) is not None
            },
        )


@asynccontextmanager
async def open_fetcher(manners: Manners) -> AsyncIterator[Fetcher]:
    """Run a Scrapy engine of its own for one crawl; raises ReactorError outside of `crawling_reactor`."""
    _check_reactor()
    runner = AsyncCrawlerRunner(Settings(_SETTINGS | {"SKATESTOCK_MANNERS": manners}))
    crawler = runner.create_crawler(_ShopSpider)
    ready, done = asyncio.Event(), asyncio.Event()
    running = runner.crawl(crawler, ready=ready, done=done)
    try:
        await _wait_ready(ready, running)
        yield Fetcher(crawler, manners)
    finally:
        done.set()
        await crawler.stop_async()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()


@asynccontextmanager
async def crawling_reactor() -> AsyncIterator[None]:
    """Put Twisted's reactor under the running event loop, which from then on can crawl.

    A process has one reactor for one loop, for good: leaving this ends crawling in this process.
    """
    reactor = _install_reactor()
    reactor.installNameResolver(GuardedResolver(reactor.nameResolver))
    logging.getLogger("scrapy").setLevel(logging.WARNING)
    reactor.startRunning(installSignalHandlers=False)
    try:
        yield
    finally:
        # Only the threads that look up names: to stop the reactor itself would stop the whole event loop.
        reactor.getThreadPool().stop()


def _install_reactor() -> Any:
    if is_reactor_installed():
        raise ReactorError(
            "this process has a reactor already; crawls run in one event loop of a process only"
        )
    cast(Any, asyncioreactor).install(asyncio.get_running_loop())
    # Not at the top: importing it installs a reactor of another kind.
    return import_module("twisted.internet.reactor")


def _check_reactor() -> None:
    if not is_asyncio_reactor_installed():
        raise ReactorError("crawls need `crawling_reactor` around them")
    reactor = cast(Any, import_module("twisted.internet.reactor"))
    if reactor._asyncioEventloop is not asyncio.get_running_loop():
        raise ReactorError(
            "crawls run in the event loop that `crawling_reactor` was entered in, and in no other"
        )


async def _wait_ready(ready: asyncio.Event, running: "asyncio.Task[None]") -> None:
    opened = asyncio.ensure_future(ready.wait())
    try:
        await asyncio.wait({opened, running}, timeout=_READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        opened.cancel()
    if running.done():
        running.result()
    if not ready.is_set():
        raise ReactorError("Scrapy did not start")
