"""How many requests a kind of client may make, and how answers say so."""

from typing import NamedTuple

_MINUTE_US = 60_000_000
# Prepared once each; beyond that they are written as they come.
_MOST_PREPARED = 65_536

HeaderLine = tuple[bytes, bytes]


class Limit(NamedTuple):
    """Tokens that a bucket gains in a minute, and how many it holds; no tokens a minute: no limit."""

    per_minute: int
    burst: int


class Limits(NamedTuple):
    """The limits of each kind of client."""

    address: Limit
    user: Limit
    key: Limit


class Policy:
    """One limit, reckoned in whole microseconds of credit."""

    def __init__(self, name: str, limit: Limit) -> None:
        self.name = name
        self.is_open = limit.per_minute <= 0
        self.burst = max(1, limit.burst)
        # rounded up: never a token more than was set
        self.interval_us = -(-_MINUTE_US // max(1, limit.per_minute))
        self.capacity_us = self.burst * self.interval_us
        window = self._seconds_of(self.burst)
        self.policy_line: HeaderLine = (
            b"ratelimit-policy",
            b'"%s";q=%d;w=%d' % (self._word, self.burst, window),
        )
        self._prepared: dict[int, HeaderLine] = {}

    @property
    def _word(self) -> bytes:
        return self.name.encode("ascii")

    def limit_line(self, remaining: int) -> HeaderLine:
        """Write the `RateLimit` header: what remains, and the seconds until the bucket is full again."""
        line = self._prepared.get(remaining)
        if line is None:
            reset = self._seconds_of(self.burst - remaining)
            line = (b"ratelimit", b'"%s";r=%d;t=%d' % (self._word, remaining, reset))
            if remaining <= _MOST_PREPARED:
                self._prepared[remaining] = line
        return line

    def _seconds_of(self, tokens: int) -> int:
        return -(-max(0, tokens) * self.interval_us // 1_000_000)
