"""Asking the application: for one request alone, or once for all that want the same answer."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from skatestock.edge.entries import LONGEST_SECONDS, Entry
from skatestock.edge.headers import SECURITY, add_missing
from skatestock.edge.policies import HeaderLine
from skatestock.edge.requests import NO_BODY, Message, Receive, Request, Scope, Send
from skatestock.edge.validity import Stamp

LARGEST_BODY = 1_048_576
"""Longer answers are not kept."""

_SURROGATE_KEY = b"surrogate-key"
# Of the answer to one request, or of the way to it: not kept for others.
_NOT_KEPT = frozenset(
    {_SURROGATE_KEY, b"x-request-id", b"content-length", b"etag", b"vary", b"date", b"server", b"age"}
)
_VARIES_BY = frozenset({b"", b"accept-encoding", b"origin"})
# The application shall answer whole and plain: conditions and encodings are the edge's.
_EDGE_ONLY = frozenset({b"if-none-match", b"if-modified-since", b"accept-encoding", b"range", b"if-range"})

_PRIVATE: HeaderLine = (b"cache-control", b"private, no-store")


class ShareRules:
    """What kept answers carry besides what the application said."""

    def __init__(self, *, varies_by_origin: bool, lines: Iterable[HeaderLine] = ()) -> None:
        self._vary = (b"vary", b"Accept-Encoding, Origin" if varies_by_origin else b"Accept-Encoding")
        self._lines = (*SECURITY, *lines)

    def find_tags(self, status: int, headers: Iterable[HeaderLine]) -> tuple[str, ...]:
        """Read the tags of an answer that may be shared; none for every other answer."""
        tags: tuple[str, ...] = ()
        for name, value in headers:
            if name == b"set-cookie" or (name == b"vary" and not _varies_by_known(value)):
                return ()
            if name == b"cache-control" and (b"private" in value or b"no-store" in value):
                return ()
            if name == _SURROGATE_KEY:
                tags += tuple(value.decode("ascii", "replace").split())
        return tags if status == 200 else ()

    def keep(self, headers: Iterable[HeaderLine]) -> list[HeaderLine]:
        """Choose which headers of an answer every request for it is given."""
        kept = [line for line in headers if line[0] not in _NOT_KEPT]
        return [*add_missing(kept, self._lines), self._vary]


class Asking:
    """One question to the application whose answer others may be given too.

    The answer is held back until it is clear what it is. One that may be shared becomes `entry`; any other is
    passed on to the one who asked first, as it comes.
    """

    def __init__(
        self, address: bytes, stamp: Stamp, rules: ShareRules, now: float, receive: Receive, send: Send
    ) -> None:
        self._address = address
        self.stamp = stamp
        self._rules = rules
        self._ends_at = now + LONGEST_SECONDS
        self._receive = receive
        self._send = send
        self._asked = False
        self._start: Message | None = None
        self._tags: tuple[str, ...] = ()
        self._chunks: list[bytes] = []
        self._length = 0
        self._let_through = asyncio.Event()
        self.entry: Entry | None = None
        self.on_start: Callable[[], None] = _nothing
        """Called when the answer begins."""
        self.on_pass: Callable[[], None] = _nothing
        """Called when it is clear that the answer is for one alone."""

    @property
    def is_passing(self) -> bool:
        """Tell whether the answer goes to the one who asked first."""
        return self._let_through.is_set()

    async def receive(self) -> Any:
        """Give the application the request: it has no body, and nobody leaves while others may wait."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._let_through.wait()
        return await self._receive()

    async def send(self, message: Any) -> None:
        """Take the application's answer."""
        if self.is_passing:
            await self._send(message)
        elif message["type"] == "http.response.start":
            await self._take_start(message)
        elif message["type"] == "http.response.body":
            await self._take_body(message)
        else:
            await self._pass_on(message)

    async def _take_start(self, message: Message) -> None:
        self.on_start()
        self._start = message
        self._tags = self._rules.find_tags(message["status"], message.get("headers", ()))
        if not self._tags:
            await self._pass_on()

    async def _take_body(self, message: Message) -> None:
        chunk = message.get("body", b"")
        self._length += len(chunk)
        if self._length > LARGEST_BODY:
            await self._pass_on(message)
            return
        self._chunks.append(bytes(chunk))
        if not message.get("more_body", False) and self._start is not None:
            kept = self._rules.keep(self._start.get("headers", ()))
            body = b"".join(self._chunks)
            self.entry = Entry(self._address, kept, body, self._tags, self.stamp, self._ends_at)

    async def _pass_on(self, further: Message | None = None) -> None:
        """Give out what was held back, and everything from now on as it comes."""
        self._let_through.set()
        self.on_pass()
        if self._start is not None:
            await self._send(self._start)
        for chunk in self._chunks:
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        if further is not None:
            await self._send(further)


class Finishing:
    """Gives one request's answer what the edge adds to it; one to HEAD loses its body."""

    def __init__(self, request: Request, missing: Sequence[HeaderLine], added: Sequence[HeaderLine]) -> None:
        self._request = request
        self._missing = missing
        self._added = added
        self.on_start: Callable[[], None] = _nothing
        """Called when the answer begins."""

    async def send(self, message: Any) -> None:
        """Send a message on; the headers are finished first."""
        kind = message["type"]
        if kind == "http.response.start":
            self.on_start()
            await self._request.start(message["status"], self._finish(message.get("headers", ())))
            if self._request.is_head:
                await self._request.send(NO_BODY)
        elif not self._request.is_head:
            await self._request.send(message)

    def _finish(self, headers: Iterable[HeaderLine]) -> list[HeaderLine]:
        added = self._request.lines
        ours = {name for name, _value in added} | {_SURROGATE_KEY}
        lines = [line for line in headers if line[0] not in ours]
        if self._request.is_private:
            lines = [line for line in lines if not _is_public(line)]
            lines = add_missing(lines, (_PRIVATE,))
        return [*add_missing(lines, self._missing), *added, *self._added]


def plain_scope(scope: Scope) -> Scope:
    """Make the request that the application is asked with: a GET for the whole answer as it is."""
    headers = [line for line in scope["headers"] if line[0] not in _EDGE_ONLY]
    return {**scope, "method": "GET", "headers": headers}


def _is_public(line: HeaderLine) -> bool:
    name, value = line
    return name == b"cache-control" and b"private" not in value and b"no-store" not in value


def _varies_by_known(value: bytes) -> bool:
    return all(name.strip().lower() in _VARIES_BY for name in value.split(b","))


def _nothing() -> None:
    """Do nothing."""
