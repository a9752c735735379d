"""The unchanged-filter on real servers: whatever happens, each clean crawl leaves the log right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import redis.asyncio
from tests.cache_servers import ALL, CacheServer, run_cache_server
from tests.crawl_ports import LogCounts, LogFingerprints, MemoryLog
from tests.filter_scene import KEY, LISTINGS, SHOP, TWO_A_PAGE, Scene, Valkey

from skatestock.crawl.errors import CrawlStoppedError
from skatestock.crawl.filter import UnchangedFilter
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.session import connect_cache
from skatestock.embedded.valkey import EmbeddedValkey
from skatestock.telemetry.metrics import CRAWL_LISTINGS


@pytest.fixture(scope="module", params=ALL)
def cache_server(request: pytest.FixtureRequest) -> Iterator[CacheServer]:
    with run_cache_server(request.param) as server:
        yield server


@pytest.fixture
async def scene(cache_server: CacheServer) -> AsyncIterator[Scene]:
    client = redis.asyncio.Redis.from_url(cache_server.url)
    await client.flushall()
    yield Scene(Valkey(client))
    await client.aclose()


async def test_only_what_differs_from_its_last_state_is_said_and_a_return_is_a_change(scene: Scene) -> None:
    for price, changed in ((60, list(LISTINGS)), (60, []), (45, ["3"]), (60, ["3"]), (60, [])):
        scene.prices["3"] = price
        await scene.crawl()
        assert scene.changed_in_last() == changed
        scene.clock.advance(1)
    assert [e.offers[0].price_minor for e in scene.log.observed() if e.listing_id == "3"] == [
        6000,
        4500,
        6000,
    ]
    # At the beginning of the first crawl, and for each of its three pages.
    assert scene.fingerprints.asked == [(), ("1", "2"), ("3", "4"), ("5",)]


async def test_a_trusted_cache_asks_nobody_and_any_doubt_asks_the_catalogue(scene: Scene) -> None:
    first = await scene.crawl()
    assert first.filter_state is not None
    scene.fingerprints.asked.clear()
    await scene.crawl()
    assert scene.fingerprints.asked == []
    for doubt in (
        None,
        {"run_id": "another", "crawl_id": "x"},
        {**(scene.state or {}), "crawl_id": first.crawl_id},
    ):
        scene.state = doubt
        await scene.crawl()
        assert scene.changed_in_last() == []
        # The look back at page 1 asks once more.
        assert scene.fingerprints.asked == [(), ("1", "2"), ("3", "4"), ("5",), ("1", "2")]
        scene.fingerprints.asked.clear()
    # Each of them built the cache anew, so the next one trusts it again.
    await scene.crawl()
    assert scene.fingerprints.asked == []


async def test_nobody_is_asked_about_what_was_never_seen(scene: Scene) -> None:
    scene.shown = LISTINGS[:4]
    await scene.crawl()
    scene.state, scene.shown = None, LISTINGS
    scene.fingerprints.asked.clear()
    await scene.crawl()
    assert scene.fingerprints.asked == [(), ("1", "2"), ("3", "4"), ("1", "2")]
    assert scene.changed_in_last() == ["5"]


async def test_a_crawl_that_must_believe_nothing_says_everything_and_builds_the_cache_anew(
    scene: Scene,
) -> None:
    await scene.crawl()
    scene.unfinished = True
    scene.fingerprints.asked.clear()
    scene.not_modified.clear()
    await scene.crawl()
    assert scene.changed_in_last() == list(LISTINGS)
    assert (scene.fingerprints.asked, scene.not_modified) == ([], [])
    scene.unfinished = False
    await scene.crawl()
    assert (scene.changed_in_last(), scene.fingerprints.asked) == ([], [])


async def test_what_a_dead_crawl_appended_last_may_arrive_at_any_time(scene: Scene) -> None:
    await scene.crawl()
    scene.log.slow = True
    scene.prices["1"] = 45
    with pytest.raises(ConnectionError):
        await scene.crawl()
    scene.log.slow, scene.unfinished, scene.prices["1"] = False, True, 60
    scene.clock.advance(5)
    await scene.crawl()
    scene.log.arrive()
    assert scene.logged_prices() == scene.prices


async def test_a_restored_snapshot_is_not_believed(scene: Scene) -> None:
    await scene.crawl()
    await scene.valkey.save()
    scene.prices["2"] = 45
    await scene.crawl()
    scene.prices["2"] = 60
    await scene.valkey.restart(restored=True)
    await scene.crawl()
    assert scene.changed_in_last() == ["2"]
    assert scene.logged_prices() == scene.prices


async def test_a_restart_with_an_old_snapshot_in_the_middle_of_a_crawl_is_noticed(scene: Scene) -> None:
    await scene.crawl()
    await scene.valkey.save()
    scene.prices["5"] = 45
    await scene.crawl()
    scene.prices["5"] = 60
    outcome = await scene.crawl(lambda page: scene.valkey.restart(restored=True) if page == 3 else None)
    assert scene.changed_in_last() == ["5"]
    assert outcome.filter_state is None
    assert scene.logged_prices() == scene.prices


async def test_a_valkey_that_fails_in_the_middle_leaves_no_marker_and_loses_nothing(scene: Scene) -> None:
    await scene.crawl()
    scene.prices |= {"1": 45, "4": 45}

    def fail(page: int) -> None:
        scene.valkey.away = page >= 2

    outcome = await scene.crawl(fail)
    assert scene.logged_prices() == scene.prices
    assert outcome.filter_state is None
    scene.valkey.away = False
    await scene.crawl()
    assert scene.changed_in_last() == []


async def test_when_nobody_can_vouch_everything_is_said_again(scene: Scene) -> None:
    await scene.crawl()
    scene.state, scene.fingerprints.can_vouch = None, False
    await scene.crawl()
    assert scene.changed_in_last() == list(LISTINGS)


async def test_without_a_valkey_the_catalogue_serves(scene: Scene) -> None:
    scene.valkey.away = True
    for _ in range(2):
        outcome = await scene.crawl()
    assert (outcome.changed, outcome.filter_state) == (0, None)


async def test_a_crawl_that_was_overtaken_neither_reads_nor_spoils_the_cache(scene: Scene) -> None:
    await scene.crawl()
    slow = await scene.begin()
    await scene.crawl()
    scene.prices["1"] = 45
    judgement = await slow.read_shop(scene._fetching(None), LogCounts(scene.log), TWO_A_PAGE)
    assert (await slow.complete(judgement, 0)).filter_state is None
    values = await cast(Any, scene.valkey.client.hgetall(KEY))
    sixty = next(e.fingerprint for e in scene.log.observed() if e.listing_id == "1")
    assert values[b"1"] == sixty


async def test_an_append_without_an_answer_ends_the_crawl_and_the_trust(scene: Scene) -> None:
    await scene.crawl()
    scene.prices["1"] = 45
    scene.log.fail_after = True
    with pytest.raises(ConnectionError):
        await scene.crawl()
    scene.log.fail_after = False
    scene.prices["1"] = 60
    scene.clock.advance(5)
    await scene.crawl()
    assert scene.changed_in_last() == ["1"]
    assert scene.logged_prices() == scene.prices


async def test_a_page_costs_two_round_trips_to_read_and_one_to_write(scene: Scene) -> None:
    scene.tagged = False
    await scene.crawl()
    scene.prices = dict.fromkeys(LISTINGS, 45)
    client = scene.valkey.client
    before = (await client.info("commandstats")).get("cmdstat_hmget", {}).get("calls", 0)
    evals_before = (await client.info("commandstats"))["cmdstat_eval"]["calls"]
    await scene.crawl()
    stats = await client.info("commandstats")
    # Three pages and page 1 again, each asked whether it is known and what its listings were; of these only
    # the first three have news; take-over, a look at the Bloom filter, and end marker besides.
    assert stats["cmdstat_hmget"]["calls"] - before == 2 * 4
    assert stats["cmdstat_eval"]["calls"] - evals_before == 3 + 3


async def test_a_page_that_reads_as_before_is_not_sent_again_and_its_listings_are_seen(scene: Scene) -> None:
    await scene.crawl()
    assert scene.not_modified == []
    counted = CRAWL_LISTINGS.labels(SHOP.slug, "unchanged")
    before = counted._value.get()
    outcome = await scene.crawl()
    assert scene.not_modified == [1, 2, 3, 1]
    assert (outcome.complete, outcome.pages, outcome.listings, outcome.changed) == (True, 4, 5, 0)
    assert scene.log.completed()[-1].listing_ids == LISTINGS
    assert counted._value.get() - before == 5 + 2
    scene.prices["3"] = 45
    await scene.crawl()
    assert scene.not_modified[4:] == [1, 3, 1]
    assert scene.changed_in_last() == ["3"]


async def test_a_listing_that_has_gone_from_a_page_is_missed_though_the_others_were_not_sent(
    scene: Scene,
) -> None:
    await scene.crawl()
    scene.shown = LISTINGS[:4]
    outcome = await scene.crawl()
    # The catalogue now ends with an empty third page.
    assert scene.not_modified == [1, 2, 1]
    assert (outcome.complete, scene.log.completed()[-1].listing_ids) == (True, LISTINGS[:4])


async def test_an_old_page_that_comes_back_does_not_hide_what_was_said_elsewhere_meanwhile(
    scene: Scene,
) -> None:
    def stop(page: int) -> None:
        if page == 2:
            raise CrawlStoppedError(CrawlReason.BLOCKED, "enough")

    await scene.crawl()
    # Listing 4 moves to page 1 with another price; the crawl ends before page 2, whose tag stays known.
    scene.shown, scene.prices["4"] = ("4", "1", "2", "3", "5"), 45
    assert (await scene.crawl(stop)).filter_state is not None
    assert scene.changed_in_last() == ["4"]
    scene.shown, scene.prices["4"] = LISTINGS, 60
    await scene.crawl()
    assert scene.changed_in_last() == ["4"]
    assert scene.logged_prices() == scene.prices


async def test_a_cache_that_was_lost_asks_for_every_page_whole(scene: Scene) -> None:
    await scene.crawl()
    await scene.valkey.client.flushall()
    await scene.crawl()
    assert scene.not_modified == []
    await scene.crawl()
    assert scene.not_modified == [1, 2, 3, 1]


async def test_every_page_is_read_whole_once_a_day_whatever_its_tag(scene: Scene) -> None:
    await scene.crawl()
    scene.clock.advance(86400 - 1)
    await scene.crawl()
    assert scene.not_modified == [1, 2, 3, 1]
    scene.clock.advance(1)
    await scene.crawl()
    # Page 1 was read again just now, so that the look back at it needs no body.
    assert scene.not_modified[4:] == [1]


async def test_a_page_with_a_rejected_product_is_read_whole_each_time(scene: Scene) -> None:
    scene.prices["3"] = -1
    for _ in range(2):
        outcome = await scene.crawl()
        assert (outcome.complete, outcome.rejected, outcome.listings) == (True, 1, 5)
    # Page 1 is known from the beginning of the crawl on.
    assert 2 not in scene.not_modified


async def test_what_another_form_of_ours_left_in_the_cache_is_no_known_page(scene: Scene) -> None:
    await scene.crawl()
    await cast(Any, scene.valkey.client.hset(KEY, "\x00page:2", b"\xc1 not ours"))
    await scene.crawl()
    assert scene.not_modified == [1, 3, 1]


async def test_a_real_restart_changes_the_run_id_and_ends_the_trust(data_folder: Path) -> None:
    server = EmbeddedValkey(data_folder)
    await server.start()
    log = MemoryLog()
    try:
        states: list[dict[str, str] | None] = []
        for round_number in range(3):
            client = connect_cache(server.url)
            opened = await UnchangedFilter.open(
                client, SHOP.slug, f"c{round_number}", states[-1] if states else None, LogFingerprints(log)
            )
            states.append(await opened.close(complete=True))
            assert opened.trusted == (round_number == 1)
            await client.aclose()
            if round_number == 1:
                await server.stop()
                await server.start()
        assert states[0] is not None
        assert states[2] is not None
        assert states[0]["run_id"] == (states[1] or {})["run_id"] != states[2]["run_id"]
    finally:
        await server.stop()
