"""Moments: aware UTC in whole seconds, and nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime

from skatestock.vocabulary.errors import InvalidValueError

Clock = Callable[[], datetime]
"""Tells the time. The system's by default; a simulated world hands in its own."""


def utc_now() -> datetime:
    """Tell the present moment in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def to_whole_seconds(moment: datetime) -> datetime:
    """Convert an aware moment to UTC and drop what is below a second.

    Raises InvalidValueError for a moment without a time zone: guessing one invents history; and for one that
    has no year in UTC.
    """
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InvalidValueError(f"the moment {moment.isoformat()} has no time zone")
    try:
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:
        raise InvalidValueError(f"the moment {moment.isoformat()} lies outside of the calendar") from error


def parse_moment(text: str) -> datetime:
    """Read an ISO 8601 moment with its time zone; raises InvalidValueError on anything else."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidValueError(f"{text!r} is no ISO 8601 moment") from error
    return to_whole_seconds(moment)


def format_moment(moment: datetime) -> str:
    """Write a moment as ISO 8601 in UTC with a final Z."""
    return to_whole_seconds(moment).strftime("%Y-%m-%dT%H:%M:%SZ")
