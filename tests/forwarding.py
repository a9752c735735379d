"""A way to a server that can be cut and mended, on a port that stays the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Forwarder:
    """Passes connections on to a server, as long as it is open."""

    def __init__(self, url: str, port: int = 0) -> None:
        parts = urlsplit(url)
        self._there = (parts.hostname or "", parts.port or 0)
        self._parts = parts
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = port
        self.connections = 0
        """How many were made so far."""

    @property
    def url(self) -> str:
        """Return the server's address by this way."""
        return self._parts._replace(netloc=f"127.0.0.1:{self._port}").geturl()

    async def open(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        beyond, out = await asyncio.open_connection(*self._there)
        self._writers |= {writer, out}
        await asyncio.gather(_pump(reader, out), _pump(beyond, writer), return_exceptions=True)
        self._writers -= {writer, out}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def forwarded(url: str, port: int = 0) -> AsyncGenerator[Forwarder]:
    """Open a way to the server of an address, on any free port unless told."""
    forwarder = Forwarder(url, port)
    await forwarder.open()
    yield forwarder
    await forwarder.cut()
