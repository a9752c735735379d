"""Token buckets that processes share: exact, whoever asks where, on both kinds of server."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.edge_scene import ToyApp, call, make_edge
from tests.forwarding import forwarded

from skatestock.edge.build import EdgeSettings
from skatestock.edge.limiter import ASK, Limiter
from skatestock.edge.pipe import RedisPipe
from skatestock.edge.policies import Limit, Limits, Policy

PROGRAM = Path(__file__).parents[1] / "edge_limit_program.py"
SCRIPT = (
    Path(sys.modules["skatestock.edge.limiter"].__file__ or "").with_name("limits.lua").read_text("utf-8")
)
# The script with a clock that the test sets: everything else is what runs in earnest.
TIMED = SCRIPT.replace("redis.call('TIME')", "{0, ARGV[9]}")
LEASE_US = 250_000
NUMBERS = itertools.count(1)


@asynccontextmanager
async def limiters(url: str, count: int, prefix: str) -> AsyncIterator[list[Limiter]]:
    pipes = [RedisPipe(url) for _ in range(count)]
    for pipe in pipes:
        await pipe.start()
    yield [Limiter(pipe, prefix=prefix) for pipe in pipes]
    for pipe in pipes:
        await pipe.close()


async def take(limiter: Limiter, policy: Policy, client: str = "address:a") -> int:
    bucket = limiter.find_bucket(client, policy)
    remaining = limiter.try_take(bucket, asyncio.get_running_loop().time())
    return await limiter.take(bucket) if remaining == ASK else remaining


class Ideal:
    """One bucket that sees every admission at its moment."""

    def __init__(self, interval: int, capacity: int) -> None:
        self.interval, self.capacity = interval, capacity
        self.credit, self.at = capacity, 0

    def admits(self, at: int) -> bool:
        self.credit = min(self.capacity, self.credit + at - self.at)
        self.at = at
        self.credit -= self.interval
        return self.credit >= 0


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),  # whose turn it is
        st.sampled_from([0, 0, 0, 1_000, 40_000, 120_000, 300_000, 2_000_000]),  # time that passes
        st.integers(0, 4),  # tokens needed at once
        st.integers(0, 200),  # tokens wanted in advance
        st.floats(0, 1),  # how much of the own lease was spent before
        st.booleans(),  # whether what is left is given back, or lost with its process
    ),
    max_size=60,
)


@given(steps=STEPS, burst=st.integers(1, 400), interval=st.sampled_from([60, 5_000, 100_000, 1_000_000]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_leases_never_admit_what_one_bucket_would_not(
    valkey_url: str, steps: list[tuple[int, int, int, int, float, bool]], burst: int, interval: int
) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        client.delete("bucket")
        run = client.register_script(TIMED)
        ideal, now = Ideal(interval, burst * interval), 1_000_000
        held: dict[int, tuple[str, int, int]] = {}
        for number, (who, pause, needed, wanted, spent_part, gives_back) in enumerate(steps):
            began, now = now, now + pause
            name, tokens, ends = held.pop(who, ("", 0, 0))
            # a holder spends only while its lease lasts; here at the latest moment that it may
            spends = round(tokens * spent_part) if min(now, ends) >= began else 0
            at = max(began, min(now, ends))
            assert all(ideal.admits(at) for _ in range(spends))
            if not gives_back:
                name = ""
            arguments = [interval, burst * interval, needed, wanted, name, tokens - spends]
            granted, leased, left, _wait, _others = run(
                keys=["bucket"], args=[*arguments, f"lease.{number}", LEASE_US, now]
            )
            assert all(ideal.admits(now) for _ in range(granted))
            assert granted <= needed
            assert leased <= wanted
            assert left + leased + granted <= burst
            if leased:
                held[who] = (f"lease.{number}", leased, now + LEASE_US)


@given(
    turns=st.lists(st.integers(0, 2), min_size=1, max_size=12),
    burst=st.sampled_from([1, 7, 60, 150]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_burst_admits_exactly_the_bucket_however_it_is_spread(
    valkey_url: str, turns: list[int], burst: int, seed: int
) -> None:
    chance, policy = random.Random(seed), Policy("address", Limit(1, burst))
    async with limiters(valkey_url, 3, f"spread:{next(NUMBERS)}") as three:
        admitted = 0
        for number in range(3 * burst):
            # stretches of one process alone leave leases behind at the others
            who = turns[(number * len(turns)) // (3 * burst)]
            batch = [take(three[who], policy) for _ in range(chance.choice([1, 1, 3]))]
            if admitted < burst or number % 10 == 0:
                admitted += sum(remaining >= 0 for remaining in await asyncio.gather(*batch))
            else:
                for one in batch:
                    one.close()
        assert admitted == burst


async def test_two_processes_admit_exactly_n_of_a_burst_of_3n(any_cache_url: str) -> None:
    for burst, parts in ((60, (1, 1)), (500, (1, 29))):
        asked = [3 * burst * part // sum(parts) for part in parts]
        running = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                str(PROGRAM),
                any_cache_url,
                f"two:{burst}:{parts}",
                str(burst),
                str(count),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            for count in asked
        ]
        for process in running:
            assert process.stdout is not None
            assert (await process.stdout.readline()).strip() == b"ready"
        # both at once
        answers = await asyncio.gather(*(process.communicate(b"go\n") for process in running))
        counts = [tuple(map(int, answer[0].split())) for answer in answers]
        assert sum(admitted for admitted, _refused in counts) == burst, counts
        assert sum(map(sum, counts)) == sum(asked)


async def test_a_hot_client_is_served_with_few_trips(valkey_url: str) -> None:
    pipe = RedisPipe(valkey_url)
    await pipe.start()
    limiter, policy = Limiter(pipe, prefix="hot"), Policy("address", Limit(600_000, 1_000_000))
    before = pipe.calls
    for _ in range(5000):
        assert await take(limiter, policy) >= 0
    assert pipe.calls - before < 100
    await pipe.close()


async def test_what_was_held_in_advance_goes_back(valkey_url: str) -> None:
    policy = Policy("address", Limit(1, 1000))
    async with limiters(valkey_url, 2, "back") as (one, other):
        for _ in range(20):
            await take(one, policy)
        assert one.find_bucket("address:a", policy).lease > 0
        await asyncio.sleep(0.2)
        assert await take(other, policy) == 1000 - 21


async def test_a_server_that_forgot_the_script_is_told_it_again(valkey_url: str) -> None:
    policy = Policy("address", Limit(1, 10))
    async with limiters(valkey_url, 1, "forgot") as (one,):
        await take(one, policy)
        with redis.Redis.from_url(valkey_url) as client:
            client.script_flush()
        assert [await take(one, policy) for _ in range(3)] == [8, 7, 6]


async def test_while_redis_is_away_each_process_limits_alone_and_says_so(any_cache_url: str) -> None:
    none = Limit(60, 5)
    limits = EdgeSettings(limits=Limits(none, none, none))
    async with forwarded(any_cache_url) as way:
        secret = urlsplit(any_cache_url).password or ""
        url = way.url.replace("redis://", f"redis://:{secret}@")
        edge = make_edge(ToyApp(), settings=limits, redis_url=url)
        await edge.start()
        assert edge.describe().limits == "shared"
        assert (await call(edge)).status == 200
        await way.cut()
        await asyncio.sleep(0.1)
        assert edge.describe().limits == "alone"
        assert edge.describe().detail
        assert [(await call(edge)).status for _ in range(7)] == [200] * 5 + [429] * 2
        await way.open()
        async with asyncio.timeout(5):
            while edge.describe().limits != "shared":
                await asyncio.sleep(0.05)
        assert (await call(edge)).status == 200
        await edge.close()


async def test_a_server_that_hangs_delays_nobody_for_long() -> None:
    async def greet_and_fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"SELECT")
        writer.write(b"+OK\r\n")
        await reader.readuntil(b"PING")
        writer.write(b"+PONG\r\n")

    server = await asyncio.start_server(greet_and_fall_silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    edge = make_edge(ToyApp(), redis_url=f"redis://127.0.0.1:{port}/0")
    await edge.start()
    assert edge.describe().limits == "shared"
    began = asyncio.get_running_loop().time()
    assert (await call(edge)).status == 200
    assert (await call(edge, "/other")).status == 200
    assert edge.describe() == ("alone", "no answer within 0.25 s", 2, edge.describe().cached_bytes)
    assert asyncio.get_running_loop().time() - began < 1.0
    await edge.close()
    server.close()
