"""A shop that answers each request with bytes made by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.crawl_scene import Scene

Answer = Callable[[str], bytes]
"""Makes the whole answer, head included, to a request for a path."""


def http(body: bytes, head: str = "", status: str = "200 OK") -> bytes:
    """Write an answer with its head."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


@asynccontextmanager
async def scripted_shop(answer: Answer) -> AsyncIterator[tuple[Scene, list[str]]]:
    """Serve bytes chosen by the path, one answer a connection, and keep every request's head."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        writer.write(answer(head.split()[1]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Scene({"labor": f"http://127.0.0.1:{port}"}), heads
    finally:
        server.close()
        await server.wait_closed()


def paths(heads: list[str]) -> list[str]:
    """Tell which paths were asked for."""
    return [head.split()[1] for head in heads]
