"""What the supervisor is told about a child, and what it tells about one."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from skatestock.embedded.accounts import Account
from skatestock.embedded.errors import DependencyError

Command = Sequence[str] | Callable[[], Awaitable[Sequence[str]]]


@dataclass(frozen=True, kw_only=True)
class Child:
    """One process to run: how to start it, when it is ready, and how to stop it.

    `command` may be a coroutine function that prepares and returns the command; it runs before every start.
    `env` is added to our own environment; `own_env=False` gives the child only `env`.
    `ready` is asked until it says true (an OSError or EmbeddedError of it means not yet); without one, a
    child is ready once started, a one-shot child once it ended with 0. `restart=False` leaves a child that
    died dead. A `one_shot` child runs once.
    """

    name: str
    command: Command
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_timeout_seconds: float = 60.0
    depends_on: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    own_env: bool = True
    account: Account | None = None
    cwd: Path | None = None
    address: str | None = None
    stop_signal: int = signal.SIGTERM
    stop_timeout_seconds: float = 15.0
    death_signal: int = signal.SIGKILL
    restart: bool = True
    one_shot: bool = False


class ChildState(StrEnum):
    """Where a child stands."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    CRASH_LOOP = "crash_loop"
    DONE = "done"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ChildStatus:
    """A child as it stands now; `pid` is None while no process runs."""

    name: str
    state: ChildState
    pid: int | None
    create_time: float | None
    restarts: int
    address: str | None
    log: Path


def sort_by_dependency(children: Sequence[Child]) -> list[Child]:
    """Sort children so that each comes after those it depends on; otherwise the given order stays.

    Raises DependencyError for a doubled or unknown name and for a circle.
    """
    waiting = {child.name: child for child in children}
    if len(waiting) != len(children):
        raise DependencyError("Two children have the same name.")
    for child in children:
        for name in child.depends_on:
            if name not in waiting:
                raise DependencyError(f"{child.name} depends on {name}, which is not there.")
    ordered: list[Child] = []
    while waiting:
        free = next((c for c in waiting.values() if not any(name in waiting for name in c.depends_on)), None)
        if free is None:
            raise DependencyError(f"These depend on each other in a circle: {', '.join(sorted(waiting))}.")
        ordered.append(waiting.pop(free.name))
    return ordered
