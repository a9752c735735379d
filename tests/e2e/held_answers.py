"""A way to PostgreSQL on which answers can be held up, but not those that a follower of changes waits for."""

from __future__ import annotations

import asyncio

from tests.forwarding import Forwarder

_FOLLOWER = b"skatestock api changes"


class HeldAnswers(Forwarder):
    """Passes everything on; while answers are held, questions still go through."""

    def __init__(self, url: str, port: int) -> None:
        super().__init__(url, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.held = 0
        """Answers that were held up since they are."""

    def hold(self) -> None:
        """Hold up every answer from now on."""
        self.held = 0
        self._flowing.clear()

    def release(self) -> None:
        """Let them go."""
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond, out = await asyncio.open_connection(*self._there)
        self._writers |= {writer, out}
        followers: set[str] = set()

        async def ask() -> None:
            while data := await reader.read(65536):
                if _FOLLOWER in data:
                    followers.add("this one")
                out.write(data)
                await out.drain()

        async def answer() -> None:
            while data := await beyond.read(65536):
                if not followers and not self._flowing.is_set():
                    self.held += 1
                    await self._flowing.wait()
                writer.write(data)
                await writer.drain()

        asking, answering = asyncio.create_task(ask()), asyncio.create_task(answer())
        await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
        for one in (out, writer):
            one.close()
        await asyncio.gather(asking, answering, return_exceptions=True)
        self._writers -= {writer, out}
