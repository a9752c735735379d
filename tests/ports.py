"""Ports of loopback that stay what a test needs: one where nobody answers, one that can be taken again."""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

_HOST = "127.0.0.1"
# Below the range from which the kernel hands out ports by itself: nobody is given one of these by chance.
_QUIET_PORTS = range(20_000, 32_000)


@contextmanager
def refusing_port() -> Iterator[int]:
    """Hold a port that refuses every connection: bound, so nobody else gets it, but never listening."""
    with socket.socket() as held:
        held.bind((_HOST, 0))
        yield int(held.getsockname()[1])


def choose_quiet_port(following: int = 0) -> int:
    """Choose a port that is free, as are those `following` it, and that nobody is given by chance."""
    dice = random.SystemRandom()
    while True:
        first = dice.choice(_QUIET_PORTS)
        if all(_is_free(first + place) for place in range(following + 1)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True
