"""What commands print: lines and tables for people, JSON for scripts."""

import shlex
import shutil
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from skatestock.embedded.children import ChildState

PROCESS_COLOURS: Mapping[ChildState, str] = {
    ChildState.READY: "green",
    ChildState.DONE: "green",
    ChildState.RESTARTING: "yellow",
    ChildState.CRASH_LOOP: "red",
    ChildState.FAILED: "red",
}
"""How a process stands, as a colour; dim for any other state."""


class OutputClosedError(Exception):
    """Whoever read our output (`| head`) has seen enough."""


class Terminal(Console):
    """Where commands speak to a person; only what we colour ourselves is coloured."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False)

    def say(self, line: str) -> None:
        """Print one line, however long: a path or a command in it must stay whole to be copied."""
        self.print(line, soft_wrap=True)

    def on_broken_pipe(self) -> NoReturn:
        """Say that nobody reads any more."""
        raise OutputClosedError


def make_table(*columns: str, title: str | None = None) -> Table:
    """Make a table that stands as close as it can, so that it fits 100 columns."""
    table = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        title=title,
        title_justify="left",
        title_style="bold",
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_json(value: object) -> None:
    """Print one line of JSON."""
    try:
        sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosedError from None


def format_age(seconds: float) -> str:
    """Write an age as a person says it: `12 s`, `5 min`, `3 h`, `2 d`."""
    age = timedelta(seconds=max(0, int(seconds)))
    for unit, size in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        # Twice the unit, because "1 d" would hide too much: 47 h, 119 min and 119 s are told as such.
        if age >= 2 * size:
            return f"{age // size} {unit}"
    return f"{age.seconds} s"


def spell_command(*arguments: str) -> str:
    """Write one of our commands so that a shell in this folder runs it: the PATH may not have it."""
    program = "skatestock"
    if shutil.which(program) is None:
        beside = Path(sys.executable).with_name(program)
        program = str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)
    return shlex.join([program, *arguments])


def count_of(number: int, thing: str) -> str:
    """Write a count with its thing: `1 feed`, `2 feeds`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
