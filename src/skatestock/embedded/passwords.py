"""Passwords that each folder makes for itself: no server of ours has a default one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from skatestock.embedded.accounts import inherit_owner

_LENGTH_BYTES = 24


def ensure_password(file: Path) -> str:
    """Read the folder's password, or make one that only its owner can read. Idempotent."""
    try:
        written = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        written = ""
    if written:
        return written
    password = secrets.token_urlsafe(_LENGTH_BYTES)
    write_private(file, password + "\n")
    return password


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    inherit_owner(partial)
    partial.replace(file)
