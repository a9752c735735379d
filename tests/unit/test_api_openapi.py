"""The OpenAPI document describes every field and parameter, and stays true to the endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skatestock.api.app import EVERY_ENDPOINT
from skatestock.api.documentation import build_documentation
from skatestock.api.errors import PROBLEMS, RequestError
from skatestock.api.openapi import build_document
from skatestock.api.operations import OPERATION, Operation
from skatestock.crawl.shops import load_shops

DOCS = Path(__file__).parents[2] / "docs" / "API.md"
DOCUMENT = build_document(EVERY_ENDPOINT, version="1.2.3", demo=False)
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
SCHEMAS = DOCUMENT["components"]["schemas"]


def walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for part in node.values():
            yield from walk(part)
    elif isinstance(node, list):
        for part in node:
            yield from walk(part)


def refers(schema: dict[str, Any]) -> bool:
    """Tell whether a schema's example is that of the schema that it refers to."""
    parts = [schema, schema.get("items", {}), *schema.get("anyOf", ())]
    return any("$ref" in part for part in parts)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_has_a_description_and_an_example(name: str) -> None:
    schema = SCHEMAS[name]
    if "properties" not in schema:
        return
    assert schema["description"]
    for field, described in schema["properties"].items():
        if "$ref" in described:
            continue
        assert described.get("description"), field
        assert described.get("examples") or refers(described), field


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_and_parameter_has_a_description_and_an_example(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    for parameter in operation["parameters"]:
        assert parameter["description"]
        assert parameter["schema"]["examples"]
    assert set(re.findall(r"\{(\w+)\}", name)) == {
        parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"
    }


def test_trying_an_operation_out_asks_only_for_what_it_must() -> None:
    """A form in the browser starts with the examples: of a filter, that would narrow what nobody narrowed."""
    for operation in OPERATIONS.values():
        filled = {parameter["name"] for parameter in operation["parameters"] if "example" in parameter}
        assert filled == {parameter["name"] for parameter in operation["parameters"] if parameter["required"]}


def test_an_example_of_a_shop_is_one_that_we_crawl() -> None:
    shops = {shop.slug for shop in load_shops()}
    assert set(SCHEMAS["NamedShop"]["properties"]["slug"]["examples"]) <= shops
    (parameter,) = (p for p in OPERATIONS["GET /products"]["parameters"] if p["name"] == "shop")
    assert {slug for example in parameter["schema"]["examples"] for slug in example} <= shops
    assert set(re.findall(r"[?&]shop=([a-z-]+)", DOCS.read_text())) <= shops


def test_an_operation_that_asks_who_says_so_and_no_other() -> None:
    """What the document says of credentials is what the endpoint's guard asks for."""
    for endpoint in EVERY_ENDPOINT:
        declared: Operation = endpoint.opt[OPERATION]
        described = next(found for found in OPERATIONS.values() if found["operationId"] == declared.name)
        assert bool(endpoint.guards) == (declared.auth is not None) == ("security" in described)
        assert ("401" in described["responses"]) >= (declared.auth is not None)
        assert ("requestBody" in described) == (declared.body is not None)
        assert str(declared.status) in described["responses"]
    secured = OPERATIONS["PUT /wishlist/{product_id}"]
    assert secured["security"] == [{"accessToken": []}, {"apiKey": []}]
    assert secured["x-key-scopes"] == ["wishlist"]
    assert OPERATIONS["POST /auth/keys"]["security"] == [{"accessToken": []}]
    assert {"accessToken", "apiKey"} == set(DOCUMENT["components"]["securitySchemes"])
    assert secured["responses"]["401"]["headers"]["WWW-Authenticate"]
    assert OPERATIONS["POST /auth/token"]["responses"]["429"]["headers"]["Retry-After"]


def test_every_reference_leads_somewhere() -> None:
    references = {node["$ref"] for node in walk(DOCUMENT) if isinstance(node.get("$ref"), str)}
    assert references <= {f"#/components/schemas/{name}" for name in SCHEMAS}
    assert {f"#/components/schemas/{name}" for name in SCHEMAS if name != "Availability"} <= references | {
        node["schema"]["$ref"] for node in walk(DOCUMENT) if "$ref" in node.get("schema", {})
    }


def test_operation_ids_are_unique() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names) == len(EVERY_ENDPOINT)


def test_every_problem_that_an_endpoint_names_is_in_the_list() -> None:
    assert set(PROBLEMS) == set(RequestError.__subclasses__())
    assert len({problem.code for problem in PROBLEMS}) == len(PROBLEMS)
    for endpoint in EVERY_ENDPOINT:
        assert set(endpoint.opt[OPERATION].list_problems()) <= set(PROBLEMS)


def test_the_demo_says_so() -> None:
    demo = build_document(EVERY_ENDPOINT, version="1.2.3", demo=True)
    assert "demo" in demo["info"]["title"].lower()
    assert "Demo" in demo["info"]["description"]


def test_nothing_of_ours_leads_outside() -> None:
    """The only addresses in the document are examples under reserved names."""
    addresses = set(re.findall(r"https?://([\w.-]+)", str(DOCUMENT)))
    assert all(address.endswith(".example") for address in addresses)
    for endpoint in build_documentation(DOCUMENT):
        assert all(path.startswith("/api-docs") for path in endpoint.paths)


def find_section(name: str) -> str:
    """Return what the page says of an endpoint."""
    return DOCS.read_text().split(f"### `{name}`\n")[1].split("\n### ")[0].split("\n## ")[0]


class TestDocs:
    """`docs/API.md` and the code name the same endpoints, parameters and problems."""

    def test_endpoints(self) -> None:
        assert set(re.findall(r"^### `([A-Z]+ \S+)`$", DOCS.read_text(), re.MULTILINE)) == set(OPERATIONS)

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_parameters(self, name: str) -> None:
        section = find_section(name)
        documented = {
            row[0]: row[2]
            for row in re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \| ", section, re.MULTILINE)
        }
        declared = {p["name"]: p for p in OPERATIONS[name]["parameters"] if p["in"] == "query"}
        assert documented.keys() == declared.keys()
        for field, default in documented.items():
            if "default" in declared[field]["schema"]:
                assert default.strip("` ") == str(declared[field]["schema"]["default"]).lower(), field

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_examples(self, name: str) -> None:
        section = find_section(name)
        method, path = name.split()
        address = re.sub(r"\\\{\w+\\\}", r'[^/"]+', re.escape(path))
        call = re.search(rf'^curl -s (.*)"\$API{address}["?]', section, re.MULTILINE)
        assert call
        sent = re.search(r"-X ([A-Z]+)", call[1])
        assert (sent[1] if sent else "GET") == method

    def test_problems(self) -> None:
        documented = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (.+) \|$", DOCS.read_text(), re.MULTILINE)
        assert documented == [
            (problem.code, str(int(problem.status)), problem.__doc__) for problem in PROBLEMS
        ]
