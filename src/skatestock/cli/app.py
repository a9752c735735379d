"""The command line itself: which commands there are, and what an error looks like to a person."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import cyclopts
from cyclopts import App, Group
from rich.markup import escape

import skatestock
from skatestock.cli.errors import INTERRUPTED, USAGE, find_failure
from skatestock.cli.terminal import OutputClosedError, Terminal

_HELP = """Watch independent skate shops: every price and every size's stock, as history.

Start with `skatestock demo`: five replica shops, a week of history, nothing to configure.
"""

_EPILOGUE = """
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a server does not answer, 4 done in part, 130 interrupted.
"""

_RUN = Group("Run", sort_key=1)
_LOOK = Group("Look and mend", sort_key=2)
_PROCESS = Group("Single processes, for production", sort_key=3)

COMMANDS: Mapping[str, tuple[str, Group]] = {
    "demo": ("demo:demo", _RUN),
    "up": ("running:up", _RUN),
    "down": ("running:down", _RUN),
    "status": ("overview:status", _LOOK),
    "shops": ("shops:app", _LOOK),
    "deadletters": ("dead_letters:app", _LOOK),
    "topics": ("topics:app", _LOOK),
    "schemas": ("schemas:app", _LOOK),
    "rules": ("rules:app", _LOOK),
    "replay": ("replaying:replay", _LOOK),
    "evidence": ("evidence:app", _LOOK),
    "quality": ("quality:quality", _LOOK),
    "accounts": ("accounts:app", _LOOK),
    "import-feeds": ("feeds:import_feeds", _LOOK),
    "crawl": ("crawling:crawl", _PROCESS),
    "ingest": ("processes:ingest", _PROCESS),
    "index": ("indexing:index", _PROCESS),
    "api": ("processes:api", _PROCESS),
    "maintain": ("processes:maintain", _PROCESS),
    "migrate": ("processes:migrate", _PROCESS),
}
"""Every command, with the place of its function and its group."""

# The parts that only `demo` starts.
_INNER_COMMANDS = {"replica": "demo:replica", "history": "demo:history"}


def build_app(*, lazy: bool) -> App:
    """Build the command line; `lazy` loads a command's module only when it is called.

    `skatestock status` must not wait for Scrapy and a web framework, but the list of all commands needs them.
    """
    app = App(
        name="skatestock",
        help=_HELP,
        help_epilogue=_EPILOGUE,
        help_format="markdown",
        version=skatestock.__version__,
        suppress_keyboard_interrupt=False,
        console=Terminal(),
    )
    for place_in_list, (name, (place, group)) in enumerate(COMMANDS.items()):
        _add(app, name, place, lazy=lazy, group=group, sort_key=place_in_list)
    for name, place in _INNER_COMMANDS.items():
        _add(app, name, place, lazy=True, show=False)
    return app


def _add(app: App, name: str, place: str, *, lazy: bool, **options: Any) -> None:
    path = f"skatestock.cli.{place}"
    if lazy:
        app.command(path, name=name, **options)
        return
    module, _, attribute = path.partition(":")
    command = getattr(import_module(module), attribute)
    if isinstance(command, App):
        command.group, command.sort_key = options["group"], options["sort_key"]
        app.command(command)
    else:
        app.command(command, name=name, **options)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with a code that means something."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except (OutputClosedError, BrokenPipeError):
        # What is still buffered must not be tried again, with a traceback, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what a person can mend is told in one line."""
    app = build_app(lazy=arguments not in ([], ["--help"], ["-h"]))
    try:
        result: Any = app(arguments, result_action="return_value", exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        return _report(_explain_usage(error), USAGE)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except OutputClosedError:
        raise
    except Exception as error:
        failure = find_failure(error)
        if failure is None:
            raise
        return _report(failure.message, failure.code)
    return result if isinstance(result, int) else 0


def _explain_usage(error: cyclopts.CycloptsError) -> str:
    command = " ".join(("skatestock", *(error.command_chain or ())))
    return f"{error} `{command} --help` tells more."


def _report(message: str, code: int) -> int:
    Terminal(stderr=True).say(f"[red]error:[/] {escape(message)}")
    return code
