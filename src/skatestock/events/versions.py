"""The events' Avro schemas as they stand, and every version that was ever released."""

import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from skatestock.events.model import CrawlCompleted, Event, ListingObserved

AvroSchema = dict[str, Any]
"""A schema as its JSON says it."""

EVENTS: Mapping[str, type[Event]] = {"ListingObserved": ListingObserved, "CrawlCompleted": CrawlCompleted}
"""Every event by its name: those of the schema, of the `event` header and of the struct are one."""

NAMESPACE = "skatestock.events"
SCHEMAS = files("skatestock.events").joinpath("schemas")
"""Where the schemas stand; `history/<event>/<version>.avsc` below it keeps the released versions."""


def full_name(event: str) -> str:
    """Return the full name of an event's record."""
    return f"{NAMESPACE}.{event}"


def load_schema(event: str, folder: Traversable = SCHEMAS) -> AvroSchema:
    """Read an event's Avro schema as it was written, docs included."""
    return _load(folder.joinpath(f"{event}.avsc"))


def load_history(event: str, folder: Traversable = SCHEMAS) -> dict[int, AvroSchema]:
    """Read every released version of an event's schema, the oldest first; empty where none was released."""
    home = folder.joinpath("history", event)
    if not home.is_dir():
        return {}
    versions = sorted(int(file.name.removesuffix(".avsc")) for file in home.iterdir())
    return {version: _load(home.joinpath(f"{version}.avsc")) for version in versions}


def _load(file: Traversable) -> AvroSchema:
    schema: AvroSchema = json.loads(file.read_text("utf-8"))
    return schema
