"""Records what a transaction changes in the catalogue, and forgets what nobody follows any more."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from skatestock.database.pool import Connection

CHANNEL = "skatestock_catalogue"
"""Where each new position is announced."""
INDEX_CHANNEL = "skatestock_index"
"""Where each position that the product index has reached is announced."""

_KEPT = timedelta(days=2)
# Where no index follows, nothing says how long changes are needed.
_KEPT_WITHOUT_INDEX = timedelta(days=7)

# The clock's row lock is held from here to the commit: positions are dense and become visible in their order.
_RECORD = """
WITH clock AS (UPDATE catalogue_clock SET position = position + 1 RETURNING position),
change AS (
    INSERT INTO catalogue_changes (position, changed_at, everything, shop_ids, product_ids, new_listing_ids,
        point_offer_ids, point_moments, point_runs)
    SELECT position, date_trunc('second', clock_timestamp()), $1, $2, $3, $4, $5, $6, $7 FROM clock
    RETURNING position
)
SELECT position, pg_notify($8, position::text) FROM change
"""

_PRUNE = """
DELETE FROM catalogue_changes USING catalogue_clock clock
WHERE (changed_at < $1 AND catalogue_changes.position <= clock.indexed)
   OR (changed_at < $2 AND clock.indexed = 0)
"""


class Point(NamedTuple):
    """Which price point: an offer's state from a moment on."""

    offer_id: int
    observed_at: datetime


class Touched:
    """What a transaction changed so far; grows until it is recorded."""

    def __init__(
        self,
        *,
        shop_ids: Iterable[int] = (),
        product_ids: Iterable[int] = (),
        new_listing_ids: Iterable[int] = (),
        points: Iterable[Point] = (),
    ) -> None:
        self.shop_ids = set(shop_ids)
        """Shops of which a crawl went on or a listing changed."""
        self.product_ids = set(product_ids)
        """Products of which a listing or an offer changed."""
        self.new_listing_ids = list(new_listing_ids)
        self.points = list(points)
        """The price points that were written for listings known before."""

    def __bool__(self) -> bool:
        """Tell whether anything changed."""
        return bool(self.shop_ids or self.product_ids or self.new_listing_ids or self.points)

    def add(self, other: "Touched") -> None:
        """Take over what else the same transaction changed."""
        self.shop_ids |= other.shop_ids
        self.product_ids |= other.product_ids
        self.new_listing_ids += other.new_listing_ids
        self.points += other.points


async def record_change(connection: Connection, touched: Touched) -> int | None:
    """Record what the transaction changed, and return its position; None where nothing changed.

    The last act of a transaction: others who record wait from here to its end.
    """
    if not touched:
        return None
    return await _record(
        connection,
        False,
        sorted(touched.shop_ids),
        sorted(touched.product_ids),
        touched.new_listing_ids,
        [offer_id for offer_id, _ in touched.points],
        *_find_runs(moment for _, moment in touched.points),
    )


async def record_everything_changed(connection: Connection) -> int:
    """Record that anything may have changed, and return the position; the last act of a transaction."""
    return await _record(connection, True, [], [], [], [], [], [])


async def prune_changes(connection: Connection, now: datetime) -> int:
    """Forget changes older than two days that the product index has followed, and return how many.

    Where no index ever followed, those older than a week.
    """
    done: str = await connection.execute(_PRUNE, now - _KEPT, now - _KEPT_WITHOUT_INDEX)
    return int(done.split()[-1])


def _find_runs(moments: Iterable[datetime]) -> tuple[list[datetime], list[int]]:
    """Tell each moment once for as often as it comes in a row: those of a page are the same."""
    distinct: list[datetime] = []
    runs: list[int] = []
    for moment, run in groupby(moments):
        distinct.append(moment)
        runs.append(sum(1 for _ in run))
    return distinct, runs


async def _record(connection: Connection, *change: object) -> int:
    position: int = await connection.fetchval(_RECORD, *change, CHANNEL)
    return position
