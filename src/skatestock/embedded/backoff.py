"""How long to wait before a child that died is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waits that double from `first_seconds` to `max_seconds`, and when to call it a crash loop.

    A child that lived for `stable_seconds` has earned a fresh start: its next death counts as the first.
    """

    first_seconds: float = 0.1
    max_seconds: float = 30.0
    stable_seconds: float = 10.0
    start_attempts: int = 3
    crash_loop_after: int = 5

    def delay_seconds(self, deaths: int) -> float:
        """Compute the wait after the given number of deaths in a row (1 for the first)."""
        # The exponent is bounded so that a child that dies for days does not overflow a float.
        return min(self.max_seconds, self.first_seconds * 2.0 ** min(deaths - 1, 60))

    def is_crash_loop(self, deaths: int) -> bool:
        """Say whether so many deaths in a row are no accident any more."""
        return deaths >= self.crash_loop_after
