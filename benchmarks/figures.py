"""What a benchmark says: figures, each beside its limit of the same run, as a table and as JSON."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

RESULTS = Path(__file__).parent / "results"
"""Where the last run of each benchmark is kept; git ignores it."""

MISSED = 1
"""The exit code when a figure is out of its reach."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value and the limit that was measured between its samples."""

    name: str
    unit: str
    value: float
    limit_name: str | None = None
    limit: float | None = None
    ratio: float | None = None
    """How many times the limit the value is; where samples come in pairs, the median of the pairs."""
    reach: float | None = None
    """The value that must not be exceeded; None where none was set."""
    ratio_reach: float | None = None
    """The same for the ratio."""
    samples: int = 1
    note: str = ""

    @property
    def is_reached(self) -> bool:
        """Tell whether value and ratio are within their reach; true where there is none."""
        near = self.reach is None or self.value <= self.reach
        return near and (self.ratio_reach is None or self.ratio is None or self.ratio <= self.ratio_reach)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one benchmark has measured in one run."""

    benchmark: str
    what: str
    figures: tuple[Figure, ...]
    measured_at: str
    machine: str

    @property
    def exit_code(self) -> int:
        """Tell how the benchmark's process ends."""
        return 0 if all(figure.is_reached for figure in self.figures) else MISSED


def make_report(benchmark: str, what: str, figures: Sequence[Figure]) -> Report:
    """Put figures together with the moment and the kind of machine."""
    now = datetime.now(UTC).replace(microsecond=0)
    return Report(
        benchmark=benchmark,
        what=what,
        figures=tuple(figures),
        measured_at=now.isoformat(),
        machine=describe_machine(),
    )


def describe_machine() -> str:
    """Describe what the figures hold for: cores, how busy they are, system, Python."""
    busy = f"{os.getloadavg()[0]:.1f}"
    python = platform.python_version()
    return f"{os.cpu_count()} cores, load {busy}, {platform.system()} {platform.machine()}, CPython {python}"


def publish(report: Report) -> int:
    """Print a report, keep it in the results folder, and return the exit code."""
    print(f"\n{report.benchmark}: {report.what}\n({report.machine})\n")
    print(format_table(report.figures))
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{report.benchmark}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return report.exit_code


def format_table(figures: Sequence[Figure]) -> str:
    """Lay figures out as lines of text."""
    head = ("what", "measured", "limit", "ratio", "reach", "samples")
    rows = [head, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(_pad(row[i], widths[i], i) for i in range(len(head))).rstrip() for row in rows]
    notes = [f"  {figure.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], *notes])


def _cells(figure: Figure) -> tuple[str, ...]:
    limit = "" if figure.limit is None else f"{_number(figure.limit, figure.unit)} {figure.limit_name}"
    ratio = "" if figure.ratio is None else f"{figure.ratio:.1f}x"
    value = _number(figure.value, figure.unit)
    return figure.name, value, limit, ratio, _describe_reach(figure), str(figure.samples)


def _describe_reach(figure: Figure) -> str:
    reaches = [] if figure.reach is None else [f"{figure.reach:g} {figure.unit}"]
    reaches += [] if figure.ratio_reach is None else [f"{figure.ratio_reach:.1f}x"]
    if not reaches:
        return ""
    return f"{', '.join(reaches)}: {'reached' if figure.is_reached else 'MISSED'}"


def _number(value: float, unit: str) -> str:
    digits = 0 if value >= 1000 else 1 if value >= 100 else 2
    return f"{value:,.{digits}f} {unit}"


def _pad(text: str, width: int, column: int) -> str:
    return text.rjust(width) if column in (1, 3, 5) else text.ljust(width)
