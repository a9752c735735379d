"""Reads of single shops: those added by command, those at rest, and their last robots.txt."""

from datetime import datetime
from typing import Any, NamedTuple

from skatestock.database.pool import Connection

_DEFINITIONS = "SELECT definition FROM shops WHERE definition IS NOT NULL AND enabled ORDER BY slug"
_AT_REST = "SELECT slug FROM shops WHERE disabled_because = 'operator' ORDER BY slug"
_ROBOTS = "SELECT body, fetched_at FROM robots_rules WHERE host = $1"


class KeptRobots(NamedTuple):
    """The last robots.txt that a host gave us."""

    body: bytes | None
    """None if the host had none."""
    fetched_at: datetime


async def fetch_definitions(connection: Connection) -> list[dict[str, Any]]:
    """Return the shops added by command, each as an entry in the file of shops would describe it, by slug."""
    return [dict(row[0]) for row in await connection.fetch(_DEFINITIONS)]


async def fetch_resting(connection: Connection) -> list[str]:
    """Return the slugs of the shops that an operator put to rest."""
    return [row[0] for row in await connection.fetch(_AT_REST)]


async def find_robots(connection: Connection, host: str) -> KeptRobots | None:
    """Find what a host's robots.txt said last."""
    row = await connection.fetchrow(_ROBOTS, host)
    return None if row is None else KeptRobots(row[0], row[1])
