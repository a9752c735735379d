"""docs/CLI.md and the command line say the same: commands, arguments, options, defaults, exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

from skatestock.cli import errors
from skatestock.cli.app import build_app

PAGE = Path(__file__).parents[2] / "docs" / "CLI.md"


def walk(app: App, path: str = "skatestock") -> Iterator[tuple[str, App]]:
    """List every command that is no secret, with the words that call it."""
    for name in app:
        if name.startswith("-") or not app[name].show:
            continue
        command = app[name]
        if command.default_command is not None:
            yield f"{path} {name}", command
        yield from walk(command, f"{path} {name}")


COMMANDS = dict(walk(build_app(lazy=False)))


def arguments_of(command: App) -> list[Any]:
    arguments = command.assemble_argument_collection(parse_docstring=True)
    # what only gathers other options has no name to be written
    return [argument for argument in arguments if not argument.children]


def default_of(argument: Any) -> str:
    default = argument.field_info.default
    if argument.required or not argument.names[0].startswith("--"):
        return ""
    return "" if default in (None, False) else f"`{default}`"


def expected_rows(command: App) -> list[list[str]]:
    return [
        [f"`{argument.names[0]}`", default_of(argument), argument.parameter.help]
        for argument in arguments_of(command)
    ]


def sections() -> dict[str, str]:
    """Return what stands under each heading that is a command."""
    parts = re.split(r"^#{2,3} `(skatestock [^`]*)`\n", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]


def test_every_command_stands_on_the_page_and_no_other() -> None:
    assert list(sections()) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_on_the_page_are_those_of_the_command(name: str) -> None:
    assert rows(sections()[name]) == expected_rows(COMMANDS[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_on_the_page_has_an_example_that_parses_and_its_exit_codes(name: str) -> None:
    text = sections()[name]
    examples = re.findall(r"^\$ (skatestock .*)$", text, re.MULTILINE)
    assert any(example.startswith(name) for example in examples)
    for example in examples:
        # The shell would expand the pattern and cut the pipe.
        words = example.split(" | ")[0].split()[1:]
        build_app(lazy=True).parse_args(words, exit_on_error=False, print_error=False)
    codes = re.search(r"^Exit codes: (.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    assert codes is not None
    assert "`0`" in codes[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_what_it_is_for(name: str) -> None:
    function = COMMANDS[name].default_command
    assert (function.__doc__ or "").splitlines()[0].endswith(".")
    for argument in arguments_of(COMMANDS[name]):
        assert (argument.parameter.help or "").endswith((".", "lists them.")), (name, argument.names)


def test_the_page_lists_every_exit_code() -> None:
    table = re.findall(r"^\| `(\d+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    codes = [errors.FAILED, errors.USAGE, errors.UNAVAILABLE, errors.INCOMPLETE, errors.INTERRUPTED]
    assert table == [str(code) for code in (0, *codes)]
