"""The truth on disk: every change as a JSON line, written again from the beginning by each run."""

from pathlib import Path
from typing import BinaryIO

from skatestock.replica.truth import write_truth
from skatestock.replica.world import World


class TruthFile:
    """Appends the world's new changes to a file.

    The world follows from its seed, so a restarted replica writes the same lines again and nothing is lost.
    """

    def __init__(self, path: Path, world: World) -> None:
        self._path = path
        self._world = world
        self._written = 0
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Begin the file anew with everything that has happened so far."""
        self._file = self._path.open("wb")
        self._written = 0
        self.write_new()

    def write_new(self) -> int:
        """Write what has happened since the last call; returns how many changes that were."""
        records = self._world.truth_from(self._written)
        if self._file is not None and records:
            self._file.write(write_truth(records))
            self._file.flush()
            self._written += len(records)
        return len(records)

    def close(self) -> None:
        """Write the rest and close."""
        if self._file is not None:
            self.write_new()
            self._file.close()
            self._file = None
