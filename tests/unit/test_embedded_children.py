"""The order of children, the waits between restarts, and their logs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.embedded.backoff import Backoff
from skatestock.embedded.children import Child, sort_by_dependency
from skatestock.embedded.errors import ChildFailedError, DependencyError, FolderHeldError
from skatestock.embedded.log_files import bound_log, log_size, read_last_lines


def _child(name: str, *depends_on: str) -> Child:
    return Child(name=name, command=["/bin/true"], depends_on=depends_on)


def test_children_come_after_what_they_depend_on_and_otherwise_stay_in_order() -> None:
    children = [_child("api", "migrate"), _child("log"), _child("migrate", "postgres"), _child("postgres")]
    assert [c.name for c in sort_by_dependency(children)] == ["log", "postgres", "migrate", "api"]


@given(st.permutations(range(8)), st.data())
def test_any_circle_free_dependencies_are_put_in_order(order: list[int], data: st.DataObject) -> None:
    earlier: dict[int, list[int]] = {
        number: data.draw(st.lists(st.sampled_from(order[:position]), unique=True)) if position else []
        for position, number in enumerate(order)
    }
    children = [_child(str(n), *map(str, earlier[n])) for n in range(8)]
    names = [child.name for child in sort_by_dependency(children)]
    assert sorted(names) == sorted(map(str, range(8)))
    for child in children:
        assert all(names.index(name) < names.index(child.name) for name in child.depends_on)


@pytest.mark.parametrize(
    ("children", "words"),
    [
        ([_child("a", "b"), _child("b", "a")], "circle: a, b"),
        ([_child("a", "nobody")], "a depends on nobody"),
        ([_child("a"), _child("a")], "same name"),
    ],
)
def test_senseless_dependencies_are_refused(children: list[Child], words: str) -> None:
    with pytest.raises(DependencyError, match=words):
        sort_by_dependency(children)


def test_the_wait_doubles_up_to_its_limit() -> None:
    backoff = Backoff(first_seconds=0.5, max_seconds=3)
    assert [backoff.delay_seconds(deaths) for deaths in (1, 2, 3, 4, 5)] == [0.5, 1, 2, 3, 3]
    assert backoff.delay_seconds(100_000) == 3


def test_some_deaths_in_a_row_are_a_crash_loop() -> None:
    backoff = Backoff(crash_loop_after=5)
    assert [backoff.is_crash_loop(deaths) for deaths in (4, 5, 6)] == [False, True, True]


def test_a_log_that_grew_is_cut_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old line\n" * 100)
        assert bound_log(log, max_bytes=500)
        writer.write(b"new line\n")
    assert log.read_bytes() == b"new line\n"
    assert (tmp_path / "child.log.1").read_bytes() == b"old line\n" * 100
    assert not bound_log(log, max_bytes=500)
    assert not bound_log(tmp_path / "absent.log")


def test_the_last_lines_are_those_of_this_start(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_text("from an earlier start\n" * 3)
    since = log_size(log)
    with log.open("a") as writer:
        writer.write("first\n\nsecond\n")
    assert read_last_lines(log, since=since) == ["first", "second"]
    assert read_last_lines(log, since=since, lines=1) == ["second"]
    # Cut meanwhile: what stands there now is newer than the start.
    log.write_text("after the cut\n")
    assert read_last_lines(log, since=since) == ["after the cut"]
    assert read_last_lines(tmp_path / "absent.log") == []


def test_errors_say_who_since_when_and_where_to_look() -> None:
    held = str(FolderHeldError(Path("/data"), 17, "skatestock up", "2026-05-01T10:00:00+00:00"))
    assert "process 17 (skatestock up) since 2026-05-01T10:00:00+00:00" in held
    assert "kill 17" in held
    assert "another process" in str(FolderHeldError(Path("/data"), None, None, None))
    failed = str(
        ChildFailedError("api", "it ended with exit code 1", Path("/data/logs/api.log"), ["no port"])
    )
    assert "api could not be started" in failed
    assert "/data/logs/api.log" in failed
    assert "| no port" in failed
    assert str(DependencyError()) == "The children's dependencies name an unknown child or run in a circle."
