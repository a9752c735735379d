"""Writes of operators and crawls about single shops: adding, resting, waking, and their last robots.txt."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from skatestock.catalog.commands import ensure_shops
from skatestock.catalog.commands_changes import Touched, record_change
from skatestock.catalog.model import ShopRecord
from skatestock.database.pool import Connection

Because = Literal["operator", "failing"]

_DEFINE = """
UPDATE shops SET definition = $2, disabled_at = NULL, disabled_because = NULL WHERE slug = $1 RETURNING id
"""
# An operator's word replaces our own; our own never replaces an operator's.
_DISABLE = """
UPDATE shops SET disabled_at = $2, disabled_because = $3
WHERE slug = $1 AND (disabled_at IS NULL OR (disabled_because = 'failing' AND $3 = 'operator'))
RETURNING id
"""
_ENABLE = """
UPDATE shops SET disabled_at = NULL, disabled_because = NULL
WHERE slug = $1 AND disabled_because = ANY ($2::text[]) RETURNING id
"""
_KEEP_ROBOTS = """
INSERT INTO robots_rules (host, body, fetched_at) VALUES ($1, $2, $3)
ON CONFLICT (host) DO UPDATE SET body = EXCLUDED.body, fetched_at = EXCLUDED.fetched_at
"""


async def add_shop(connection: Connection, shop: ShopRecord, definition: Mapping[str, Any]) -> None:
    """Add a shop that the file does not name, with all that a crawl needs; in a transaction. Idempotent."""
    await ensure_shops(connection, [shop])
    await _record(connection, await connection.fetchval(_DEFINE, shop.slug, dict(definition)))


async def disable_shop(connection: Connection, slug: str, now: datetime, because: Because) -> bool:
    """Put a shop to rest; tells whether that changed anything. The last act of a transaction, if in one."""
    async with connection.transaction():
        return await _record(connection, await connection.fetchval(_DISABLE, slug, now, because))


async def enable_shop(connection: Connection, slug: str, *, only_failing: bool = False) -> bool:
    """Wake a shop, or only one that rests because it failed; tells whether it rested.

    The last act of a transaction, if in one.
    """
    reasons = ["failing"] if only_failing else ["failing", "operator"]
    async with connection.transaction():
        return await _record(connection, await connection.fetchval(_ENABLE, slug, reasons))


async def keep_robots(connection: Connection, host: str, body: bytes | None, fetched_at: datetime) -> None:
    """Remember a host's robots.txt in place of the one before; None says that it has none."""
    await connection.execute(_KEEP_ROBOTS, host, body, fetched_at)


async def _record(connection: Connection, shop_id: int | None) -> bool:
    """Record that a shop's state changed, if it did; tells whether."""
    changed = Touched() if shop_id is None else Touched(shop_ids=[shop_id])
    return await record_change(connection, changed) is not None
