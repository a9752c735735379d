"""The command line, and the one place where the rooms are wired together."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with a code that means something."""
    try:
        # Loaded here, because Ctrl-C may come while Python still reads the libraries.
        from skatestock.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run(arguments)
