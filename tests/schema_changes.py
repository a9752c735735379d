"""Changes of a schema, each with what Avro's rules say of a reader with the new and a writer with the old."""

from __future__ import annotations

from typing import Any, NamedTuple


class Change(NamedTuple):
    """One change, and whether the new schema reads what was written with the old one."""

    old: dict[str, Any]
    new: dict[str, Any]
    is_compatible: bool


def record(*fields: dict[str, Any], name: str = "Thing", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "c.changes", "fields": list(fields), **more}


def field(name: str, type_: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def enum(*symbols: str, name: str = "Mood", **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int, name: str = "Digest", **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **more}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def map_of(values: Any) -> dict[str, Any]:
    return {"type": "map", "values": values}


def logical(type_: str, name: str) -> dict[str, Any]:
    return {"type": type_, "logicalType": name}


A = field("a", "int")
NODE = record(field("next", ["null", "Thing"]), A)


def typed(old: Any, new: Any, *, compatible: bool) -> Change:
    """Change the type of one field."""
    return Change(record(A, field("x", old)), record(A, field("x", new)), compatible)


def inner(*fields: dict[str, Any]) -> dict[str, Any]:
    return record(*fields, name="Inner")


CHANGES: dict[str, Change] = {
    "a field with a default is added": Change(record(A), record(A, field("b", "int", default=0)), True),
    "a field without a default is added": Change(record(A), record(A, field("b", "int")), False),
    "a nullable field without a default is added": Change(
        record(A), record(A, field("b", ["null", "int"])), False
    ),
    "a nullable field with a default is added": Change(
        record(A), record(A, field("b", ["null", "int"], default=None)), True
    ),
    "a field with a default is removed": Change(record(A, field("b", "int", default=0)), record(A), True),
    "a field without a default is removed": Change(record(A, field("b", "int")), record(A), True),
    "a field is renamed without an alias": Change(record(A), record(field("b", "int")), False),
    "a field is renamed without an alias, with a default": Change(
        record(A), record(field("b", "int", default=0)), True
    ),
    "a field is renamed with an alias": Change(record(A), record(field("b", "int", aliases=["a"])), True),
    "a field is renamed with a wrong alias": Change(
        record(A), record(field("b", "int", aliases=["z"])), False
    ),
    "two fields become one by an alias": Change(
        record(A, field("b", "int")), record(field("a", "int", aliases=["b"])), False
    ),
    "fields change places": Change(record(A, field("b", "int")), record(field("b", "int"), A), True),
    "a default is taken away": Change(record(field("a", "int", default=0)), record(A), True),
    "a default changes": Change(
        record(field("a", "int", default=0)), record(field("a", "int", default=1)), True
    ),
    "a doc changes": Change(record(A, doc="one"), record(field("a", "int", doc="two"), doc="two"), True),
    "the namespace changes": Change(record(A), record(A) | {"namespace": "c.elsewhere"}, True),
    "the record is renamed": Change(record(A), record(A, name="Other"), False),
    "the record is renamed with an alias": Change(
        record(A), record(A, name="Other", aliases=["Thing"]), True
    ),
    "the record is renamed with a full alias": Change(
        record(A), record(A, name="Other", aliases=["c.changes.Thing"]), True
    ),
    "the record is renamed with an alias of another namespace": Change(
        record(A), record(A, name="Other", aliases=["c.elsewhere.Thing"]), False
    ),
    "int becomes long": typed("int", "long", compatible=True),
    "long becomes int": typed("long", "int", compatible=False),
    "int becomes float": typed("int", "float", compatible=True),
    "int becomes double": typed("int", "double", compatible=True),
    "long becomes float": typed("long", "float", compatible=True),
    "long becomes double": typed("long", "double", compatible=True),
    "float becomes double": typed("float", "double", compatible=True),
    "double becomes float": typed("double", "float", compatible=False),
    "float becomes long": typed("float", "long", compatible=False),
    "string becomes bytes": typed("string", "bytes", compatible=True),
    "bytes becomes string": typed("bytes", "string", compatible=True),
    "string becomes long": typed("string", "long", compatible=False),
    "long becomes string": typed("long", "string", compatible=False),
    "boolean becomes int": typed("boolean", "int", compatible=False),
    "string becomes an enum": typed("string", enum("glad"), compatible=False),
    "an enum becomes string": typed(enum("glad"), "string", compatible=False),
    "bytes become fixed": typed("bytes", fixed(4), compatible=False),
    "fixed becomes bytes": typed(fixed(4), "bytes", compatible=False),
    "a value becomes nullable": typed("string", ["null", "string"], compatible=True),
    "a value is no longer nullable": typed(["null", "string"], "string", compatible=False),
    "a union of one becomes its type": typed(["string"], "string", compatible=True),
    "a union gains a branch": typed(["null", "string"], ["null", "string", "long"], compatible=True),
    "a union loses a branch": typed(["null", "string", "long"], ["null", "string"], compatible=False),
    "a union's branches change places": typed(["null", "string"], ["string", "null"], compatible=True),
    "a union's branch is promoted": typed(["null", "int"], ["null", "long"], compatible=True),
    "a union's branch is narrowed": typed(["null", "long"], ["null", "int"], compatible=False),
    "int becomes long or null": typed("int", ["null", "long"], compatible=True),
    "a record in a union gains a field": typed(
        ["null", inner(A)], ["null", inner(A, field("b", "int"))], compatible=False
    ),
    "a record in a union gains a field with a default": typed(
        ["null", inner(A)], ["null", inner(A, field("b", "int", default=0))], compatible=True
    ),
    "a record in a union is renamed": typed(
        ["null", inner(A)], ["null", record(A, name="Other")], compatible=False
    ),
    "an enum gains a symbol": typed(enum("glad"), enum("glad", "sad"), compatible=True),
    "an enum loses a symbol": typed(enum("glad", "sad"), enum("glad"), compatible=False),
    "an enum with a default loses a symbol": typed(
        enum("glad", "sad"), enum("glad", default="glad"), compatible=True
    ),
    "an enum whose writer had a default loses a symbol": typed(
        enum("glad", "sad", default="glad"), enum("glad"), compatible=False
    ),
    "an enum's field has a default and loses a symbol": Change(
        record(A, field("x", enum("glad", "sad"), default="glad")),
        record(A, field("x", enum("glad"), default="glad")),
        False,
    ),
    "an enum's symbols change places": typed(enum("glad", "sad"), enum("sad", "glad"), compatible=True),
    "an enum is renamed": typed(enum("glad"), enum("glad", name="Other"), compatible=False),
    "an enum is renamed with an alias": typed(
        enum("glad"), enum("glad", name="Other", aliases=["Mood"]), compatible=True
    ),
    "fixed grows": typed(fixed(16), fixed(32), compatible=False),
    "fixed shrinks": typed(fixed(32), fixed(16), compatible=False),
    "fixed is renamed": typed(fixed(4), fixed(4, name="Other"), compatible=False),
    "a nested record gains a field": typed(inner(A), inner(A, field("b", "int")), compatible=False),
    "a nested record gains a field with a default": typed(
        inner(A), inner(A, field("b", "string", default="")), compatible=True
    ),
    "a nested record loses a field": typed(inner(A, field("b", "int")), inner(A), compatible=True),
    "a nested record is renamed": typed(inner(A), record(A, name="Other"), compatible=False),
    "an array's items are promoted": typed(array("int"), array("long"), compatible=True),
    "an array's items are narrowed": typed(array("long"), array("int"), compatible=False),
    "an array's records gain a field": typed(
        array(inner(A)), array(inner(A, field("b", "int"))), compatible=False
    ),
    "an array's records gain a field with a default": typed(
        array(inner(A)), array(inner(A, field("b", "int", default=0))), compatible=True
    ),
    "a value becomes an array": typed("int", array("int"), compatible=False),
    "an array becomes a map": typed(array("int"), map_of("int"), compatible=False),
    "a map's values are promoted": typed(map_of("int"), map_of("double"), compatible=True),
    "a map's values are narrowed": typed(map_of("string"), map_of("int"), compatible=False),
    "a map's values become nullable": typed(map_of("string"), map_of(["null", "string"]), compatible=True),
    "a logical type is added": typed("long", logical("long", "timestamp-millis"), compatible=True),
    "a logical type is taken away": typed(logical("long", "timestamp-millis"), "long", compatible=True),
    "a logical type changes": typed(
        logical("long", "timestamp-millis"), logical("long", "timestamp-micros"), compatible=True
    ),
    "a logical type changes under another type": typed(
        logical("int", "date"), logical("long", "timestamp-millis"), compatible=True
    ),
    "a record that holds itself gains a field": Change(
        NODE, record(field("next", ["null", "Thing"]), A, field("b", "int")), False
    ),
    "a record that holds itself gains a field with a default": Change(
        NODE, record(field("next", ["null", "Thing"]), A, field("b", "int", default=0)), True
    ),
}
"""Every change by its name."""
