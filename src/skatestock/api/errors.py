"""What can go wrong with a request: each error is one problem code, which `docs/API.md` lists."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar

from skatestock.api.schemas import InvalidParameter
from skatestock.vocabulary.errors import SkateStockError


class RequestError(SkateStockError):
    """The root of what the API answers with problem details; its message is the problem's `detail`."""

    code: ClassVar[str]
    status: ClassVar[HTTPStatus]
    title: ClassVar[str]
    retry_after_seconds: ClassVar[int | None] = None

    def __init__(self, detail: str, *, errors: Sequence[InvalidParameter] = ()) -> None:
        super().__init__(detail)
        self.errors = tuple(errors)


class InvalidRequestError(RequestError):
    """The request is not one that HTTP or this API knows how to read."""

    code = "invalid_request"
    status = HTTPStatus.BAD_REQUEST
    title = "The request cannot be read"


class InvalidParameterError(RequestError):
    """A query parameter has a value that makes no sense; `errors` names each."""

    code = "invalid_parameter"
    status = HTTPStatus.BAD_REQUEST
    title = "A parameter has a value that makes no sense"


class UnknownParameterError(RequestError):
    """A query parameter that this endpoint does not have; `errors` names each."""

    code = "unknown_parameter"
    status = HTTPStatus.BAD_REQUEST
    title = "There is no such parameter"


class ProductNotFoundError(RequestError):
    """No product has this id."""

    code = "product_not_found"
    status = HTTPStatus.NOT_FOUND
    title = "There is no such product"


class NotFoundError(RequestError):
    """Nothing is served at this path."""

    code = "not_found"
    status = HTTPStatus.NOT_FOUND
    title = "There is nothing at this path"


class MethodNotAllowedError(RequestError):
    """The path exists, but not for this method; the `Allow` header says for which."""

    code = "method_not_allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED
    title = "The path does not know this method"


class BodyTooLargeError(RequestError):
    """The request carries a body beyond what this API reads."""

    code = "body_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = "The request's body is too large"


class AddressTooLongError(RequestError):
    """The request's path and query are longer than 8 KiB."""

    code = "address_too_long"
    status = HTTPStatus.REQUEST_URI_TOO_LONG
    title = "The request's address is too long"


class InternalError(RequestError):
    """Our own mistake; the log has it under the request's id."""

    code = "internal_error"
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    title = "Something went wrong on our side"


class DatabaseAwayError(RequestError):
    """The database does not answer; the same request works once it is back."""

    code = "database_unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The database does not answer"
    retry_after_seconds = 2


class DatabaseSlowError(RequestError):
    """The database did not finish in time; fewer or narrower filters may."""

    code = "database_timeout"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The database did not answer in time"
    retry_after_seconds = 10


class SchemaOutdatedError(RequestError):
    """The database's tables are older than this program: run `skatestock migrate`."""

    code = "schema_outdated"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The database is not migrated"
    retry_after_seconds = 10


PROBLEMS: tuple[type[RequestError], ...] = (
    InvalidRequestError,
    InvalidParameterError,
    UnknownParameterError,
    ProductNotFoundError,
    NotFoundError,
    MethodNotAllowedError,
    BodyTooLargeError,
    AddressTooLongError,
    InternalError,
    DatabaseAwayError,
    DatabaseSlowError,
    SchemaOutdatedError,
)
"""Every problem there is."""
