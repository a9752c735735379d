"""What is true of every request: its id, its limits, and the headers of its answer."""

import re
import secrets
from typing import Any

from litestar import Request
from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

from skatestock.api.errors import AddressTooLongError, BodyTooLargeError
from skatestock.api.sharing import set_sharing

AnyRequest = Request[Any, Any, Any]

MAX_ADDRESS_BYTES = 8192
MAX_BODY_BYTES = 65_536

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}\Z")
_OUR_ID, _DEMO = "skatestock_request_id", "skatestock_demo"

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# Answers are data: nothing in them may run or load, whatever a browser takes them for.
_DATA_POLICY = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
_LINES = tuple(
    (name.lower().encode(), value.encode())
    for name, value in {**_HEADERS, "Content-Security-Policy": _DATA_POLICY}.items()
)


def find_request_id(scope: Scope) -> str:
    """Tell the request's id: the caller's, if it sent one that can stand in a log, or else a new one."""
    state = scope["state"]
    if _OUR_ID not in state:
        sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        given = sent.decode("latin-1")
        state[_OUR_ID] = given if _REQUEST_ID.match(given) else secrets.token_hex(8)
    request_id: str = state[_OUR_ID]
    return request_id


def mark_demo(request: AnyRequest, demo: bool) -> None:
    """Remember that the answer holds demo data, so that a header says so too."""
    if demo:
        request.scope["state"][_DEMO] = True


async def check_limits(request: AnyRequest) -> None:
    """Refuse an address or a body that is too large; raises AddressTooLongError or BodyTooLargeError."""
    raw_path = request.scope.get("raw_path") or request.scope["path"].encode()
    if len(raw_path) + len(request.scope["query_string"]) > MAX_ADDRESS_BYTES:
        raise AddressTooLongError(f"path and query may have {MAX_ADDRESS_BYTES} bytes")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > MAX_BODY_BYTES:
        raise BodyTooLargeError(f"a body may have {MAX_BODY_BYTES} bytes")


async def set_headers(message: Message, scope: Scope) -> None:
    """Add to an answer what every answer carries.

    A coroutine that awaits nothing: the framework would send a plain function through a thread, twice for
    each request.
    """
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    set_sharing(headers, message["status"], scope)
    # In one pass over the lines: each look-up by name would read them all anew.
    given = {name.lower() for name, _value in headers.headers}
    headers.headers.append((b"x-request-id", find_request_id(scope).encode()))
    headers.headers.extend(line for line in _LINES if line[0] not in given)
    if scope["state"].get(_DEMO) or scope["litestar_app"].state.demo:
        headers["X-SkateStock-Data"] = "demo"
