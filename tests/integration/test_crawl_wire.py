"""Crawls of replica shops over real HTTP on loopback: what is read, and what each fault ends in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.crawl_scene import START_AT, Scene

from skatestock.replica.faults import Fault
from skatestock.replica.server import ReplicaServers
from skatestock.replica.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("crawling_loop")]


@pytest_asyncio.fixture(loop_scope="session")
async def scene() -> AsyncIterator[Scene]:
    async with ReplicaServers(World(7, START_AT, listings_per_shop=120)) as replica:
        yield Scene.of(replica)


async def test_a_crawl_sees_every_listing_and_offer_of_the_shop(scene: Scene) -> None:
    outcome = await scene.crawl()
    truth = {str(listing.listing_id): listing for listing in scene.replica.world.state_at("labor")}
    assert (outcome.reason, outcome.complete) == ("complete", True)
    assert outcome.listings == outcome.changed == len(truth)
    seen = scene.log.fold("labor")
    assert seen.keys() == truth.keys()
    for listing_id, event in seen.items():
        offers = truth[listing_id].present_offers()
        assert {(o.offer_id, o.price_minor, o.compare_at_minor) for o in event.offers} == {
            (str(o.offer_id), o.price_minor, o.compare_at_minor) for o in offers
        }
    end = scene.log.completed()[-1]
    assert set(end.listing_ids) == truth.keys()
    assert scene.log.messages[-1].headers == {"event": "CrawlCompleted"}


FAULTS: list[tuple[str, dict[str, int | str], str, bool]] = [
    # fault, its parameters, how the crawl ends, whether listings of page 1 are on the log all the same
    ("not_found", {}, "refused", False),
    ("too_many_requests", {"retry_after_seconds": 0}, "rate_limited", False),
    ("too_many_requests", {"form": "none"}, "rate_limited", False),
    ("too_many_requests", {"retry_after_seconds": 9000}, "retry_later", False),
    ("too_many_requests", {"retry_after_seconds": 9000, "form": "date"}, "retry_later", False),
    ("security_rejection", {}, "blocked", False),
    ("unavailable", {}, "server_error", False),
    ("unavailable", {"form": "seconds", "retry_after_seconds": 0}, "server_error", False),
    ("unavailable", {"form": "date", "retry_after_seconds": 4000}, "retry_later", False),
    ("html_instead_of_json", {}, "not_json", False),
    ("password_page", {}, "password_page", False),
    ("redirect_loop", {}, "redirected_away", False),
    ("redirect_off_host", {}, "redirected_away", False),
    ("robots_5xx", {}, "robots_unreachable", False),
    ("robots_timeout", {}, "robots_unreachable", False),
    ("connection_reset", {}, "unreachable", False),
    ("page_drift", {}, "drifted", True),
    ("page_drift", {"change": "removed"}, "complete", True),
    ("listing_repeated", {}, "drifted", True),
    ("empty_catalogue", {}, "empty", False),
    ("short_catalogue", {}, "implausible", True),
    ("unexpected_json", {"shape": "list"}, "not_products", False),
    ("unexpected_json", {"shape": "object"}, "not_products", False),
    ("unexpected_json", {"shape": "null"}, "not_products", False),
    ("invalid_utf8", {}, "wrong_charset", False),
    ("wrong_charset", {}, "wrong_charset", False),
    ("wrong_charset", {"charset": "utf-16"}, "wrong_charset", False),
    ("slow_drip", {}, "timed_out", False),
    ("truncated_body", {}, "truncated", False),
    ("truncated_body", {"content_length": "sent"}, "truncated", False),
    ("truncated_body", {"share_percent": 0}, "truncated", False),
    ("truncated_gzip", {}, "truncated", False),
    ("truncated_gzip", {"share_percent": 99}, "truncated", False),
    ("decompression_bomb", {}, "too_large", False),
    ("bad_product", {"how": "no_id"}, "unidentified", True),
    ("bad_product", {"how": "not_an_object"}, "unidentified", True),
    ("bad_product", {"how": "price_text"}, "complete", True),
    ("bad_product", {"how": "variants_null"}, "complete", True),
    ("bom", {}, "complete", True),
    ("price_zero", {}, "complete", True),
    ("price_times_100", {}, "complete", True),
]


@pytest.mark.parametrize(("kind", "parameters", "reason", "sees"), FAULTS)
async def test_each_fault_ends_the_crawl_with_its_reason_and_the_next_one_catches_up(
    scene: Scene, kind: str, parameters: dict[str, int | str], reason: str, sees: bool
) -> None:
    first = await scene.crawl()
    fault = scene.replica.set_fault(Fault("labor", kind, parameters=dict(parameters)))
    outcome = await scene.crawl()
    assert (outcome.reason, outcome.complete) == (reason, reason == "complete"), outcome.detail
    assert fault.played > 0
    end = scene.log.completed()[-1]
    assert (end.crawl_id, end.reason, end.complete) == (outcome.crawl_id, reason, reason == "complete")
    assert bool(end.listing_ids) == sees
    scene.replica.board.clear()
    after = await scene.crawl()
    assert after.complete
    assert after.listings == first.listings
