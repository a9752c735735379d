"""Whether a changed schema may be released: it must read whatever was written with its predecessors.

`find_incompatibilities` follows the chapter "Schema Resolution" of the Avro specification 1.12, as a schema
registry does under the rule BACKWARD, and says where and why. The rules that a registry does not know, but
our consumers need, are in `find_changed_meanings`.
"""

from collections.abc import Iterable, Mapping
from importlib.resources.abc import Traversable
from typing import Any

import fastavro

from skatestock.events.versions import EVENTS, SCHEMAS, AvroSchema, full_name, load_history, load_schema
from skatestock.events.writers import UnreadableSchemaError, plan_reading

# What a reader of the one type reads beside its own (the specification's table of promotions).
_PROMOTIONS: Mapping[str, frozenset[str]] = {
    "long": frozenset(("int",)),
    "float": frozenset(("int", "long")),
    "double": frozenset(("int", "long", "float")),
    "string": frozenset(("bytes",)),
    "bytes": frozenset(("string",)),
}
_NAMED = ("record", "enum", "fixed")


def find_incompatibilities(reader: AvroSchema, writer: AvroSchema) -> list[str]:
    """Tell why a reader's schema cannot read all that a writer's may have written; empty where it can.

    Each line names the place in the reader's schema, such as `offers[].price_minor`.
    """
    return _Comparison(reader, writer).run()


def find_changed_meanings(newer: AvroSchema, older: AvroSchema) -> list[str]:
    """Tell what Avro would still read, but as something else; empty where there is nothing.

    A logical type is none of Avro's business when schemas are resolved, although milliseconds read as
    microseconds are another moment. And another full name would be another subject, which no registry
    compares with the old one.
    """
    if _name_of(newer) != _name_of(older):
        return [f"the record is called {_name_of(newer)} and was called {_name_of(older)}: a new subject"]
    now, then = describe_schema(newer), describe_schema(older)
    return [
        f"{path}: is {now[path]} and was {then[path]}: the same bytes would mean something else"
        for path in now
        if path in then and _logical(now[path]) != _logical(then[path])
    ]


def find_release_faults(event: str, folder: Traversable = SCHEMAS) -> list[str]:
    """Tell what forbids to release an event's schema as it stands in a folder; empty where nothing does.

    It must be kept as the newest version of its history, and read every older one.
    """
    current, history = load_schema(event, folder), load_history(event, folder)
    if list(history) != list(range(1, len(history) + 1)) or not history:
        return [f"history/{event} holds the versions {list(history)}, not 1 and on without a gap"]
    newest = max(history)
    unfit = _find_unfit(event, current)
    if unfit is not None:
        return [f"{event}.avsc: {unfit}"]
    faults = []
    if current != history[newest]:
        faults.append(
            f"{event}.avsc is not what history/{event}/{newest}.avsc keeps as released: "
            f"put it there as {newest + 1}.avsc, and change no older one"
        )
    else:
        del history[newest]
    return faults + [
        f"{event}.avsc cannot follow version {version}: {reason}"
        for version, released in history.items()
        for reason in (*find_incompatibilities(current, released), *find_changed_meanings(current, released))
    ]


def check_releases(folder: Traversable = SCHEMAS) -> list[str]:
    """Tell what forbids to release any of the events' schemas; empty where nothing does."""
    return [fault for event in EVENTS for fault in find_release_faults(event, folder)]


def describe_changes(newer: AvroSchema, older: AvroSchema) -> list[str]:
    """Tell what differs between two schemas, a line for each place; docs are not looked at."""
    now, then = describe_schema(newer), describe_schema(older)
    both = [path for path in now if path in then]
    lines = [f"{path}: was {then[path]}, is {now[path]}" for path in both if then[path] != now[path]]
    lines += [f"{path}: new, {now[path]}" for path in now if path not in then]
    return lines + [f"{path}: gone, was {then[path]}" for path in then if path not in now]


def describe_schema(schema: AvroSchema) -> dict[str, str]:
    """Write every field and item of a schema as a place and what stands there."""
    return dict(_describe(fastavro.parse_schema(schema), ""))


def _describe(node: Any, path: str, after: str = "") -> Iterable[tuple[str, str]]:
    yield path or "the record", _word(node) + after
    for number, branch in enumerate(node if isinstance(node, list) else (node,)):
        # A union's branches share its place where only one of them has inner places.
        at = path if not isinstance(node, list) or number == 0 else path + f"|{_word(branch)}"
        kind = _kind(branch)
        if kind == "record" and isinstance(branch, dict):
            for field in branch["fields"]:
                default = f", default {field['default']!r}" if "default" in field else ""
                yield from _describe(field["type"], _join(at, field["name"]), default)
        elif kind in ("array", "map"):
            inner = branch["items" if kind == "array" else "values"]
            yield from _describe(inner, at + ("[]" if kind == "array" else "{}"))


def _find_unfit(event: str, schema: AvroSchema) -> str | None:
    """Tell why our own consumers would not follow a schema."""
    try:
        reading = plan_reading(schema)
    except UnreadableSchemaError as error:
        return str(error)
    return None if reading.event == event else f"it describes {full_name(reading.event)}"


class _Comparison:
    def __init__(self, reader: AvroSchema, writer: AvroSchema) -> None:
        self._reader, self._writer = fastavro.parse_schema(reader), fastavro.parse_schema(writer)
        self._reader_names = dict(_named_types(self._reader))
        self._writer_names = dict(_named_types(self._writer))
        # Pairs of named types that are being compared: a recursive type is as compatible as its rest.
        self._open: set[tuple[str, str]] = set()

    def run(self) -> list[str]:
        return list(self._compare(self._reader, self._writer, ""))

    def _compare(self, reader: Any, writer: Any, path: str) -> Iterable[str]:
        reader = self._reader_names.get(_key(reader), reader)
        writer = self._writer_names.get(_key(writer), writer)
        if isinstance(writer, list):
            for branch in writer:
                yield from self._compare(reader, branch, path)
        elif isinstance(reader, list):
            yield from self._compare_branches(reader, writer, path)
        else:
            yield from self._compare_types(reader, writer, path)

    def _compare_branches(self, reader: list[Any], writer: Any, path: str) -> Iterable[str]:
        reasons = [list(self._compare(branch, writer, path)) for branch in reader]
        if all(reasons):
            # The branch that was meant says best what is wrong with it.
            kinds = [_kind(self._reader_names.get(_key(branch), branch)) for branch in reader]
            meant = [why for kind, why in zip(kinds, reasons, strict=True) if kind == _kind(writer)]
            yield from meant[0] if meant else (f"{_at(path)}: {_word(reader)} cannot read {_word(writer)}",)

    def _compare_types(self, reader: Any, writer: Any, path: str) -> Iterable[str]:
        kind = _kind(reader)
        if kind != _kind(writer):
            if _kind(writer) not in _PROMOTIONS.get(kind, ()):
                yield f"{_at(path)}: {_word(reader)} cannot read {_word(writer)}"
        elif kind == "array":
            yield from self._compare(reader["items"], writer["items"], path + "[]")
        elif kind == "map":
            yield from self._compare(reader["values"], writer["values"], path + "{}")
        elif kind in _NAMED:
            yield from self._compare_named(reader, writer, path)

    def _compare_named(self, reader: Any, writer: Any, path: str) -> Iterable[str]:
        pair = (reader["name"], writer["name"])
        if pair in self._open:
            return
        if not _is_same_name(reader, writer):
            yield f"{_at(path)}: {reader['name']} cannot read {writer['name']}: no alias makes them one"
        self._open.add(pair)
        if reader["type"] == "record":
            yield from self._compare_fields(reader, writer, path)
        elif reader["type"] == "enum":
            yield from _compare_symbols(reader, writer, path)
        elif reader["size"] != writer["size"]:
            yield f"{_at(path)}: {reader['size']} bytes cannot read {writer['size']} bytes"
        self._open.discard(pair)

    def _compare_fields(self, reader: Any, writer: Any, path: str) -> Iterable[str]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            place = _join(path, field["name"])
            names = (field["name"], *field.get("aliases", ()))
            found = [written[name] for name in names if name in written]
            if len(found) > 1:
                yield f"{place}: {' and '.join(each['name'] for each in found)} were both written"
            elif found:
                yield from self._compare(field["type"], found[0]["type"], place)
            elif "default" not in field:
                yield f"{place}: has no default, and was not written before"


def _compare_symbols(reader: Any, writer: Any, path: str) -> Iterable[str]:
    missing = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if missing and "default" not in reader:
        yield f"{_at(path)}: cannot read {', '.join(missing)}, and has no default symbol"


def _is_same_name(reader: Any, writer: Any) -> bool:
    """Compare names as the specification does: without their namespaces, or by an alias in full."""
    namespace = reader["name"].rpartition(".")[0]
    aliases = {alias if "." in alias else _join(namespace, alias) for alias in reader.get("aliases", ())}
    simple = reader["name"].rpartition(".")[2] == writer["name"].rpartition(".")[2]
    return simple or writer["name"] in aliases


def _named_types(node: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(node, list):
        for branch in node:
            yield from _named_types(branch)
    elif isinstance(node, dict):
        if node["type"] in _NAMED:
            yield node["name"], node
        inner = [field["type"] for field in node.get("fields", ())]
        for part in (*inner, node.get("items"), node.get("values")):
            yield from _named_types(part)


def _key(node: Any) -> str:
    return node if isinstance(node, str) else ""


def _kind(node: Any) -> str:
    """Return a type's kind: `record`, `int`, …; a union's is `union`, a reference's its name."""
    if isinstance(node, list):
        return "union"
    return str(node["type"] if isinstance(node, dict) else node)


def _word(node: Any) -> str:
    """Write a type as a person reads it."""
    if isinstance(node, list):
        return " or ".join(_word(branch) for branch in node)
    kind = _kind(node)
    if kind == "enum":
        default = f" else {node['default']}" if "default" in node else ""
        return f"enum({' '.join(node['symbols'])}{default})"
    if kind in ("array", "map"):
        return f"{kind} of {_word(node['items' if kind == 'array' else 'values'])}"
    if kind == "fixed":
        return f"fixed({node['size']})"
    if kind == "record":
        return str(node["name"])
    logical = node.get("logicalType") if isinstance(node, dict) else None
    return f"{kind} as {logical}" if logical else kind


def _logical(words: str) -> str:
    return words.partition(", default")[0].partition(" as ")[2]


def _name_of(schema: AvroSchema) -> str:
    parsed = fastavro.parse_schema(schema)
    return str(parsed["name"]) if isinstance(parsed, dict) and "name" in parsed else _word(parsed)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _at(path: str) -> str:
    return path or "the record"
