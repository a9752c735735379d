"""How we behave towards shops: limits as data, and what to do about each answer. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import msgspec

import skatestock
from skatestock.crawl.reasons import CrawlReason

ROBOTS_AGENT = "SkateStock"
"""The name by which robots.txt may address us."""

_MEBIBYTE = 1024 * 1024
_PORTS = {"http": 80, "https": 443}
_RETRIED_STATUSES = frozenset({408, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_GONE_STATUSES = frozenset({404, 410})
_NOT_MODIFIED = 304
_SHOPIFY_BLOCKED = 430
_TOO_MANY_REQUESTS = 429


class Politeness(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one crawl."""

    spacing_seconds: float = 2.0
    """Between the end of one request to a shop and the start of the next, and between any two starts."""
    contact: str | None = None
    """A URL or address for shop owners, part of the User-Agent."""
    request_timeout_seconds: float = 60.0
    """For one request from connecting to the last byte, however slowly the bytes drip."""
    crawl_timeout_seconds: float = 3600.0
    """For a whole crawl, unless what it is known to ask for takes longer; see `limit_crawl`."""
    longest_crawl_seconds: float = 86400.0
    """For a whole crawl, whatever it asks for."""
    answer_seconds: float = 3.0
    """What a request is given on top of the spacing when a crawl's time is reckoned, retries included."""
    retries: int = 3
    """How often one request is repeated after an answer that may pass."""
    backoff_seconds: float = 5.0
    """Waited before the first repetition, twice as long before each further one."""
    max_retry_after_seconds: float = 300.0
    """A shop that asks for a longer pause than this is left to a later crawl."""
    longest_pause_seconds: float = 7 * 86400.0
    """A shop that asks for a longer pause than this is taken to be mistaken, and asked again after this."""
    blocked_pause_seconds: float = 6 * 3600.0
    rate_limited_pause_seconds: float = 3600.0
    max_compressed_bytes: int = 16 * _MEBIBYTE
    max_body_bytes: int = 64 * _MEBIBYTE
    max_robots_bytes: int = 512 * 1024
    max_redirects: int = 5
    max_pages: int = 400
    page_limit: int = 250

    def limit_crawl(self, requests: int, spacing_seconds: float) -> float:
        """Compute the seconds that a crawl of so many requests may take."""
        needed = requests * (spacing_seconds + self.answer_seconds)
        return max(self.crawl_timeout_seconds, min(needed, self.longest_crawl_seconds))

    @property
    def user_agent(self) -> str:
        """Return the User-Agent: who we are, in which version, and where to complain."""
        contact = f" (+{self.contact})" if self.contact else ""
        return f"{ROBOTS_AGENT}/{skatestock.__version__}{contact}"


class Accept(msgspec.Struct, frozen=True):
    """The answer is what was asked for."""


class Retry(msgspec.Struct, frozen=True):
    """Ask again after a pause, and from then on more slowly if `slower`."""

    after_seconds: float
    slower: bool = False


class Redirect(msgspec.Struct, frozen=True):
    """Ask again at another address of the same shop."""

    url: str


class Stop(msgspec.Struct, frozen=True):
    """Ask this shop nothing more in this crawl."""

    reason: CrawlReason
    detail: str
    retry_after_seconds: float | None = None
    gone: bool = False
    """Whether the shop says that this page, and this page alone, is no more."""


Verdict = Accept | Retry | Redirect | Stop


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What of a response decides how to go on."""

    url: str
    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    attempt: int = 1
    redirects: int = 0
    is_wall: bool = False
    """Whether a bot wall answered in the shop's place."""
    conditional: bool = False
    """Whether the request named the tag of what we know: only then is a 304 an answer."""


def judge_answer(answer: Answer, politeness: Politeness, now: datetime) -> Verdict:
    """Decide how to go on after an answer; `now` measures a Retry-After that has no Date beside it."""
    status = answer.status
    if status in _REDIRECT_STATUSES:
        return _judge_redirect(answer, politeness)
    if status == _SHOPIFY_BLOCKED:
        return Stop(CrawlReason.BLOCKED, f"{answer.url} answered 430", politeness.blocked_pause_seconds)
    if answer.is_wall:
        detail = f"{answer.url} answered {status} with a bot wall"
        return Stop(CrawlReason.BLOCKED, detail, politeness.blocked_pause_seconds)
    if status == _TOO_MANY_REQUESTS:
        return _judge_retry(answer, politeness, now, CrawlReason.RATE_LIMITED)
    if status in _RETRIED_STATUSES:
        return _judge_retry(answer, politeness, now, CrawlReason.SERVER_ERROR)
    if status >= 500:
        return Stop(CrawlReason.SERVER_ERROR, f"{answer.url} answered {status}")
    if status == 200 or (status == _NOT_MODIFIED and answer.conditional):
        return Accept()
    return Stop(CrawlReason.REFUSED, f"{answer.url} answered {status}", gone=status in _GONE_STATUSES)


def judge_failure(reason: CrawlReason, detail: str, attempt: int, politeness: Politeness) -> Retry | Stop:
    """Decide how to go on after a request that got no whole answer."""
    passing = reason in (CrawlReason.UNREACHABLE, CrawlReason.TRUNCATED)
    if passing and attempt <= politeness.retries:
        return Retry(backoff_before(attempt, politeness))
    return Stop(reason, detail)


def backoff_before(attempt: int, politeness: Politeness) -> float:
    """Compute the pause after an attempt (1 is the first): twice as long each time, up to a limit."""
    pause = politeness.backoff_seconds * 2.0 ** (attempt - 1)
    return min(pause, politeness.max_retry_after_seconds)


def parse_retry_after(text: str | None, now: datetime, date_header: str | None = None) -> float | None:
    """Read Retry-After as seconds from now, given as seconds or as an HTTP date; None when it says nothing.

    A date is measured against the answer's own Date, where it has one: the shop's clock may be wrong.
    """
    if text is None:
        return None
    text = text.strip()
    # Only ASCII digits: int() also reads "1_000" and digits of other scripts, which are no seconds here.
    if text.isascii() and text.isdigit():
        return float(text[:12])
    moment = _parse_http_date(text)
    if moment is None:
        return None
    answered_at = _parse_http_date(date_header) or now
    return max(0.0, (moment - answered_at).total_seconds())


def is_same_shop(url: str, other: str) -> bool:
    """Tell whether two addresses are one shop's: the same host and port, with or without `www.` and TLS."""
    return _site(url) == _site(other)


def host_of(url: str) -> str:
    """Return the host, with its port where it is unusual, for which a robots.txt holds."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = parts.port
    return host if port is None or port == _PORTS.get(parts.scheme) else f"{host}:{port}"


def site_of(url: str) -> str:
    """Return the host as spacing knows it: one for all addresses of a shop, with or without `www.`."""
    return host_of(url).removeprefix("www.")


def retry_not_before(now: datetime, seconds: float | None) -> datetime | None:
    """Compute the first whole second at which a shop may be asked again."""
    if seconds is None:
        return None
    return (now + timedelta(seconds=seconds + 0.999_999)).replace(microsecond=0)


def _judge_retry(answer: Answer, politeness: Politeness, now: datetime, reason: CrawlReason) -> Retry | Stop:
    asked = parse_retry_after(answer.headers.get("retry-after"), now, answer.headers.get("date"))
    detail = f"{answer.url} answered {answer.status}"
    if asked is not None and asked > politeness.max_retry_after_seconds:
        pause = min(asked, politeness.longest_pause_seconds)
        return Stop(CrawlReason.RETRY_LATER, f"{detail} and asks for a pause of {asked:.0f} s", pause)
    limited = reason is CrawlReason.RATE_LIMITED
    if answer.attempt > politeness.retries:
        longest = max(asked or 0.0, politeness.rate_limited_pause_seconds if limited else 0.0)
        return Stop(reason, f"{detail}, {answer.attempt} times in a row", longest or None)
    return Retry(backoff_before(answer.attempt, politeness) if asked is None else asked, slower=limited)


def _judge_redirect(answer: Answer, politeness: Politeness) -> Redirect | Stop:
    location = answer.headers.get("location")
    if not location:
        return Stop(CrawlReason.REDIRECTED_AWAY, f"{answer.url} redirects to nowhere")
    try:
        target = urljoin(answer.url, location.strip())
        parts = urlsplit(target)
        same = parts.scheme in _PORTS and is_same_shop(answer.url, target)
    except ValueError:
        return Stop(CrawlReason.REDIRECTED_AWAY, f"{answer.url} redirects to what is no address")
    if same and parts.path.rstrip("/").endswith("/password"):
        return Stop(CrawlReason.PASSWORD_PAGE, f"{answer.url} redirects to the shop's password page")
    if not same:
        return Stop(CrawlReason.REDIRECTED_AWAY, f"{answer.url} redirects to {target[:200]}")
    if answer.redirects >= politeness.max_redirects:
        return Stop(CrawlReason.REDIRECTED_AWAY, f"{answer.url} redirects in a loop")
    return Redirect(target)


def _parse_http_date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _site(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme, 0)
    return (parts.hostname or "").lower().removeprefix("www."), 0 if port in _PORTS.values() else port
