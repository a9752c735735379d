"""The OpenAPI 3.1 document, made from the endpoints and the structs that they really use."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler

from skatestock.api.errors import (
    AddressTooLongError,
    BodyTooLargeError,
    InternalError,
    RequestError,
)
from skatestock.api.operations import OPERATION, Operation
from skatestock.api.problems import MEDIA_TYPE, describe_type
from skatestock.api.schemas import Problem, ProductId

Json = dict[str, Any]

_TAGS = {
    "Products": "What shops sell, what it costs, and how that went.",
    "Shops": "Who sells it, and how fresh our knowledge is.",
    "Health": "How this program is.",
}
_ANYWHERE: tuple[type[RequestError], ...] = (AddressTooLongError, BodyTooLargeError, InternalError)
_PATH_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_PATH_PARAMETERS: dict[str, Any] = {"product_id": ProductId}
_ABOUT = (
    "Prices and stock of independent skate shops, with their whole history. Amounts are integers in minor "
    "units with their currency; moments are UTC in whole seconds. What goes wrong is told as problem "
    "details (RFC 9457) with a `code`."
)


def build_document(endpoints: Iterable[HTTPRouteHandler], *, version: str, demo: bool) -> Json:
    """Describe the endpoints as OpenAPI 3.1; each must have an Operation in its `opt`."""
    described = [(path, endpoint.opt[OPERATION]) for endpoint in endpoints for path in endpoint.paths]
    operations = [operation for _, operation in described]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SkateStock API (demo data)" if demo else "SkateStock API",
            "version": version,
            "description": f"**Demo: simulated shops, no real prices.** {_ABOUT}" if demo else _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [],
        "paths": {
            _PATH_PARAMETER.sub(r"{\1}", path): {"get": _describe_operation(path, operation)}
            for path, operation in described
        },
        "components": {"schemas": _describe_schemas(operations)},
    }


def _describe_operation(path: str, operation: Operation) -> Json:
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "parameters": [*_describe_path(path), *_describe_question(operation.question)],
        "responses": {"200": _describe_answer(operation), **_describe_problems(operation)},
    }


def _describe_path(path: str) -> list[Json]:
    return [
        _describe_parameter(name, "path", _PATH_PARAMETERS[name]) for name in _PATH_PARAMETER.findall(path)
    ]


def _describe_question(question: type[msgspec.Struct]) -> list[Json]:
    parameters = []
    for field in msgspec.structs.fields(question):
        described = _describe_parameter(field.name, "query", field.type)
        if field.default not in (msgspec.NODEFAULT, msgspec.UNSET, ()):
            described["schema"]["default"] = field.default
        parameters.append(described)
    return parameters


def _describe_parameter(name: str, place: str, annotation: Any) -> Json:
    schema = msgspec.json.schema(annotation)
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


def _describe_answer(operation: Operation) -> Json:
    return {
        "description": (operation.answer.__doc__ or "").strip(),
        "headers": _describe_headers(),
        "content": {"application/json": {"schema": _refer_to(operation.answer)}},
    }


def _describe_problems(operation: Operation) -> Json:
    by_status: dict[int, list[type[RequestError]]] = {}
    for problem in (*operation.problems, *_ANYWHERE):
        by_status.setdefault(int(problem.status), []).append(problem)
    return {
        str(status): {
            "description": " ".join(f"`{problem.code}`: {problem.__doc__}" for problem in problems),
            "headers": _describe_headers(),
            "content": {
                MEDIA_TYPE: {
                    "schema": _refer_to(Problem),
                    "examples": {problem.code: {"value": _exemplify(problem)} for problem in problems},
                }
            },
        }
        for status, problems in sorted(by_status.items())
    }


def _describe_headers() -> Json:
    return {
        "X-Request-Id": {
            "description": "Finds the request in our logs; yours, if you sent one.",
            "schema": {"type": "string"},
            "example": "0d3f8a52c7e94b1f",
        },
        "X-SkateStock-Data": {
            "description": "`demo` where the answer holds data of simulated shops; left out otherwise.",
            "schema": {"type": "string", "enum": ["demo"]},
            "example": "demo",
        },
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


def _describe_schemas(operations: Iterable[Operation]) -> Json:
    answers = [*dict.fromkeys(operation.answer for operation in operations), Problem]
    _, schemas = msgspec.json.schema_components(answers, ref_template="#/components/schemas/{name}")
    return dict(sorted(schemas.items()))


def _refer_to(kind: type[msgspec.Struct]) -> Json:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
