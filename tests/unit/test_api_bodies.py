"""How bodies are read: strictly, with errors that name every field at fault and repeat none of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.api.account_schemas import KeyRequest, SignUp
from skatestock.api.bodies import parse_body
from skatestock.api.errors import InvalidBodyError
from skatestock.api.wish_schemas import WishRequest

GOOD = {"email": "kareem@example.org", "password": "four words nobody guesses"}


def faults(kind: type[msgspec.Struct], body: Any) -> list[str]:
    """Name the fields at fault in a body."""
    with pytest.raises(InvalidBodyError) as refused:
        parse_body(kind, body if isinstance(body, bytes) else msgspec.json.encode(body))
    return [error.parameter for error in refused.value.errors]


def test_a_body_is_read() -> None:
    assert parse_body(SignUp, msgspec.json.encode(GOOD)) == SignUp(**GOOD)
    assert parse_body(WishRequest, b"{}") == WishRequest()
    assert parse_body(WishRequest, b' {"size": null} ') == WishRequest()
    assert parse_body(KeyRequest, b'{"name": "a", "scopes": ["read"]}').expires_in_days == 365


def test_every_field_at_fault_is_named() -> None:
    assert faults(SignUp, {}) == ["email", "password"]
    assert faults(SignUp, GOOD | {"admin": True, "role": "admin"}) == ["admin", "role"]
    assert faults(SignUp, {"email": "no address", "password": "short", "x": 1}) == ["x", "email", "password"]
    assert faults(SignUp, GOOD | {"password": None}) == ["password"]


def test_a_field_inside_is_named_with_its_way() -> None:
    assert faults(WishRequest, {"target": {"minor": 0, "currency": "USD"}}) == ["target.minor"]
    assert faults(WishRequest, {"target": {"minor": 1, "currency": "usd"}}) == ["target.currency"]
    assert faults(WishRequest, {"target": {"minor": 1, "currency": "USD\n"}}) == ["target.currency"]
    assert faults(WishRequest, {"target": {"minor": 1, "currency": "USD", "x": 1}}) == ["target"]
    assert faults(KeyRequest, {"name": "a", "scopes": ["read", "everything"]}) == ["scopes[1]"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"email": }',
        b"email=kareem@example.org",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"email": ' + b"[" * 60_000,
        GOOD["email"].encode("utf-16"),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert isinstance(faults(SignUp, body), list)


@pytest.mark.parametrize(
    "value", [b'"\\ud800"', b'"\xff"', b"[" * 30_000 + b"]" * 30_000, b"1e999", b"tru", b"{}"]
)
def test_what_is_no_json_within_a_field_names_the_field(value: bytes) -> None:
    body = b'{"email": "kareem@example.org", "password": ' + value + b"}"
    with pytest.raises(InvalidBodyError):
        parse_body(SignUp, body)


@given(st.text(min_size=1, max_size=9))
def test_no_message_repeats_what_was_sent(secret: str) -> None:
    body = {"email": secret, "password": secret}
    with pytest.raises(InvalidBodyError) as refused:
        parse_body(SignUp, msgspec.json.encode(body))
    told = [error.message for error in refused.value.errors]
    assert told == [told_of(SignUp, "email"), told_of(SignUp, "password")]


def told_of(kind: type[msgspec.Struct], field: str) -> str:
    """Tell what is said of a field for one value that it cannot have."""
    with pytest.raises(InvalidBodyError) as refused:
        parse_body(kind, msgspec.json.encode(GOOD | {field: "x"}))
    return refused.value.errors[0].message


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_in_another_way(body: bytes) -> None:
    try:
        parse_body(SignUp, body)
    except InvalidBodyError:
        return


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5))
def test_no_json_makes_it_fail_in_another_way(value: Any) -> None:
    for kind in (SignUp, KeyRequest, WishRequest):
        try:
            parse_body(kind, msgspec.json.encode({"email": value, "scopes": value, "target": value}))
        except InvalidBodyError:
            continue
