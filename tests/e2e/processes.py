"""Running our own commands as a user does: as processes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping

_evidence = tempfile.TemporaryDirectory(prefix="skatestock-test-evidence-")
EVIDENCE_URL = f"file://{_evidence.name}"
"""Where tests keep evidence, so that they never write to, or delete from, the folder of a person."""


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
    return {**kept, "COLUMNS": "200", "SKATESTOCK_EVIDENCE_URL": EVIDENCE_URL, **(environ or {})}
