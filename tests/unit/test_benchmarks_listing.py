"""The list of benchmarks, the modules behind it and the page that documents them agree."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.figures import MISSED, Figure, format_table, make_report
from benchmarks.rounds import compare, measure_in_turns, percentile

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def readme() -> str:
    return (FOLDER / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_is_documented_with_its_command(readme: str, name: str) -> None:
    headings = re.findall(r"^##+ .*$", readme, re.MULTILINE)
    assert any(name in heading.casefold() for heading in headings), f"the page has no section on {name}"
    assert f"python -m benchmarks.{name}" in readme


def test_every_module_with_a_main_is_listed() -> None:
    # The replica shops' main serves the benchmarks; the list's own main runs them.
    modules = {file.stem for file in FOLDER.glob("*.py") if "def main(" in file.read_text("utf-8")}
    assert modules - {"__main__", "replica_shops"} == set(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_can_be_found_and_run(name: str) -> None:
    assert find_spec(f"benchmarks.{name}") is not None
    assert callable(import_module(f"benchmarks.{name}").main)


def test_the_list_names_every_benchmark_and_runs_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()] == list(BENCHMARKS)


def test_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nonsense"])
    assert ended.value.code == 2
    assert "nonsense" in capsys.readouterr().err


def test_works_take_turns_after_a_round_that_does_not_count() -> None:
    calls: list[str] = []
    works = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    samples = measure_in_turns(works, rounds=2)
    assert calls == ["a", "b"] * 3
    assert {name: len(taken) for name, taken in samples.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_the_median_of_the_pairs() -> None:
    # The machine was slow in the second round: both sides were.
    figure = compare("ours", [0.010, 0.300, 0.040], "limit", [0.005, 0.100, 0.010])
    assert figure.ratio == pytest.approx(3.0)
    assert figure.value == pytest.approx(40.0)
    assert figure.limit == pytest.approx(10.0)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 99) == 7.0


def test_a_figure_out_of_reach_is_said_and_ends_the_run_in_error() -> None:
    reached = Figure(name="near", unit="ms", value=5.0, reach=5.0)
    missed = Figure(name="far", unit="ms", value=5.1, reach=5.0)
    assert make_report("one", "what", [reached]).exit_code == 0
    assert make_report("one", "what", [reached, missed]).exit_code == MISSED
    lines = format_table([reached, missed]).splitlines()
    assert "5 ms: reached" in lines[2]
    assert "5 ms: MISSED" in lines[3]


def test_a_ratio_out_of_reach_is_said_too() -> None:
    figure = Figure(
        name="slow", unit="ms", value=40.0, limit_name="bare", limit=10.0, ratio=4.0, ratio_reach=3.3
    )
    assert not figure.is_reached
    assert "3.3x: MISSED" in format_table([figure])
