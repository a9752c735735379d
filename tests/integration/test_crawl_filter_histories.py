"""The unchanged-filter through any history of crawls and misfortunes: the log ends up right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import redis.asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.cache_servers import ALL, CacheServer, run_cache_server
from tests.filter_scene import KEY, LISTINGS, Scene, Valkey

from skatestock.crawl.bloom import MAX_AGE, STATE_KEY
from skatestock.crawl.errors import CrawlStoppedError
from skatestock.crawl.reasons import CrawlReason

FEW = ("1", "5")


class CrashError(Exception):
    """The process dies here."""


@pytest.fixture(scope="module", params=ALL)
def cache_server(request: pytest.FixtureRequest) -> Iterator[CacheServer]:
    with run_cache_server(request.param) as server:
        yield server


HAPPENINGS = (
    "nothing",
    "flush",
    "restart",
    "restore",
    "save",
    "away",
    "lost answer",
    "die",
    "append fails",
    "append lost",
    "append late",
    "late append arrives",
    "stopped",
    "evict fingerprints",
    "forget seen",
    "spoil seen",
    "seen goes back",
)
# The same listings, differently spread over the pages.
ORDERS = (LISTINGS, ("5", "1", "2", "3", "4"), ("2", "3", "4", "5", "1"), ("2", "5", "1", "3", "4"))
STEPS = st.fixed_dictionaries(
    {
        "prices": st.dictionaries(st.sampled_from(FEW), st.sampled_from((45, 60)), max_size=2),
        "happens": st.sampled_from(HAPPENINGS),
        "at_page": st.integers(min_value=0, max_value=4),
        "vouch": st.booleans(),
        "state_saved": st.booleans(),
        "passes": st.sampled_from((0, 1, 60, int(MAX_AGE.total_seconds()))),
        "order": st.sampled_from(ORDERS),
    }
)


def step(
    price: int,
    happens: str = "nothing",
    at_page: int = 0,
    *,
    state_saved: bool = True,
    order: tuple[str, ...] = LISTINGS,
) -> dict[str, Any]:
    known = {"prices": {"5": price}, "happens": happens, "at_page": at_page, "order": order}
    return known | {"vouch": True, "state_saved": state_saved, "passes": 1}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=2, max_size=8))
# The price is said but the answer is lost, and it returns: an end marker that still stood would hide that.
@example(steps=[step(60), step(45, "append lost", 3), step(60)])
# A snapshot comes back whose marker is the one recorded, because the later crawl's was not: the run id tells.
@example(steps=[step(60, "save"), step(45, "restore", state_saved=False), step(60)])
# The same in the middle of a crawl: only the owner tells.
@example(steps=[step(60, "save"), step(45), step(60, "restore", 3)])
# Listing 5 shows another price on page 1 and the crawl ends there; then the old last page comes back.
@example(steps=[step(60), step(45, "stopped", 2, order=ORDERS[1]), step(60)])
# What a dead crawl said arrives after two more have begun, of which the first did not see the whole shop.
@example(
    steps=[
        step(60),
        step(45, "append late", 3),
        step(60, "stopped", 2),
        step(60, "late append arrives", 4),
        step(60),
    ]
)
def test_after_every_clean_crawl_the_log_says_what_the_shop_says(
    cache_server: CacheServer, steps: list[dict[str, Any]]
) -> None:
    asyncio.run(_play(cache_server.url, steps))


async def _play(url: str, steps: list[dict[str, Any]]) -> None:
    client = redis.asyncio.Redis.from_url(url)
    await client.flushall()
    scene = Scene(Valkey(client))
    for step in steps:
        scene.prices |= step["prices"]
        scene.shown = step["order"]
        scene.clock.advance(step["passes"])
        scene.fingerprints.can_vouch = step["vouch"]
        old_state = scene.state
        try:
            outcome = await scene.crawl(_happening(scene, step))
        except (CrashError, ConnectionError):
            # A process that died comes back later than within the same second.
            scene.clock.advance(2)
            scene.unfinished = True
        else:
            if outcome.reason is not CrawlReason.BLOCKED:
                assert outcome.complete
                assert scene.logged_prices() == scene.prices
                scene.unfinished = False
            # Whoever crawled may die before it can record what the next crawl may trust.
            scene.state = scene.state if step["state_saved"] else old_state
        scene.valkey.away = scene.log.fail_before = scene.log.fail_after = scene.log.slow = False
        scene.valkey.lose_answers = 0
        if step["at_page"] == 0:
            await _between(scene, step["happens"])
    await _expect_right_in_the_end(scene)
    await client.aclose()


async def _expect_right_in_the_end(scene: Scene) -> None:
    """Whatever was still under way when the last crawl had ended is older than what it said."""
    await scene.crawl()
    scene.log.arrive()
    assert scene.logged_prices() == scene.prices


def _happening(scene: Scene, step: dict[str, Any]) -> Callable[[int], Any]:
    return lambda page: _happen(scene, step) if page == step["at_page"] else None


async def _happen(scene: Scene, step: dict[str, Any]) -> None:
    match step["happens"]:
        case "die":
            raise CrashError
        case "away":
            scene.valkey.away = True
        case "lost answer":
            scene.valkey.lose_answers = 1
        case "stopped":
            raise CrawlStoppedError(CrawlReason.BLOCKED, "enough")
        case "append fails":
            scene.log.fail_before = True
        case "append lost":
            scene.log.fail_after = True
        case "append late":
            scene.log.slow = True
        case happening:
            await _between(scene, happening)


async def _between(scene: Scene, happening: str) -> None:
    match happening:
        case "flush":
            await scene.valkey.client.flushall()
        case "restart":
            await scene.valkey.restart(restored=False)
        case "restore":
            await scene.valkey.restart(restored=True)
        case "save":
            await scene.valkey.save()
        case "late append arrives":
            scene.log.arrive()
        case happening:
            await _spoil(scene, happening)


async def _spoil(scene: Scene, happening: str) -> None:
    """Take something away from the cache, or put something wrong there, while the server runs on."""
    client = scene.valkey.client
    match happening:
        case "evict fingerprints":
            await client.delete(KEY)
        case "forget seen":
            for key in await client.keys(f"{STATE_KEY}:*"):
                await client.delete(key)
        case "spoil seen":
            await client.delete(STATE_KEY)
            await cast(Any, client.rpush(STATE_KEY, "no state"))
        case "seen goes back":
            await scene.valkey.restore(STATE_KEY.encode())
