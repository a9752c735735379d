"""Events to bytes and back: Avro in the Confluent frame (0x00, schema id in four bytes, body)."""

from collections.abc import Collection, Iterable, Mapping
from io import BytesIO
from struct import Struct
from typing import Any, Protocol

import fastavro
import msgspec
from fastavro.read import SchemaResolutionError

from skatestock.events.errors import SenselessEventError, UndecodableError
from skatestock.events.model import Event, ListingObserved
from skatestock.events.plain_listing import find_plain_listing
from skatestock.events.sense import find_nonsense
from skatestock.events.versions import EVENTS, AvroSchema, load_history
from skatestock.events.writers import SCHEMAS_OF_OURS, Reading, UnreadableSchemaError, plan_reading
from skatestock.vocabulary.time import Clock, utc_now

_LISTING = ListingObserved.__name__
_MAGIC_BYTE = 0
_FRAME = Struct(">BI")
# What fastavro raises on bytes that do not follow the schema, or that ours cannot read.
_MALFORMED = (
    *(EOFError, ValueError, IndexError, KeyError, OverflowError, TypeError, AttributeError, MemoryError),
    SchemaResolutionError,
)


class Schemas(Protocol):
    """Knows under which id each schema stands: a registry, or the fixed ids below."""

    def id_of(self, event: str) -> int:
        """Return the id under which new events of this name are written."""

    def find_schema(self, schema_id: int) -> AvroSchema | None:
        """Return the schema of this id as far as it is known here; asks nobody."""

    async def learn(self, schema_ids: Collection[int]) -> None:
        """Find out which schemas have these ids; those that nobody has stay unknown.

        Raises a ConnectionError when it cannot be found out now.
        """


class FixedSchemas:
    """The ids that hold where no registry runs: each released version of a schema has its own for ever."""

    _numbers: Mapping[str, int] = {"ListingObserved": 1, "CrawlCompleted": 2}
    _step = 100

    def __init__(self) -> None:
        self._schemas = {
            number + self._step * (version - 1): schema
            for event, number in self._numbers.items()
            for version, schema in load_history(event).items()
        }

    def id_of(self, event: str) -> int:
        """Return the id under which new events of this name are written."""
        number = self._numbers[event]
        return max(schema_id for schema_id in self._schemas if schema_id % self._step == number)

    def find_schema(self, schema_id: int) -> AvroSchema | None:
        """Return the schema of this id."""
        return self._schemas.get(schema_id)

    async def learn(self, schema_ids: Collection[int]) -> None:
        """Learn nothing: whatever is not known has no id."""


FIXED = FixedSchemas()


def event_name(event: Event) -> str:
    """Return the event's name as the `event` header and the schema carry it."""
    return type(event).__name__


class Codec:
    """Encodes and decodes events with the schemas that a registry, or the fixed ids, stand for."""

    def __init__(self, schemas: Schemas = FIXED) -> None:
        self._schemas = schemas
        self._headers: dict[str, bytes] = {}
        # By the five bytes that a record begins with: frames that can be read, and those that never can.
        self._readings: dict[bytes, Reading] = {}
        self._refusals: dict[bytes, str] = {}

    def encode(self, event: Event) -> bytes:
        """Write an event; raises SenselessEventError for one that `decode` would refuse."""
        nonsense = find_nonsense(event)
        if nonsense is not None:
            raise SenselessEventError(f"this {event_name(event)} must not be said: {nonsense}")
        name = event_name(event)
        out = BytesIO()
        out.write(self._headers.get(name) or self._make_header(name))
        fastavro.schemaless_writer(out, SCHEMAS_OF_OURS[name], _to_record(event))
        return out.getvalue()

    def decode(self, value: bytes, *, clock: Clock = utc_now) -> Event:
        """Read an event; raises UndecodableError for anything that is none, whatever the bytes are.

        Where ids are a registry's, `prepare` must have seen the value before.
        """
        reading = self._readings.get(value[: _FRAME.size]) or self._find_reading(value)
        event = _read_body(reading, value)
        nonsense = find_nonsense(event, clock())
        if nonsense is not None:
            raise UndecodableError("senseless", nonsense)
        return event

    async def prepare(self, values: Iterable[bytes]) -> None:
        """Learn the schemas that the values were written with, so that they can be decoded.

        Raises a ConnectionError when a schema is not known yet and the registry is away.
        """
        frames = {value[: _FRAME.size] for value in values}.difference(self._readings, self._refusals)
        whole = [frame for frame in frames if len(frame) == _FRAME.size and frame[0] == _MAGIC_BYTE]
        if whole:
            await self._schemas.learn([_FRAME.unpack(frame)[1] for frame in whole])

    def _make_header(self, name: str) -> bytes:
        header = self._headers[name] = _FRAME.pack(_MAGIC_BYTE, self._schemas.id_of(name))
        return header

    def _find_reading(self, value: bytes) -> Reading:
        schema_id = _read_frame(value)
        frame = value[: _FRAME.size]
        refusal = self._refusals.get(frame)
        if refusal is None:
            schema = self._schemas.find_schema(schema_id)
            if schema is None:
                raise UndecodableError("unknown_schema_id", f"no schema has the id {schema_id}")
            try:
                reading = self._readings[frame] = plan_reading(schema)
            except UnreadableSchemaError as error:
                refusal = self._refusals[frame] = str(error)
            else:
                return reading
        raise UndecodableError("unknown_schema_id", f"the schema {schema_id} cannot be read: {refusal}")


FIXED_CODEC = Codec()
"""The codec where no registry runs."""


def encode(event: Event) -> bytes:
    """Write an event under the fixed ids; raises SenselessEventError for one that `decode` would refuse."""
    return FIXED_CODEC.encode(event)


def decode(value: bytes, *, clock: Clock = utc_now) -> Event:
    """Read an event of the fixed ids; raises UndecodableError for anything that is none."""
    return FIXED_CODEC.decode(value, clock=clock)


def _read_frame(value: bytes) -> int:
    if not value:
        raise UndecodableError("truncated", "the message is empty")
    if value[0] != _MAGIC_BYTE:
        raise UndecodableError("bad_magic_byte", f"the message begins with 0x{value[0]:02x}, not 0x00")
    if len(value) < _FRAME.size:
        raise UndecodableError("truncated", f"the message has only {len(value)} bytes")
    schema_id: int = _FRAME.unpack_from(value)[1]
    return schema_id


def _read_body(reading: Reading, value: bytes) -> Event:
    listing = find_plain_listing(value) if reading.is_ours and reading.event == _LISTING else None
    return _follow_schema(reading, value) if listing is None else listing


def _follow_schema(reading: Reading, value: bytes) -> Event:
    name = reading.event
    body = BytesIO(value)
    body.seek(_FRAME.size)
    try:
        record = fastavro.schemaless_reader(body, reading.writer, reading.reader)
    except EOFError as error:
        raise UndecodableError("truncated", f"the {name} ends early") from error
    except _MALFORMED as error:
        raise UndecodableError("senseless", f"the {name} does not follow its schema: {error}") from error
    if body.tell() != len(value):
        raise UndecodableError("truncated", f"{len(value) - body.tell()} bytes stand behind the {name}")
    try:
        return msgspec.convert(record, EVENTS[name])
    except msgspec.ValidationError as error:
        raise UndecodableError("senseless", f"the {name} does not follow its model: {error}") from error


def _to_record(event: Event) -> dict[str, Any]:
    record = msgspec.structs.asdict(event)
    part = "offers" if isinstance(event, ListingObserved) else "rejected"
    record[part] = [msgspec.structs.asdict(item) for item in record[part]]
    return record
