"""Crawls of one small shop over the unchanged-filter, on a real server that may fail in any way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, cast

import redis.asyncio
from redis.exceptions import ConnectionError as ValkeyAwayError
from tests.crawl_ports import HandClock, LogCounts, LogFingerprints, MemoryLog, new_crawl_id

from skatestock.crawl.conditional import Fetched
from skatestock.crawl.errors import CrawlStoppedError
from skatestock.crawl.filter import UnchangedFilter, fingerprints_key
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.shops import load_shops
from skatestock.crawl.walk import CrawlOutcome, ShopCrawl, judge_error
from skatestock.events.model import Event, ListingObserved

SHOP = load_shops()[0]
KEY = fingerprints_key(SHOP.slug)
LISTINGS = ("1", "2", "3", "4", "5")
TWO_A_PAGE = Politeness(page_limit=2)


class Valkey:
    """A real server that can also be killed, restarted from a snapshot, or lose an answer."""

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
        values: list[bytes | None] = await self._ask(self.client.hmget(key, fields))
        return values

    async def get(self, key: str) -> Any:
        return await self._ask(self.client.get(key))

    async def delete(self, key: str) -> Any:
        return await self._ask(self.client.delete(key))

    async def eval(self, *arguments: Any) -> Any:
        return await self._ask(self.client.eval(*arguments))

    async def execute_command(self, *arguments: Any) -> Any:
        return await self._ask(cast(Any, self.client).execute_command(*arguments))

    async def _ask(self, asking: Any) -> Any:
        # An answer is lost after the server has done what it was asked for.
        if self.away:
            asking.close()
            raise ValkeyAwayError("away")
        answer = await asking
        self._answer()
        return answer

    def _answer(self) -> None:
        if self.away:
            raise ValkeyAwayError("away")
        if self.lose_answers:
            self.lose_answers -= 1
            raise ValkeyAwayError("no answer")

    async def save(self) -> None:
        keys: list[bytes] = await cast(Any, self.client.keys("*"))
        self.snapshot = {key: await cast(Any, self.client.dump(key)) for key in keys}

    async def restart(self, *, restored: bool) -> None:
        self.starts += 1
        await self.client.flushall()
        if restored:
            await self.restore(b"")

    async def restore(self, prefix: bytes) -> None:
        """Bring the keys with a prefix back as they were when they were saved."""
        for key, value in self.snapshot.items():
            if key.startswith(prefix):
                await cast(Any, self.client.restore(key, 0, value, replace=True))


def moment_of(event: Event) -> datetime:
    return event.observed_at if isinstance(event, ListingObserved) else event.completed_at


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
    unfinished: bool = False
    fingerprints: LogFingerprints = field(init=False)

    def __post_init__(self) -> None:
        self.fingerprints = LogFingerprints(self.log)

    async def begin(self) -> ShopCrawl:
        crawl_id = new_crawl_id()
        client = cast(redis.asyncio.Redis, self.valkey)
        unchanged = await UnchangedFilter.open(
            client,
            SHOP.slug,
            crawl_id,
            self.state,
            self.fingerprints,
            believe_nothing=self.unfinished,
            now=self.clock(),
        )
        known = [moment_of(event) for event in (*self.log.events, *self.log.under_way)]
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
