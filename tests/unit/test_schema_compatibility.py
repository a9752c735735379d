from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import avro.compatibility
import avro.schema
import fastavro
import pytest
from fastavro.utils import generate_many
from tests.schema_changes import CHANGES, Change, record

from skatestock.events import versions
from skatestock.events.compatibility import (
    check_releases,
    describe_changes,
    find_changed_meanings,
    find_incompatibilities,
    find_release_faults,
)

RELEASED = {
    ("ListingObserved", 1): "0397823e52ccdc853a1bf1cf12e644c08550c39a503d4ffaa807a4788f94b161",
    ("ListingObserved", 2): "22f765802c701f74024ef94eff78fb83721d408f482bc6519d3a9b41b4fab38d",
    ("ListingObserved", 3): "51a2f5e77345d37a98d065e8820fe51a796f8bd159afdc6159cc3de8da9f849a",
    ("CrawlCompleted", 1): "478de429bb1ecf389049890c1a9203c263842d5466745cb351c5854edb60e3b4",
}
"""What was released is on somebody's log: a version's file never changes again. New ones are added here."""

every_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())


@every_change
def test_a_change_is_judged_as_avros_rules_say(change: Change) -> None:
    assert (find_incompatibilities(change.new, change.old) == []) is change.is_compatible


@every_change
def test_a_schema_reads_itself(change: Change) -> None:
    for schema in (change.old, change.new):
        assert find_incompatibilities(schema, schema) == []


# Apache's checker for Python knows a type's alias by its full name only, and takes the first of two fields.
UNKNOWN_TO_APACHE = {
    "the record is renamed with an alias",
    "an enum is renamed with an alias",
    "two fields become one by an alias",
}


@pytest.mark.parametrize("name", CHANGES)
def test_apaches_own_checker_says_the_same(name: str) -> None:
    change = CHANGES[name]
    reader, writer = (avro.schema.parse(json.dumps(schema)) for schema in (change.new, change.old))
    make_checker: Any = avro.compatibility.ReaderWriterCompatibilityChecker
    verdict = make_checker().get_compatibility(reader, writer).compatibility
    is_compatible = verdict is avro.compatibility.SchemaCompatibilityType.compatible
    assert (is_compatible == change.is_compatible) is (name not in UNKNOWN_TO_APACHE)


@pytest.mark.parametrize("name", [name for name, change in CHANGES.items() if change.is_compatible])
def test_what_is_called_compatible_is_really_read(name: str) -> None:
    change = CHANGES[name]
    old, new = fastavro.parse_schema(change.old), fastavro.parse_schema(change.new)
    for value in generate_many(old, 20):
        if name == "bytes becomes string":
            # Avro allows it for bytes that are text; others fail one by one.
            value["x"] = value["x"].hex().encode()
        out = io.BytesIO()
        fastavro.schemaless_writer(out, old, value)
        out.seek(0)
        fastavro.schemaless_reader(out, old, new)
        assert out.tell() == len(out.getvalue())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a field without a default is added", "b: has no default, and was not written before"),
        ("long becomes int", "x: int cannot read long"),
        ("an array's items are narrowed", "x[]: int cannot read long"),
        ("a map's values are narrowed", "x{}: int cannot read string"),
        ("an array's records gain a field", "x[].b: has no default, and was not written before"),
        ("a record in a union gains a field", "x.b: has no default, and was not written before"),
        ("a union loses a branch", "x: null or string cannot read long"),
        ("a value is no longer nullable", "x: string cannot read null"),
        ("an enum loses a symbol", "x: cannot read sad, and has no default symbol"),
        ("fixed grows", "x: 32 bytes cannot read 16 bytes"),
        ("the record is renamed", "c.changes.Other cannot read c.changes.Thing: no alias makes them one"),
        ("two fields become one by an alias", "a: a and b were both written"),
    ],
)
def test_the_reason_says_where_and_why(name: str, reason: str) -> None:
    (found,) = find_incompatibilities(CHANGES[name].new, CHANGES[name].old)
    assert found.removeprefix("the record: ") == reason


def test_what_avro_would_read_as_something_else_is_found() -> None:
    changed = {
        name: find_changed_meanings(change.new, change.old)
        for name, change in CHANGES.items()
        if change.is_compatible
    }
    assert {name for name, found in changed.items() if found} == {
        "a logical type is added",
        "a logical type is taken away",
        "a logical type changes",
        "a logical type changes under another type",
        "the namespace changes",
        "the record is renamed with an alias",
        "the record is renamed with a full alias",
    }
    assert changed["a logical type changes"] == [
        "x: is long as timestamp-micros and was long as timestamp-millis: the same bytes would mean "
        "something else"
    ]
    assert "a new subject" in changed["the namespace changes"][0]


def test_a_change_is_told_in_words() -> None:
    older = record({"name": "a", "type": "int"}, {"name": "b", "type": "string"})
    newer = record({"name": "a", "type": "long"}, {"name": "c", "type": ["null", "int"], "default": None})
    assert describe_changes(newer, older) == [
        "a: was int, is long",
        "c: new, null or int, default None",
        "b: gone, was string",
    ]
    assert describe_changes(older, older) == []


def test_the_schemas_can_be_released() -> None:
    assert check_releases() == []


def test_what_was_released_never_changes() -> None:
    found = {
        (event, version): sha256(
            versions.SCHEMAS.joinpath("history", event, f"{version}.avsc").read_bytes()
        ).hexdigest()
        for event in versions.EVENTS
        for version in versions.load_history(event)
    }
    assert found == RELEASED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "schemas"
    shutil.copytree(str(versions.SCHEMAS), copy)
    # As on the day of the first release, so that the next version is the second.
    first, *later = sorted((copy / "history" / "ListingObserved").iterdir())
    shutil.copy(first, copy / "ListingObserved.avsc")
    for version in later:
        version.unlink()
    return copy


Edit = Callable[[dict[str, Any]], object]


def field_of(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return next(field for field in schema["fields"] if field["name"] == name)


def edit(folder: Path, change: Edit, *, release: bool = False) -> None:
    """Change the schema of ListingObserved in a folder, and release it as its version 2."""
    schema = versions.load_schema("ListingObserved", folder)
    change(schema)
    text = json.dumps(schema)
    (folder / "ListingObserved.avsc").write_text(text)
    if release:
        (folder / "history" / "ListingObserved" / "2.avsc").write_text(text)


def add_field(schema: dict[str, Any], **more: Any) -> None:
    schema["fields"].append({"name": "season", "type": "string", **more})


def narrow_price(schema: dict[str, Any]) -> None:
    offer = field_of(schema, "offers")["type"]["items"]
    field_of(offer, "price_minor")["type"] = "int"


def test_a_compatible_change_is_released_with_its_version(folder: Path) -> None:
    edit(folder, lambda schema: add_field(schema, default=""), release=True)
    assert find_release_faults("ListingObserved", folder) == []


@pytest.mark.parametrize("release", [False, True], ids=["unreleased", "released"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (add_field, "season: has no default, and was not written before"),
        (narrow_price, "offers[].price_minor: int cannot read long"),
        (
            lambda schema: field_of(schema, "observed_at").update(type="long"),
            "observed_at: is long and was long as timestamp-millis: the same bytes would mean something else",
        ),
    ],
)
def test_an_incompatible_edit_of_a_schema_is_caught(
    folder: Path, change: Edit, reason: str, release: bool
) -> None:
    edit(folder, change, release=release)
    assert f"ListingObserved.avsc cannot follow version 1: {reason}" in check_releases(folder)


def test_a_change_without_a_version_is_caught(folder: Path) -> None:
    edit(folder, lambda schema: schema.update(doc="Another word."))
    (fault,) = check_releases(folder)
    assert "put it there as 2.avsc" in fault


def test_every_older_version_must_be_read_not_only_the_last(folder: Path) -> None:
    # Version 2 drops the brand; version 3 asks for it again, which version 2 never wrote but version 1 did.
    edit(folder, lambda schema: schema["fields"].remove(field_of(schema, "brand")), release=True)
    assert check_releases(folder) == []
    first = versions.load_history("ListingObserved", folder)[1]
    del field_of(first, "brand")["default"]
    for file in ("ListingObserved.avsc", "history/ListingObserved/3.avsc"):
        (folder / file).write_text(json.dumps(first))
    assert check_releases(folder) == [
        "ListingObserved.avsc cannot follow version 2: brand: has no default, and was not written before"
    ]
    # The other way round: what only version 1 wrote.
    first["fields"].remove(field_of(first, "brand"))
    first["fields"].append({"name": "brand", "type": "long", "default": 0})
    for file in ("ListingObserved.avsc", "history/ListingObserved/3.avsc"):
        (folder / file).write_text(json.dumps(first))
    assert check_releases(folder) == [
        f"ListingObserved.avsc cannot follow version 1: brand: long cannot read {kind}"
        for kind in ("null", "string")
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda schema: schema.update(name="ListingSeen"), "which is no event of ours"),
        (
            lambda schema: schema.update(name="CrawlCompleted"),
            "it describes skatestock.events.CrawlCompleted",
        ),
        (lambda schema: schema.update(fields=3), "it is no Avro schema"),
        (
            lambda schema: schema["fields"].append(
                {"name": "variant_of", "type": ["null", "ListingObserved"], "default": None}
            ),
            "holds itself",
        ),
    ],
)
def test_a_schema_that_consumers_would_not_follow_is_caught(folder: Path, change: Edit, reason: str) -> None:
    edit(folder, change)
    assert any(reason in fault for fault in check_releases(folder))


def test_a_gap_in_the_history_is_caught(folder: Path) -> None:
    (folder / "history" / "CrawlCompleted" / "1.avsc").rename(
        folder / "history" / "CrawlCompleted" / "2.avsc"
    )
    assert check_releases(folder) == [
        "history/CrawlCompleted holds the versions [2], not 1 and on without a gap"
    ]
