"""What is true of every request: its id, its limits, and the headers of its answer."""

import re
import secrets
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any

from litestar import Request
from litestar.types import Message, Scope

from skatestock.api.errors import AddressTooLongError, BodyTooLargeError
from skatestock.api.sharing import ALONE_CONTROL, SHARED_CONTROL, HeaderLine, find_sharing

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
_NAMES = frozenset(name for name, _value in _LINES)
_DEMO_LINE = (b"x-skatestock-data", b"demo")


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


def is_demo(scope: Scope) -> bool:
    """Tell whether the answer was said to hold demo data."""
    return _DEMO in scope["state"]


async def check_limits(request: AnyRequest) -> None:
    """Refuse an address or a body that is too large; raises AddressTooLongError or BodyTooLargeError."""
    scope = request.scope
    path = scope.get("raw_path") or scope["path"].encode()
    if len(path) + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
        raise AddressTooLongError(f"path and query may have {MAX_ADDRESS_BYTES} bytes")
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit() or int(value[:20]) > MAX_BODY_BYTES:
                raise BodyTooLargeError(f"a body may have {MAX_BODY_BYTES} bytes")
            return


async def set_headers(message: Message, scope: Scope) -> None:
    """Add to an answer what every answer carries.

    A coroutine that awaits nothing: the framework would send a plain function through a thread, twice for
    each request.
    """
    if message["type"] == "http.response.start":
        # On the lines themselves: the framework's view of them reads all of them anew for each look-up.
        lines = [*message.get("headers", ())]
        given = {name.lower() for name, _value in lines}
        finish_headers(lines, scope, message["status"], given, demo=scope["litestar_app"].state.demo)
        message["headers"] = lines


def finish_headers(
    lines: list[HeaderLine], scope: Scope, status: int, given: AbstractSet[bytes], *, demo: bool
) -> None:
    """Add to the header lines of an answer, whose names are `given`, what every answer carries."""
    lines += find_sharing(scope, status, given)
    lines.append((b"x-request-id", find_request_id(scope).encode()))
    lines += _LINES if given.isdisjoint(_NAMES) else [line for line in _LINES if line[0] not in given]
    if demo or is_demo(scope):
        lines.append(_DEMO_LINE)


def list_headers(*, is_shared: bool, demo: bool, given: Iterable[HeaderLine]) -> list[HeaderLine]:
    """List what every success carries that anybody asked for, and that is the same for all of them."""
    lines = [*given, (b"cache-control", (SHARED_CONTROL if is_shared else ALONE_CONTROL).encode()), *_LINES]
    return [*lines, _DEMO_LINE] if demo else lines
