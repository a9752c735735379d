"""Free ports: kept by this process once they are chosen, remembered in a folder over its restarts."""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from skatestock.embedded.errors import PortInUseError

HOST = "127.0.0.1"

# The ports of this process's servers, each with the socket that keeps it where one can. A port belongs to the
# process, not to the object that chose it, and goes back when the process ends.
_kept: dict[tuple[str, int], socket.socket | None] = {}


def choose_port(memory: Path, *, configured: int | None, server: str, avoid: Collection[int] = ()) -> int:
    """Choose a server's port: the configured one, else the remembered one, else any free one; remember it.

    The port is kept. Raises PortInUseError when the configured one is taken. A remembered port that was taken
    meanwhile is replaced. `avoid` are ports that are promised elsewhere.
    """
    if configured is not None:
        if not is_free(configured):
            raise PortInUseError(server, configured)
        port = configured
    else:
        remembered = _find_remembered(memory)
        usable = remembered is not None and remembered not in avoid and is_free(remembered)
        port = remembered if usable and remembered is not None else _find_other_port(avoid)
    keep_port(port)
    memory.write_text(f"{port}\n", encoding="ascii")
    return port


def is_free(port: int) -> bool:
    """Say whether nobody listens on the port of loopback."""
    return find_obstacle(HOST, port) is None


def find_obstacle(host: str, port: int) -> str | None:
    """Tell why a server could not listen there now; None when it could."""
    try:
        # As servers do it: connections that linger after a restart do not make the port taken.
        _bind(host, port).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def take_free_port(host: str = HOST) -> int:
    """Choose a port that is free now, and keep it."""
    while True:
        held = _bind(host, 0)
        port = int(held.getsockname()[1])
        if (host, port) not in _kept:
            _kept[host, port] = _hold(held)
            return port
        held.close()


def keep_port(port: int, host: str = HOST) -> None:
    """Keep a port until this process ends, so that nobody is given it by chance; idempotent.

    Between its choice and its server's first word, and whenever the server has died, a port is free: without
    this, another server or a client's connection may be there first, and stay. Does nothing where somebody
    listens already.
    """
    if (host, port) not in _kept:
        with suppress(OSError):
            _kept[host, port] = _hold(_bind(host, port))


def _bind(host: str, port: int) -> socket.socket:
    bound = _open_probe(host)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


def _hold(bound: socket.socket) -> socket.socket | None:
    """Hold on to a socket that never listens: beside it a server may, but nobody else is given its port.

    So it is on Linux. Elsewhere it would be in the server's way, and only this process keeps off the port.
    """
    if sys.platform != "linux":
        bound.close()
        return None
    return bound


def _find_other_port(avoid: Collection[int]) -> int:
    while (port := take_free_port()) in avoid:
        pass
    return port


def _open_probe(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)


def _find_remembered(memory: Path) -> int | None:
    try:
        port = int(memory.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return port if 0 < port < 65536 else None
