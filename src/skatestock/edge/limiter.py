"""Token buckets: exact across all processes that share a Redis, of this process alone without one.

A request takes a token of its client's bucket. Where buckets are shared, they live in Redis (`limits.lua`),
and a trip there brings tokens for all requests of a client that wait in this process. A client that asks
again and again is brought tokens in advance, at most a sixteenth of what there is: a lease, spent without
asking anyone. It ends after a tenth of a second, and what is left of it goes back. A request is refused
only when the bucket is empty and nobody holds a lease; as long as somebody does, it waits for that lease's
end.
"""

import asyncio
import itertools
import math
import secrets
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha1
from pathlib import Path

from skatestock.edge.errors import RedisAnswerError, RedisAwayError
from skatestock.edge.pipe import Answer, RedisPipe
from skatestock.edge.policies import Policy
from skatestock.telemetry.logs import get_logger

REFUSED = -1
"""No token: the client has to wait."""

ASK = -2
"""Nobody here knows: Redis has to be asked."""

LEASE_SECONDS = 0.1
"""For how long tokens are held in advance."""

# Redis keeps a lease's place longer than we spend it: what is left has to arrive there in time.
_KEPT_US = 250_000
_LOOK_AGAIN_SECONDS = 0.06
# A refusal waits for others' leases no more often than until the longest has surely ended.
_MOST_LOOKS = 6
_MOST_BUCKETS = 100_000
# Whose last trip was longer ago is not busy; and who spent less of his lease is not busy enough to renew it.
_BUSY_SECONDS = 0.2
_BUSY_TOKENS = 32

_SCRIPT = Path(__file__).with_name("limits.lua").read_bytes()
_SCRIPT_HASH = sha1(_SCRIPT, usedforsecurity=False).hexdigest().encode()

Waiter = asyncio.Future[int]

_log = get_logger(__name__)


class Bucket:
    """What this process knows of one client's tokens."""

    __slots__ = (
        "asked_at",
        "asking",
        "at_us",
        "credit_us",
        "key",
        "lease",
        "lease_name",
        "lease_until",
        "left",
        "looks",
        "policy",
        "refused_until",
        "retry_at",
        "spent",
        "waiting",
    )

    def __init__(self, key: bytes, policy: Policy) -> None:
        self.key = key
        self.policy = policy
        self.credit_us = policy.capacity_us
        self.at_us = 0
        # of the tokens in Redis: what we hold, until when, and what was left there
        self.lease = 0
        self.lease_name = b""
        self.lease_until = -math.inf
        self.left = 0
        self.refused_until = -math.inf
        # when a client that was refused may come back
        self.retry_at = -math.inf
        # of the trips: whether one is under way, when the last began, and what was spent since
        self.asking = False
        self.asked_at = -math.inf
        self.spent = 0
        self.looks = 0
        self.waiting: list[Waiter] = []

    def take_here(self, now: float) -> int:
        """Take a token of this process's own bucket: returns how many remain, or REFUSED."""
        now_us = int(now * 1e6)
        policy = self.policy
        self.credit_us = min(policy.capacity_us, self.credit_us + max(0, now_us - self.at_us))
        self.at_us = max(self.at_us, now_us)
        if self.credit_us < policy.interval_us:
            self.retry_at = now + (policy.interval_us - self.credit_us) / 1e6
            return REFUSED
        self.credit_us -= policy.interval_us
        return self.credit_us // policy.interval_us


class Limiter:
    """All buckets of one process; at most so many are remembered, and the longest unused forgotten."""

    def __init__(
        self,
        pipe: RedisPipe | None = None,
        *,
        prefix: str = "skatestock:limit",
        most_buckets: int = _MOST_BUCKETS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipe = pipe
        self._prefix = prefix
        self._now = now
        self._half = max(1, most_buckets // 2)
        # Two halves: what is not used while the young one fills is forgotten with the old one.
        self._young: dict[str, Bucket] = {}
        self._old: dict[str, Bucket] = {}
        self._holder = secrets.token_hex(6)
        self._leases = itertools.count(1)

    def find_bucket(self, client: str, policy: Policy) -> Bucket:
        """Return the bucket of a client, which names its kind too; a new one is full."""
        bucket = self._young.get(client)
        return self._revive(client, policy) if bucket is None else bucket

    def try_take(self, bucket: Bucket, now: float) -> int:
        """Take a token at once: returns how many remain, REFUSED, or ASK when `take` has to be awaited."""
        if bucket.lease > 0 and now < bucket.lease_until:
            bucket.lease -= 1
            bucket.spent += 1
            return bucket.left + bucket.lease
        if self._pipe is None or not self._pipe.connected:
            return bucket.take_here(now)
        return REFUSED if now < bucket.refused_until else ASK

    async def take(self, bucket: Bucket) -> int:
        """Take a token, asking Redis for it: returns how many remain, or REFUSED."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        bucket.waiting.append(waiter)
        if not bucket.asking:
            self._ask(bucket)
        return await waiter

    def retry_after_seconds(self, bucket: Bucket) -> int:
        """Tell a refused client when to come back."""
        return max(1, math.ceil(bucket.retry_at - self._now()))

    async def give_back(self) -> None:
        """Give back everything that is held in advance: called before the connection ends."""
        trips = [self._ask(bucket) for bucket in self._buckets() if bucket.lease > 0 and not bucket.asking]
        answers = [answer for answer in trips if answer is not None]
        if answers:
            await asyncio.wait(answers, timeout=_KEPT_US / 1e6)

    def __len__(self) -> int:
        """Return how many buckets are remembered."""
        return len(self._young) + len(self._old)

    def _buckets(self) -> list[Bucket]:
        return [*self._young.values(), *self._old.values()]

    def _revive(self, client: str, policy: Policy) -> Bucket:
        bucket = self._old.pop(client, None)
        if bucket is None:
            bucket = Bucket(f"{self._prefix}:{client}".encode(), policy)
            bucket.at_us = int(self._now() * 1e6)
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[client] = bucket
        return bucket

    def _ask(self, bucket: Bucket, *, whole: bool = False) -> Answer | None:
        """Send what waits on a trip; `whole` sends the script itself to a Redis that does not know it."""
        now, waiting = self._now(), bucket.waiting
        bucket.waiting = []
        wanted = self._foresee(bucket, len(waiting), now)
        lease = f"{self._holder}.{next(self._leases)}".encode()
        numbers = (bucket.policy.interval_us, bucket.policy.capacity_us, len(waiting), wanted)
        given_back = (bucket.lease_name, b"%d" % bucket.lease)
        words = (*(b"%d" % number for number in numbers), *given_back, lease, b"%d" % _KEPT_US)
        bucket.asking, bucket.asked_at = True, now
        bucket.lease, bucket.lease_name, bucket.spent = 0, b"", 0
        command = (b"EVAL", _SCRIPT) if whole else (b"EVALSHA", _SCRIPT_HASH)
        answer = self._call(*command, b"1", bucket.key, *words)
        if answer is None:
            self._go_on_here(bucket, waiting)
        else:
            answer.add_done_callback(partial(self._take_answer, bucket, waiting, lease, now))
        return answer

    def _foresee(self, bucket: Bucket, waiting: int, now: float) -> int:
        """Tell how many tokens to ask for in advance: by what the time since the last trip took."""
        if now - bucket.asked_at > _BUSY_SECONDS:
            return 0
        if waiting:
            return 2 * bucket.spent
        # the lease has ended while nobody waits: only who was really busy is given another
        return bucket.spent + bucket.spent // 4 if bucket.spent >= _BUSY_TOKENS else 0

    def _call(self, *words: bytes) -> Answer | None:
        if self._pipe is None:
            return None
        try:
            return self._pipe.call(*words)
        except RedisAwayError:
            return None

    def _take_answer(
        self, bucket: Bucket, waiting: list[Waiter], lease: bytes, sent_at: float, answer: Answer
    ) -> None:
        bucket.asking = False
        error = answer.exception()
        if isinstance(error, RedisAnswerError) and str(error).startswith("NOSCRIPT"):
            bucket.waiting = waiting + bucket.waiting
            self._ask(bucket, whole=True)
        elif error is not None:
            if not isinstance(error, RedisAwayError):
                _log.warning("edge_limit_failed", error=str(error))
            self._go_on_here(bucket, waiting)
        else:
            granted, leased, left, wait_us, others_us = answer.result()
            if leased:
                self._hold(bucket, lease, leased, sent_at)
            bucket.left = left
            refused = _grant(waiting, granted, left + leased)
            bucket.spent += granted
            self._settle(bucket, refused, sent_at + wait_us / 1e6, others_us / 1e6)

    def _settle(self, bucket: Bucket, refused: list[Waiter], next_at: float, others_seconds: float) -> None:
        """Refuse those that got no token, unless others may give some back."""
        if refused and others_seconds > 0 and bucket.looks < _MOST_LOOKS:
            bucket.looks += 1
            bucket.waiting = refused + bucket.waiting
            bucket.asking = True
            pause = min(others_seconds + 0.001, _LOOK_AGAIN_SECONDS)
            asyncio.get_running_loop().call_later(pause, self._ask, bucket)
            return
        bucket.looks = 0
        if refused:
            bucket.refused_until = bucket.retry_at = next_at
            _grant(refused, 0, 0, final=True)
        # those that came during the trip are served from what it brought
        waiting = [waiter for waiter in bucket.waiting if not waiter.done()]
        rest = _grant(waiting, bucket.lease, bucket.left)
        served = len(waiting) - len(rest)
        bucket.lease -= served
        bucket.spent += served
        bucket.waiting = rest
        if rest:
            self._ask(bucket)

    def _hold(self, bucket: Bucket, lease: bytes, tokens: int, sent_at: float) -> None:
        bucket.lease, bucket.lease_name = tokens, lease
        # from the moment of sending: Redis began to count later, so our end is never after its
        bucket.lease_until = sent_at + LEASE_SECONDS
        pause = max(0.0, bucket.lease_until - self._now())
        asyncio.get_running_loop().call_later(pause, self._give_back, bucket, lease)

    def _give_back(self, bucket: Bucket, lease: bytes) -> None:
        if bucket.lease_name == lease and bucket.lease > 0 and not bucket.asking:
            self._ask(bucket)  # which also renews the lease of a busy client

    def _go_on_here(self, bucket: Bucket, waiting: list[Waiter]) -> None:
        """Serve those that wait from this process's own bucket."""
        bucket.asking, bucket.looks = False, 0
        now = self._now()
        for waiter in waiting + bucket.waiting:
            if not waiter.done():
                waiter.set_result(bucket.take_here(now))
        bucket.waiting = []


def _grant(waiting: list[Waiter], tokens: int, left: int, *, final: bool = False) -> list[Waiter]:
    """Give tokens to those that still wait, in order; returns who got none, or refuses them for good."""
    rest: list[Waiter] = []
    for waiter in waiting:
        if waiter.done():
            continue
        if tokens > 0:
            tokens -= 1
            waiter.set_result(left + tokens)
        elif final:
            waiter.set_result(REFUSED)
        else:
            rest.append(waiter)
    return rest
