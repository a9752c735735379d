"""The headers of answers as the OpenAPI document describes them, also those that the edge adds."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from skatestock.api.errors import RequestError

Json = dict[str, Any]

_RETRIED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_TEXT: Json = {"type": "string"}

_ANY_ANSWER: Json = {
    "X-Request-Id": {
        "description": "Finds the request in our logs; yours, if you sent one.",
        "schema": _TEXT,
        "example": "0d3f8a52c7e94b1f",
    },
    "X-SkateStock-Data": {
        "description": "`demo` where the answer holds data of simulated shops; left out otherwise.",
        "schema": {"type": "string", "enum": ["demo"]},
        "example": "demo",
    },
    "RateLimit": {
        "description": "How many requests remain to you, and after how many seconds all are back.",
        "schema": _TEXT,
        "example": '"address";r=119;t=1',
    },
    "RateLimit-Policy": {
        "description": "How many requests you may make at once, and in how many seconds they come back.",
        "schema": _TEXT,
        "example": '"address";q=120;w=60',
    },
    "Cache-Control": {
        "description": "Who may keep the answer, and for how long.",
        "schema": _TEXT,
        "example": "public, max-age=0, s-maxage=3, stale-while-revalidate=2",
    },
}
_SHARED: Json = {
    "ETag": {
        "description": "Names this answer: with it as `If-None-Match`, the next one may be a 304.",
        "schema": _TEXT,
        "example": '"9f1c2a7e0b3d4c5e"',
    },
}


def describe_headers(*, shared: bool = False) -> Json:
    """Describe the headers of any answer, or of one that caches may keep."""
    return _ANY_ANSWER | _SHARED if shared else _ANY_ANSWER


def describe_problem_headers(problems: Iterable[type[RequestError]]) -> Json:
    """Describe what a problem's answer carries besides."""
    problems = list(problems)
    headers: Json = {}
    challenges = [problem.challenge for problem in problems if problem.challenge is not None]
    if challenges:
        headers["WWW-Authenticate"] = {
            "description": "What to come back with.",
            "schema": _TEXT,
            "example": challenges[0],
        }
    if any(problem.status in _RETRIED for problem in problems):
        headers["Retry-After"] = {
            "description": "After how many seconds to try again, where that may help.",
            "schema": {"type": "integer", "minimum": 0},
            "example": 2,
        }
    return headers
