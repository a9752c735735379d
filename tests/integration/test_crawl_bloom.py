"""The Bloom filter of listings that were never seen, on every kind of server that production may have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest
import redis.asyncio
from redis.exceptions import RedisError
from tests.cache_servers import ALL, BLOOM, CacheServer, run_cache_server

from skatestock.crawl.bloom import BITS, MAX_AGE, STATE_KEY, Generations, SeenListings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAGE = [str(number) for number in range(250)]
OTHERS = [f"other-{number}" for number in range(250)]


@pytest.fixture(scope="module", params=ALL)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[CacheServer]:
    with run_cache_server(kind) as running:
        yield running


@pytest.fixture
async def client(server: CacheServer) -> AsyncIterator[redis.asyncio.Redis]:
    opened = redis.asyncio.Redis.from_url(server.url)
    await opened.flushall()
    yield opened
    await opened.aclose()


async def crawl(
    client: redis.asyncio.Redis,
    listing_ids: list[str],
    *,
    shop: str = "labor",
    after: timedelta = timedelta(0),
) -> None:
    """Record what a complete crawl saw."""
    seen = await SeenListings.open(client, shop, NOW + after)
    await seen.record(listing_ids)
    await seen.close(complete=True)


async def read_state(client: redis.asyncio.Redis) -> Generations:
    return msgspec.json.decode(await cast(Any, client.get(STATE_KEY)), type=Generations)


async def test_what_was_recorded_is_perhaps_seen_and_hardly_anything_else(
    client: redis.asyncio.Redis,
) -> None:
    await crawl(client, PAGE)
    seen = await SeenListings.open(client, "labor", NOW)
    assert (seen.knows_shop, seen.is_whole) == (True, True)
    assert await seen.find_perhaps_seen(PAGE) == PAGE
    assert await seen.find_perhaps_seen([*OTHERS, "7"]) == ["7"]
    assert await seen.find_perhaps_seen([]) == []


async def test_the_server_s_own_filters_are_used_where_it_has_them(
    client: redis.asyncio.Redis, kind: str
) -> None:
    await crawl(client, PAGE)
    state = await read_state(client)
    assert state.native == (kind == BLOOM)
    assert await client.type(state.newest) == (b"MBbloom--" if kind == BLOOM else b"string")


async def test_a_shop_that_was_never_seen_whole_gets_no_answer(client: redis.asyncio.Redis) -> None:
    await crawl(client, PAGE)
    first = await SeenListings.open(client, "nj", NOW)
    assert await first.find_perhaps_seen(PAGE) == PAGE
    await first.record(PAGE)
    await first.close(complete=False)
    assert not (await SeenListings.open(client, "nj", NOW)).knows_shop


async def test_two_shops_may_use_one_id(client: redis.asyncio.Redis) -> None:
    await crawl(client, PAGE)
    await crawl(client, OTHERS, shop="nj")
    seen = await SeenListings.open(client, "nj", NOW)
    assert await seen.find_perhaps_seen([*PAGE, OTHERS[0]]) == [OTHERS[0]]


async def test_a_lost_filter_asks_about_everything(client: redis.asyncio.Redis) -> None:
    await crawl(client, PAGE)
    await client.delete((await read_state(client)).newest)
    seen = await SeenListings.open(client, "labor", NOW)
    assert not seen.knows_shop
    assert await seen.find_perhaps_seen(OTHERS) == OTHERS


async def test_an_old_generation_answers_until_the_one_after_it_is_old(client: redis.asyncio.Redis) -> None:
    await crawl(client, PAGE)
    oldest = (await read_state(client)).newest
    seen = await SeenListings.open(client, "labor", NOW + MAX_AGE)
    assert (seen.knows_shop, seen.is_whole) == (True, False)
    assert await seen.find_perhaps_seen(["7", "other-7"]) == ["7"]
    # What is seen again moves on; the rest is forgotten with the oldest generation.
    await crawl(client, PAGE[:100], after=MAX_AGE)
    later = await SeenListings.open(client, "labor", NOW + 2 * MAX_AGE)
    assert (later.knows_shop, later.is_whole) == (True, False)
    assert await later.find_perhaps_seen(PAGE) == PAGE[:100]
    assert oldest not in (await read_state(client)).keys
    await SeenListings.open(client, "labor", NOW + 3 * MAX_AGE)
    assert not (await SeenListings.open(client, "labor", NOW + 3 * MAX_AGE)).knows_shop


async def test_a_full_generation_is_followed_by_a_new_one(client: redis.asyncio.Redis, kind: str) -> None:
    if kind == BLOOM:
        pytest.skip("filling the server's own filter takes a million members: benchmarks/bloom.py does")
    await crawl(client, PAGE)
    full = (await read_state(client)).newest
    # Half of the bits, besides those that are set already.
    await client.setrange(full, BITS // 16, b"\xff" * (BITS // 16))
    seen = await SeenListings.open(client, "labor", NOW)
    assert (seen.knows_shop, seen.is_whole) == (True, False)
    assert (await read_state(client)).keys[1:] == [full]


async def test_everything_of_it_goes_by_itself_when_nobody_crawls_any_more(
    client: redis.asyncio.Redis,
) -> None:
    await crawl(client, PAGE)
    keys = await client.keys("*")
    assert len(keys) == 2
    lives = [await client.ttl(key) for key in keys]
    assert all(MAX_AGE.total_seconds() < life <= 2 * MAX_AGE.total_seconds() + 86400 for life in lives)


async def test_two_crawls_that_begin_a_generation_at_once_share_it(client: redis.asyncio.Redis) -> None:
    class Slow:
        """Lets another crawl open the filter between this one's look at the state and its rotation."""

        async def get(self, key: str) -> Any:
            state = await client.get(key)
            await crawl(client, PAGE)
            return state

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

    seen = await SeenListings.open(cast(redis.asyncio.Redis, Slow()), "labor", NOW)
    assert await seen.find_perhaps_seen(["7", "other-7"]) == ["7"]


@pytest.mark.parametrize("state", [b"no state", b"{}", b'{"newest": "k", "native": 1}'])
async def test_a_state_of_another_form_is_replaced(client: redis.asyncio.Redis, state: bytes) -> None:
    await client.set(STATE_KEY, state)
    await crawl(client, PAGE)
    assert (await SeenListings.open(client, "labor", NOW)).is_whole


async def test_generations_that_are_none_cost_one_crawl_without_the_filter(
    client: redis.asyncio.Redis,
) -> None:
    await crawl(client, PAGE)
    newest = (await read_state(client)).newest
    await client.delete(newest)
    await cast(Any, client.rpush(newest, "no bits"))
    assert not (await SeenListings.open(client, "labor", NOW)).knows_shop
    await crawl(client, PAGE)
    assert (await SeenListings.open(client, "labor", NOW)).is_whole


async def test_a_server_that_fails_knows_nothing_from_then_on(client: redis.asyncio.Redis) -> None:
    class Failing:
        """Answers until it is away."""

        away = False

        async def eval(self, *arguments: Any) -> Any:
            if self.away:
                raise RedisError("no answer")
            return await cast(Any, client.eval(*arguments))

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

    await crawl(client, PAGE)
    failing = Failing()
    seen = await SeenListings.open(cast(redis.asyncio.Redis, failing), "labor", NOW)
    assert seen.knows_shop
    failing.away = True
    assert await seen.find_perhaps_seen(OTHERS) == OTHERS
    failing.away = False
    assert (seen.knows_shop, seen.is_whole) == (False, False)
    await seen.record(OTHERS)
    assert await seen.find_perhaps_seen(["x"]) == ["x"]


async def test_without_a_server_everything_is_perhaps_seen() -> None:
    seen = await SeenListings.open(None, "labor", NOW)
    assert await seen.find_perhaps_seen(PAGE) == PAGE
    await seen.record(PAGE)
    await seen.close(complete=True)


async def test_a_page_of_thousands_is_one_question_too(client: redis.asyncio.Redis) -> None:
    many = [str(number) for number in range(5000)]
    await crawl(client, many)
    seen = await SeenListings.open(client, "labor", NOW)
    assert await seen.find_perhaps_seen(many) == many


async def test_a_page_is_one_round_trip(client: redis.asyncio.Redis) -> None:
    await crawl(client, PAGE)
    seen = await SeenListings.open(client, "labor", NOW)
    before = (await client.info("commandstats"))["cmdstat_eval"]["calls"]
    await seen.find_perhaps_seen(PAGE)
    assert (await client.info("commandstats"))["cmdstat_eval"]["calls"] - before == 1
