"""A way to PostgreSQL that loses a connection just when something is being stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit

Loss = Literal["before the work", "before the commit", "after the commit", "answer held back"]

_PIECE_BYTES = 65_536


class CommitCutter:
    """Passes connections on to a server until it is armed; then loses one, once, at a certain moment."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._port = 0
        self._loss: Loss | None = None
        self._skipped = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.let_go = asyncio.Event()
        """Set to pass on an answer that is held back."""
        self.happened = asyncio.Event()

    @property
    def url(self) -> str:
        """Return the server's address by this way."""
        host = f"127.0.0.1:{self._port}"
        login = self._parts.netloc.rpartition("@")[0]
        return self._parts._replace(netloc=f"{login}@{host}" if login else host).geturl()

    def arm(self, loss: Loss, *, skipped: int = 0) -> None:
        """Lose the connection whose transaction comes after so many others."""
        self._loss, self._skipped = loss, skipped
        self.let_go.clear()
        self.happened.clear()

    async def open(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End all connections."""
        assert self._server is not None
        self.let_go.set()
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond, out = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        self._writers |= {writer, out}
        held = asyncio.Event()
        asking = asyncio.create_task(self._ask(reader, out, held))
        answering = asyncio.create_task(self._answer(beyond, writer, held))
        await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
        for task in (asking, answering):
            task.cancel()
        await asyncio.gather(asking, answering, return_exceptions=True)
        for end in (writer, out):
            end.close()
        self._writers -= {writer, out}

    async def _ask(
        self, reader: asyncio.StreamReader, out: asyncio.StreamWriter, held: asyncio.Event
    ) -> None:
        works = False
        while data := await reader.read(_PIECE_BYTES):
            loss = self._loss
            if loss == "before the work" and works and not self._skipped:
                self._loss = None
                self.happened.set()
                return
            works = works or b"BEGIN" in data
            if loss is not None and b"COMMIT;" in data:
                works = False
                if self._skipped:
                    self._skipped -= 1
                elif loss == "before the commit":
                    self._loss = None
                    self.happened.set()
                    return
                elif loss in ("after the commit", "answer held back"):
                    held.set()
            out.write(data)
            await out.drain()

    async def _answer(
        self, beyond: asyncio.StreamReader, writer: asyncio.StreamWriter, held: asyncio.Event
    ) -> None:
        while data := await beyond.read(_PIECE_BYTES):
            if held.is_set():
                loss, self._loss = self._loss, None
                held.clear()
                self.happened.set()
                if loss == "after the commit":
                    return
                await self.let_go.wait()
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def commit_cutter(url: str) -> AsyncIterator[CommitCutter]:
    """Open a way to the server of an address."""
    cutter = CommitCutter(url)
    await cutter.open()
    yield cutter
    await cutter.close()
