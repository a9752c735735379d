"""Whether a process keeps its event loop free: everything in it waits for whoever holds the loop."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from skatestock.telemetry.metrics import EVENT_LOOP_LAG_SECONDS

_LOOK_EVERY_SECONDS = 0.5
_REMEMBERED_SECONDS = 10.0


@asynccontextmanager
async def measured_event_loop(*, look_every_seconds: float = _LOOK_EVERY_SECONDS) -> AsyncGenerator[None]:
    """Publish how late the running event loop wakes, for as long as the context."""
    watching = asyncio.create_task(_watch(look_every_seconds), name="event-loop-lag")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _watch(look_every_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    late = deque[float](maxlen=max(1, round(_REMEMBERED_SECONDS / look_every_seconds)))
    while True:
        due_at = loop.time() + look_every_seconds
        await asyncio.sleep(look_every_seconds)
        late.append(max(0.0, loop.time() - due_at))
        EVENT_LOOP_LAG_SECONDS.set(max(late))
