"""The replica's clock: standing, jumping, following, and going on after a restart."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from skatestock.replica.clock import ReplicaClock
from skatestock.replica.errors import ClockFileError, ReplicaError
from skatestock.replica.truth import write_truth
from skatestock.replica.truth_file import TruthFile
from skatestock.replica.world import World

START_AT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class RealTime:
    """Real seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


def make_world(seed: int = 1) -> World:
    return World(seed, START_AT, listings_per_shop=10)


def test_a_standing_clock_moves_only_when_set() -> None:
    real = RealTime()
    clock = ReplicaClock(make_world(), real_time=real)
    real.seconds += 100
    assert clock.now() == START_AT
    clock.set_to(START_AT + HOUR)
    assert clock.now() == START_AT + HOUR


def test_the_time_of_responses_goes_on_while_the_world_stands() -> None:
    real = RealTime()
    clock = ReplicaClock(make_world(), real_time=real)
    real.seconds += 7.9
    assert clock.response_at() == START_AT + timedelta(seconds=7)
    assert clock.now() == START_AT


def test_a_following_clock_goes_at_its_rate_and_can_be_stopped() -> None:
    real = RealTime()
    clock = ReplicaClock(make_world(), real_time=real)
    clock.follow(60)
    real.seconds += 60
    assert clock.now() == clock.response_at() == START_AT + HOUR
    clock.follow(None)
    real.seconds += 60
    assert clock.now() == START_AT + HOUR


def test_a_following_clock_never_goes_back_when_real_time_does() -> None:
    real = RealTime()
    clock = ReplicaClock(make_world(), real_time=real)
    clock.follow(1)
    real.seconds += 60
    clock.now()
    real.seconds -= 3600
    assert clock.now() == START_AT + timedelta(seconds=60)


def test_a_clock_refuses_the_past() -> None:
    clock = ReplicaClock(make_world())
    with pytest.raises(ReplicaError, match="cannot go back"):
        clock.set_to(START_AT - HOUR)


def test_a_restarted_replica_goes_on_where_it_was(tmp_path: Path) -> None:
    file, real = tmp_path / "clock.json", RealTime()
    world = make_world()
    ReplicaClock(world, file, real).set_to(START_AT + 50 * HOUR)
    again = make_world()
    clock = ReplicaClock(again, file, real)
    assert clock.resumed
    assert clock.now() == START_AT + 50 * HOUR
    assert write_truth(again.truth()) == write_truth(world.truth())


def test_a_restarted_following_replica_is_where_it_would_be_by_now(tmp_path: Path) -> None:
    file, real = tmp_path / "clock.json", RealTime()
    ReplicaClock(make_world(), file, real).follow(2)
    real.seconds += 3600
    assert ReplicaClock(make_world(), file, real).now() == START_AT + 2 * HOUR


def test_a_clock_file_of_another_world_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    ReplicaClock(make_world(seed=1), file)
    with pytest.raises(ClockFileError, match="another world"):
        ReplicaClock(make_world(seed=2), file)


def test_what_is_no_clock_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    file.write_text("{}")
    with pytest.raises(ClockFileError, match="no clock file"):
        ReplicaClock(make_world(), file)


def test_the_truth_file_holds_every_change_once_and_is_the_same_after_a_restart(tmp_path: Path) -> None:
    path, world = tmp_path / "truth.jsonl", make_world()
    file = TruthFile(path, world)
    file.open()
    world.advance_to(START_AT + 100 * HOUR)
    file.write_new()
    assert file.write_new() == 0
    world.advance_to(START_AT + 200 * HOUR)
    file.close()
    written = path.read_bytes()
    assert written == write_truth(world.truth())
    again = make_world()
    again.advance_to(START_AT + 200 * HOUR)
    restarted = TruthFile(path, again)
    restarted.open()
    restarted.close()
    assert path.read_bytes() == written
