"""The replica's clock: it stands still, jumps forward when told, or follows the real one at some rate."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from skatestock.replica.errors import ClockFileError
from skatestock.replica.world import World

RealTime = Callable[[], float]
"""Tells real seconds, as `time.time` does."""


class ClockRecord(msgspec.Struct, frozen=True):
    """What a clock file holds: which world it is, and how its time goes."""

    seed: int
    start_at: datetime
    listings_per_shop: int
    base_at: datetime
    base_real_seconds: float
    rate: float | None


class ReplicaClock:
    """Moves a world through time.

    With a file, every setting is kept there, and a replica started again on the same file goes on at the same
    moment (or, when following, where it would be by now).
    """

    def __init__(self, world: World, file: Path | None = None, real_time: RealTime = time.time) -> None:
        self._world = world
        self._file = file
        self._real_time = real_time
        self._base_at = world.now
        self._base_real_seconds = real_time()
        self.rate: float | None = None
        self.resumed = file is not None and file.exists()
        if file is not None and self.resumed:
            self._resume(file)
        self._keep()

    def now(self) -> datetime:
        """Bring the world to the present moment and tell it."""
        if self.rate is not None:
            passed = timedelta(seconds=int(self._passed_seconds() * self.rate))
            self._world.advance_to(max(self._world.now, self._base_at + passed))
        return self._world.now

    def response_at(self) -> datetime:
        """Tell the moment to stamp on a response: it goes on with real time even while the world stands."""
        if self.rate is not None:
            return self._world.now
        return self._base_at + timedelta(seconds=int(self._passed_seconds()))

    def set_to(self, moment: datetime) -> int:
        """Jump forward to a moment; returns how many changes that made; raises ReplicaError for the past."""
        changes = self._world.advance_to(moment)
        self._rebase()
        return changes

    def follow(self, rate: float | None) -> None:
        """Follow real time so many times as fast, or stand still with None."""
        self.now()
        self.rate = rate
        self._rebase()

    def _passed_seconds(self) -> float:
        return max(0.0, self._real_time() - self._base_real_seconds)

    def _rebase(self) -> None:
        self._base_at = self._world.now
        self._base_real_seconds = self._real_time()
        self._keep()

    def _keep(self) -> None:
        if self._file is None:
            return
        world = self._world
        record = ClockRecord(
            world.seed,
            world.start_at,
            world.listings_per_shop,
            self._base_at,
            self._base_real_seconds,
            self.rate,
        )
        # Written beside and renamed, so that a kill never leaves half a file.
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(record))
        fresh.replace(self._file)

    def _resume(self, file: Path) -> None:
        try:
            record = msgspec.json.decode(file.read_bytes(), type=ClockRecord)
        except msgspec.DecodeError as error:
            raise ClockFileError(f"{file} is no clock file of a replica: {error}") from error
        world = self._world
        if (record.seed, record.start_at, record.listings_per_shop) != (
            world.seed,
            world.start_at,
            world.listings_per_shop,
        ):
            raise ClockFileError(
                f"{file} belongs to another world: remove it, or start with its seed and start"
            )
        self._base_at, self._base_real_seconds = record.base_at, record.base_real_seconds
        self.rate = record.rate
        world.advance_to(max(world.now, record.base_at))
        self.now()
