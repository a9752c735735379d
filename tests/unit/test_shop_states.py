"""How a shop stands, how long a failing one is left alone, and which addresses are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address

from skatestock.catalog.freshness import (
    BLOCKED_REASONS,
    SILENT_REASONS,
    Freshness,
    Standing,
    judge_freshness,
    stale_after,
)
from skatestock.crawl.addresses import (
    GuardedResolver,
    find_refused_address,
    guard_place,
    is_public_address,
    read_shop_address,
)
from skatestock.crawl.discovery import find_currency, find_product_paths, find_shop_name
from skatestock.crawl.endurance import LONGEST_BACKOFF, backoff_after, has_failed, is_lost
from skatestock.crawl.reasons import CrawlReason

NOW = datetime(2026, 3, 1, tzinfo=UTC)
GOOD = Standing(
    enabled=True,
    crawled=True,
    last_complete_at=NOW - timedelta(minutes=20),
    reason="complete",
    failures=0,
    crawl_every_seconds=1800,
)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, Freshness.FRESH),
        ({"enabled": False, "reason": "blocked", "failures": 9}, Freshness.DISABLED),
        ({"crawled": False, "last_complete_at": None, "reason": None}, Freshness.NEVER_CRAWLED),
        ({"reason": "blocked", "failures": 1}, Freshness.BLOCKED),
        ({"reason": "robots_disallowed", "failures": 9}, Freshness.BLOCKED),
        ({"reason": "server_error", "failures": 1}, Freshness.STALE),
        ({"reason": "server_error", "failures": 2}, Freshness.STALE),
        ({"reason": "server_error", "failures": 3}, Freshness.FAILING),
        ({"last_complete_at": None, "reason": None}, Freshness.STALE),
        ({"last_complete_at": NOW - timedelta(minutes=90)}, Freshness.FRESH),
        ({"last_complete_at": NOW - timedelta(minutes=91)}, Freshness.STALE),
        ({"last_complete_at": NOW - timedelta(minutes=59), "crawl_every_seconds": 60}, Freshness.FRESH),
        ({"last_complete_at": NOW - timedelta(minutes=61), "crawl_every_seconds": 60}, Freshness.STALE),
    ],
)
def test_each_standing_has_one_word(changes: dict[str, object], state: Freshness) -> None:
    assert judge_freshness(msgspec.structs.replace(GOOD, **changes), NOW) is state


def test_the_catalogue_knows_crawls_reasons_by_their_codes() -> None:
    assert {*BLOCKED_REASONS, *SILENT_REASONS} <= {reason.value for reason in CrawlReason}
    assert {reason.value for reason in CrawlReason if has_failed(reason) is None} == set(SILENT_REASONS)
    assert has_failed(CrawlReason.COMPLETE) is False
    assert has_failed(CrawlReason.BLOCKED) is True


@given(st.integers(1, 10_000), st.integers(60, 604_800))
def test_the_pause_grows_with_the_failures_and_is_bounded(failures: int, every: int) -> None:
    pause = backoff_after(failures, every)
    assert timedelta(seconds=every) <= pause <= max(LONGEST_BACKOFF, timedelta(seconds=every))
    assert pause <= backoff_after(failures + 1, every)


def test_the_pause_doubles_from_the_second_failure() -> None:
    minutes = [backoff_after(failures, 1800) // timedelta(minutes=1) for failures in range(1, 7)]
    assert minutes == [30, 60, 120, 240, 360, 360]


def test_a_shop_is_lost_after_many_failures_over_a_long_time_only() -> None:
    assert is_lost(50, NOW - timedelta(days=14), NOW)
    assert not is_lost(49, NOW - timedelta(days=99), NOW)
    assert not is_lost(999, NOW - timedelta(days=13), NOW)


def test_a_shop_is_stale_after_three_crawls_time_and_an_hour_at_least() -> None:
    assert stale_after(1800) == timedelta(minutes=90)
    assert stale_after(60) == timedelta(hours=1)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1"),
        *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "nonsense", ""),
    ],
)
def test_addresses_inside_a_network_are_not_public(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "23.227.38.65", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public_address(address)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("shop.example", "https://shop.example"),
        (" https://Shop.Example/collections/all?x=1#y ", "https://shop.example"),
        ("http://shop.example:8080/", "http://shop.example:8080"),
        ("http://[::1]:80/", "http://[::1]:80"),
    ],
)
def test_a_shops_address_is_read_as_a_person_gives_it(text: str, url: str) -> None:
    assert read_shop_address(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *(
            "ftp://shop.example",
            "file:///etc/passwd",
            "https://me:secret@shop.example",
            "https://me@shop.example",
        ),
        *("https://", "", "http://shop.example:0", "http://shop.example:99999", "http://a b/", "gopher://x"),
    ],
)
def test_what_is_no_shops_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_shop_address(text)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        url = read_shop_address(text)
    except ValueError:
        return
    assert url.startswith(("http://", "https://"))
    assert "@" not in url


class Resolver:
    """Answers every name with the same addresses, as a hostile name server would."""

    def resolveHostName(self, receiver: Any, *_: Any) -> None:
        """Tell all addresses at once."""
        for host in ("10.0.0.7", "8.8.8.8", "127.0.0.1"):
            receiver.addressResolved(IPv4Address("TCP", host, 80))
        receiver.resolutionComplete()


class Receiver:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.complete = False

    def addressResolved(self, address: IPv4Address) -> None:
        """Keep an address."""
        self.hosts.append(address.host)

    def resolutionComplete(self) -> None:
        """Keep that there are no more."""
        self.complete = True


def look_up(host: str, port: int) -> Receiver:
    receiver = Receiver()
    resolver: Any = GuardedResolver(Resolver())
    resolver.resolveHostName(receiver, host, port)
    assert receiver.complete
    return receiver


def test_of_a_guarded_place_only_public_addresses_are_connected_to() -> None:
    url = "https://rebound.example/products.json"
    assert len(look_up("rebound.example", 443).hosts) == 3
    guard_place(url, public_only=True)
    assert look_up("Rebound.example.", 443).hosts == ["8.8.8.8"]
    assert find_refused_address(url) == "127.0.0.1"
    guard_place(url, public_only=False)
    assert len(look_up("rebound.example", 443).hosts) == 3


# ---------------------------------------------------------------- words of pages


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ('Shopify.currency = {"active":"EUR","rate":"1.0"};', "EUR"),
        ('<meta property="product:price:currency" content="SEK">', "SEK"),
        ('{"priceCurrency": "USD"} {"priceCurrency":"USD"} {"currency":"CAD"}', "USD"),
        ('<meta itemprop="priceCurrency" content="GBP" />', "GBP"),
        ("USD is a word here", None),
    ],
)
def test_the_currency_is_the_one_that_a_page_names_most(text: str, currency: str | None) -> None:
    assert find_currency(text) == currency


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("<title>Corner Skateshop | Boards &amp; Shoes</title>", "Corner Skateshop"),
        ('<meta property="og:site_name" content="Corner &amp; Co"><title>x</title>', "Corner & Co"),
        ("<p>nothing</p>", None),
    ],
)
def test_a_shops_name_is_read_from_its_first_page(text: str, name: str | None) -> None:
    assert find_shop_name(text) == name


def test_product_pages_are_those_of_a_known_beginning_then_of_the_most_frequent_one() -> None:
    pages = [f"https://x.example/boards/{number}" for number in range(9)]
    pages += ["https://x.example/about", "https://x.example/product/one", "https://x.example/product/"]
    assert find_product_paths(pages) == ["/product/", "/boards/"]
    assert find_product_paths(["https://x.example/"]) == []
