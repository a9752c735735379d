"""The API as processes: granian's workers, each with the application and a pool of its own."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels
from litestar import Litestar

from skatestock import __version__
from skatestock.api.app import create_app
from skatestock.api.context import STALE_AFTER_SECONDS
from skatestock.database.pool import create_pool
from skatestock.telemetry.event_loop import measured_event_loop
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.requests import App, measure_requests

_POOL_SIZE = 10
_STATEMENT_SECONDS = 10.0
# A request waits this long for a server that restarts; the caller is told to come back after that.
_CONNECT_SECONDS = 2.0
_STOP_SECONDS = 10
_PARENT_CHECK_SECONDS = 1.0

# What granian itself says goes the way of all our logs.
_GRANIAN_LOGS = {
    "handlers": {},
    "formatters": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}

_log = get_logger(__name__)


def serve_api(
    dsn: str,
    host: str,
    port: int,
    *,
    demo: bool,
    workers: int = 1,
    stale_after_seconds: int = STALE_AFTER_SECONDS,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Serve the API until SIGTERM or SIGINT; requests under way are answered first.

    Starts without waiting for the database. Port 0 takes any free port and logs which. `prepare` (picklable)
    runs first in each worker: it sets up logs and metrics there. A worker that dies is replaced, and workers
    whose parent died end. Raises SystemExit when workers cannot start.
    """
    port = port or _find_free_port(host)
    load = partial(
        _load_app,
        dsn,
        demo=demo,
        stale_after_seconds=stale_after_seconds,
        prepare=prepare,
        parent=os.getpid(),
    )
    server = Granian(
        "skatestock.api",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        websockets=False,
        log_access=False,
        log_level=LogLevels.warning,
        log_dictconfig=_GRANIAN_LOGS,
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
    )
    _log.info("api_serving", host=host, port=port, workers=workers, demo=demo)
    server.serve(target_loader=load, wrap_loader=False)


def _load_app(
    dsn: str,
    *,
    demo: bool,
    stale_after_seconds: int,
    prepare: Callable[[], None] | None,
    parent: int,
) -> App:
    """Build the application of one worker."""
    if prepare is not None:
        prepare()
    app = create_app(
        partial(_open_pool, dsn),
        version=__version__,
        demo=demo,
        stale_after_seconds=stale_after_seconds,
        lifespan=(partial(_end_with, parent), lambda _app: measured_event_loop()),
    )
    return measure_requests(app)


async def _open_pool(dsn: str) -> asyncpg.Pool:
    return await create_pool(
        dsn,
        application_name="skatestock api",
        max_size=_POOL_SIZE,
        statement_timeout_seconds=_STATEMENT_SECONDS,
        connect_timeout_seconds=_CONNECT_SECONDS,
    )


@asynccontextmanager
async def _end_with(parent: int, _app: Litestar) -> AsyncGenerator[None]:
    """End this worker when its parent is gone: an orphan would keep the port and answer for ever."""
    watch = asyncio.create_task(_watch_parent(parent))
    try:
        yield
    finally:
        watch.cancel()


async def _watch_parent(parent: int) -> None:
    # no event tells a child, on every system, that its parent has died
    while os.getppid() == parent:  # noqa: ASYNC110
        await asyncio.sleep(_PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _find_free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as free:
        port: int = free.getsockname()[1]
    return port
