"""The web as processes: granian's workers, each with the edge, the API and connections of its own."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from litestar import Litestar

from skatestock.api.context import STALE_AFTER_SECONDS
from skatestock.api.events import CHANGES, Changes
from skatestock.cli.web_app import build_web
from skatestock.settings import Settings
from skatestock.telemetry.event_loop import measured_event_loop
from skatestock.telemetry.logs import get_logger
from skatestock.telemetry.requests import App

_STOP_SECONDS = 10
_PARENT_CHECK_SECONDS = 1.0
# Until a request's headers are there; also how long a connection may rest between two requests.
_HEADERS_SECONDS = 15
# What the server itself reads of headers before it refuses them; the edge refuses far less with a word.
_HEADER_BYTES = 65_536

# What granian itself says goes the way of all our logs.
_GRANIAN_LOGS = {
    "handlers": {},
    "formatters": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}

_log = get_logger(__name__)


def serve_web(
    settings: Settings,
    *,
    demo: bool,
    workers: int = 1,
    stale_after_seconds: int = STALE_AFTER_SECONDS,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Serve what the settings say until SIGTERM or SIGINT; requests under way are answered first.

    The settings name the database, and the cache if there is one. Starts without waiting for either. Port 0
    takes any free port and logs which. `prepare` (picklable) runs first in each worker: it sets up logs and
    metrics there. A worker that dies is replaced, and workers whose parent died end. Raises SystemExit when
    workers cannot start.
    """
    host, port = settings.api_host, settings.api_port or _find_free_port(settings.api_host)
    load = partial(
        _load_app,
        settings,
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
        # TLS and newer protocols end at the proxy before us: what is not spoken here cannot be abused
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEADERS_SECONDS * 1000, max_buffer_size=_HEADER_BYTES
        ),
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
    settings: Settings,
    *,
    demo: bool,
    stale_after_seconds: int,
    prepare: Callable[[], None] | None,
    parent: int,
) -> App:
    """Build the application of one worker."""
    if prepare is not None:
        prepare()
    return build_web(
        settings,
        demo=demo,
        stale_after_seconds=stale_after_seconds,
        lifespan=(
            partial(_end_with, parent),
            _end_streams_first,
            lambda _app: measured_event_loop(),
            _keep_what_stays,
        ),
    )


@asynccontextmanager
async def _end_with(parent: int, _app: Litestar) -> AsyncGenerator[None]:
    """End this worker when its parent is gone: an orphan would keep the port and answer for ever."""
    watch = asyncio.create_task(_watch_parent(parent))
    try:
        yield
    finally:
        watch.cancel()


@asynccontextmanager
async def _keep_what_stays(_app: Litestar) -> AsyncGenerator[None]:
    """Spare the collector of cycles what lives as long as the process: it need not walk through that."""
    gc.collect()
    gc.freeze()
    yield


async def _watch_parent(parent: int) -> None:
    # no event tells a child, on every system, that its parent has died
    while os.getppid() == parent:  # noqa: ASYNC110
        await asyncio.sleep(_PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


@asynccontextmanager
async def _end_streams_first(app: Litestar) -> AsyncGenerator[None]:
    """End the streams of events when this worker is told to stop: the server waits for every answer's end."""
    changes: Changes = app.state[CHANGES]
    loop = asyncio.get_running_loop()

    def end_streams(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(changes.end)

    for number in (signal.SIGTERM, signal.SIGINT):
        # The loop still hears of the signal by its own way, and the server through the loop.
        signal.signal(number, end_streams)
        signal.siginterrupt(number, False)
    yield


def _find_free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as free:
        port: int = free.getsockname()[1]
    return port
