"""The wire: HTTP/1.1 connections over h11, kept alive, and broken exactly as a reply says."""

import asyncio
import socket
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus

import h11

from skatestock.replica.reply import TEXT, Reply, Request

Handler = Callable[[Request], Reply]

REPLICA_HEADER = ("X-SkateStock-Replica", "demo")

# 430 is Shopify's own and stands in no registry.
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {430: "Shopify Security Rejection"}
_IDLE_SECONDS = 75.0
_MAX_BODY_BYTES = 2**20
_DRIPS_PER_SECOND = 10
_READ_BYTES = 2**16


class Listener:
    """One listening socket with its open connections."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int) -> int:
        """Listen; port 0 lets the kernel choose. Returns the port."""
        self._server = await asyncio.start_server(self._serve, host, port, backlog=256)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end every open connection."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await serve_connection(self._handle, reader, writer)
        except asyncio.CancelledError:
            # Only `close` cancels a connection; it ends here and nothing else waits for it.
            return
        finally:
            self._connections.discard(task)
            writer.close()


async def serve_connection(
    handle: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one request after another until either side ends the connection."""
    connection = _Connection(reader, writer)
    try:
        while (request := await connection.receive()) is not None:
            if not await connection.send(request, handle(request)):
                return
    except (ConnectionError, TimeoutError):
        return
    except h11.RemoteProtocolError as error:
        await connection.refuse(error)


class _Connection:
    """One client's connection, in h11's terms."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)

    async def receive(self) -> Request | None:
        """Read the next request; None when the client is done."""
        event = await self._next_event()
        if not isinstance(event, h11.Request):
            return None
        body = bytearray()
        while isinstance(part := await self._next_event(), h11.Data):
            body += part.data
            if len(body) > _MAX_BODY_BYTES:
                raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        return Request(event.method.decode(), event.target.decode("latin-1"), headers, bytes(body))

    async def _next_event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                self._put(h11.InformationalResponse(status_code=100, headers=[]))
            async with asyncio.timeout(_IDLE_SECONDS):
                self._http.receive_data(await self._reader.read(_READ_BYTES))

    async def send(self, request: Request, reply: Reply) -> bool:
        """Send a reply as well or as badly as it says; returns whether the connection goes on."""
        if reply.reset:
            self._reset()
            return False
        if reply.hold_seconds is not None:
            await self._hold(reply.hold_seconds)
            return False
        headers = frame_headers(reply)
        self._put(h11.Response(status_code=reply.status, headers=headers, reason=_reason(reply.status)))
        if request.method == "HEAD" or reply.status == HTTPStatus.NOT_MODIFIED:
            return await self._finish()
        if reply.cut_after is not None:
            await self._put_body(reply, reply.body[: reply.cut_after])
            return False
        if reply.stream is not None:
            for piece in reply.stream:
                self._put(h11.Data(data=piece))
                await self._writer.drain()
                # A long stream must not keep the other connections waiting.
                await asyncio.sleep(0)
        else:
            await self._put_body(reply, reply.body)
        return await self._finish()

    async def refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is no HTTP with the status that fits, if the client can still be answered."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        reply = Reply(error.error_status_hint, f"{error}\n".encode(), TEXT)
        headers = [*frame_headers(reply), ("Connection", "close")]
        self._put(h11.Response(status_code=reply.status, headers=headers, reason=_reason(reply.status)))
        self._put(h11.Data(data=reply.body))
        self._put(h11.EndOfMessage())

    async def _put_body(self, reply: Reply, body: bytes) -> None:
        if reply.bytes_per_second is None:
            if body:
                self._put(h11.Data(data=body))
            await self._writer.drain()
            return
        drop = max(1, reply.bytes_per_second // _DRIPS_PER_SECOND)
        for start in range(0, len(body), drop):
            self._put(h11.Data(data=body[start : start + drop]))
            await self._writer.drain()
            await asyncio.sleep(drop / reply.bytes_per_second)

    async def _finish(self) -> bool:
        self._put(h11.EndOfMessage())
        await self._writer.drain()
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def _put(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)

    async def _hold(self, seconds: float) -> None:
        # A client that gives up earlier ends the wait by closing.
        try:
            async with asyncio.timeout(seconds):
                await self._reader.read(1)
        except TimeoutError:
            return

    def _reset(self) -> None:
        # Closing with a linger time of zero makes the kernel send RST in place of FIN.
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def frame_headers(reply: Reply) -> list[tuple[str, str]]:
    """Write a reply's headers: what every reply carries, its own, and its length unless it is streamed."""
    headers = [
        ("Date", format_datetime(datetime.now(UTC), usegmt=True)),
        REPLICA_HEADER,
        ("Vary", "Accept-Encoding"),
        *reply.headers,
    ]
    if reply.status == HTTPStatus.NOT_MODIFIED:
        return headers
    headers.append(("Content-Type", reply.content_type))
    if reply.stream is None:
        headers.append(("Content-Length", str(len(reply.body))))
    return headers


def _reason(status: int) -> str:
    return _REASONS.get(status, "")
