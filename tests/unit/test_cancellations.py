"""A cancellation is never lost, not even one that comes just when what was waited for does."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import skatestock
from skatestock.ingest.pacing import pause
from skatestock.telemetry.health import check_health

SOURCES = Path(skatestock.__file__).parent
_TICKS = range(6)


async def hear(event: asyncio.Event) -> str:
    """Be a probe that answers once an event is set."""
    await event.wait()
    return ""


@pytest.mark.parametrize("ticks", _TICKS)
@pytest.mark.parametrize(
    "wait",
    [
        pytest.param(lambda event: pause(event, 60), id="pause"),
        pytest.param(
            lambda event: check_health("it", lambda: hear(event), timeout_seconds=60), id="check_health"
        ),
    ],
)
async def test_a_cancellation_that_comes_with_the_event_ends_the_task(
    wait: Callable[[asyncio.Event], Awaitable[object]], ticks: int
) -> None:
    event = asyncio.Event()
    task = asyncio.ensure_future(wait(event))
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    if task.cancel():
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        assert not task.cancelled()


def test_nothing_of_ours_waits_by_what_may_lose_a_cancellation() -> None:
    found = [
        f"{file.relative_to(SOURCES)}:{node.lineno}"
        for file in sorted(SOURCES.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) == "wait_for"
    ]
    assert found == [], "asyncio.timeout does not lose what asyncio.wait_for may, before Python 3.12"
