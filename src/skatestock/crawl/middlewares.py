"""Our own downloader middlewares: they carry out what `politeness`, `robots` and `bodies` decide.

They replace all of Scrapy's, which take an unreachable robots.txt for permission, ignore Retry-After, jitter
the delay below its minimum and pass on half a compressed body as a whole one. `fetching` gives their order.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Self
from urllib.parse import urlsplit

from OpenSSL.SSL import Error as TLSError
from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    ResponseDataLossError,
    UnsupportedURLSchemeError,
)
from scrapy.http import Response
from twisted.internet.error import ConnectError, ConnectionClosed

from skatestock.crawl import walls
from skatestock.crawl.addresses import find_refused_address, guard_place
from skatestock.crawl.bodies import ACCEPT_ENCODING, decompress_body, parse_content_encoding
from skatestock.crawl.errors import CrawlStoppedError, PageError
from skatestock.crawl.politeness import (
    Accept,
    Answer,
    Politeness,
    Redirect,
    Retry,
    Stop,
    host_of,
    judge_answer,
    judge_failure,
    site_of,
)
from skatestock.crawl.ports import KnownRobots, RobotsMemory, SpacingGate
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.robots import RobotsRules
from skatestock.telemetry.logs import get_logger

# What a shop answered about itself, which holds for robots.txt as for any page.
_REASONS_OF_THE_SHOP = (
    CrawlReason.BLOCKED,
    CrawlReason.RETRY_LATER,
    CrawlReason.RATE_LIMITED,
    CrawlReason.PRIVATE_ADDRESS,
)
_log = get_logger(__name__)

_FAILURES: Mapping[type[Exception], CrawlReason] = {
    DownloadTimeoutError: CrawlReason.TIMED_OUT,
    # Scrapy gives up a download by itself only when it exceeds its size.
    DownloadCancelledError: CrawlReason.TOO_LARGE,
    ResponseDataLossError: CrawlReason.TRUNCATED,
    DownloadConnectionRefusedError: CrawlReason.UNREACHABLE,
    DownloadFailedError: CrawlReason.UNREACHABLE,
    CannotResolveHostError: CrawlReason.UNREACHABLE,
    UnsupportedURLSchemeError: CrawlReason.REDIRECTED_AWAY,
    # What Twisted raises below Scrapy's own errors: connections that fail or break, TLS that fails.
    ConnectError: CrawlReason.UNREACHABLE,
    ConnectionClosed: CrawlReason.UNREACHABLE,
    TLSError: CrawlReason.UNREACHABLE,
}


class Manners:
    """What all middlewares of one crawl share; it learns while the crawl goes on."""

    def __init__(
        self,
        politeness: Politeness,
        gate: SpacingGate,
        robots_agent: str,
        *,
        robots_memory: RobotsMemory | None = None,
        public_only: bool = False,
    ) -> None:
        self.robots_memory = robots_memory
        self.public_only = public_only
        """Whether addresses inside a network of our own are refused; see `addresses`."""
        self.politeness = politeness
        self.gate = gate
        self.robots_agent = robots_agent
        self.slowdown = 1
        self.crawl_delay_seconds = 0.0
        self.requests = 0

    def __deepcopy__(self, memo: object) -> Self:
        # Scrapy copies its settings, where it finds us: what one crawl learns must stay in one place.
        return self

    @property
    def spacing_seconds(self) -> float:
        """Return the spacing as it holds now: ours or that of robots.txt, and twice it after a 429."""
        return max(self.politeness.spacing_seconds, self.crawl_delay_seconds) * self.slowdown

    def slow_down(self) -> None:
        """Double the spacing for the rest of the crawl, up to eight times."""
        self.slowdown = min(8, self.slowdown * 2)


class _Middleware:
    def __init__(self, crawler: Crawler, manners: Manners) -> None:
        self._crawler = crawler
        self._manners = manners

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Make the middleware of one crawl, as Scrapy asks for it."""
        return cls(crawler, crawler.settings["SKATESTOCK_MANNERS"])


class RobotsMiddleware(_Middleware):
    """Asks each host's robots.txt first; when that cannot be had, its last known rules hold, or nothing is
    fetched."""

    def __init__(self, crawler: Crawler, manners: Manners) -> None:
        super().__init__(crawler, manners)
        self._rules: dict[str, RobotsRules] = {}

    async def process_request(self, request: Request) -> None:
        """Let a request pass if robots.txt allows it; raises CrawlStoppedError otherwise."""
        if request.meta.get("robots"):
            return
        host = host_of(request.url)
        if host not in self._rules:
            self._rules[host] = await self._fetch_rules(request.url)
            await self._keep_delay(request.url, self._rules[host].crawl_delay_seconds)
        if not self._rules[host].allows(request.url):
            raise CrawlStoppedError(CrawlReason.ROBOTS_DISALLOWED, f"robots.txt disallows {request.url}")

    async def _keep_delay(self, url: str, delay_seconds: float) -> None:
        politeness = self._manners.politeness
        if delay_seconds > politeness.max_retry_after_seconds:
            pause = min(delay_seconds, politeness.longest_pause_seconds)
            detail = f"{url}: robots.txt asks for {delay_seconds:g} s between requests"
            raise CrawlStoppedError(CrawlReason.RETRY_LATER, detail, pause)
        self._manners.crawl_delay_seconds = max(self._manners.crawl_delay_seconds, delay_seconds)
        if delay_seconds > 0:
            # It counts from the answer that said it.
            await self._manners.gate.hold(site_of(url), self._manners.spacing_seconds)

    async def _fetch_rules(self, url: str) -> RobotsRules:
        parts = urlsplit(url)
        robots_url = f"{parts.scheme}://{parts.netloc}/robots.txt"
        size = self._manners.politeness.max_robots_bytes
        meta = {"robots": True, "download_maxsize": size, "max_body_bytes": size}
        try:
            response = await self._crawler.engine.download_async(Request(robots_url, meta=meta))
        except CrawlStoppedError as error:
            return self._parse_rules(await self._find_known(host_of(url), error))
        known = KnownRobots(response.body)
        await self._remember(host_of(url), known)
        return self._parse_rules(known)

    async def _find_known(self, host: str, error: CrawlStoppedError) -> KnownRobots:
        """Tell by which rules to go on without an answer; raises CrawlStoppedError where there are none."""
        if error.reason in _REASONS_OF_THE_SHOP:
            raise error
        if error.reason is CrawlReason.REFUSED:
            # Whoever answers 4xx has no rules.
            known = KnownRobots(None)
            await self._remember(host, known)
            return known
        memory = self._manners.robots_memory
        last = None if memory is None else await memory.find(host)
        if last is None:
            raise CrawlStoppedError(
                CrawlReason.ROBOTS_UNREACHABLE, str(error), error.retry_after_seconds
            ) from error
        _log.warning("robots_unreachable", host=host, error=str(error), rules="the last known")
        return last

    async def _remember(self, host: str, known: KnownRobots) -> None:
        if self._manners.robots_memory is not None:
            await self._manners.robots_memory.keep(host, known)

    def _parse_rules(self, known: KnownRobots) -> RobotsRules:
        agent = self._manners.robots_agent
        return RobotsRules.allow_all(agent) if known.body is None else RobotsRules.parse(known.body, agent)


class PaceMiddleware(_Middleware):
    """Judges every answer and failure: goes on, asks again later, or ends the crawl."""

    async def process_response(self, request: Request, response: Response) -> Response | Request:
        """Return the response, or the request to send instead; raises CrawlStoppedError."""
        answer = Answer(
            url=request.url,
            status=response.status,
            headers=_read_headers(response),
            attempt=request.meta.get("attempt", 1),
            redirects=request.meta.get("redirects", 0),
            is_wall=self._is_wall(response),
            conditional="If-None-Match" in request.headers,
        )
        verdict = judge_answer(answer, self._manners.politeness, datetime.now(UTC))
        if isinstance(verdict, Accept):
            return await self._read_whole(request, response)
        if isinstance(verdict, Redirect):
            meta = request.meta | {"redirects": answer.redirects + 1, "attempt": 1}
            elsewhere = request.replace(url=verdict.url, meta=meta)
            # The tag is that of the address which was asked first.
            elsewhere.headers.pop("If-None-Match", None)
            return elsewhere
        return await self._carry_out(verdict, request)

    async def process_exception(self, request: Request, exception: Exception) -> Request | None:
        """Return the request to send again, or None for a defect of ours; raises CrawlStoppedError."""
        if isinstance(exception, CrawlStoppedError):
            raise exception
        address = find_refused_address(request.url) if self._manners.public_only else None
        if address is not None:
            detail = f"{host_of(request.url)} is at {address}, inside a network of our own"
            raise CrawlStoppedError(CrawlReason.PRIVATE_ADDRESS, detail)
        reason = next((reason for kind, reason in _FAILURES.items() if isinstance(exception, kind)), None)
        if reason is None:
            # A defect of ours, not of the shop's: it must not look like one.
            return None
        return await self._repeat_or_stop(request, reason, f"{type(exception).__name__}: {exception}"[:300])

    def _is_wall(self, response: Response) -> bool:
        if response.status not in walls.STATUSES:
            return False
        if response.headers.get(walls.CHALLENGE_HEADER) == b"challenge":
            return True
        with suppress(PageError):
            return walls.is_wall(self._decompress(response, self._manners.politeness.max_body_bytes))
        return False

    def _decompress(self, response: Response, most: int) -> bytes:
        values = [value.decode("latin-1") for value in response.headers.getlist("Content-Encoding")]
        return decompress_body(response.body, parse_content_encoding(values), most)

    async def _read_whole(self, request: Request, response: Response) -> Response | Request:
        if response.status == HTTPStatus.NOT_MODIFIED:
            # It has no body, whatever its headers say of the one that it stands for.
            return response
        most = request.meta.get("max_body_bytes", self._manners.politeness.max_body_bytes)
        try:
            body = self._decompress(response, most)
        except PageError as error:
            return await self._repeat_or_stop(request, error.reason, error.detail)
        return Response(request.url, status=response.status, headers=response.headers, body=body)

    async def _repeat_or_stop(self, request: Request, reason: CrawlReason, detail: str) -> Request:
        attempt = request.meta.get("attempt", 1)
        verdict = judge_failure(reason, f"{request.url}: {detail}", attempt, self._manners.politeness)
        return await self._carry_out(verdict, request, reason)

    async def _carry_out(
        self, verdict: Retry | Stop, request: Request, reason: CrawlReason | None = None
    ) -> Request:
        if isinstance(verdict, Stop):
            raise CrawlStoppedError(
                verdict.reason, verdict.detail, verdict.retry_after_seconds, gone=verdict.gone
            )
        if verdict.slower:
            self._manners.slow_down()
        await self._manners.gate.hold(site_of(request.url), verdict.after_seconds)
        if request.meta.get("once"):
            passing = CrawlReason.RATE_LIMITED if verdict.slower else CrawlReason.SERVER_ERROR
            raise CrawlStoppedError(reason or passing, f"{request.url} is not asked again")
        meta = request.meta | {"attempt": request.meta.get("attempt", 1) + 1}
        return request.replace(meta=meta)


class HeadersMiddleware(_Middleware):
    """Says who asks, and which encodings, sizes and times we take."""

    def process_request(self, request: Request) -> None:
        """Complete the request; a redirect or repetition keeps what it has."""
        politeness = self._manners.politeness
        request.headers.setdefault("User-Agent", politeness.user_agent)
        request.headers.setdefault("Accept", "application/json, text/plain;q=0.9, */*;q=0.1")
        request.headers.setdefault("Accept-Encoding", ACCEPT_ENCODING)
        request.meta.setdefault("download_maxsize", politeness.max_compressed_bytes)
        request.meta["download_timeout"] = politeness.request_timeout_seconds


class SpacingMiddleware(_Middleware):
    """Keeps requests to one shop apart, measured from the end of the one to the start of the next."""

    async def process_request(self, request: Request) -> None:
        """Wait for the shop's turn; the last step before the request goes out."""
        # For each request anew: a redirect may have led to another host.
        guard_place(request.url, public_only=self._manners.public_only)
        await self._manners.gate.wait_turn(site_of(request.url), self._manners.spacing_seconds)
        self._manners.requests += 1

    async def process_response(self, request: Request, response: Response) -> Response:
        """Begin the spacing anew: the shop got the request at the latest now."""
        await self._hold(request)
        return response

    async def process_exception(self, request: Request, exception: Exception) -> None:
        """Begin the spacing anew after a request that failed."""
        if not isinstance(exception, CrawlStoppedError):
            await self._hold(request)

    async def _hold(self, request: Request) -> None:
        if self._manners.spacing_seconds > 0:
            await self._manners.gate.hold(site_of(request.url), self._manners.spacing_seconds)


def _read_headers(response: Response) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): values[-1].decode("latin-1")
        for name, values in response.headers.items()
        if values
    }
