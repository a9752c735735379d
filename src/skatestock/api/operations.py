"""What each endpoint says about itself, for the OpenAPI document and for reading its question."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import msgspec
from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.types import Middleware

from skatestock.api.authentication import Auth, require_caller
from skatestock.api.direct import DIRECT, answer_directly
from skatestock.api.errors import (
    AccountsOffError,
    DatabaseAwayError,
    DatabaseSlowError,
    InvalidBodyError,
    InvalidParameterError,
    InvalidRequestError,
    InvalidTokenError,
    KeyNotAllowedError,
    NotSignedInError,
    RequestError,
    SchemaOutdatedError,
    ScopeMissingError,
    UnknownParameterError,
    UnsupportedMediaTypeError,
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
_READS_BODY: tuple[type[RequestError], ...] = (
    InvalidRequestError,
    InvalidBodyError,
    UnsupportedMediaTypeError,
)
_ASKS_WHO: tuple[type[RequestError], ...] = (
    NotSignedInError,
    InvalidTokenError,
    AccountsOffError,
    *READS_DATABASE,
)

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Operation(NamedTuple):
    """One endpoint: its question, its body, its answer, who may ask, and the problems of its own."""

    name: str
    summary: str
    description: str
    tag: str
    answer: type[msgspec.Struct] | None
    """None where the answer has no body."""
    question: type[msgspec.Struct] = NoQuestion
    problems: tuple[type[RequestError], ...] = ()
    """Beside those that follow from `body` and `auth`."""
    body: type[msgspec.Struct] | None = None
    status: int = 200
    other_statuses: Mapping[int, str] = MappingProxyType({})
    """Further successes, which have no body: what each means."""
    auth: Auth | None = None
    """None for everybody."""
    scopes: tuple[str, ...] = ()
    """What a key must be allowed to."""
    headers: type[msgspec.Struct] = NoQuestion
    """The headers that are read, each a field whose encoded name is the header's."""
    media_type: str = "application/json"
    """Of the answer."""
    parts: tuple[type[msgspec.Struct], ...] = ()
    """Further shapes that the answer's schema refers to."""

    def list_problems(self) -> tuple[type[RequestError], ...]:
        """Name every problem that this endpoint can answer with, each once."""
        found = [*self.problems]
        if self.body is not None:
            found += _READS_BODY
        if self.auth is not None:
            found += (*_ASKS_WHO, KeyNotAllowedError if self.auth == "user" else ScopeMissingError)
        return tuple(dict.fromkeys(found))


def reads(path: str, operation: Operation | None = None) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """Make a function the handler of GET and HEAD at a path; with an Operation, a documented endpoint."""
    return _route(path, [HttpMethod.GET, HttpMethod.HEAD], operation)


def reads_directly(path: str, operation: Operation) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """Make a function the handler of GET and HEAD, called without the framework's injection (`direct`).

    It takes `request`, `context` and the path's parts, and returns the operation's answer. Raises ValueError
    for an operation that asks who asks: nothing would check that.
    """
    if operation.auth is not None or operation.body is not None:
        raise ValueError(f"{operation.name} is not open to everybody, or reads a body")
    options = {DIRECT: True}
    return _route(path, [HttpMethod.GET, HttpMethod.HEAD], operation, options, middleware=[answer_directly])


def writes(
    method: Literal["POST", "PUT", "PATCH", "DELETE"], path: str, operation: Operation
) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """Make a function the handler of a method that changes something, as a documented endpoint."""
    return _route(path, [HttpMethod(method)], operation)


def get_method(handler: HTTPRouteHandler) -> str:
    """Tell the method that a handler is documented under: GET where it answers HEAD too."""
    return next(method for method in _METHODS if method in handler.http_methods)


def _route(
    path: str,
    methods: list[HttpMethod],
    operation: Operation | None,
    options: Mapping[str, Any] = MappingProxyType({}),
    middleware: Sequence[Middleware] = (),
) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    if operation is None:
        return route(path, http_method=methods)
    return route(
        path,
        http_method=methods,
        opt={OPERATION: operation, **options},
        status_code=operation.status,
        middleware=middleware,
        guards=[] if operation.auth is None else [require_caller(operation.auth, operation.scopes)],
    )
