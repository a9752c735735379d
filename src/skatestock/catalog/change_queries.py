"""Reads of what commits changed: the clock, and the changes after a position."""

from collections.abc import Iterator
from datetime import datetime
from itertools import chain, repeat
from typing import NamedTuple

from skatestock.catalog.commands_changes import Point
from skatestock.database.pool import Connection

# The row's own text outlives a restore into other tables; where it is stored does not.
_CLOCK = """
SELECT concat_ws('-', epoch, (SELECT oid FROM pg_database WHERE datname = current_database()),
           pg_relation_filenode('catalogue_clock')) AS epoch,
       position, indexed
FROM catalogue_clock
"""
_CHANGES = """
SELECT position, changed_at, everything, shop_ids, product_ids, new_listing_ids, point_offer_ids,
       point_moments, point_runs
FROM catalogue_changes WHERE position > $1 ORDER BY position LIMIT $2
"""
_OLDEST = """
SELECT coalesce((SELECT min(position) FROM catalogue_changes), (SELECT position + 1 FROM catalogue_clock))
"""

_LAG = """
SELECT clock.indexed, clock.position - clock.indexed AS changes,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - changed_at) FROM catalogue_changes c
                 WHERE c.position > clock.indexed ORDER BY c.position LIMIT 1), 0)::int AS seconds
FROM catalogue_clock clock
"""


class Clock(NamedTuple):
    """How far a catalogue is."""

    epoch: str
    """Which catalogue's positions these are; a restored one is another."""
    position: int
    """Of the last change."""
    indexed: int
    """Up to which position the product index has followed."""


class IndexLag(NamedTuple):
    """How far the product index is behind."""

    indexed: int
    """The last position that it followed; 0 if it never followed any."""
    changes: int
    """How many it has not followed yet."""
    seconds: int
    """How long ago the oldest of them was."""


class CatalogueChange(NamedTuple):
    """What one commit changed."""

    position: int
    changed_at: datetime
    everything: bool
    """Anything may have changed; the rest says nothing then."""
    shop_ids: tuple[int, ...] = ()
    product_ids: tuple[int, ...] = ()
    new_listing_ids: tuple[int, ...] = ()
    points: tuple[Point, ...] = ()


async def find_clock(connection: Connection) -> Clock:
    """Return how far the catalogue is."""
    row = await connection.fetchrow(_CLOCK)
    assert row is not None, "the migration has made the clock's one row"
    return Clock(*row)


async def find_changes(connection: Connection, after: int, limit: int) -> tuple[CatalogueChange, ...]:
    """Return the changes after a position in their order; the first shows a gap where some were pruned."""
    rows = await connection.fetch(_CHANGES, after, limit)
    return tuple(
        CatalogueChange(
            position=row["position"],
            changed_at=row["changed_at"],
            everything=row["everything"],
            shop_ids=tuple(row["shop_ids"]),
            product_ids=tuple(row["product_ids"]),
            new_listing_ids=tuple(row["new_listing_ids"]),
            points=tuple(
                map(Point, row["point_offer_ids"], _unfold(row["point_moments"], row["point_runs"]))
            ),
        )
        for row in rows
    )


async def find_oldest_position(connection: Connection) -> int:
    """Return the position of the oldest change that is kept; the next one's where none is."""
    position: int = await connection.fetchval(_OLDEST)
    return position


async def find_index_lag(connection: Connection) -> IndexLag:
    """Return how far the product index is behind the catalogue."""
    row = await connection.fetchrow(_LAG)
    assert row is not None, "the migration has made the clock's one row"
    return IndexLag(*row)


def _unfold(moments: list[datetime], runs: list[int]) -> Iterator[datetime]:
    return chain.from_iterable(map(repeat, moments, runs))
