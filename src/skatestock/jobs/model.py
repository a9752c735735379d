"""Leases: who may do a job, until when, and when it is due again."""

from datetime import datetime, timedelta
from typing import Any

import msgspec


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to do one job, for a while."""

    job: str
    token: int
    """Grows with every claim of the job: of two holders, the one with the smaller token is late."""
    leased_until: datetime
    state: dict[str, Any]
    """What the last run left for this one."""
    due_at: datetime
    every_seconds: int
    consecutive_failures: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job as it stands."""

    job: str
    kind: str
    every_seconds: int
    enabled: bool
    due_at: datetime
    token: int
    holder: str | None
    leased_until: datetime | None
    last_started_at: datetime | None
    last_finished_at: datetime | None
    last_outcome: str | None
    consecutive_failures: int
    state: dict[str, Any]

    def is_held(self, now: datetime) -> bool:
        """Tell whether somebody holds the job's lease."""
        return self.leased_until is not None and self.leased_until > now


def next_due_at(due_at: datetime, every_seconds: int, now: datetime) -> datetime:
    """Tell when a job is due again: at the first of its own beats after now.

    Missed beats are skipped, and a run ahead of time, however often, never puts the job off for longer than
    one beat.
    """
    every = timedelta(seconds=every_seconds)
    return due_at + every * ((now - due_at) // every + 1)
