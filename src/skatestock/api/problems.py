"""Problem details (RFC 9457): every answer that is not a success."""

from http import HTTPStatus

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from skatestock.api.errors import (
    BodyTooLargeError,
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    RequestError,
)
from skatestock.api.requests import AnyRequest, find_request_id
from skatestock.api.schemas import Problem
from skatestock.telemetry.logs import get_logger

MEDIA_TYPE = "application/problem+json"

_FRAMEWORK_ERRORS: dict[int, type[RequestError]] = {
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.METHOD_NOT_ALLOWED: MethodNotAllowedError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: BodyTooLargeError,
}

_log = get_logger(__name__)


def describe_type(error: type[RequestError]) -> str:
    """Return the URI that names the kind of problem."""
    return f"urn:skatestock:problem:{error.code}"


def answer_request_error(request: AnyRequest, error: RequestError) -> Response[bytes]:
    """Answer with an error of ours; those that are nobody's fault but ours are logged."""
    request_id = find_request_id(request.scope)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        cause = str(error.__cause__ or "")
        _log.warning("request_failed", request_id=request_id, code=error.code, detail=str(error), cause=cause)
    problem = Problem(
        type=describe_type(type(error)),
        title=error.title,
        status=int(error.status),
        code=error.code,
        detail=str(error),
        request_id=request_id,
        errors=error.errors,
    )
    headers = {} if error.retry_after_seconds is None else {"Retry-After": str(error.retry_after_seconds)}
    if error.challenge is not None:
        headers |= {"WWW-Authenticate": error.challenge, "Cache-Control": "private, no-store"}
    return Response(
        msgspec.json.encode(problem), status_code=int(error.status), media_type=MEDIA_TYPE, headers=headers
    )


def answer_framework_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Answer with an error that the framework found: no such path, no such method, a malformed request."""
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return answer_unexpected_error(request, error)
    kind = _FRAMEWORK_ERRORS.get(error.status_code, InvalidRequestError)
    allowed = (error.headers or {}).get("allow")
    detail = f"use {allowed}" if allowed else error.detail
    answer = answer_request_error(request, kind(detail or kind.title))
    if allowed:
        answer.headers["Allow"] = allowed
    return answer


def answer_unexpected_error(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer with our own mistake: logged whole, told without a word of it."""
    request_id = find_request_id(request.scope)
    _log.error("request_crashed", request_id=request_id, path=request.scope["path"], exc_info=error)
    return answer_request_error(request, InternalError("the log has the details under this request's id"))


HANDLERS: ExceptionHandlersMap = {
    RequestError: answer_request_error,
    HTTPException: answer_framework_error,
    Exception: answer_unexpected_error,
}
