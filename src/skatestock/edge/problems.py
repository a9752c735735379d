"""The edge's own answers: problem details (RFC 9457) with the same fields as the API's."""

from http import HTTPStatus
from typing import NamedTuple

import msgspec

from skatestock.edge.policies import HeaderLine

_MEDIA_TYPE = b"application/problem+json"


class Problem(NamedTuple):
    """A kind of problem; `docs/API.md` lists its code."""

    code: str
    status: HTTPStatus
    title: str
    meaning: str


RATE_LIMITED = Problem(
    "rate_limited",
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many requests",
    "More requests than a client may make; `Retry-After` says when the next one may come.",
)
ADDRESS_TOO_LONG = Problem(
    "address_too_long",
    HTTPStatus.REQUEST_URI_TOO_LONG,
    "The request's address is too long",
    "The request's path and query are longer than 8 KiB.",
)
HEADERS_TOO_LARGE = Problem(
    "headers_too_large",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "The request's headers are too large",
    "The request has more than 100 headers, or more than 16 KiB of them.",
)
REQUEST_TIMEOUT = Problem(
    "request_timeout",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The request took too long",
    "The answer was not ready in time. Reading may work later; of a change, look whether it was made.",
)
INTERNAL_ERROR = Problem(
    "internal_error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "Something went wrong on our side",
    "Our own mistake; the log has it under the request's id.",
)

PROBLEMS = (RATE_LIMITED, ADDRESS_TOO_LONG, HEADERS_TOO_LARGE, REQUEST_TIMEOUT, INTERNAL_ERROR)
"""Every problem that the edge answers with itself."""


def write_problem(problem: Problem, detail: str, request_id: bytes) -> tuple[list[HeaderLine], bytes]:
    """Write the headers and the body of a problem's answer."""
    body = msgspec.json.encode(
        {
            "type": f"urn:skatestock:problem:{problem.code}",
            "title": problem.title,
            "status": int(problem.status),
            "code": problem.code,
            "detail": detail,
            "request_id": request_id.decode("latin-1"),
        }
    )
    headers = [
        (b"content-type", _MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    return headers, body
