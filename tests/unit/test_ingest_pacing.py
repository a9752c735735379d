"""How ingest paces itself: batches that fit the database's speed, pauses that fit the trouble."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import asyncpg
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from skatestock.database.errors import DatabaseUnavailableError
from skatestock.eventlog.errors import LogRefusedError, LogUnavailableError, RegistryUnavailableError
from skatestock.ingest import pacing
from skatestock.ingest.pacing import BatchSizer, Patience, name_server
from skatestock.telemetry.logs import configure_logging

TARGET = 2.0


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def settled(sizer: BatchSizer, seconds_per_record: float, batches: int = 30) -> list[int]:
    """Let full batches of a database of this speed be stored, and return how large each was."""
    sizes = []
    for _ in range(batches):
        sizes.append(sizer.size)
        sizer.settle(sizer.size, sizer.size * seconds_per_record)
    return sizes


def test_slow_batches_are_halved_down_to_the_floor_and_fast_ones_doubled_up_to_the_top() -> None:
    sizer = BatchSizer(2000, smallest=50, target_seconds=TARGET)
    assert settled(sizer, 1.0, 7) == [2000, 1000, 500, 250, 125, 62, 50]
    assert settled(sizer, 0.0001, 8) == [50, 100, 200, 400, 800, 1600, 2000, 2000]


def test_a_fast_batch_that_was_not_full_proves_nothing() -> None:
    sizer = BatchSizer(2000, target_seconds=TARGET)
    sizer.shrink()
    sizer.settle(10, 0.001)
    assert sizer.size == 1000
    sizer.settle(1000, 0.001)
    assert sizer.size == 2000


def test_a_batch_that_was_not_stored_shrinks_the_next_only_if_it_took_long() -> None:
    sizer = BatchSizer(2000, target_seconds=TARGET)
    sizer.settle(0, 0.01)
    assert sizer.size == 2000
    sizer.settle(0, TARGET + 0.01)
    assert sizer.size == 1000


def test_a_top_below_the_floor_is_kept() -> None:
    sizer = BatchSizer(3)
    assert settled(sizer, 10.0, 3) == [3, 3, 3]


@given(
    largest=st.integers(1, 5000),
    smallest=st.integers(1, 500),
    batches=st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 1e6)), max_size=50),
)
def test_the_size_stays_between_floor_and_top(
    largest: int, smallest: int, batches: list[tuple[int, float]]
) -> None:
    sizer = BatchSizer(largest, smallest=smallest, target_seconds=TARGET)
    for count, seconds in batches:
        sizer.settle(count, seconds)
        assert min(smallest, largest) <= sizer.size <= largest


@given(st.floats(1e-6, 10.0))
def test_at_any_steady_speed_the_size_comes_to_rest(seconds_per_record: float) -> None:
    sizes = settled(BatchSizer(5000, smallest=50, target_seconds=TARGET), seconds_per_record)
    assert len(set(sizes[15:])) == 1
    assert sizes[-1] == 50 or sizes[-1] * seconds_per_record <= TARGET


@pytest.mark.parametrize(
    ("error", "server"),
    [
        (RegistryUnavailableError("refused"), "the schema registry"),
        (LogUnavailableError("no broker"), "the event log (Kafka)"),
        (ConnectionRefusedError("refused"), "PostgreSQL"),
        (DatabaseUnavailableError("silent"), "PostgreSQL"),
        (asyncpg.QueryCanceledError("statement timeout"), "PostgreSQL"),
    ],
)
async def test_an_error_that_passes_is_told_counted_and_waited_for(
    error: Exception, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "_FIRST_PAUSE_SECONDS", 0.001)
    stream = io.StringIO()
    configure_logging("ingest", json=True, stream=stream)
    labels = {"part": "ingest", "kind": type(error).__name__}
    before = REGISTRY.get_sample_value("skatestock_retries_total", labels) or 0
    await Patience(asyncio.Event()).bear(error)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["waits_for"], line["error"]) == ("ingest_retry", server, str(error))
    assert 0 < line["in_seconds"] <= 0.001
    assert REGISTRY.get_sample_value("skatestock_retries_total", labels) == before + 1
    assert name_server(error) == server


@pytest.mark.parametrize("error", [LogRefusedError("login"), asyncpg.UndefinedTableError("x"), KeyError("x")])
async def test_what_waiting_cannot_mend_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)):
        await Patience(asyncio.Event()).bear(error)


async def test_pauses_grow_to_a_limit_begin_anew_after_success_and_end_with_a_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []

    async def note(_stop: asyncio.Event, seconds: float) -> None:
        waited.append(seconds)

    with monkeypatch.context() as patched:
        patched.setattr(pacing, "pause", note)
        patience = Patience(asyncio.Event())
        for _ in range(10):
            await patience.bear(ConnectionError("away"))
        patience.relax()
        await patience.bear(ConnectionError("away"))
    tops = [0.1 * 2**place for place in range(6)] + [5.0] * 4
    assert all(top / 2 <= seconds <= top for seconds, top in zip(waited, [*tops, 0.1], strict=True))
    assert len({round(seconds / top, 6) for seconds, top in zip(waited, [*tops, 0.1], strict=True)}) > 3

    stop = asyncio.Event()
    stop.set()
    async with asyncio.timeout(1):
        await pacing.pause(stop, 60)
