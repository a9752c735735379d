"""The unchanged-filter on a real Valkey: whatever happens, each clean crawl leaves the log right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest
import redis.asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as ValkeyAwayError
from tests.crawl_ports import HandClock, LogCounts, LogFingerprints, MemoryLog, new_crawl_id

from skatestock.crawl.conditional import Fetched
from skatestock.crawl.errors import CrawlStoppedError
from skatestock.crawl.filter import UnchangedFilter, fingerprints_key
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.reasons import CrawlReason
from skatestock.crawl.session import connect_cache
from skatestock.crawl.shops import load_shops
from skatestock.crawl.walk import CrawlOutcome, ShopCrawl, judge_error
from skatestock.embedded.valkey import EmbeddedValkey
from skatestock.telemetry.metrics import CRAWL_LISTINGS

SHOP = load_shops()[0]
KEY = fingerprints_key(SHOP.slug)
LISTINGS = ("1", "2", "3", "4", "5")
FEW = ("1", "5")
TWO_A_PAGE = Politeness(page_limit=2)


class CrashError(Exception):
    """The process dies here."""


class Valkey:
    """A real Valkey that can also be killed, restarted from a snapshot, or lose an answer."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self.client = client
        self.starts = 0
        self.away = False
        self.lose_answers = 0
        self.snapshot: dict[bytes, bytes] = {}

    async def info(self, section: str) -> dict[str, Any]:
        self._answer()
        return {"run_id": f"{(await self.client.info(section))['run_id']}-{self.starts}"}

    async def hmget(self, key: str, fields: list[str]) -> list[bytes | None]:
        self._answer()
        values: list[bytes | None] = await cast(Any, self.client.hmget(key, fields))
        return values

    async def eval(self, *arguments: Any) -> Any:
        if self.away:
            raise ValkeyAwayError("away")
        answer = await cast(Any, self.client.eval(*arguments))
        self._answer()
        return answer

    def _answer(self) -> None:
        if self.away:
            raise ValkeyAwayError("away")
        if self.lose_answers:
            self.lose_answers -= 1
            raise ValkeyAwayError("no answer")

    async def save(self) -> None:
        self.snapshot = await cast(Any, self.client.hgetall(KEY))

    async def restart(self, *, restored: bool) -> None:
        self.starts += 1
        await self.client.delete(KEY)
        if restored and self.snapshot:
            await cast(Any, self.client.hset(KEY, mapping=cast(Any, self.snapshot)))


@dataclass
class Scene:
    valkey: Valkey
    log: MemoryLog = field(default_factory=MemoryLog)
    clock: HandClock = field(default_factory=HandClock)
    prices: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LISTINGS, 60))
    state: Any = None
    last: CrawlOutcome | None = None
    shown: tuple[str, ...] = LISTINGS
    tagged: bool = True
    not_modified: list[int] = field(default_factory=list)
    fingerprints: LogFingerprints = field(init=False)

    def __post_init__(self) -> None:
        self.fingerprints = LogFingerprints(self.log)

    async def begin(self) -> ShopCrawl:
        crawl_id = new_crawl_id()
        client = cast(redis.asyncio.Redis, self.valkey)
        unchanged = await UnchangedFilter.open(client, SHOP.slug, crawl_id, self.state, self.fingerprints)
        known = [event.observed_at for event in self.log.observed()]
        known += [event.completed_at for event in self.log.completed()]
        after = max(known, default=None)
        return ShopCrawl(
            SHOP, crawl_id, unchanged=unchanged, publisher=self.log, lease=None, clock=self.clock, after=after
        )

    async def crawl(self, before_page: Callable[[int], Any] | None = None) -> CrawlOutcome:
        """Crawl to a clean end, with something happening before each page."""
        crawl = await self.begin()
        try:
            judgement = await crawl.read_shop(self._fetching(before_page), LogCounts(self.log), TWO_A_PAGE)
        except CrawlStoppedError as error:
            judgement, _ = judge_error(error)
        outcome = await crawl.complete(judgement, requests=0)
        self.state, self.last = outcome.filter_state, outcome
        return outcome

    def _fetching(self, before_page: Callable[[int], Any] | None) -> Callable[[str, str | None], Any]:
        async def fetch(url: str, tag: str | None) -> Fetched:
            number = int(url.rpartition("=")[2])
            if before_page is not None:
                happening = before_page(number)
                if asyncio.iscoroutine(happening):
                    await happening
            ids = self.shown[2 * number - 2 : 2 * number]
            body = json.dumps({"products": [self._product(listing_id) for listing_id in ids]}).encode()
            stated = f'W/"{sha256(body).hexdigest()}"' if self.tagged else None
            if tag is not None and tag == stated:
                self.not_modified.append(number)
                return Fetched(body=b"", tag=stated, unchanged=True)
            return Fetched(body=body, tag=stated)

        return fetch

    def _product(self, listing_id: str) -> dict[str, Any]:
        price = f"{self.prices[listing_id]}.00"
        return {"id": int(listing_id), "handle": f"h{listing_id}", "variants": [{"id": 1, "price": price}]}

    def logged_prices(self) -> dict[str, int]:
        return {key: event.offers[0].price_minor // 100 for key, event in self.log.fold(SHOP.slug).items()}

    def changed_in_last(self) -> list[str]:
        assert self.last is not None
        return sorted(event.listing_id for event in self.log.observed(self.last.crawl_id))


@pytest.fixture
async def scene(valkey: redis.asyncio.Redis) -> Scene:
    return Scene(Valkey(valkey))


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
    assert scene.fingerprints.asked == 1


async def test_a_trusted_cache_asks_nobody_and_any_doubt_asks_the_catalogue(scene: Scene) -> None:
    first = await scene.crawl()
    assert first.filter_state is not None
    await scene.crawl()
    assert scene.fingerprints.asked == 1
    for doubt in (
        None,
        {"run_id": "another", "crawl_id": "x"},
        {**(scene.state or {}), "crawl_id": first.crawl_id},
    ):
        scene.state = doubt
        await scene.crawl()
        assert scene.changed_in_last() == []
    assert scene.fingerprints.asked == 4
    # Each of them built the cache anew, so the next one trusts it again.
    await scene.crawl()
    assert scene.fingerprints.asked == 4


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
    # the first three have news; take-over and end marker besides.
    assert stats["cmdstat_hmget"]["calls"] - before == 2 * 4
    assert stats["cmdstat_eval"]["calls"] - evals_before == 3 + 2


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
    "stopped",
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
        "passes": st.sampled_from((0, 1, 60)),
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


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=2, max_size=8))
# The price is said but the answer is lost, and it returns: an end marker that still stood would hide that.
@example(steps=[step(60), step(45, "append lost", 3), step(60)])
# A snapshot comes back whose marker is the one recorded, because the later crawl's was not: the run id tells.
@example(steps=[step(60, "save"), step(45, "restore", state_saved=False), step(60)])
# The same in the middle of a crawl: only the owner tells.
@example(steps=[step(60, "save"), step(45), step(60, "restore", 3)])
# Listing 5 shows another price on page 1 and the crawl ends there; then the old last page comes back.
@example(steps=[step(60), step(45, "stopped", 2, order=ORDERS[1]), step(60)])
def test_after_every_clean_crawl_the_log_says_what_the_shop_says(
    valkey_url: str, steps: list[dict[str, Any]]
) -> None:
    asyncio.run(_play(valkey_url, steps))


async def _play(valkey_url: str, steps: list[dict[str, Any]]) -> None:
    client = redis.asyncio.Redis.from_url(valkey_url)
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
        else:
            if outcome.reason is not CrawlReason.BLOCKED:
                assert outcome.complete
                assert scene.logged_prices() == scene.prices
            # Whoever crawled may die before it can record what the next crawl may trust.
            scene.state = scene.state if step["state_saved"] else old_state
        scene.valkey.away = scene.log.fail_before = scene.log.fail_after = False
        scene.valkey.lose_answers = 0
        if step["at_page"] == 0:
            await _between(scene, step["happens"])
    await client.aclose()


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
