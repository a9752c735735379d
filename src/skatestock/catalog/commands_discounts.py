"""Keeps what happened to discounts, read out of the price points once, so that nobody has to read them all.

The price points are read out in their order of time, up to a while ago. One that comes after that, late or in
another's place, has its listing's read out anew.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

from skatestock.catalog.discount_queries import READ_OUT
from skatestock.catalog.trend_queries import LONGEST_DAYS
from skatestock.database.pool import Connection

_SETTLES_AFTER = timedelta(minutes=15)
"""What is younger is left alone: nearly all price points are written by then, and none must be read twice."""
_EVERY = timedelta(minutes=15)
"""How much is worth a step, but for the last before the present."""
_LONGEST_STEP = timedelta(days=1)
_MOST_LISTINGS = 1000
"""So many listings are read out anew by themselves; when more come late, everything since is."""

_LOCK_STATE = "SELECT kept_from, kept_until FROM discount_state FOR UPDATE"
_FIND_FIRST = "SELECT min(observed_at) FROM price_points WHERE observed_at >= $1 AND observed_at < $2"
_ANNOUNCE = "UPDATE discount_state SET kept_from = $1, kept_until = $2, reading_until = $3"
_FIND_ANNOUNCED = """
SELECT kept_until, reading_until, set_config('plan_cache_mode', 'force_custom_plan', true)
FROM discount_state"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEEP = """
kept AS (
    INSERT INTO discount_moves (at, listing_id, price_drops, discounts_begun)
    SELECT at, listing_id, price_drops, discounts_begun FROM new_moves
)
INSERT INTO discount_ends (ended_at, listing_id, began_at, discounts)
SELECT ended_at, listing_id, began_at, discounts FROM new_ends"""
_READ_OUT_ALL = f"WITH chosen AS (SELECT id FROM listings), {READ_OUT}, {_KEEP}"  # noqa: S608 - constants only
_READ_OUT_SOME = f"WITH chosen AS (SELECT unnest($3::bigint[]) AS id), {READ_OUT}, {_KEEP}"
# Fails where the row changed after this transaction began: what it has read may be wrong.
_FINISH = "UPDATE discount_state SET kept_until = reading_until"
_FIND_REACH = "SELECT greatest(kept_until, reading_until) FROM discount_state"
# Of the points of the changes from $1 to $2 and the new listings $3, those from before $4. The runs of a
# change tell each moment for the next so many of its offers.
_FIND_LATE = """
SELECT array_agg(DISTINCT listing_id) AS listing_ids, min(moment) AS earliest_at
FROM (
    SELECT o.listing_id, run.moment
    FROM catalogue_changes c CROSS JOIN LATERAL (
        SELECT moment, length, sum(length) OVER (ORDER BY place)::integer AS up_to
        FROM unnest(c.point_moments, c.point_runs) WITH ORDINALITY AS r (moment, length, place)) AS run
    JOIN offers o ON o.id = ANY (c.point_offer_ids[run.up_to - run.length + 1 : run.up_to])
    WHERE c.position BETWEEN $1 AND $2 AND run.moment < $4
    UNION ALL SELECT id, first_seen_at FROM listings
    WHERE id = ANY ($3::bigint[]) AND first_seen_at < $4) AS late"""
_MARK = "UPDATE discount_state SET taken_out = taken_out + 1 RETURNING kept_from, kept_until"
_FORGET_LISTINGS = (
    "DELETE FROM discount_moves WHERE listing_id = ANY ($1)",
    "DELETE FROM discount_ends WHERE listing_id = ANY ($1)",
)
_FORGET_BEFORE = ("DELETE FROM discount_moves WHERE at < $1", "DELETE FROM discount_ends WHERE ended_at < $1")
_FORGET_FROM = ("DELETE FROM discount_moves WHERE at >= $1", "DELETE FROM discount_ends WHERE ended_at >= $1")
_TAKE_BACK = "UPDATE discount_state SET kept_until = least(kept_until, $1), taken_out = taken_out + 1"
_BEGIN_ANEW = """
UPDATE discount_state SET kept_from = 'epoch', kept_until = 'epoch', reading_until = 'epoch',
    taken_out = taken_out + 1"""


class ReadOut(NamedTuple):
    """What one step has read out."""

    until: datetime
    """Before which everything of the longest window is kept now."""
    days_left: int
    """How many whole days lie between that and the present."""


async def read_out_next(connection: Connection, now: datetime) -> ReadOut | None:
    """Read out the next price points, a day of them at most; None where there is nothing worth a step.

    Raises a serialization failure, which may be tried again, when an earlier point comes meanwhile.
    """
    async with connection.transaction():
        if not await _announce(connection, now):
            return None
    # Whoever brings an earlier point from here on knows that it may be missed, and says so in the state.
    async with connection.transaction(isolation="repeatable_read"):
        announced = await connection.fetchrow(_FIND_ANNOUNCED)
        assert announced is not None, "the migration has made its one row"
        kept_until, reading_until = announced["kept_until"], announced["reading_until"]
        if kept_until < reading_until:
            await connection.execute(_READ_OUT_ALL, kept_until, reading_until)
            await connection.execute(_FINISH)
    return ReadOut(reading_until, max(0, (now - reading_until).days))


async def follow_late_points(
    connection: Connection, positions: range, moments: list[datetime], new_listing_ids: list[int]
) -> None:
    """Read out anew what changes of the catalogue have changed in what is kept; in a transaction; idempotent.

    `moments` are those of all their points.
    """
    reach = await connection.fetchval(_FIND_REACH)
    if not new_listing_ids and all(moment >= reach for moment in moments):
        return
    late = await connection.fetchrow(_FIND_LATE, positions[0], positions[-1], new_listing_ids, reach)
    if late is None or late["listing_ids"] is None:
        return
    if len(late["listing_ids"]) > _MOST_LISTINGS:
        await connection.execute(_TAKE_BACK, late["earliest_at"])
        await _execute_all(connection, _FORGET_FROM, late["earliest_at"])
        return
    state = await connection.fetchrow(_MARK)
    await _execute_all(connection, _FORGET_LISTINGS, late["listing_ids"])
    if state is not None and state["kept_from"] < state["kept_until"]:
        await connection.execute(_READ_OUT_SOME, *state, late["listing_ids"])


async def forget_discounts(connection: Connection) -> None:
    """Forget all that is kept, to be read out anew; in a transaction."""
    await connection.execute(_BEGIN_ANEW)
    await _execute_all(connection, _FORGET_FROM, _EPOCH)


async def _announce(connection: Connection, now: datetime) -> bool:
    """Say up to where the next step reads, and forget what no window reaches; False without a step."""
    state = await connection.fetchrow(_LOCK_STATE)
    assert state is not None, "the migration has made its one row"
    window_from = datetime.combine(now.astimezone(UTC).date(), time(), UTC) - timedelta(days=LONGEST_DAYS)
    settled = now.replace(microsecond=0) - _SETTLES_AFTER
    kept_from, kept_until = state
    if kept_from > window_from or kept_until < window_from:
        # never begun, or left for too long
        await _execute_all(connection, _FORGET_FROM, _EPOCH)
        kept_from = kept_until = window_from
    elif settled - kept_until < _EVERY:
        return False
    elif kept_from < window_from:
        await _execute_all(connection, _FORGET_BEFORE, window_from)
        kept_from = window_from
    first = await connection.fetchval(_FIND_FIRST, kept_until, settled)
    reading_until = settled if first is None else min(settled, first + _LONGEST_STEP)
    await connection.execute(_ANNOUNCE, kept_from, kept_until, reading_until)
    return True


async def _execute_all(connection: Connection, statements: Iterable[str], argument: object) -> None:
    for statement in statements:
        await connection.execute(statement, argument)
