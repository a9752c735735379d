"""The schemas that records were written with, and how ours reads them: Avro's schema resolution.

Such a schema comes from outside. fastavro follows it in C, without a limit to its recursion: bytes can lead
a recursive schema so deep that the process crashes, and count billions of items that take no space. So only
schemas whose depth is bounded and whose values take space are followed; ours are all of that kind.
"""

from typing import Any, NamedTuple

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from skatestock.events.versions import EVENTS, AvroSchema, full_name, load_schema

_MAX_DEPTH = 60
_KEPT = ("name", "type", "fields", "items", "values", "symbols", "size", "logicalType", "precision", "scale")
_PRIMITIVES = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))


class UnreadableSchemaError(Exception):
    """A schema that none of our events can be read with; never leaves the codec."""


class Reading(NamedTuple):
    """How the records under one schema id are read."""

    event: str
    writer: Any
    reader: Any | None
    """None where both write the same bytes: nothing has to be resolved."""

    @property
    def is_ours(self) -> bool:
        """Tell whether the records stand there just as our own schema writes them."""
        return self.reader is None


SCHEMAS_OF_OURS = {event: fastavro.parse_schema(load_schema(event)) for event in EVENTS}
"""Our events' schemas by name, as fastavro wants them."""


def plan_reading(schema: AvroSchema) -> Reading:
    """Tell how records of this schema become events; raises UnreadableSchemaError with the reason."""
    writer = _parse(schema)
    name = writer.get("name") if isinstance(writer, dict) else None
    event = next((event for event in EVENTS if full_name(event) == name), None)
    if event is None:
        raise UnreadableSchemaError(f"it describes {name or 'no record'}, which is no event of ours")
    danger = _find_danger(writer, ())
    if danger is not None:
        raise UnreadableSchemaError(f"it is not followed, because {danger}")
    ours = SCHEMAS_OF_OURS[event]
    return Reading(event, writer, None if wire_form(writer) == wire_form(ours) else ours)


def wire_form(parsed: Any) -> Any:
    """Reduce a parsed schema to what decides over bytes and meaning: no docs, defaults or aliases."""
    if isinstance(parsed, list):
        return [wire_form(part) for part in parsed]
    if not isinstance(parsed, dict):
        return parsed
    kept = {key: wire_form(parsed[key]) for key in _KEPT if key in parsed}
    return kept["type"] if kept.keys() == {"type"} and isinstance(kept["type"], str) else kept


def _parse(schema: AvroSchema) -> Any:
    if not _is_shallow(schema):
        raise UnreadableSchemaError("it is nested too deep")
    if isinstance(schema, dict):
        # With its own marks in it fastavro would believe that it has checked the schema already.
        schema = {key: value for key, value in schema.items() if not key.startswith("__")}
    try:
        return fastavro.parse_schema(schema)
    except (SchemaParseException, UnknownType, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableSchemaError(f"it is no Avro schema: {type(error).__name__}: {error}") from error


def _is_shallow(schema: object) -> bool:
    level: list[object] = [schema]
    for _ in range(_MAX_DEPTH):
        inner = [part for part in level if isinstance(part, dict | list)]
        if not inner:
            return True
        level = [child for part in inner for child in (part.values() if isinstance(part, dict) else part)]
    return False


def _find_danger(node: Any, open_names: tuple[str, ...], *, in_union: bool = False) -> str | None:
    """Tell what makes a parsed schema dangerous to follow, or None."""
    if isinstance(node, list):
        return _first(_find_danger(part, open_names, in_union=True) for part in node)
    if isinstance(node, str):
        if node in open_names:
            return f"{node} holds itself"
        return "a null takes no bytes" if node == "null" and not in_union else None
    kind = node["type"]
    if kind in ("record", "error"):
        inner = (*open_names, node["name"])
        if not node["fields"]:
            return f"{node['name']} takes no bytes"
        return _first(_find_danger(field["type"], inner) for field in node["fields"])
    if kind in ("array", "map"):
        return _find_danger(node["items" if kind == "array" else "values"], open_names)
    if kind == "fixed":
        return None if _is_count(node["size"]) else f"{node['name']} takes no bytes"
    return None if kind == "enum" else _find_danger(kind, open_names, in_union=in_union)


def _first(dangers: Any) -> str | None:
    return next((danger for danger in dangers if danger is not None), None)


def _is_count(size: object) -> bool:
    return isinstance(size, int) and size >= 1
