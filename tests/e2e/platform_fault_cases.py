"""How the crawls end that meet a fault at a shop on another platform than Shopify, kind by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.e2e.fault_cases import BOMB_BYTES, CASES, EVERY_LISTING, TOO_LONG_SECONDS, FaultCase, Sees

PAGED = ("woocommerce", "squarespace", "recipe")
JSON = ("woocommerce", "squarespace")
MARKED = ("schema-org", "open-graph")
LISTINGS = {"squarespace": 55}
"""How many listings a shop begins with where the usual fifty make no second page."""
# Every product of a shop with marked pages is a page of its own.
PRODUCTS = "/products/*"


def _answers(plays: str, path: str | None) -> Iterator[FaultCase]:
    """What is no answer of the shop's is the same on every platform."""
    for kind, reason, parameters in (
        ("too_many_requests", "rate_limited", {"retry_after_seconds": 0}),
        ("too_many_requests", "retry_later", {"retry_after_seconds": TOO_LONG_SECONDS}),
        ("security_rejection", "blocked", {}),
        ("bot_wall", "blocked", {"status": 200}),
        ("bot_wall", "blocked", {"status": 403}),
        ("unavailable", "server_error", {}),
        ("redirect_loop", "redirected_away", {}),
        ("redirect_off_host", "redirected_away", {}),
        ("connection_reset", "unreachable", {}),
        ("slow_drip", "timed_out", {"bytes_per_second": 100}),
        ("truncated_body", "truncated", {}),
        ("truncated_gzip", "truncated", {}),
        ("decompression_bomb", "too_large", {"size_bytes": BOMB_BYTES}),
    ):
        yield FaultCase(kind, reason, parameters=parameters, plays=plays, path=path)
    yield FaultCase("password_page", "password_page", plays=plays)
    # The rules of the crawl before hold for a day.
    yield FaultCase("robots_5xx", "complete", "all", plays=plays)
    yield FaultCase("robots_disallows", "robots_disallowed", plays=plays)


def _pages(plays: str) -> Iterator[FaultCase]:
    """What goes wrong with pages of many listings."""
    part: Sees = "nothing" if plays == "woocommerce" else "part"
    yield FaultCase("not_found", "refused", plays=plays)
    # WooCommerce's variations are read first: their second page shows no listing.
    yield FaultCase("unavailable", "server_error", part, page=2, plays=plays)
    # Of two pages the second is the last, and what it repeats hides nothing; in doubt is the crawl anyway.
    until: Sees = "all" if plays == "squarespace" else "part"
    yield FaultCase("page_drift", "drifted", until, plays=plays)
    yield FaultCase("page_drift", "complete", "all but some", {"change": "removed"}, crawls=1, plays=plays)
    yield FaultCase("listing_repeated", "drifted", "part", rejects={"repeated_listing": 1}, plays=plays)
    yield FaultCase("listing_missing", "complete", "all but some", crawls=1, plays=plays)
    yield FaultCase("listing_missing", "implausible", "part", {"position": 5, "count": 30}, plays=plays)
    yield FaultCase("empty_catalogue", "empty", plays=plays)
    if plays == "squarespace":
        # One page of two holds nearly all: less than 30 % are missing, which may be so.
        yield FaultCase("short_catalogue", "complete", "all but some", crawls=1, plays=plays)
    else:
        yield FaultCase("short_catalogue", "implausible", "part", plays=plays)
    yield FaultCase("price_zero", "complete", "all", crawls=1, holds="zero", plays=plays)
    yield FaultCase("price_times_100", "complete", "all", crawls=1, holds="times 100", plays=plays)
    yield FaultCase("bom", "complete", "all", plays=plays)
    unreadable = {"unreadable_price": 2 if plays == "squarespace" else 3}
    yield FaultCase("bad_product", "complete", "all", {"how": "price_text"}, rejects=unreadable, plays=plays)
    foreign = {"other_currency": unreadable["unreadable_price"]}
    how = {"how": "other_currency"}
    yield FaultCase("bad_product", "complete", "all", how, rejects=foreign, plays=plays)


def _json(plays: str) -> Iterator[FaultCase]:
    """What is no JSON of the platform."""
    yield FaultCase("html_instead_of_json", "not_json", plays=plays)
    yield FaultCase("unexpected_json", "not_products", parameters={"shape": "object"}, plays=plays)
    yield FaultCase("unexpected_json", "not_products", parameters={"shape": "null"}, plays=plays)
    yield FaultCase("invalid_utf8", "wrong_charset", plays=plays)
    yield FaultCase("wrong_charset", "wrong_charset", plays=plays)
    yield FaultCase("truncated_body", "truncated", parameters={"content_length": "sent"}, plays=plays)


def _recipe() -> Iterator[FaultCase]:
    plays = "recipe"
    # HTML that shows no listing is an empty shop, and nobody believes that of a shop with listings.
    yield FaultCase("html_instead_of_json", "empty", plays=plays)
    yield FaultCase("truncated_body", "truncated", parameters={"content_length": "sent"}, plays=plays)
    # HTML is read with whatever letters there are: no price depends on them.
    yield FaultCase("invalid_utf8", "complete", "all", plays=plays)
    yield FaultCase("wrong_charset", "complete", "all", plays=plays)
    yield FaultCase("bad_product", "complete", "all", rejects={"no_offers": 3}, plays=plays)
    spoiled = {"how": "no_id"}
    yield FaultCase("bad_product", "unidentified", "part", spoiled, rejects={"no_id": 3}, plays=plays)


def _marked_pages(plays: str) -> Iterator[FaultCase]:
    """What goes wrong with pages of one product each, and with the sitemap that names them."""
    sitemap = "/sitemap_products_1.xml"
    # That every page is gone is believed of no shop.
    yield FaultCase("not_found", "empty", plays=plays, path=PRODUCTS)
    yield FaultCase("unavailable", "server_error", plays=plays, path=sitemap)
    yield FaultCase(
        "truncated_body", "truncated", plays=plays, path=sitemap, parameters={"content_length": "sent"}
    )
    yield FaultCase("html_instead_of_json", "not_products", plays=plays, path=sitemap)
    yield FaultCase("bot_wall", "blocked", plays=plays, path=sitemap, parameters={"status": 200})
    yield FaultCase("empty_catalogue", "empty", plays=plays, path=sitemap)
    yield FaultCase("listing_missing", "complete", "all but some", crawls=1, plays=plays, path=sitemap)
    # A page that robots.txt forbids is not ours to read, and its listing no less there.
    forbidden, rejects = {"disallow": "/products/gift-card"}, {"robots_disallowed": 1}
    yield FaultCase("robots_disallows", "complete", "all", forbidden, rejects=rejects, crawls=3, plays=plays)
    everything, rejects = {"disallow": "/products/"}, {"robots_disallowed": EVERY_LISTING}
    yield FaultCase("robots_disallows", "robots_disallowed", "all", everything, rejects=rejects, plays=plays)
    for how, reason in (
        # Without offers OpenGraph shows one that has no price.
        ("variants_null", "no_price" if plays == "open-graph" else "no_offers"),
        ("price_text", "unreadable_price"),
        ("other_currency", "other_currency"),
        # A page that answers as if it were there, and shows no product.
        ("not_an_object", "not_a_product"),
    ):
        yield FaultCase(
            "bad_product",
            "complete",
            "all",
            {"how": how},
            rejects={reason: 1},
            plays=plays,
            path="/products/gift-card",
        )
    yield FaultCase("price_zero", "complete", "all", crawls=1, holds="zero", plays=plays, path=PRODUCTS)
    yield FaultCase(
        "price_times_100", "complete", "all", crawls=1, holds="times 100", plays=plays, path=PRODUCTS
    )
    yield FaultCase("bom", "complete", "all", plays=plays, path=PRODUCTS)
    yield FaultCase("invalid_utf8", "complete", "all", plays=plays, path=PRODUCTS)
    yield FaultCase("wrong_charset", "complete", "all", plays=plays, path=PRODUCTS)


PLATFORM_CASES = (
    *(case for plays in PAGED for case in _answers(plays, None)),
    *(case for plays in PAGED for case in _pages(plays)),
    *(case for plays in JSON for case in _json(plays)),
    *_recipe(),
    *(case for plays in MARKED for case in (*_answers(plays, PRODUCTS), *_marked_pages(plays))),
)

ALL_CASES = (*CASES, *PLATFORM_CASES)


def choose_sample(cases: Sequence[FaultCase] = ALL_CASES) -> list[FaultCase]:
    """Choose one case of each kind, always the same ones, so that the platforms take turns."""
    by_kind: dict[str, list[FaultCase]] = {}
    for case in cases:
        by_kind.setdefault(case.kind, []).append(case)
    turns: Counter[str] = Counter()
    chosen = []
    # Those of which there are few first: they leave no choice.
    for kind in sorted(by_kind, key=lambda kind: (len(by_kind[kind]), kind)):
        case = min(by_kind[kind], key=lambda case: turns[case.plays])
        turns[case.plays] += 1
        chosen.append(case)
    return chosen


_SAME_EVERYWHERE = ("robots_timeout",)
_NO_PAGES = ("page_drift", "listing_repeated", "short_catalogue")
NOT_OF_THE_WORLD = {"listing_twin": "what it adds never was; `test_quality_of_faults` plays it"}
MEANINGLESS = {
    "woocommerce": _SAME_EVERYWHERE,
    "squarespace": _SAME_EVERYWHERE,
    "recipe": (*_SAME_EVERYWHERE, "unexpected_json"),
    "schema-org": (*_SAME_EVERYWHERE, "unexpected_json", *_NO_PAGES),
    "open-graph": (*_SAME_EVERYWHERE, "unexpected_json", *_NO_PAGES),
}
"""The kinds that a platform has no case of.

robots.txt is asked for in one way before any platform's first page; where there is no JSON none can have
another shape; and a sitemap has no pages that could move: what it names twice is one listing.
"""
