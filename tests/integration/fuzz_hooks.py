"""What Schemathesis loads: whose credentials requests carry, and how the endless stream comes to an end.

Told by the environment: FUZZ_DSN (the API's database), FUZZ_KEYS (what it signs with), FUZZ_AS (user, admin,
key or nobody).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import jsonschema_rs
import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import RejectedPositiveData
from tests.integration.fuzz_scene import EMAIL, PASSWORD, now

from skatestock.accounts.commands import create_account
from skatestock.accounts.commands_keys import make_key
from skatestock.accounts.commands_sessions import begin_session
from skatestock.accounts.errors import EmailTakenError
from skatestock.accounts.model import SCOPES, Caller, Origin, Role
from skatestock.accounts.passwords import Passwords
from skatestock.accounts.queries import find_secret
from skatestock.accounts.signing_keys import parse_signing_keys
from skatestock.accounts.tokens import issue_access_token, make_api_key

Case = schemathesis.Case[Any]
Header = tuple[str, str]
_Result = TypeVar("_Result")

_AS = os.environ.get("FUZZ_AS", "user")
_ROLE: Role = "admin" if _AS == "admin" else "user"
# Whoever does one of these can do nothing more with the same credentials: each time it is somebody new.
_LAST_ACTS = {
    "POST /auth/logout",
    "DELETE /auth/me",
    "PUT /auth/password",
    "DELETE /auth/sessions/{session_id}",
}
# What a schema cannot say: that values do not fit together, or are no cursor that we gave, no page's address,
# a password that many people have. Nothing else may refuse what a schema allows.
_RULES_BEYOND_SCHEMAS = {
    "GET /products": {"min_price", "sort", "cursor", "new_since"},
    "GET /products/lookup": {"url"},
    "POST /auth/signup": {"password"},
    "PUT /auth/password": {"new_password"},
    "POST /searches": {"query"},
    "PUT /searches/{search_id}": {"query"},
}
_numbers = itertools.count(1)


def _run(work: Callable[[asyncpg.Connection], Awaitable[_Result]]) -> _Result:
    async def run() -> _Result:
        connection = await asyncpg.connect(os.environ["FUZZ_DSN"])
        try:
            async with connection.transaction():
                return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


@cache
def _hash() -> str:
    return asyncio.run(Passwords().hash(PASSWORD))


def _sign_in(email: str) -> Header:
    """Make an account that is signed in, and return the header that it shows."""
    password_hash = _hash()

    async def work(connection: asyncpg.Connection) -> Header:
        try:
            await create_account(connection, email, password_hash, _ROLE, now())
        except EmailTakenError:
            assert email == _shared_email()
        secret = await find_secret(connection, email)
        assert secret is not None
        opened = await begin_session(connection, secret, now(), Origin("127.0.0.1", "fuzz"), token_days=14)
        assert opened is not None
        if _AS == "key":
            key = make_api_key()
            caller = Caller(opened.account_id, email, opened.role, opened.session_id, None, ())
            await make_key(connection, caller, key, "fuzz", SCOPES, None, now(), "127.0.0.1")
            return "X-API-Key", key.text
        keys = parse_signing_keys(os.environ["FUZZ_KEYS"])
        token = issue_access_token(
            keys, opened.account_id, opened.session_id, opened.role, now=now(), life_seconds=86_400
        )
        return "Authorization", f"Bearer {token}"

    return _run(work)


def _shared_email() -> str:
    """Name whoever asks most: each kind of caller is somebody else, or one has made all keys there may be."""
    return EMAIL if _AS == "user" else f"{_AS}.{EMAIL}"


@cache
def _shared() -> Header:
    return _sign_in(_shared_email())


@schemathesis.auth(refresh_interval=None)
class Credentials:
    """Shows credentials where the document says that some are needed."""

    def get(self, case: Case, _context: Any) -> Header | None:
        """Choose whose: the same person's, or somebody's who is made for this one request."""
        if _AS == "nobody" or "security" not in case.operation.definition.raw:
            return None
        if case.operation.label in _LAST_ACTS:
            return _sign_in(f"fuzz-{os.getpid()}-{next(_numbers)}@example.org")
        return _shared()

    def set(self, case: Case, header: Header, _context: Any) -> None:
        """Put them into the request."""
        case.headers[header[0]] = header[1]


@schemathesis.hook
def before_call(_context: Any, case: Case, _kwargs: Any) -> None:
    """Let a stream begin at a place that nobody knows any more, where it says so at once, and end soon."""
    if case.operation.label == "GET /events":
        query = dict(case.query or {})
        named = {name.lower() for name in case.headers or {}}
        if "last_event_id" not in query and "last-event-id" not in named:
            query["last_event_id"] = "1-0-00000000"
        if query.get("seconds", 1) in range(1, 3601):
            query["seconds"] = 1
        case.query = query


@schemathesis.hook
def filter_failure(_context: Any, failure: Any, case: Case, response: Any) -> bool:
    """Drop what is no failure: a rule that no schema can tell, or a violation that was lost on the wire.

    A rule beyond the schema may refuse a request as long as the answer names the parameter. And a query that
    is right as it was sent is right, whatever it was meant to be: an empty list is nothing at all.
    """
    if isinstance(failure, RejectedPositiveData) and response.status_code == 400:
        named = {error["parameter"] for error in response.json().get("errors", ())}
        return not named or not named <= _RULES_BEYOND_SCHEMAS.get(case.operation.label, set())
    if isinstance(failure, AcceptedNegativeData) and case.meta is not None:
        wrong = {place.value for place, part in case.meta.components.items() if part.mode.is_negative}
        return wrong != {"query"} or not _is_right(case.operation.definition.raw, response.request.url)
    return True


def _is_right(operation: dict[str, Any], url: str) -> bool:
    """Tell whether an address's query is one that the document allows."""
    given: dict[str, list[str]] = {}
    for name, text in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        given.setdefault(name, []).append(text)
    declared = {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}
    return given.keys() <= declared.keys() and all(
        _fits(texts, declared[name]) for name, texts in given.items()
    )


def _fits(texts: list[str], schema: dict[str, Any]) -> bool:
    if schema.get("type") == "array":
        items = schema["items"]
        value: Any = [_read(text, items) for text in texts]
    else:
        value = _read(texts[0], schema) if len(texts) == 1 else texts
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True).is_valid(value)


def _read(text: str, schema: dict[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "integer" and re.fullmatch(r"-?[0-9]{1,30}", text):
        return int(text)
    return {"true": True, "false": False}.get(text, text) if kind == "boolean" else text
