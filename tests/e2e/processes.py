"""Running our own commands as a user does: as processes."""

import os
import subprocess
import sys
from collections.abc import Mapping


def run_command(
    *arguments: str, environ: Mapping[str, str] | None = None, timeout_seconds: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end and return what it said."""
    return subprocess.run(
        [sys.executable, "-m", "skatestock", *arguments],
        env=command_environ(environ),
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def command_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment without settings of a person's own, and with the given ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKATESTOCK_")}
    return {**kept, "COLUMNS": "200", **(environ or {})}
