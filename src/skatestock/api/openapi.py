"""The OpenAPI 3.1 document, made from the endpoints and the structs that they really use."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler

from skatestock.api.account_schemas import KeyId, SessionId
from skatestock.api.answer_headers import describe_headers, describe_problem_headers
from skatestock.api.errors import (
    AddressTooLongError,
    BodyTooLargeError,
    HeadersTooLargeError,
    InternalError,
    RateLimitedError,
    RequestError,
    RequestTimeoutError,
)
from skatestock.api.examples import build_example
from skatestock.api.operations import OPERATION, Operation, get_method
from skatestock.api.problems import MEDIA_TYPE, describe_type
from skatestock.api.schemas import Problem, ProductId, ShopSlug
from skatestock.api.wish_schemas import SearchId

Json = dict[str, Any]

_TAGS = {
    "Products": "What shops sell, what it costs, and how that went.",
    "Shops": "Who sells it, and how fresh our knowledge is.",
    "Analytics": "What prices and stock do over time.",
    "Events": "What changes, as it changes.",
    "Accounts": "Who you are: signing up and in, sessions, API keys, and your own data.",
    "Wishlist": "The products that you watch, and the searches that you keep.",
    "Health": "How this program is.",
}
_SECURITY_SCHEMES: Json = {
    "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of `POST /auth/token` or `POST /auth/refresh`; it lives for minutes.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key of `POST /auth/keys`, limited to its scopes; also as "
        "`Authorization: Bearer`.",
    },
}
_ANYWHERE: tuple[type[RequestError], ...] = (
    AddressTooLongError,
    BodyTooLargeError,
    RateLimitedError,
    HeadersTooLargeError,
    InternalError,
    RequestTimeoutError,
)
_MOMENTS = frozenset({"at", "since", "until"})
_JSON = "application/json"
_UNCHANGED = "The answer that `If-None-Match` names is still the right one."
_PATH_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_PATH_PARAMETERS: dict[str, Any] = {
    "product_id": ProductId,
    "slug": ShopSlug,
    "key_id": KeyId,
    "session_id": SessionId,
    "search_id": SearchId,
}
_ABOUT = (
    "Prices and stock of independent skate shops, with their whole history. Amounts are integers in minor "
    "units with their currency; moments are UTC in whole seconds. What goes wrong is told as problem "
    "details (RFC 9457) with a `code`."
)


def build_document(endpoints: Iterable[HTTPRouteHandler], *, version: str, demo: bool) -> Json:
    """Describe the endpoints as OpenAPI 3.1; each must have an Operation in its `opt`."""
    endpoints = list(endpoints)
    schemas = _describe_schemas([endpoint.opt[OPERATION] for endpoint in endpoints])
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "SkateStock API (demo data)" if demo else "SkateStock API",
            "version": version,
            "description": f"**Demo: simulated shops, no real prices.** {_ABOUT}" if demo else _ABOUT,
            "contact": {"name": "SkateStock"},
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "Where you read this document."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [],
        "paths": _describe_paths(endpoints, schemas),
        "components": {"schemas": schemas, "securitySchemes": _SECURITY_SCHEMES},
    }
    # as readers get it: tuples are arrays
    plain: Json = msgspec.json.decode(msgspec.json.encode(document))
    return plain


def _describe_paths(endpoints: Iterable[HTTPRouteHandler], schemas: Json) -> Json:
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        for path in endpoint.paths:
            method = get_method(endpoint).lower()
            described = _describe_operation(path, method, endpoint.opt[OPERATION], schemas)
            paths.setdefault(_PATH_PARAMETER.sub(r"{\1}", path), {})[method] = described
    return paths


def _describe_operation(path: str, method: str, operation: Operation, schemas: Json) -> Json:
    shared = method == "get" and operation.auth is None and operation.media_type == _JSON
    statuses = {**operation.other_statuses, **({304: _UNCHANGED} if shared else {})}
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": _describe_work(operation),
        "tags": [operation.tag],
        "parameters": [
            *_describe_path(path),
            *_describe_fields(operation.question, "query"),
            *_describe_fields(operation.headers, "header"),
        ],
    }
    if operation.body is not None:
        described["requestBody"] = _describe_body(operation.body, schemas)
    described["responses"] = {
        str(operation.status): _describe_answer(operation, schemas, shared=shared),
        **{str(status): _describe_empty(words) for status, words in statuses.items()},
        **_describe_problems(operation),
    }
    if operation.auth is not None:
        described |= _describe_security(operation)
    return described


def _describe_work(operation: Operation) -> str:
    if not operation.scopes:
        return operation.description
    scopes = " and ".join(f"`{scope}`" for scope in operation.scopes)
    return f"{operation.description} An API key needs the scope {scopes}."


def _describe_security(operation: Operation) -> Json:
    """Name the credentials of which one is needed, and what a key must be allowed to."""
    accepted: list[Json] = [{"accessToken": []}]
    if operation.auth != "user-or-key":
        return {"security": accepted}
    # OpenAPI lists scopes for OAuth only
    return {"security": [*accepted, {"apiKey": []}], "x-key-scopes": list(operation.scopes)}


def _describe_body(body: type[msgspec.Struct], schemas: Json) -> Json:
    return {
        "description": (body.__doc__ or "").strip(),
        "required": True,
        "content": {_JSON: _describe_content(body, schemas)},
    }


def _describe_path(path: str) -> list[Json]:
    return [
        _describe_parameter(name, "path", _PATH_PARAMETERS[name]) for name in _PATH_PARAMETER.findall(path)
    ]


def _describe_fields(kind: type[msgspec.Struct], place: str) -> list[Json]:
    parameters = []
    for field in msgspec.structs.fields(kind):
        described = _describe_parameter(field.encode_name, place, field.type)
        if field.default not in (msgspec.NODEFAULT, msgspec.UNSET, ()):
            described["schema"]["default"] = field.default
        if place == "query" and field.required:
            described |= {"required": True, "example": described["schema"]["examples"][0]}
        parameters.append(described)
    return parameters


def _describe_parameter(name: str, place: str, annotation: Any) -> Json:
    (outline,), parts = msgspec.json.schema_components([annotation], ref_template="{name}")
    schema = _inline(outline, parts)
    required = place == "path"
    described: Json = {
        "name": name,
        "in": place,
        "required": required,
        "description": schema.pop("description"),
        "schema": schema,
    }
    if required:
        # Swagger UI fills a form with `example`, which nobody wants of a filter that they did not choose
        described["example"] = schema["examples"][0]
    if schema.get("type") == "array":
        described |= {"style": "form", "explode": True}
    return described


def _inline(schema: Any, parts: Json) -> Any:
    """Put what a parameter's schema refers to into its place: there is nowhere else to put it."""
    if isinstance(schema, list):
        return [_inline(part, parts) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(parts[schema["$ref"]], parts)
    return {name: _inline(part, parts) for name, part in schema.items()}


def _describe_answer(operation: Operation, schemas: Json, *, shared: bool) -> Json:
    if operation.answer is None:
        return _describe_empty("Done; the answer has no body.")
    content = _describe_content(operation.answer, schemas)
    return {
        "description": (operation.answer.__doc__ or "").strip(),
        "headers": describe_headers(shared=shared),
        "content": {operation.media_type: content},
    }


def _describe_content(kind: type[msgspec.Struct], schemas: Json) -> Json:
    return {"schema": _refer_to(kind), "example": build_example(_refer_to(kind), schemas)}


def _describe_empty(words: str) -> Json:
    return {"description": words, "headers": describe_headers()}


def _describe_problems(operation: Operation) -> Json:
    by_status: dict[int, list[type[RequestError]]] = {}
    for problem in dict.fromkeys((*operation.list_problems(), *_ANYWHERE)):
        by_status.setdefault(int(problem.status), []).append(problem)
    return {
        str(status): {
            "description": " ".join(f"`{problem.code}`: {problem.__doc__}" for problem in problems),
            "headers": describe_headers() | describe_problem_headers(problems),
            "content": {
                MEDIA_TYPE: {
                    "schema": _refer_to(Problem),
                    "examples": {problem.code: {"value": _exemplify(problem)} for problem in problems},
                }
            },
        }
        for status, problems in sorted(by_status.items())
    }


def _exemplify(problem: type[RequestError]) -> Json:
    return {
        "type": describe_type(problem),
        "title": problem.title,
        "status": int(problem.status),
        "code": problem.code,
        "detail": problem.title,
        "request_id": "0d3f8a52c7e94b1f",
    }


def _describe_schemas(operations: list[Operation]) -> Json:
    answers = [operation.answer for operation in operations]
    bodies = [operation.body for operation in operations]
    parts = [part for operation in operations for part in operation.parts]
    kinds = [*(kind for kind in dict.fromkeys([*answers, *bodies, *parts]) if kind is not None), Problem]
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for body in bodies:
        if body is not None:
            # as bodies are read: a field that we do not know is an error
            schemas[body.__name__]["additionalProperties"] = False
    for schema in schemas.values():
        _mark_moments(schema)
    return dict(sorted(schemas.items()))


def _mark_moments(schema: Json) -> None:
    """Say of moments that they are: the library does so only where it would check for a distance from UTC."""
    for name, described in schema.get("properties", {}).items():
        if name.endswith("_at") or name in _MOMENTS:
            for part in (described, *described.get("anyOf", ())):
                if part.get("type") == "string":
                    part["format"] = "date-time"


def _refer_to(kind: type[msgspec.Struct]) -> Json:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
