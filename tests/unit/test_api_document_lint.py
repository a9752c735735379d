"""The OpenAPI document is valid, and obeys rules of our own: what readers and generated clients rely on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from skatestock.api.app import EVERY_ENDPOINT
from skatestock.api.examples import build_example
from skatestock.api.openapi import build_document
from skatestock.api.questions import MAX_FIELDS

Json = dict[str, Any]

DOCUMENT = build_document(EVERY_ENDPOINT, version="1.2.3", demo=False)
OPERATIONS: dict[str, Json] = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
SCHEMAS: dict[str, Json] = DOCUMENT["components"]["schemas"]
PROBLEM = "application/problem+json"

every_operation = pytest.mark.parametrize("name", OPERATIONS)
every_schema = pytest.mark.parametrize("name", SCHEMAS)


def complain(schema: Json, value: Any) -> list[str]:
    """Say in what a value is not what a schema of the document describes."""
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": DOCUMENT["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole | schema, validate_formats=True)
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]


def media_of(operation: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield where it stands, the media type, and what is said of each body of an operation."""
    for media_type, media in operation.get("requestBody", {}).get("content", {}).items():
        yield "body", media_type, media
    for status, answer in operation["responses"].items():
        for media_type, media in answer.get("content", {}).items():
            yield status, media_type, media


def bodies() -> set[str]:
    """Name the schemas that requests' bodies are read with, also those inside them."""
    found: set[str] = set()
    waiting = [
        media["schema"]
        for operation in OPERATIONS.values()
        for where, _, media in media_of(operation)
        if where == "body"
    ]
    while waiting:
        for name in re.findall(r"#/components/schemas/(\w+)", str(waiting.pop())):
            if name not in found:
                found.add(name)
                waiting.append(SCHEMAS[name])
    return found


def unbounded(schema: Json) -> Iterator[Json]:
    """Yield the parts of a schema that a request could fill without end."""
    kind = schema.get("type")
    if kind == "string" and not schema.keys() & {"maxLength", "enum", "const", "format", "pattern"}:
        yield schema
    if kind == "integer" and not schema.keys() >= {"minimum", "maximum"} and "enum" not in schema:
        yield schema
    if kind == "array":
        if "maxItems" not in schema:
            yield schema
        yield from unbounded(schema["items"])
    for part in (*schema.get("anyOf", ()), *schema.get("properties", {}).values()):
        yield from unbounded(part)


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_the_document_says_where_it_holds_and_who_writes_it() -> None:
    assert DOCUMENT["servers"][0]["url"] == "/"
    assert DOCUMENT["info"]["contact"]["name"]
    assert DOCUMENT["info"]["license"]["identifier"] == "MIT"


def test_every_tag_is_described_and_used() -> None:
    described = {tag["name"]: tag["description"] for tag in DOCUMENT["tags"]}
    used = {tag for operation in OPERATIONS.values() for tag in operation["tags"]}
    assert set(described) == used
    assert all(described.values())


@every_operation
def test_an_operation_says_what_it_does(name: str) -> None:
    operation = OPERATIONS[name]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"])
    assert len(operation["tags"]) == 1
    assert len(operation["summary"]) <= 60
    assert not operation["summary"].endswith(".")
    assert operation["description"].endswith((".", ")"))


@every_operation
def test_paths_and_parameters_are_written_in_one_way(name: str) -> None:
    path = name.split()[1]
    assert re.fullmatch(r"/|(/([a-z]+(-[a-z]+)*|\{[a-z_]+\}))+", path)
    places = [(parameter["in"], parameter["name"]) for parameter in OPERATIONS[name]["parameters"]]
    assert len(set(places)) == len(places)
    for place, parameter in places:
        assert re.fullmatch(
            r"[A-Z][A-Za-z]*(-[A-Z][A-Za-z]*)*" if place == "header" else r"[a-z_]+", parameter
        )


def test_no_two_paths_are_one() -> None:
    shapes = [re.sub(r"\{\w+\}", "{}", path) for path in DOCUMENT["paths"]]
    assert len(set(shapes)) == len(shapes)


@every_operation
def test_every_answer_is_described_with_its_shape_and_an_example(name: str) -> None:
    for status, answer in OPERATIONS[name]["responses"].items():
        assert answer["description"].strip().endswith((".", ")")), status
        assert "X-Request-Id" in answer["headers"], status
        if status[0] in "45":
            assert list(answer["content"]) == [PROBLEM], status
            assert answer["content"][PROBLEM]["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert answer["content"][PROBLEM]["examples"], status
    assert any(status[0] == "2" for status in OPERATIONS[name]["responses"])


@every_operation
def test_every_example_of_a_body_is_what_its_schema_describes(name: str) -> None:
    for where, media_type, media in media_of(OPERATIONS[name]):
        examples = [example["value"] for example in media.get("examples", {}).values()]
        if "json" in media_type and not examples:
            examples = [media["example"]]
        for example in examples:
            assert complain(media["schema"], example) == [], (where, media_type)


@every_operation
def test_every_example_of_a_parameter_is_what_its_schema_describes(name: str) -> None:
    for parameter in OPERATIONS[name]["parameters"]:
        for example in parameter["schema"]["examples"]:
            assert complain(parameter["schema"], example) == [], parameter["name"]


@every_operation
def test_every_example_of_a_header_is_what_its_schema_describes(name: str) -> None:
    for answer in OPERATIONS[name]["responses"].values():
        for header, described in answer["headers"].items():
            assert described["description"].endswith("."), header
            assert complain(described["schema"], described["example"]) == [], header


@every_schema
def test_every_example_of_a_field_is_what_its_schema_describes(name: str) -> None:
    for field, schema in SCHEMAS[name].get("properties", {}).items():
        for example in schema.get("examples", ()):
            assert complain(schema, example) == [], field
    assert complain({"$ref": f"#/components/schemas/{name}"}, build_example(SCHEMAS[name], SCHEMAS)) == []


@every_operation
def test_a_request_is_bounded_in_everything(name: str) -> None:
    for parameter in OPERATIONS[name]["parameters"]:
        assert list(unbounded(parameter["schema"])) == [], parameter["name"]


@every_operation
def test_a_query_has_room_for_everything_that_may_be_asked(name: str) -> None:
    schemas = [part["schema"] for part in OPERATIONS[name]["parameters"] if part["in"] == "query"]
    assert sum(schema.get("maxItems", 1) for schema in schemas) <= MAX_FIELDS


@pytest.mark.parametrize("name", sorted(bodies()))
def test_a_body_is_bounded_in_everything_and_takes_nothing_unknown(name: str) -> None:
    assert list(unbounded(SCHEMAS[name])) == []
    if "properties" in SCHEMAS[name]:
        assert SCHEMAS[name]["additionalProperties"] is False


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.startswith("GET ")])
def test_what_is_asked_by_get_changes_nothing(name: str) -> None:
    assert "requestBody" not in OPERATIONS[name]
    assert OPERATIONS[name]["operationId"].split("_")[0] in {"get", "list", "look", "stream", "export"}


@every_operation
def test_what_needs_credentials_says_so_and_how_it_refuses(name: str) -> None:
    operation = OPERATIONS[name]
    schemes = {scheme for choice in operation.get("security", ()) for scheme in choice}
    assert schemes <= set(DOCUMENT["components"]["securitySchemes"])
    assert bool(schemes) == ("not_signed_in" in str(operation["responses"].get("401", "")))
    if schemes:
        assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
        assert "403" in operation["responses"]


@every_operation
def test_what_everything_may_answer_is_said_everywhere(name: str) -> None:
    operation = OPERATIONS[name]
    assert {"400", "413", "414", "429", "431", "500", "503"} <= set(operation["responses"])
    assert ("415" in operation["responses"]) == ("requestBody" in operation)
    for status in ("429", "503"):
        assert "Retry-After" in operation["responses"][status]["headers"]


class TestTheRules:
    """What would break a rule is found."""

    def test_an_example_that_does_not_fit(self) -> None:
        assert complain({"type": "integer", "maximum": 3}, 4)
        assert complain({"$ref": "#/components/schemas/Problem"}, {"title": 1})
        assert complain({"type": "string", "format": "date-time"}, "yesterday")

    def test_what_has_no_bounds(self) -> None:
        assert list(unbounded({"type": "array", "maxItems": 3, "items": {"type": "string"}}))
        assert list(unbounded({"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "integer"}]}}}))

    def test_a_document_that_is_none(self) -> None:
        broken = DOCUMENT | {"paths": {"/x": {"get": {"parameters": [{"name": "y"}]}}}}
        with pytest.raises(Exception, match=r"parameters|valid"):
            validate(broken)

    def test_a_schema_without_any_example(self) -> None:
        with pytest.raises(ValueError, match="nothing to take"):
            build_example({"type": "string"}, {})
