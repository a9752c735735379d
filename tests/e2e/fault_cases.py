"""Every way in which a replica shop can go wrong, each with what must come of a crawl that meets it."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Sees = Literal["nothing", "part", "all", "all but some"]


class FaultCase(NamedTuple):
    """A fault as it is set, and how the crawls end that meet it."""

    kind: str
    reason: str
    sees: Sees = "nothing"
    parameters: Mapping[str, int | str] = {}
    page: int | None = None
    rejects: Mapping[str, int] = {}
    """How many products a crawl of three pages rejects, by reason."""
    crawls: int = 2
    """In a row: one for what a second sighting would rightly confirm."""
    holds: Literal["zero", "times 100", None] = None
    """Which prices nobody is to believe."""
    plays: str = "shopify"
    """The platform of the shop."""
    path: str | None = None
    """Where the fault plays, if not on its usual paths."""

    @property
    def name(self) -> str:
        """Name the case in the test's report."""
        settings = [f"{name}={value}" for name, value in self.parameters.items()]
        where = [] if self.page is None else [f"on page {self.page}"]
        where += [] if self.path is None else [f"on {self.path}"]
        whose = [] if self.plays == "shopify" else [self.plays]
        return " ".join([*whose, self.kind, *settings, *where])

    @property
    def is_complete(self) -> bool:
        """Tell whether the crawl may say that something is gone."""
        return self.reason == "complete"


TOO_LONG_SECONDS = 9000
EVERY_LISTING = -1
"""As a number of rejects: as many as the shop shows."""
BOMB_BYTES = 2**28

CASES = (
    FaultCase("not_found", "refused"),
    FaultCase("not_found", "refused", "part", page=3),
    FaultCase("too_many_requests", "rate_limited", parameters={"retry_after_seconds": 0}),
    FaultCase("too_many_requests", "rate_limited", parameters={"form": "none"}),
    FaultCase("too_many_requests", "retry_later", parameters={"retry_after_seconds": TOO_LONG_SECONDS}),
    FaultCase(
        "too_many_requests",
        "retry_later",
        "part",
        {"retry_after_seconds": TOO_LONG_SECONDS, "form": "date"},
        page=2,
    ),
    FaultCase("security_rejection", "blocked"),
    FaultCase("security_rejection", "blocked", "part", page=2),
    FaultCase("bot_wall", "blocked"),
    FaultCase("bot_wall", "blocked", "part", {"status": 200}, page=2),
    FaultCase("bot_wall", "blocked", parameters={"status": 503}),
    FaultCase("unavailable", "server_error"),
    FaultCase("unavailable", "server_error", "part", page=2),
    FaultCase(
        "unavailable", "retry_later", parameters={"retry_after_seconds": TOO_LONG_SECONDS, "form": "date"}
    ),
    FaultCase("html_instead_of_json", "not_json"),
    FaultCase("html_instead_of_json", "not_json", "part", page=3),
    FaultCase("password_page", "password_page"),
    FaultCase("redirect_loop", "redirected_away"),
    FaultCase("redirect_off_host", "redirected_away"),
    # The rules of the crawl before hold for a day.
    FaultCase("robots_5xx", "complete", "all"),
    FaultCase("robots_timeout", "complete", "all"),
    FaultCase("robots_disallows", "robots_disallowed"),
    FaultCase("robots_disallows", "robots_disallowed", parameters={"disallow": "/products.json"}),
    FaultCase("connection_reset", "unreachable", crawls=3),
    FaultCase("connection_reset", "unreachable", "part", page=2),
    FaultCase("page_drift", "drifted", "part"),
    # Nothing in the pages shows this one: it costs the listings between two pages one miss, and no more.
    FaultCase("page_drift", "complete", "all but some", {"change": "removed"}, crawls=1),
    FaultCase("listing_repeated", "drifted", "part", rejects={"repeated_listing": 1}),
    FaultCase("listing_repeated", "drifted", "part", {"position": 19}),
    FaultCase("listing_missing", "complete", "all but some", crawls=1),
    FaultCase("listing_missing", "complete", "all but some", {"position": 30, "count": 9}, crawls=1),
    FaultCase("listing_missing", "implausible", "part", {"position": 5, "count": 30}),
    FaultCase("price_zero", "complete", "all", crawls=1, holds="zero"),
    FaultCase("price_times_100", "complete", "all", crawls=1, holds="times 100"),
    FaultCase("empty_catalogue", "empty"),
    FaultCase("short_catalogue", "implausible", "part"),
    # Less than 30 % are missing, which may be so: one miss for each of them, and no more.
    FaultCase("short_catalogue", "complete", "all but some", {"pages": 2}, crawls=1),
    FaultCase("bad_product", "complete", "all", rejects={"no_offers": 3}),
    FaultCase("bad_product", "complete", "all", {"how": "variants_missing"}, rejects={"no_offers": 3}),
    FaultCase("bad_product", "complete", "all", {"how": "price_text"}, rejects={"unreadable_price": 3}),
    FaultCase("bad_product", "unidentified", "part", {"how": "no_id"}, rejects={"no_id": 3}),
    FaultCase("bad_product", "unidentified", "part", {"how": "not_an_object"}, rejects={"not_an_object": 3}),
    FaultCase("unexpected_json", "not_products"),
    FaultCase("unexpected_json", "not_products", parameters={"shape": "object"}),
    FaultCase("unexpected_json", "not_products", parameters={"shape": "text"}),
    FaultCase("unexpected_json", "not_products", "part", {"shape": "null"}, page=2),
    FaultCase("invalid_utf8", "wrong_charset"),
    FaultCase("wrong_charset", "wrong_charset"),
    FaultCase("wrong_charset", "wrong_charset", "part", {"charset": "utf-16"}, page=3),
    FaultCase("bom", "complete", "all"),
    FaultCase("slow_drip", "timed_out"),
    FaultCase("truncated_body", "truncated"),
    FaultCase("truncated_body", "truncated", "part", {"content_length": "sent"}, page=3),
    FaultCase("truncated_body", "truncated", parameters={"share_percent": 0}),
    FaultCase("truncated_gzip", "truncated"),
    FaultCase("truncated_gzip", "truncated", "part", {"share_percent": 99}, page=2),
    FaultCase("decompression_bomb", "too_large", parameters={"size_bytes": BOMB_BYTES}),
)
