"""What each endpoint says about itself, for the OpenAPI document and for reading its question."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from skatestock.api.errors import (
    DatabaseAwayError,
    DatabaseSlowError,
    InvalidParameterError,
    InvalidRequestError,
    RequestError,
    SchemaOutdatedError,
    UnknownParameterError,
)
from skatestock.api.questions import NoQuestion

OPERATION = "operation"
"""The key of a route handler's `opt` under which its Operation stands."""

READS_DATABASE: tuple[type[RequestError], ...] = (DatabaseAwayError, DatabaseSlowError, SchemaOutdatedError)
READS_QUERY: tuple[type[RequestError], ...] = (
    InvalidRequestError,
    InvalidParameterError,
    UnknownParameterError,
)


class Operation(NamedTuple):
    """One endpoint: its question, its answer, and the problems of its own."""

    name: str
    summary: str
    description: str
    tag: str
    answer: type[msgspec.Struct]
    question: type[msgspec.Struct] = NoQuestion
    problems: tuple[type[RequestError], ...] = ()


def reads(path: str, operation: Operation | None = None) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """Make a function the handler of GET and HEAD at a path; with an Operation, a documented endpoint."""
    opt = {} if operation is None else {OPERATION: operation}
    return route(path, http_method=[HttpMethod.GET, HttpMethod.HEAD], opt=opt)
