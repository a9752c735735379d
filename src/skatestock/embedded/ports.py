"""Free ports, remembered in a folder so that a server keeps its address over restarts."""

from __future__ import annotations

import socket
from collections.abc import Collection
from pathlib import Path

from skatestock.embedded.errors import PortInUseError

HOST = "127.0.0.1"


def choose_port(memory: Path, *, configured: int | None, server: str, avoid: Collection[int] = ()) -> int:
    """Choose a server's port: the configured one, else the remembered one, else any free one; remember it.

    Raises PortInUseError when the configured port is taken. A remembered port that was taken meanwhile is
    replaced. `avoid` are ports that were chosen already, but that nobody listens on yet.
    """
    if configured is not None:
        if not is_free(configured):
            raise PortInUseError(server, configured)
        port = configured
    else:
        remembered = _find_remembered(memory)
        usable = remembered is not None and remembered not in avoid and is_free(remembered)
        port = remembered if usable and remembered is not None else _find_other_port(avoid)
    memory.write_text(f"{port}\n", encoding="ascii")
    return port


def is_free(port: int) -> bool:
    """Say whether nobody listens on the port of loopback."""
    return find_obstacle(HOST, port) is None


def find_obstacle(host: str, port: int) -> str | None:
    """Tell why a server could not listen there now; None when it could."""
    try:
        with _open_probe(host) as probe:
            # As servers do it: connections that linger after a restart do not make the port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.strerror or str(error)
    return None


def find_free_port(host: str = HOST) -> int:
    """Find a port that is free now."""
    with _open_probe(host) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _find_other_port(avoid: Collection[int]) -> int:
    while (port := find_free_port()) in avoid:
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
