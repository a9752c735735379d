"""A small client: of the control API, and of any page of the replica, for tests and scripts."""

import asyncio
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

import h11
import msgspec

from skatestock.replica.errors import ControlRefusedError
from skatestock.replica.model import TruthRecord
from skatestock.replica.schemas import ClockState, FaultOrder, FaultState, ReplicaState, RequestRecord
from skatestock.replica.truth import read_truth
from skatestock.vocabulary.time import format_moment

Answer = TypeVar("Answer")

_READ_BYTES = 2**16
_READY_POLL_SECONDS = 0.1


class Response(NamedTuple):
    """What came back; header names in lower case, the body as it was on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    def content(self) -> bytes:
        """Give the body with its gzip taken off."""
        return zlib.decompress(self.body, 31) if self.headers.get("content-encoding") == "gzip" else self.body

    def json(self) -> Any:
        """Read the body as JSON."""
        return msgspec.json.decode(self.content())


async def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_seconds: float = 60.0,
) -> Response:
    """Fetch one address over a connection of its own.

    Raises ConnectionError, TimeoutError or h11.RemoteProtocolError when no whole answer comes.
    """
    parts = urlsplit(url)
    async with asyncio.timeout(timeout_seconds):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
            return await _exchange(reader, writer, method, target, parts.netloc, headers or {}, body)
        finally:
            writer.close()


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    target: str,
    host: str,
    headers: Mapping[str, str],
    body: bytes,
) -> Response:
    connection = h11.Connection(h11.CLIENT)
    sent = {"Host": host, "Connection": "close", "Content-Length": str(len(body)), **headers}
    asked: list[h11.Event] = [h11.Request(method=method, target=target, headers=list(sent.items()))]
    for part in (*asked, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(connection.send(part) or b"")
    await writer.drain()
    return await _receive(connection, reader)


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> Response:
    head: h11.Response | None = None
    received = bytearray()
    while True:
        event: object = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            received += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            names = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            return Response(head.status_code, names, bytes(received))
        else:
            raise ConnectionError("the connection ended without an answer")


class ReplicaControl:
    """Steers a running replica through its control API; a refusal raises ControlRefusedError."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    async def state(self) -> ReplicaState:
        """Tell the replica's time, its shops and where they are."""
        return await self._ask("GET", "/state", ReplicaState)

    async def wait_until_ready(self, timeout_seconds: float = 30.0) -> ReplicaState:
        """Wait for a replica that is starting; raises TimeoutError when it does not answer in time."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                try:
                    return await self.state()
                except OSError:
                    await asyncio.sleep(_READY_POLL_SECONDS)

    async def advance(self, seconds: int) -> ClockState:
        """Let simulated time pass."""
        return await self._set_clock({"advance_seconds": seconds})

    async def set_clock(self, moment: datetime) -> ClockState:
        """Go forward to a moment."""
        return await self._set_clock({"set_to": moment})

    async def follow(self, rate: float | None = 1.0) -> ClockState:
        """Let simulated time follow real time at a rate; None makes it stand."""
        return await self._set_clock({"follow": None if rate is None else {"rate": rate}})

    async def truth(self, since: datetime | None = None, shop: str | None = None) -> list[TruthRecord]:
        """Fetch the changes after a moment, or all."""
        asked = {"since": None if since is None else format_moment(since), "shop": shop}
        return read_truth(await self._fetch("GET", "/truth", asked))

    async def set_fault(
        self,
        shop: str,
        kind: str,
        *,
        times: int | None = None,
        path: str | None = None,
        page: int | None = None,
        **parameters: int | str,
    ) -> FaultState:
        """Set a fault at one shop, or at every one with `*`."""
        order = FaultOrder(shop, kind, times, path, page, dict(parameters))
        return await self._ask("POST", "/faults", FaultState, msgspec.json.encode(order))

    async def faults(self) -> list[FaultState]:
        """List the faults that are set, with how often each has played."""
        return await self._ask("GET", "/faults", list[FaultState])

    async def clear_faults(self, shop: str | None = None, kind: str | None = None) -> int:
        """Clear the matching faults, or all; returns how many."""
        cleared = msgspec.json.decode(await self._fetch("DELETE", "/faults", {"shop": shop, "kind": kind}))
        return int(cleared["cleared"])

    async def requests(self, after: int = 0, shop: str | None = None) -> list[RequestRecord]:
        """List what the shops were asked, after a request's number."""
        body = await self._fetch("GET", "/requests", {"after": str(after), "shop": shop})
        return msgspec.json.decode(body, type=list[RequestRecord])

    async def _set_clock(self, order: Mapping[str, object]) -> ClockState:
        return await self._ask("POST", "/clock", ClockState, msgspec.json.encode(order))

    async def _ask(self, method: str, path: str, kind: type[Answer], body: bytes = b"") -> Answer:
        return msgspec.json.decode(await self._fetch(method, path, {}, body), type=kind)

    async def _fetch(
        self, method: str, path: str, asked: Mapping[str, str | None], body: bytes = b""
    ) -> bytes:
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        response = await fetch(f"{self._url}{path}?{query}", method=method, body=body)
        if response.status >= 400:
            raise ControlRefusedError(
                f"{method} {path}: {response.status} {response.body.decode(errors='replace')}"
            )
        return response.body
