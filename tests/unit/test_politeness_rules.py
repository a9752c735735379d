"""What is done about each answer of a shop, decided without any network."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.crawl.politeness import (
    Accept,
    Answer,
    Politeness,
    Redirect,
    Retry,
    Stop,
    backoff_before,
    host_of,
    is_same_shop,
    judge_answer,
    judge_failure,
    parse_retry_after,
    retry_not_before,
    site_of,
)
from skatestock.crawl.reasons import CrawlReason

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
URL = "https://shop.example/products.json"
POLITE = Politeness(retries=2, backoff_seconds=5, max_retry_after_seconds=300)


def judge(status: int, *, attempt: int = 1, redirects: int = 0, **headers: str) -> object:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Answer(url=URL, status=status, headers=names, attempt=attempt, redirects=redirects)
    return judge_answer(answer, POLITE, NOW)


def http_date(seconds: int) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


def test_only_200_is_accepted() -> None:
    assert judge(200) == Accept()
    for status in (201, 204, 206, 304, 401, 403, 404, 410):
        verdict = judge(status)
        assert isinstance(verdict, Stop)
        assert verdict.reason == "refused"


def test_430_ends_the_crawl_at_once_and_for_hours() -> None:
    verdict = judge(430)
    assert isinstance(verdict, Stop)
    assert (verdict.reason, verdict.retry_after_seconds) == ("blocked", 6 * 3600)


@pytest.mark.parametrize(("status", "slower"), [(429, True), (503, False)])
def test_retry_after_is_obeyed_as_seconds_and_as_a_date(status: int, slower: bool) -> None:
    assert judge(status, retry_after="7") == Retry(7.0, slower=slower)
    assert judge(status, retry_after=http_date(90)) == Retry(90.0, slower=slower)


def test_a_date_is_measured_by_the_shops_own_clock() -> None:
    assert judge(503, retry_after=http_date(1030), date=http_date(1000)) == Retry(30.0)


@pytest.mark.parametrize("status", [429, 503])
def test_a_longer_pause_than_we_wait_ends_the_crawl_and_is_remembered(status: int) -> None:
    for text in ("301", http_date(301)):
        verdict = judge(status, retry_after=text)
        assert isinstance(verdict, Stop)
        assert (verdict.reason, verdict.retry_after_seconds) == ("retry_later", 301.0)


@pytest.mark.parametrize("text", ["999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_pause_of_years_is_taken_for_a_mistake_and_lasts_a_week(text: str) -> None:
    verdict = judge(503, retry_after=text)
    assert isinstance(verdict, Stop)
    assert (verdict.reason, verdict.retry_after_seconds) == ("retry_later", 7 * 86400)
    assert retry_not_before(NOW, verdict.retry_after_seconds) == NOW + timedelta(days=7)


# The last of them is a moment that UTC has no year for.
@pytest.mark.parametrize(
    "text",
    [None, "soon", "", "-5", "1_000", "٣", "Thu, 99 Foo 2026", "Fri, 31 Dec 9999 23:59:59 -0100"],
)
def test_without_a_readable_retry_after_the_pause_doubles(text: str | None) -> None:
    answers = [
        Answer(url=URL, status=503, headers={} if text is None else {"retry-after": text}, attempt=attempt)
        for attempt in (1, 2)
    ]
    assert [judge_answer(answer, POLITE, NOW) for answer in answers] == [Retry(5.0), Retry(10.0)]


def test_retries_come_to_an_end() -> None:
    limited, broken = judge(429, attempt=3), judge(503, attempt=3)
    assert isinstance(limited, Stop)
    assert isinstance(broken, Stop)
    assert (limited.reason, limited.retry_after_seconds) == ("rate_limited", 3600)
    assert (broken.reason, broken.retry_after_seconds) == ("server_error", None)


def test_a_redirect_is_followed_within_the_shop_only() -> None:
    assert judge(302, location="/en/products.json") == Redirect("https://shop.example/en/products.json")
    assert judge(301, location="https://www.shop.example/products.json") == Redirect(
        "https://www.shop.example/products.json"
    )
    for location in (
        "https://elsewhere.example/x",
        "https://shop.example:8443/x",
        "ftp://shop.example/x",
        "https://[x",
    ):
        verdict = judge(302, location=location)
        assert isinstance(verdict, Stop)
        assert verdict.reason == "redirected_away"


def test_redirects_without_end_or_aim_are_no_pages() -> None:
    for verdict in (judge(302, redirects=5, location="/x"), judge(302)):
        assert isinstance(verdict, Stop)
        assert verdict.reason == "redirected_away"


def test_the_password_page_is_recognised_and_not_fetched() -> None:
    verdict = judge(302, location="https://shop.example/password")
    assert isinstance(verdict, Stop)
    assert verdict.reason == "password_page"


def test_broken_connections_are_retried_and_time_outs_are_not() -> None:
    assert judge_failure(CrawlReason.UNREACHABLE, "x", 1, POLITE) == Retry(5.0)
    assert judge_failure(CrawlReason.TRUNCATED, "x", 2, POLITE) == Retry(10.0)
    assert judge_failure(CrawlReason.UNREACHABLE, "x", 3, POLITE) == Stop(CrawlReason.UNREACHABLE, "x")
    assert judge_failure(CrawlReason.TIMED_OUT, "x", 1, POLITE) == Stop(CrawlReason.TIMED_OUT, "x")
    assert judge_failure(CrawlReason.TOO_LARGE, "x", 1, POLITE) == Stop(CrawlReason.TOO_LARGE, "x")


def test_hosts_and_shops_are_told_apart_by_port() -> None:
    assert host_of("https://Shop.example:443/x") == "shop.example"
    assert host_of("http://127.0.0.1:4001/x") == "127.0.0.1:4001"
    assert is_same_shop("http://shop.example/", "https://www.shop.example/x")
    assert not is_same_shop("http://127.0.0.1:4001/", "http://127.0.0.1:4002/")


def test_all_addresses_of_a_shop_share_one_spacing() -> None:
    for url in ("https://shop.example/x", "http://www.Shop.example/", "https://WWW.shop.example:443/y"):
        assert site_of(url) == "shop.example"
    assert site_of("http://127.0.0.1:4001/x") == "127.0.0.1:4001"


def test_a_304_answers_only_who_named_a_tag() -> None:
    known = Answer(url=URL, status=304, headers={}, conditional=True)
    assert judge_answer(known, POLITE, NOW) == Accept()
    unasked = judge(304)
    assert isinstance(unasked, Stop)
    assert unasked.reason == "refused"


def test_the_user_agent_says_who_we_are_and_whom_to_ask() -> None:
    assert Politeness(contact="https://example.org/us").user_agent.startswith("SkateStock/")
    assert Politeness(contact="https://example.org/us").user_agent.endswith(" (+https://example.org/us)")


def test_the_next_attempt_is_never_before_the_pause_is_over() -> None:
    assert retry_not_before(NOW, None) is None
    assert retry_not_before(NOW, 0.2) == NOW + timedelta(seconds=1)
    assert retry_not_before(NOW, 60) == NOW + timedelta(seconds=60)


@given(st.text(max_size=40))
def test_any_retry_after_is_a_pause_or_nothing(text: str) -> None:
    seconds = parse_retry_after(text, NOW)
    assert seconds is None or seconds >= 0


@given(st.integers(min_value=1, max_value=60))
def test_backoff_never_exceeds_the_longest_pause(attempt: int) -> None:
    assert 0 < backoff_before(attempt, POLITE) <= POLITE.max_retry_after_seconds


def test_a_crawl_gets_the_time_that_its_requests_take_up_to_a_limit() -> None:
    limits = Politeness()
    an_hour, a_day = limits.crawl_timeout_seconds, limits.longest_crawl_seconds
    assert limits.limit_crawl(1, 2) == limits.limit_crawl(600, 2) == an_hour
    # Some 1,700 pages at 2 s are an hour without a single answer: five times as many get their time.
    assert limits.limit_crawl(8500, 2) >= 8500 * (2 + 1)
    assert limits.limit_crawl(1000, 10) > 1000 * 10 > an_hour
    assert limits.limit_crawl(50_000, 2) == a_day
    brief = msgspec.structs.replace(limits, longest_crawl_seconds=60)
    assert brief.limit_crawl(8500, 2) == an_hour, "less than the usual time is never given"
