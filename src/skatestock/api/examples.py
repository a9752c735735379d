"""Whole examples of bodies and answers, put together from the examples of their fields."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/"


def build_example(schema: Mapping[str, Any], schemas: Mapping[str, Json]) -> Any:
    """Return a value that a schema describes; `schemas` are those that it refers to, by name.

    A field's own example counts first; of alternatives the first that is not null. Raises KeyError for a
    reference that leads nowhere, and ValueError for a field without anything to take an example from.
    """
    if schema.get("examples"):
        return schema["examples"][0]
    if "$ref" in schema:
        return build_example(schemas[schema["$ref"].removeprefix(_REFERENCE)], schemas)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if "anyOf" in schema:
        return build_example(next(part for part in schema["anyOf"] if part != {"type": "null"}), schemas)
    if "properties" in schema:
        return {name: build_example(part, schemas) for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        return [build_example(schema["items"], schemas)]
    raise ValueError(f"nothing to take an example from: {dict(schema)!r}")
