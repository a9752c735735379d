"""Token buckets of one process, and the headers that tell of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skatestock.edge.limiter import REFUSED, Limiter
from skatestock.edge.policies import Limit, Policy


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@given(
    st.integers(1, 5000),
    st.integers(1, 50),
    st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=80),
)
def test_no_stretch_of_time_ever_has_more_than_the_bucket_and_what_came_in(
    per_minute: int, burst: int, pauses: list[float]
) -> None:
    clock = Clock()
    limiter, policy = Limiter(now=clock), Policy("address", Limit(per_minute, burst))
    taken: list[float] = []
    for pause in pauses:
        clock.at += pause
        bucket = limiter.find_bucket("address:192.0.2.1", policy)
        remaining = limiter.try_take(bucket, clock.at)
        if remaining == REFUSED:
            assert limiter.retry_after_seconds(bucket) >= 1
            assert bucket.retry_at > clock.at
        else:
            assert 0 <= remaining < burst
            taken.append(clock.at)
    for first, began in enumerate(taken):
        for last, ended in enumerate(taken[first:], first):
            assert last - first + 1 <= burst + (ended - began) * per_minute / 60 + 1e-3


def test_a_refused_client_may_come_back_exactly_when_it_was_told() -> None:
    clock = Clock()
    limiter, policy = Limiter(now=clock), Policy("address", Limit(7, 1))
    bucket = limiter.find_bucket("address:192.0.2.1", policy)
    assert limiter.try_take(bucket, clock.at) == 0
    assert limiter.try_take(bucket, clock.at) == REFUSED
    clock.at = bucket.retry_at - 0.001
    assert limiter.try_take(bucket, clock.at) == REFUSED
    clock.at += 0.002
    assert limiter.try_take(bucket, clock.at) == 0


def test_buckets_are_bounded_and_those_in_use_stay() -> None:
    limiter, policy = Limiter(most_buckets=100), Policy("address", Limit(1, 2))
    faithful = limiter.find_bucket("address:faithful", policy)
    for number in range(1000):
        limiter.find_bucket(f"address:{number}", policy)
        assert limiter.find_bucket("address:faithful", policy) is faithful
        assert len(limiter) <= 101


def test_headers_tell_the_policy_and_what_remains() -> None:
    policy = Policy("key", Limit(600, 200))
    assert policy.policy_line == (b"ratelimit-policy", b'"key";q=200;w=20')
    assert policy.limit_line(200) == (b"ratelimit", b'"key";r=200;t=0')
    assert policy.limit_line(0) == (b"ratelimit", b'"key";r=0;t=20')
    assert policy.limit_line(199) == (b"ratelimit", b'"key";r=199;t=1')
