"""The command line, and the one place where the rooms are wired together."""

from skatestock.cli.app import main

__all__ = ["main"]
