"""The children's log files: kept small without the children knowing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from skatestock.embedded.accounts import inherit_owner

MAX_LOG_BYTES = 10_000_000


def bound_log(log: Path, max_bytes: int = MAX_LOG_BYTES) -> bool:
    """Move a log that grew too big aside as `<name>.1` and go on with an empty one; say whether it did.

    The child keeps writing to the same open file, so its content is copied and the file cut: since it is open
    for appending, the next line lands at the start. A line written between copy and cut is lost.
    """
    try:
        if log.stat().st_size <= max_bytes:
            return False
        aside = log.with_name(log.name + ".1")
        shutil.copyfile(log, aside)
        inherit_owner(aside)
        os.truncate(log, 0)
    except FileNotFoundError:
        return False
    return True


def read_last_lines(log: Path, *, since: int = 0, lines: int = 12) -> list[str]:
    """Read the end of a log, not before byte `since`, for showing why a child failed."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = since if since <= size else 0
            stream.seek(max(start, size - 8192))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]


def log_size(log: Path) -> int:
    """Give a log's size in bytes; 0 when there is none yet."""
    try:
        return log.stat().st_size
    except OSError:
        return 0
