"""Events to bytes and back: Avro in the Confluent frame (0x00, schema id in four bytes, body)."""

import json
from collections.abc import Mapping
from importlib.resources import files
from io import BytesIO
from struct import Struct
from typing import Any, Protocol

import fastavro
import msgspec

from skatestock.events.errors import SenselessEventError, UndecodableError
from skatestock.events.model import CrawlCompleted, Event, ListingObserved
from skatestock.events.sense import find_nonsense
from skatestock.vocabulary.time import Clock, utc_now

_MAGIC_BYTE = 0
_FRAME = Struct(">BI")
_EVENTS: Mapping[str, type[Event]] = {"ListingObserved": ListingObserved, "CrawlCompleted": CrawlCompleted}
# What fastavro raises on bytes that do not follow the schema.
_MALFORMED = (EOFError, ValueError, IndexError, KeyError, OverflowError, TypeError, MemoryError)


class SchemaIds(Protocol):
    """Knows under which id each schema stands: a registry, or the fixed ids below."""

    def id_of(self, event: str) -> int:
        """Return the id under which new events of this name are written."""

    def find_event(self, schema_id: int) -> str | None:
        """Return the name of the event that is written under this id."""


class FixedSchemaIds:
    """The ids that hold where no registry runs."""

    _ids: Mapping[str, int] = {"ListingObserved": 1, "CrawlCompleted": 2}

    def id_of(self, event: str) -> int:
        """Return the id under which new events of this name are written."""
        return self._ids[event]

    def find_event(self, schema_id: int) -> str | None:
        """Return the name of the event that is written under this id."""
        return next((name for name, known_id in self._ids.items() if known_id == schema_id), None)


FIXED_SCHEMA_IDS = FixedSchemaIds()


def load_schema(event: str) -> dict[str, Any]:
    """Read an event's Avro schema as it was written, docs included."""
    text = files("skatestock.events").joinpath("schemas", f"{event}.avsc").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


_SCHEMAS: Mapping[str, Any] = {event: fastavro.parse_schema(load_schema(event)) for event in _EVENTS}


def event_name(event: Event) -> str:
    """Return the event's name as the `event` header and the schema carry it."""
    return type(event).__name__


def encode(event: Event, *, ids: SchemaIds = FIXED_SCHEMA_IDS) -> bytes:
    """Write an event; raises SenselessEventError for one that `decode` would refuse."""
    nonsense = find_nonsense(event)
    if nonsense is not None:
        raise SenselessEventError(f"this {event_name(event)} must not be said: {nonsense}")
    name = event_name(event)
    out = BytesIO()
    out.write(_FRAME.pack(_MAGIC_BYTE, ids.id_of(name)))
    fastavro.schemaless_writer(out, _SCHEMAS[name], _to_record(event))
    return out.getvalue()


def decode(value: bytes, *, clock: Clock = utc_now, ids: SchemaIds = FIXED_SCHEMA_IDS) -> Event:
    """Read an event; raises UndecodableError for anything that is none, whatever the bytes are."""
    name = _read_frame(value, ids)
    event = _read_body(name, value)
    nonsense = find_nonsense(event, clock())
    if nonsense is not None:
        raise UndecodableError("senseless", nonsense)
    return event


def _read_frame(value: bytes, ids: SchemaIds) -> str:
    if not value:
        raise UndecodableError("truncated", "the message is empty")
    if value[0] != _MAGIC_BYTE:
        raise UndecodableError("bad_magic_byte", f"the message begins with 0x{value[0]:02x}, not 0x00")
    if len(value) < _FRAME.size:
        raise UndecodableError("truncated", f"the message has only {len(value)} bytes")
    schema_id: int = _FRAME.unpack_from(value)[1]
    name = ids.find_event(schema_id)
    if name is None or name not in _EVENTS:
        raise UndecodableError("unknown_schema_id", f"no schema has the id {schema_id}")
    return name


def _read_body(name: str, value: bytes) -> Event:
    body = BytesIO(value)
    body.seek(_FRAME.size)
    try:
        record = fastavro.schemaless_reader(body, _SCHEMAS[name], None)
    except EOFError as error:
        raise UndecodableError("truncated", f"the {name} ends early") from error
    except _MALFORMED as error:
        raise UndecodableError("senseless", f"the {name} does not follow its schema: {error}") from error
    if body.tell() != len(value):
        raise UndecodableError("truncated", f"{len(value) - body.tell()} bytes stand behind the {name}")
    try:
        return msgspec.convert(record, _EVENTS[name])
    except msgspec.ValidationError as error:
        raise UndecodableError("senseless", f"the {name} does not follow its model: {error}") from error


def _to_record(event: Event) -> dict[str, Any]:
    record = msgspec.structs.asdict(event)
    part = "offers" if isinstance(event, ListingObserved) else "rejected"
    record[part] = [msgspec.structs.asdict(item) for item in record[part]]
    return record
