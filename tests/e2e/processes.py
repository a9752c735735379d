"""Running our own commands as a user does: as processes."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.command_forks import LENGTH_BYTES
from tests.folders import make_public_folder

_FORKS = Path(__file__).parents[1] / "command_forks.py"
_evidence = make_public_folder()
atexit.register(shutil.rmtree, _evidence, ignore_errors=True)
EVIDENCE_URL = f"file://{_evidence}"
"""Where tests keep evidence, so that they never write to, or delete from, the folder of a person."""


def run_command(
    *arguments: str, environ: Mapping[str, str] | None = None, typed: str = "", timeout_seconds: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end in a process forked for it, and return what it said.

    `typed` is what it reads on standard input.
    """
    asked = {"arguments": arguments, "environ": command_environ(environ), "folder": str(Path.cwd())}
    with tempfile.TemporaryFile() as read, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        read.write(typed.encode())
        read.seek(0)
        streams = (read.fileno(), out.fileno(), err.fileno())
        code = _run_fork(json.dumps(asked).encode(), streams, timeout_seconds)
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return subprocess.CompletedProcess(arguments, code, *said)


def command_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment without settings of a person's own, and with the given ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKATESTOCK_")}
    return {**kept, "COLUMNS": "200", "SKATESTOCK_EVIDENCE_URL": EVIDENCE_URL, **(environ or {})}


def _run_fork(asked: bytes, streams: tuple[int, int, int], timeout_seconds: float) -> int:
    """Ask for a process with these streams and wait for its exit code; kills it when it takes too long."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(_forks_address())
        socket.send_fds(asking, [len(asked).to_bytes(LENGTH_BYTES)], streams)
        asking.sendall(asked)
        asking.settimeout(timeout_seconds)
        with asking.makefile("r") as answers:
            pid = int(answers.readline())
            try:
                return int(answers.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise


@functools.cache
def _forks_address() -> str:
    """Start what forks, once per test process, and give its address; it ends when its input does."""
    address = str(_evidence / "forks")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        forks = subprocess.Popen(
            [sys.executable, str(_FORKS), str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=command_environ(),
            pass_fds=[listener.fileno()],
        )
    atexit.register(forks.communicate)
    return address
