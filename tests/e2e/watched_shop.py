"""One replica shop that moves from crawl to crawl, watched by the whole pipeline, and what came of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from tests.e2e.history import Histories, fetch_histories
from tests.e2e.platforms import RoundClock, open_test_platform
from tests.e2e.told_truth import tell_truth

from skatestock.catalog.crawl_queries import ShopStatus, fetch_shop_statuses
from skatestock.cli.crawling import CrawlWorker
from skatestock.cli.mixed_world import read_platform_keys
from skatestock.cli.platform import Platform
from skatestock.cli.processes import ingest_until_idle
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.session import CrawlOutcome
from skatestock.crawl.shops import derive_demo_shops, load_shops
from skatestock.ingest.consumer import run_ingest
from skatestock.replica.access_log import AccessLog
from skatestock.replica.model import TruthRecord
from skatestock.replica.rates import Rates
from skatestock.replica.reply import Reply, Request
from skatestock.replica.server import ReplicaServers
from skatestock.replica.truth import OfferKey, OfferState, fold, sample
from skatestock.replica.world import World

SHOP = "labor"
START_AT = datetime(2025, 11, 3, 8, tzinfo=UTC)
STEP = timedelta(hours=12)

# So lively that a few dozen listings change between any two crawls; no price ever jumps by itself.
LIVELY = Rates(
    price_episode_days=6,
    stock_change_days=2,
    new_per_100_listings_per_day=4,
    shop_sale_days=20,
    size_dropped_share=0.2,
    episodes={"regular": 3, "flash_sale": 2, "gradual": 2, "clearance": 1, "withdrawn": 1, "relabelled": 1},
)
# Small pages, and no waiting; a healthy answer has time enough on a busy machine.
QUICK = Politeness(
    backoff_seconds=0.01,
    request_timeout_seconds=20,
    crawl_timeout_seconds=60,
    retries=2,
    page_limit=20,
    max_body_bytes=8 * 2**20,
)

_CRAWL = """
    SELECT complete, reason, detail, listings_seen, rejected, started_at FROM crawls WHERE crawl_id = $1
"""
_REJECTED = """
    SELECT coalesce(reason, ''), count(*) FROM rejected_observations
    WHERE ($1::text IS NULL OR crawl_id = $1) AND (ordinal IS NULL) = $2 GROUP BY 1
"""
_MISSES = "SELECT listing_id, missed, delisted_at FROM listings WHERE missed > 0 OR delisted_at IS NOT NULL"
_SHOWN_OFFERS = """
    SELECT l.listing_id, o.offer_id, o.price_minor, o.compare_at_minor, o.availability, o.held_price_minor
    FROM offers o JOIN listings l ON l.id = o.listing_id
    WHERE l.missed = 0 AND l.delisted_at IS NULL AND o.availability <> 'gone'
"""
_HELD = """
    SELECT l.listing_id, o.offer_id, o.held_price_minor FROM offers o JOIN listings l ON l.id = o.listing_id
    WHERE o.held_at IS NOT NULL
"""

State = tuple[int | None, int | None, str]


class CrawlRow(NamedTuple):
    """A crawl as the catalogue tells of it."""

    complete: bool
    reason: str
    detail: str
    listings_seen: int
    rejected: int
    started_at: datetime


class Tripwire(AccessLog):
    """A record of requests that does something, once, when a page of the catalogue is asked for.

    A crawl reads page after page: by then all that earlier pages showed is on the log and in the cache.
    """

    def __init__(self, page: int, strike: Callable[[], object]) -> None:
        super().__init__()
        self._mark = f"&page={page}"
        self._strike: Callable[[], object] | None = strike

    @property
    def has_struck(self) -> bool:
        """Tell whether the page was asked for."""
        return self._strike is None

    def record(self, shop: str, request: Request, reply: Reply, at: datetime) -> None:
        """Record a request; the reply is still to be sent."""
        super().record(shop, request, reply, at)
        if self._strike is not None and request.target.endswith(self._mark):
            strike, self._strike = self._strike, None
            strike()


class WatchedShop:
    """The shop, its crawler, its ingest, and questions to the catalogue."""

    def __init__(
        self,
        replica: ReplicaServers,
        platform: Platform,
        limits: Politeness,
        *,
        ingests: bool,
        plays: str = "shopify",
    ) -> None:
        self.plays = plays
        self.replica = replica
        self.platform = platform
        self.clock = RoundClock(replica.world.now)
        shops = derive_demo_shops(load_shops(), replica.addresses.shop_urls)
        keys = {"platform": plays} | dict(read_platform_keys(plays))
        (shop,) = (msgspec.structs.replace(shop, **keys) for shop in shops if shop.slug == SHOP)
        self.worker = CrawlWorker(platform, [shop], self.clock, limits)
        self.crawled_at: list[datetime] = []
        """When the complete crawls were."""
        self._ingests = ingests

    @property
    def now(self) -> datetime:
        """Tell the world's moment."""
        return self.replica.world.now

    def truth(self) -> list[TruthRecord]:
        """List what really happened in this shop, as far as its platform can say it."""
        if self.plays == "shopify":
            return self.replica.world.truth(shop=SHOP)
        return tell_truth(self.replica.world, SHOP, self.plays)

    def count_shown(self) -> int:
        """Count the listings that the shop shows."""
        return len(self.replica.world.state_at(SHOP))

    def move_to(self, moment: datetime) -> None:
        """Let the world go on, and the crawler's clock with it."""
        self.replica.clock.set_to(moment)
        self.clock.now = moment

    async def crawl(self, limits: Politeness | None = None) -> CrawlOutcome:
        """Crawl the shop as it is now; if an ingest runs, wait until everything that was said is stored."""
        usual = self.worker.limits
        self.worker.limits = limits or usual
        outcome = await self.worker.crawl_now(SHOP)
        self.worker.limits = usual
        assert outcome is not None
        if outcome.complete:
            self.crawled_at.append(outcome.started_at)
        if self._ingests:
            await self._wait_stored()
        return outcome

    def move_on(self) -> None:
        """Let something happen in the shop."""
        known = len(self.truth())
        self.move_to(self.now + STEP)
        assert len(self.truth()) > known, "a step in which nothing happens tests nothing"

    async def step(self, limits: Politeness | None = None) -> CrawlOutcome:
        """Let something happen in the shop, then crawl it."""
        self.move_on()
        return await self.crawl(limits)

    async def store(self) -> None:
        """Store the whole log, where no ingest runs."""
        await ingest_until_idle(self.platform, asyncio.Event())

    async def _wait_stored(self) -> None:
        async with asyncio.timeout(60):
            while await self.platform.fetch_lag():
                await asyncio.sleep(0.01)

    async def fetch(self, query: str, *arguments: Any) -> Sequence[Any]:
        """Ask the catalogue's tables."""
        async with self.platform.pool.acquire() as connection:
            return list(await connection.fetch(query, *arguments))

    async def fetch_crawl(self, crawl_id: str) -> CrawlRow:
        """Read what the catalogue tells of a crawl."""
        (row,) = await self.fetch(_CRAWL, crawl_id)
        return CrawlRow(*row)

    async def count_rejected(self, crawl_id: str) -> dict[str, int]:
        """Count what a crawl rejected, by reason."""
        return dict(await self.fetch(_REJECTED, crawl_id, False))

    async def count_disbelieved(self) -> dict[str, int]:
        """Count what ingest would not believe, by reason."""
        return dict(await self.fetch(_REJECTED, None, True))

    async def fetch_misses(self) -> dict[str, tuple[int, datetime | None]]:
        """Read how often listings were missed in a row, and when they were delisted."""
        return {row[0]: (row[1], row[2]) for row in await self.fetch(_MISSES)}

    async def fetch_held(self) -> dict[OfferKey, int]:
        """Read the prices that nobody believes yet."""
        return {OfferKey(SHOP, row[0], row[1]): row[2] for row in await self.fetch(_HELD)}

    async def fetch_shown(self) -> dict[OfferKey, State]:
        """Read the state of every offer that the catalogue takes for being sold."""
        rows = await self.fetch(_SHOWN_OFFERS)
        return {OfferKey(SHOP, row[0], row[1]): (row[2], row[3], row[4]) for row in rows}

    async def fetch_status(self) -> ShopStatus:
        """Read what operators are told of the shop."""
        async with self.platform.pool.acquire() as connection:
            (status,) = await fetch_shop_statuses(connection)
        return status

    async def fetch_histories(self) -> Histories:
        """Read every price point."""
        return await fetch_histories(self.platform.database_url)

    async def check_caught_up(self) -> None:
        """The catalogue says of every offer what the shop says of it, and nothing more."""
        truth = {key: say_state(state) for key, state in fold(self.truth(), self.now).items()}
        shown = await self.fetch_shown()
        differing = [
            f"{key}: {shown.get(key)} instead of {truth.get(key)}"
            for key in sorted({*shown, *truth})
            if shown.get(key) != truth.get(key)
        ]
        assert not differing, "\n".join(differing)
        assert not shown.keys() & (await self.fetch_held()).keys()
        assert not await self.fetch("SELECT 1 FROM dead_letters")

    async def check_true(self, *, blind_at: Iterable[datetime] = ()) -> None:
        """Every price point says what the shop said at its moment.

        At blind moments prices were not to be believed: there the last one that was seen may stand.
        """
        histories = await self.fetch_histories()
        assert histories
        blind = {moment: max(at for at in self.crawled_at if at < moment) for moment in blind_at}
        untrue = find_untrue(histories, self.truth(), blind)
        assert not untrue, "\n".join(untrue)


class RestlessClock:
    """A clock that lets the world go on whenever the crawler has looked at it: after every page."""

    def __init__(self, shop: WatchedShop, step: timedelta) -> None:
        self._shop = shop
        self._step = step

    def __call__(self) -> datetime:
        """Tell the moment of the page that has just been read."""
        now = self._shop.now
        self._shop.move_to(now + self._step)
        return now


def say_state(state: OfferState) -> State:
    """Say a state of the world in the catalogue's words."""
    availability = "in_stock" if state.available else "out_of_stock"
    return state.price_minor, state.compare_at_minor or None, availability


def find_untrue(
    histories: Histories, truth: Sequence[TruthRecord], blind: Mapping[datetime, datetime]
) -> list[str]:
    """Tell which price points say what the world did not say at their moment."""
    moments = {point.at for points in histories.values() for point in points} | set(blind.values())
    samples = {key: dict(states) for key, states in sample(truth, moments).items()}
    untrue = []
    for key, points in histories.items():
        states = samples.get(key, {})
        for at, *said in points:
            state = states.get(at)
            if state is None:
                fits = said[2] == "gone"
            else:
                true = say_state(state)
                before = states.get(blind[at]) if at in blind else None
                prices = [true[:2], *([] if before is None else [say_state(before)[:2]])]
                fits = said[2] == true[2] and tuple(said[:2]) in prices
            if not fits:
                untrue.append(f"{key} at {at}: {said}, but the shop said {state}")
    return untrue


@asynccontextmanager
async def watch_shop(
    database_dsn: str,
    valkey_url: str | None,
    *,
    seed: int = 11,
    rates: Rates = LIVELY,
    listings: int = 50,
    limits: Politeness = QUICK,
    ingests: bool = True,
    plays: str = "shopify",
) -> AsyncIterator[WatchedShop]:
    """Open a shop and everything that watches it; if `ingests`, what is said on the log is stored at once.

    `plays` is the platform that the shop is on.
    """
    world = World(seed, START_AT, listings_per_shop=listings, rates=rates, shops=(SHOP,))
    served = ReplicaServers(world, platforms={SHOP: plays})
    async with served as replica, open_test_platform(database_dsn, valkey_url) as platform:
        shop = WatchedShop(replica, platform, limits, ingests=ingests, plays=plays)
        await shop.worker.prepare(only=True)
        stop = asyncio.Event()
        if not ingests:
            stop.set()
        ingesting = asyncio.create_task(run_ingest(platform.log, stop))
        try:
            yield shop
        finally:
            stop.set()
            await ingesting


def hurried(limits: Politeness, request_timeout_seconds: float) -> Politeness:
    """Return limits with which a silent shop costs a test little."""
    return msgspec.structs.replace(limits, request_timeout_seconds=request_timeout_seconds)
