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

_READS = ("GET", "HEAD")
_CREDENTIALS = frozenset({b"authorization", b"x-api-key"})
_PRIVATE = _CREDENTIALS | {b"cookie"}

NOT_SHARED = _PRIVATE | {b"content-length", b"transfer-encoding"}
"""With one of these headers a request is answered for itself: it says who asks, or has a body."""

# The application shall answer whole and plain: conditions and encodings are the edge's.
_EDGE_ONLY = frozenset({b"if-none-match", b"if-modified-since", b"accept-encoding", b"range", b"if-range"})


def make_address(scope: Scope) -> bytes:
    """Return path and query exactly as they were sent: what answers are kept under."""
    raw: bytes | None = scope.get("raw_path")
    path = quote(scope["path"]).encode() if raw is None else raw
    query: bytes = scope["query_string"]
    return b"%s?%s" % (path, query) if query else path


def make_plain(scope: Scope) -> None:
    """Make a request one that is asked for many: a GET for the whole plain answer."""
    scope["method"] = "GET"
    scope["headers"] = [line for line in scope["headers"] if line[0] not in _EDGE_ONLY]


class Request:
    """A request that could not be answered at once."""

    __slots__ = (
        "address",
        "has_begun",
        "headers",
        "id",
        "is_head",
        "lines",
        "now",
        "receive",
        "scope",
        "send",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        headers: Headers,
        address: bytes,
        now: float,
        request_id: bytes,
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        """Sends a part of the answer's body."""
        self.headers = headers
        self.address = address
        self.now = now
        self.id = request_id.decode("latin-1")
        self.is_head: bool = scope["method"] == "HEAD"
        self.has_begun = False
        """Whether an answer has begun, so that no other one can be given any more."""
        self.lines: list[HeaderLine] = [(b"x-request-id", request_id)]
        """What is added to the answer, whatever that is."""

    @property
    def has_credentials(self) -> bool:
        """Tell whether the request may say who asks."""
        return not _CREDENTIALS.isdisjoint(self.headers)

    @property
    def is_private(self) -> bool:
        """Tell whether the answer may be for one reader only."""
        return not _PRIVATE.isdisjoint(self.headers)

    @property
    def may_share(self) -> bool:
        """Tell whether a kept answer may be given, and a new one kept: a bare GET or HEAD of nobody."""
        return (
            self.scope["method"] in _READS
            and NOT_SHARED.isdisjoint(self.headers)
            and len(self.address) <= LONGEST_SHARED_ADDRESS
        )

    async def start(self, status: int, headers: list[HeaderLine]) -> None:
        """Begin the answer."""
        self.has_begun = True
        await self.send({"type": "http.response.start", "status": int(status), "headers": headers})

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
