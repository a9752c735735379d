"""Broken input at every endpoint of accounts: what is no sense is a problem that names it, never a crash."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar.handlers import HTTPRouteHandler
from tests.account_scene import AccountScene, Person, account_scene
from tests.integration.test_api_endpoints import check_problem

from skatestock.api.account_endpoints import ACCOUNT_ENDPOINTS
from skatestock.api.key_endpoints import KEY_ENDPOINTS
from skatestock.api.operations import OPERATION, Operation, get_method
from skatestock.api.requests import MAX_BODY_BYTES
from skatestock.api.wish_endpoints import WISH_ENDPOINTS

ENDPOINTS = (*ACCOUNT_ENDPOINTS, *KEY_ENDPOINTS, *WISH_ENDPOINTS)


def operation_of(endpoint: HTTPRouteHandler) -> Operation:
    operation: Operation = endpoint.opt[OPERATION]
    return operation


def path_of(endpoint: HTTPRouteHandler) -> str:
    """Tell an endpoint's path, with ids that could be there."""
    (path,) = endpoint.paths
    for name, value in (
        ("{product_id:str}", "1"),
        ("{search_id:str}", "1"),
        ("{key_id:str}", "mzxw6ytboi2gk3tu"),
        ("{session_id:str}", "0b3f8a52-c7e9-4b1f-9d3a-5c2e7f10a6d4"),
    ):
        path = path.replace(name, value)
    return path


def example_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Write a body with the examples that the document shows."""
    schemas = msgspec.json.schema_components([kind])[1]
    fields = schemas[kind.__name__]["properties"]
    return {name: field["examples"][0] for name, field in fields.items() if "examples" in field}


every_endpoint = pytest.mark.parametrize(
    "endpoint", ENDPOINTS, ids=lambda endpoint: operation_of(endpoint).name
)
with_body = pytest.mark.parametrize(
    "endpoint",
    [endpoint for endpoint in ENDPOINTS if operation_of(endpoint).body is not None],
    ids=lambda endpoint: operation_of(endpoint).name,
)
for_somebody = pytest.mark.parametrize(
    "endpoint",
    [endpoint for endpoint in ENDPOINTS if operation_of(endpoint).auth is not None],
    ids=lambda endpoint: operation_of(endpoint).name,
)


@pytest.fixture
async def scene(pool: asyncpg.Pool) -> AsyncIterator[AccountScene]:
    async with account_scene(pool) as scene:
        yield scene


@pytest.fixture
async def person(scene: AccountScene) -> Person:
    return await scene.signed_in()


async def call(
    person: Person, endpoint: HTTPRouteHandler, query: str = "", **options: Any
) -> tuple[int, str]:
    """Call an endpoint signed in, and tell the status and the problem's code."""
    headers = person.bearer | options.pop("headers", {})
    answer = await person.client.request(
        get_method(endpoint), path_of(endpoint) + query, headers=headers, **options
    )
    assert answer.status_code < 500, answer.text
    code = check_problem(answer) if answer.status_code >= 400 else ""
    return answer.status_code, code


@for_somebody
async def test_whoever_shows_nothing_or_nothing_good_is_told_to_sign_in(
    scene: AccountScene, person: Person, endpoint: HTTPRouteHandler
) -> None:
    """Also with a body that is nonsense: who asks is looked at first."""
    method, path = get_method(endpoint), path_of(endpoint)
    client = person.client
    answer = await client.request(method, path, content=b"nonsense")
    assert (answer.status_code, check_problem(answer)) == (401, "not_signed_in")
    assert answer.headers["www-authenticate"] == 'Bearer realm="skatestock"'
    assert "no-store" in answer.headers["cache-control"]
    await person.ask("POST", "/auth/logout")
    access = person.tokens["access_token"]
    for headers in (
        {"Authorization": f"Bearer {access}"},
        {"Authorization": f"Bearer {access[:-4]}AAAA"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic abc"},
        {"Authorization": f"Bearer {person.tokens['refresh_token']}"},
        {"X-API-Key": "ssk_mzxw6ytboi2gk3tu_" + "a" * 43},
        {"X-API-Key": access},
        {"Authorization": f"Bearer {access}", "X-API-Key": "abc"},
        {"Authorization": "Bearer " + "é" * 20},
    ):
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = await client.request(method, path, headers=sent)
        assert (answer.status_code, check_problem(answer)) == (401, "invalid_token"), headers
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    answer = await client.request(method, path, headers={"Cookie": f"access_token={access}"})
    assert (answer.status_code, check_problem(answer)) == (401, "not_signed_in")


@every_endpoint
async def test_an_unknown_parameter_is_named(person: Person, endpoint: HTTPRouteHandler) -> None:
    body = operation_of(endpoint).body
    options = {} if body is None else {"json": example_of(body)}
    assert await call(person, endpoint, "?colour=red", **options) == (400, "unknown_parameter")


@with_body
async def test_a_body_that_is_no_json_object_is_refused(person: Person, endpoint: HTTPRouteHandler) -> None:
    json = {"Content-Type": "application/json"}
    for content in (b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 50_000, b'{"a":' * 9_000):
        assert await call(person, endpoint, content=content, headers=json) == (400, "invalid_body")


@with_body
async def test_a_body_of_another_kind_is_refused(person: Person, endpoint: HTTPRouteHandler) -> None:
    body = operation_of(endpoint).body
    assert body is not None
    for kind in (
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json-patch+json",
        ";",
    ):
        headers = {} if kind is None else {"Content-Type": kind}
        content = msgspec.json.encode(example_of(body))
        told = await call(person, endpoint, content=content, headers=headers)
        assert told == (415, "unsupported_media_type"), kind


@with_body
async def test_a_body_that_is_too_large_is_refused(person: Person, endpoint: HTTPRouteHandler) -> None:
    content = b'{"password": "' + b"x" * MAX_BODY_BYTES + b'"}'
    json = {"Content-Type": "application/json"}
    assert await call(person, endpoint, content=content, headers=json) == (413, "body_too_large")

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * (MAX_BODY_BYTES // 10)

    assert await call(person, endpoint, content=drip(), headers=json) == (413, "body_too_large")


@with_body
async def test_each_field_that_makes_no_sense_is_named(person: Person, endpoint: HTTPRouteHandler) -> None:
    body = operation_of(endpoint).body
    assert body is not None
    example = example_of(body)
    strange: tuple[Any, ...] = (True, -1, 10**40, [], {}, "x" * 5000, {"minor": "1"}, "\0")
    for name in example:
        for value in strange:
            try:
                msgspec.convert(
                    value, next(field.type for field in msgspec.structs.fields(body) if field.name == name)
                )
            except msgspec.ValidationError:
                pass
            else:
                continue
            answer = await person.client.request(
                get_method(endpoint), path_of(endpoint), headers=person.bearer, json=example | {name: value}
            )
            assert (answer.status_code, check_problem(answer)) == (400, "invalid_body"), (name, value)
            assert [error["parameter"].partition(".")[0] for error in answer.json()["errors"]] == [name]
    unknown = await call(person, endpoint, json=example | {"role": "admin"})
    assert unknown == (400, "invalid_body")


async def test_other_methods_are_refused_with_those_that_there_are(person: Person) -> None:
    for path, method, allowed in (
        ("/auth/token", "GET", {"OPTIONS", "POST"}),
        ("/auth/me", "PUT", {"DELETE", "GET", "HEAD", "OPTIONS"}),
        ("/wishlist/1", "POST", {"DELETE", "GET", "HEAD", "OPTIONS", "PUT"}),
        ("/auth/keys", "PATCH", {"GET", "HEAD", "OPTIONS", "POST"}),
    ):
        answer = await person.client.request(method, path)
        assert (answer.status_code, check_problem(answer)) == (405, "method_not_allowed")
        assert {name.strip() for name in answer.headers["allow"].split(",")} == allowed


async def test_head_tells_what_get_does(person: Person) -> None:
    for path in ("/auth/me", "/wishlist", "/searches"):
        told = await person.ask("HEAD", path)
        assert (told.status_code, told.content) == (200, b"")


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_no_ids_and_no_bodies_make_it_crash(person: Person, data: st.DataObject) -> None:
    """Any text for an id, any JSON for a field: an answer that the document knows."""
    endpoint = data.draw(st.sampled_from([*KEY_ENDPOINTS, *WISH_ENDPOINTS]))
    operation = operation_of(endpoint)
    (path,) = endpoint.paths
    segment = data.draw(st.text(min_size=1, max_size=30))
    prefix = path.partition("{")[0]
    url = (
        prefix + "".join(f"%{byte:02x}" for byte in segment.encode(errors="ignore")) if "{" in path else path
    )
    options: dict[str, Any] = {}
    if operation.body is not None:
        field = (
            st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=8))
        )
        changed = data.draw(st.dictionaries(st.sampled_from(list(example_of(operation.body))), field))
        options["json"] = example_of(operation.body) | changed
    answer = await person.ask(get_method(endpoint), url, **options)
    known = {operation.status, *operation.other_statuses, 404, 405}
    known |= {int(problem.status) for problem in operation.list_problems()}
    assert answer.status_code in known
    assert answer.status_code < 500
    if answer.status_code >= 400:
        check_problem(answer)
