"""The ids of events: where in a catalogue's changes one stands."""

import re
from hashlib import sha256
from typing import NamedTuple

from skatestock.api.event_schemas import EVENT_ID_PATTERN


class Place(NamedTuple):
    """A place among all events of a catalogue, in their order: after event `number` of a change."""

    position: int
    number: int


class EventId(NamedTuple):
    """A place in a certain catalogue."""

    place: Place
    catalogue: str


def name_catalogue(epoch: str) -> str:
    """Shorten a catalogue's epoch to what stands in the ids of its events."""
    return sha256(epoch.encode()).hexdigest()[:8]


def write_event_id(place: Place, catalogue: str) -> str:
    """Write an id."""
    return f"{place.position}-{place.number}-{catalogue}"


def parse_event_id(text: str) -> EventId | None:
    """Read an id; None for what is none."""
    if not re.match(EVENT_ID_PATTERN, text) or text.endswith("\n"):
        return None
    position, number, catalogue = text.split("-")
    return EventId(Place(int(position), int(number)), catalogue)


def after_change(position: int) -> Place:
    """Return the place after all events of a change."""
    return Place(position + 1, 0)
