"""The least that the same answers could cost on the same server: an ASGI function, maybe with a statement.

    python -m benchmarks.bare_asgi PORT ANSWER [DSN STATEMENT]

`ANSWER` is a file of `write_answer`; with a database, each request runs the statement with the number at the
end of its path before it is answered with the same bytes.
"""

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from skatestock.database.pool import create_pool

_Lines = list[tuple[bytes, bytes]]
App = Callable[[Any, Any, Any], Awaitable[None]]


def write_answer(file: Path, headers: _Lines, body: bytes) -> None:
    """Keep what the bare server shall answer."""
    file.write_bytes(msgspec.msgpack.encode((headers, body)))


def load_app(file: Path, dsn: str | None, statement: str) -> App:
    """Make the application of a worker."""
    headers, body = msgspec.msgpack.decode(file.read_bytes(), type=tuple[_Lines, bytes])
    pool: Any = None

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal pool
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                if dsn is not None:
                    pool = await create_pool(dsn, application_name="bare", max_size=10)
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        if pool is not None:
            async with pool.acquire() as connection:
                await connection.fetch(statement, int(scope["path"].rpartition("/")[2]))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return app


def serve(arguments: list[str]) -> None:
    """Serve until a signal."""
    port, answer, *rest = arguments
    dsn, statement = (rest[0], Path(rest[1]).read_text("utf-8")) if rest else (None, "")
    server = Granian(
        "benchmarks.bare_asgi",
        address="127.0.0.1",
        port=int(port),
        interface=Interfaces.ASGI,
        workers=1,
        http=HTTPModes.http1,
        websockets=False,
        log_access=False,
        log_level=LogLevels.warning,
    )
    server.serve(target_loader=partial(load_app, Path(answer), dsn, statement), wrap_loader=False)


if __name__ == "__main__":
    serve(sys.argv[1:])
