"""The connection to Redis with a server that answers, and then reads no more."""

from __future__ import annotations

import asyncio

import pytest

from skatestock.edge.errors import RedisAwayError
from skatestock.edge.pipe import RedisPipe

MEGABYTE = b"x" * 1_048_576


def send_megabytes(pipe: RedisPipe, most: int) -> None:
    for _ in range(most):
        pipe.call(b"SET", b"key", MEGABYTE).add_done_callback(lambda answer: answer.exception())


async def test_a_server_that_reads_too_slowly_does_not_fill_our_memory() -> None:
    ended = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for greeting in (b"SELECT", b"PING"):
            await reader.readuntil(greeting)
            writer.write(b"+OK\r\n")
        await ended.wait()
        writer.transport.abort()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pipe = RedisPipe(f"redis://127.0.0.1:{port}/0", timeout_seconds=5.0)
    await pipe.start()
    assert pipe.connected
    with pytest.raises(RedisAwayError):
        send_megabytes(pipe, 100)
    pipe.tell(b"SET", b"key", MEGABYTE)
    assert 10 < pipe.calls < 40
    ended.set()
    await pipe.close()
    server.close()
