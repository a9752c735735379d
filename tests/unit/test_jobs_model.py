"""When a job is due again, and who holds it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from skatestock.jobs.model import Job, next_due_at

DUE = datetime(2026, 10, 1, 12, tzinfo=UTC)
MOMENTS = st.integers(-(10**9), 10**9).map(lambda seconds: DUE + timedelta(seconds=seconds))


def test_a_job_done_in_time_keeps_its_beat() -> None:
    assert next_due_at(DUE, 1800, DUE + timedelta(seconds=40)) == DUE + timedelta(seconds=1800)


def test_missed_beats_are_skipped_not_made_up_for() -> None:
    assert next_due_at(DUE, 1800, DUE + timedelta(hours=5, seconds=1)) == DUE + timedelta(hours=5, minutes=30)


def test_a_job_done_ahead_of_time_is_due_at_its_next_beat() -> None:
    assert next_due_at(DUE, 1800, DUE - timedelta(hours=2)) == DUE - timedelta(hours=2) + timedelta(
        seconds=1800
    )


def test_runs_ahead_of_time_never_put_a_job_off_further_and_further() -> None:
    due_at = DUE
    for second in range(100):
        now = DUE + timedelta(seconds=second)
        due_at = next_due_at(due_at, 60, now)
        assert due_at - now <= timedelta(seconds=60)


@given(due_at=MOMENTS, now=MOMENTS, every_seconds=st.integers(1, 10**7))
def test_the_next_beat_is_the_first_one_after_now(
    due_at: datetime, now: datetime, every_seconds: int
) -> None:
    found = next_due_at(due_at, every_seconds, now)
    every = timedelta(seconds=every_seconds)
    assert now < found <= now + every
    assert (found - due_at) % every == timedelta(0)


def test_a_job_is_held_until_its_lease_runs_out() -> None:
    job = Job(
        job="crawl:labor",
        kind="crawl",
        every_seconds=1800,
        enabled=True,
        due_at=DUE,
        token=1,
        holder="worker",
        leased_until=DUE + timedelta(seconds=60),
        last_started_at=DUE,
        last_finished_at=None,
        last_outcome=None,
        consecutive_failures=0,
        state={},
    )
    assert job.is_held(DUE + timedelta(seconds=59))
    assert not job.is_held(DUE + timedelta(seconds=60))
