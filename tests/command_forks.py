"""A process that has loaded the command line once and forks for each command that is asked of it.

Every command is still a process of its own, with its own environment, folder, streams, signals and exit code.
It only need not read some thousand modules again, which takes longer than most commands. Tests that watch a
command start, or that interrupt it meanwhile, run `python -m skatestock` instead. Where PYTHONPATH names
another copy of the package, that one is read; the libraries are the same.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import time
from typing import Any

import skatestock

LENGTH_BYTES = 8
_UNLOADED = ("skatestock.__main__", "skatestock.database.migrations")
"""What acts when it is imported."""
_READ_AGAIN = {"skatestock", "prometheus_client"}
"""A copy of the package makes its metrics once more, which the library takes once."""


def load_everything() -> None:
    """Import every room with what it needs, which leaves no thread behind: a fork would lose it."""
    for module in pkgutil.walk_packages(skatestock.__path__, "skatestock."):
        if not module.name.startswith(_UNLOADED):
            # What cannot be imported here is told by the command that needs it.
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)


def serve(listener: socket.socket) -> list[str]:
    """Fork for every command, until standard input ends; in a command's own process return its arguments."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a watcher that ended is nobody's to wait for
    with selectors.DefaultSelector() as waiting:
        waiting.register(listener, selectors.EVENT_READ)
        waiting.register(sys.stdin, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in waiting.select()}
            if sys.stdin in ready:
                os._exit(0)
            asker, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return watch(asker)
            asker.close()


def watch(asker: socket.socket) -> list[str]:
    """Read what to run, fork once more for it, and tell the asker its pid and then how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    header, streams, _, _ = socket.recv_fds(asker, LENGTH_BYTES, 3)
    with asker.makefile("rb") as stream:
        asked = json.loads(stream.read(int.from_bytes(header)))
    pid = os.fork()
    if pid == 0:
        asker.close()
        return become(asked, streams)
    asker.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    asker.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def become(asked: dict[str, Any], streams: list[int]) -> list[str]:
    """Take the streams, the environment and the folder of a command; return its arguments."""
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    os.environ.clear()
    os.environ.update(asked["environ"])
    if other_copies := os.environ.get("PYTHONPATH"):
        forget_our_package(other_copies.split(os.pathsep))
    time.tzset()
    os.chdir(asked["folder"])
    sys.path[0] = asked["folder"]
    return list(asked["arguments"])


def forget_our_package(places: list[str]) -> None:
    """Have the package read again from the first of these places that has it."""
    for name in [name for name in sys.modules if name.partition(".")[0] in _READ_AGAIN]:
        del sys.modules[name]
    sys.path[1:1] = places
    importlib.invalidate_caches()


if __name__ == "__main__":
    load_everything()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as ours:
        command = serve(ours)
    sys.argv[1:] = command
    # Imported as late as this, because it may be that of another copy by now. Called as the last thing, so
    # that the process ends as one of `python -m skatestock` does.
    from skatestock.cli import main as run_command_line

    run_command_line()
