"""What a robots.txt allows us."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skatestock.crawl.robots import RobotsRules

ROBOTS = b"""\xef\xbb\xbfUser-agent: *
Disallow: /cart
Disallow: /search
Crawl-delay: 7

User-agent: SkateStock
Disallow: /private
Allow: /private/products.json
"""


def test_rules_for_us_come_before_those_for_everyone() -> None:
    rules = RobotsRules.parse(ROBOTS, "SkateStock")
    assert rules.allows("https://x.example/cart")
    assert not rules.allows("https://x.example/private/a")
    assert rules.allows("https://x.example/private/products.json")


def test_without_rules_for_us_those_for_everyone_hold_with_their_delay() -> None:
    rules = RobotsRules.parse(ROBOTS, "Other")
    assert not rules.allows("https://x.example/cart")
    assert rules.allows("https://x.example/products.json?limit=250&page=2")
    assert rules.crawl_delay_seconds == 7


def test_a_host_without_robots_txt_allows_everything() -> None:
    rules = RobotsRules.allow_all("SkateStock")
    assert rules.allows("https://x.example/anything")
    assert rules.crawl_delay_seconds == 0


def test_disallowing_everything_holds_for_the_products_too() -> None:
    rules = RobotsRules.parse(b"User-agent: *\nDisallow: /\n", "SkateStock")
    assert not rules.allows("https://x.example/products.json?limit=250&page=1")


def test_rules_for_us_hold_also_where_they_name_a_version() -> None:
    rules = RobotsRules.parse(b"User-Agent : skatestock/9.9 (beta)\nDisallow: /\n", "SkateStock")
    assert not rules.allows("https://x.example/products.json")
    assert RobotsRules.parse(b"User-agent: Other/1\nDisallow: /\n", "SkateStock").allows("https://x.example/")


@given(st.binary(max_size=300))
def test_any_bytes_are_rules(body: bytes) -> None:
    rules = RobotsRules.parse(body, "SkateStock")
    assert rules.crawl_delay_seconds >= 0
    assert isinstance(rules.allows("https://x.example/products.json"), bool)
