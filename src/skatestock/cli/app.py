"""The command line itself: which commands there are, and what an error looks like to a person."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import asyncpg
import cyclopts
from cyclopts import App, Group
from rich.console import Console

import skatestock
from skatestock.database.errors import DatabaseError
from skatestock.embedded.errors import EmbeddedError
from skatestock.vocabulary.errors import SkateStockError

FAILED = 1
"""What was asked could not be done; the message says why."""
USAGE = 2
"""The command line itself is wrong."""
UNAVAILABLE = 3
"""A server that is needed does not answer, or nothing runs in the data folder."""
INCOMPLETE = 4
"""The work ended in good order, but not all of it could be done."""
INTERRUPTED = 130

_EPILOGUE = """
Start with `skatestock demo`: five replica shops, a week of history, nothing to configure.

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
    "shops": ("overview:shops", _LOOK),
    "deadletters": ("dead_letters:app", _LOOK),
    "import-feeds": ("feeds:import_feeds", _LOOK),
    "crawl": ("crawling:crawl", _PROCESS),
    "ingest": ("processes:ingest", _PROCESS),
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
        help="Watch independent skate shops: every price and every size's stock, as history.",
        help_epilogue=_EPILOGUE,
        help_format="markdown",
        version=skatestock.__version__,
        suppress_keyboard_interrupt=False,
    )
    for name, (place, group) in COMMANDS.items():
        _add(app, name, place, lazy=lazy, group=group)
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
        command.group = options["group"]
        app.command(command)
    else:
        app.command(command, name=name, **options)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with a code that means something."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    app = build_app(lazy=arguments not in ([], ["--help"], ["-h"]))
    try:
        result: Any = app(arguments, result_action="return_value", exit_on_error=False)
    except cyclopts.CycloptsError:
        # Cyclopts has printed what is wrong and what it could have been.
        sys.exit(USAGE)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (`| head`) has seen enough.
        sys.stderr.close()
        sys.exit(0)
    except (SkateStockError, EmbeddedError, DatabaseError) as error:
        sys.exit(_report(str(error), UNAVAILABLE if isinstance(error, DatabaseError) else FAILED))
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError, OSError) as error:
        sys.exit(_report(f"{type(error).__name__}: {error}", UNAVAILABLE))
    sys.exit(result if isinstance(result, int) else 0)


def _report(message: str, code: int) -> int:
    Console(stderr=True, highlight=False).print(f"[red]error:[/] {message}", soft_wrap=True)
    return code
