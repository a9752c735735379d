"""The account that servers run as: PostgreSQL refuses uid 0, so root hands them to a lesser one."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from skatestock.embedded.errors import EmbeddedError

_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An unprivileged account of this machine."""

    name: str
    uid: int
    gid: int


def find_server_account(folder: Path) -> Account | None:
    """Find the account to run servers as for a data folder; None when we are no root and need none."""
    if os.geteuid() != 0:
        return None
    owner = _nearest_existing(folder).stat().st_uid
    # An owner without a name (of a folder mounted into a container) will not do: initdb refuses those.
    ways = [partial(pwd.getpwuid, owner)] if owner != 0 else []
    for look_up in (*ways, *(partial(pwd.getpwnam, name) for name in _CANDIDATES)):
        found = _find_account(look_up)
        if found is not None:
            return found
    raise EmbeddedError(
        "Running as root, but this machine has neither an account 'postgres' nor 'nobody' for PostgreSQL "
        "to run as (it refuses root). Create one (useradd --system postgres), or run as an ordinary user."
    )


def can_enter(account: Account | None, folder: Path) -> bool:
    """Try, as the account itself, whether a folder can be entered: this sees access lists, not only modes."""
    return _succeeds(account, ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)])


def can_read(account: Account | None, file: Path) -> bool:
    """Try, as the account itself, whether a file can be read."""
    return _succeeds(account, ["/bin/sh", "-c", 'test -r "$1"', "sh", str(file)])


def can_run(account: Account | None, program: Path, *arguments: str) -> bool:
    """Try, as the account itself, whether a program runs."""
    return _succeeds(account, [str(program), *arguments])


def switch_arguments(account: Account | None) -> dict[str, object]:
    """Give the arguments of `subprocess.Popen` that make a child run as the account, without our groups."""
    if account is None or account.uid == os.geteuid():
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, each owned like the folder above it. Idempotent."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    # Root's servers run as another account, which must get through; what is secret has its own mode.
    folder.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, exist_ok=True)
    inherit_owner(folder)


def inherit_owner(path: Path) -> None:
    """Give what root made to the owner of the folder it lies in, so that they can go on without root."""
    if os.geteuid() == 0:
        above = path.parent.stat()
        os.chown(path, above.st_uid, above.st_gid)


def give_to(account: Account | None, path: Path) -> None:
    """Make the account the owner of one file or folder."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _succeeds(account: Account | None, command: Sequence[str]) -> bool:
    switch = switch_arguments(account)
    try:
        ended = subprocess.run(  # noqa: S603 - our own fixed programs, no shell input
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
            **switch,  # type: ignore[call-overload]  # typeshed wants each keyword spelt out
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return bool(ended.returncode == 0)


def _find_account(look_up: Callable[[], pwd.struct_passwd]) -> Account | None:
    try:
        found = look_up()
    except KeyError:
        return None
    return Account(found.pw_name, found.pw_uid, found.pw_gid)


def _nearest_existing(folder: Path) -> Path:
    for candidate in (folder, *folder.parents):
        if candidate.exists():
            return candidate
    return Path("/")
