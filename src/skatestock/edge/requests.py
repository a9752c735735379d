"""One request on its way through the edge, and what of it is refused before all else."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from skatestock.edge.headers import (
    MOST_ADDRESS_BYTES,
    MOST_HEADER_BYTES,
    MOST_HEADERS,
    Headers,
    count_bytes,
)
from skatestock.edge.policies import HeaderLine
from skatestock.edge.problems import ADDRESS_TOO_LONG, HEADERS_TOO_LARGE, Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

LONGEST_SHARED_ADDRESS = 1024
"""Answers at longer addresses are not kept."""

NO_BODY: Message = {"type": "http.response.body", "body": b"", "more_body": False}
"""The end of an answer without a body."""

_CREDENTIALS = (b"authorization", b"x-api-key")
_BODY = (b"content-length", b"transfer-encoding")


def make_address(scope: Scope) -> bytes:
    """Return path and query exactly as they were sent: what answers are kept under."""
    raw: bytes | None = scope.get("raw_path")
    path = quote(scope["path"]).encode() if raw is None else raw
    query: bytes = scope["query_string"]
    return b"%s?%s" % (path, query) if query else path


class Request:
    """A request that could not be answered at once."""

    __slots__ = (
        "_send",
        "address",
        "has_begun",
        "headers",
        "id",
        "is_head",
        "lines",
        "now",
        "receive",
        "scope",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, now: float, request_id: bytes
    ) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self.headers = headers
        self.now = now
        self.id = request_id.decode("latin-1")
        self.address = make_address(scope)
        self.is_head: bool = scope["method"] == "HEAD"
        self.has_begun = False
        """Whether an answer has begun, so that no other one can be given any more."""
        self.lines: list[HeaderLine] = [(b"x-request-id", request_id)]
        """What is added to the answer, whatever that is."""

    @property
    def has_credentials(self) -> bool:
        """Tell whether the request may say who asks."""
        return any(name in self.headers for name in _CREDENTIALS)

    @property
    def is_private(self) -> bool:
        """Tell whether the answer may be for one reader only."""
        return self.has_credentials or b"cookie" in self.headers

    @property
    def may_share(self) -> bool:
        """Tell whether a kept answer may be given, and a new one kept: a bare GET or HEAD of nobody."""
        return (
            self.scope["method"] in ("GET", "HEAD")
            and not self.is_private
            and len(self.address) <= LONGEST_SHARED_ADDRESS
            and not any(name in self.headers for name in _BODY)
        )

    async def start(self, status: int, headers: list[HeaderLine]) -> None:
        """Begin the answer."""
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": int(status), "headers": headers})

    async def send(self, message: Any) -> None:
        """Send a part of the answer's body."""
        await self._send(message)

    async def receive_rest(self) -> Any:
        """Give what the client sends; one that asked for headers only has left once it has them."""
        if self.is_head and self.has_begun:
            return {"type": "http.disconnect"}
        return await self.receive()


def find_fault(request: Request) -> tuple[Problem, str] | None:
    """Find what is too large to be looked at, and say so."""
    if len(request.address) > MOST_ADDRESS_BYTES + 1:
        return ADDRESS_TOO_LONG, f"path and query may have {MOST_ADDRESS_BYTES} bytes"
    if len(request.scope["headers"]) > MOST_HEADERS:
        return HEADERS_TOO_LARGE, f"there may be {MOST_HEADERS} headers"
    if count_bytes(request.headers) > MOST_HEADER_BYTES:
        return HEADERS_TOO_LARGE, f"headers may have {MOST_HEADER_BYTES} bytes"
    return None
