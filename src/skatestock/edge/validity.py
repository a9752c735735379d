"""Whether a kept answer still is right: asked when it is read, of a log of what was changed since.

The program's follower of the catalogue says here what every commit changed and, at least each second, up to
which position it has seen everything. An answer carries the stamp of the moment when its filling began: what
it was made of holds at least every change up to the stamp's position. It is valid as long as nothing that its
tags name was changed after that. Nothing is ever deleted for being outdated, so no deletion can be lost.
"""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

INDEX = "index"
"""The tag of answers that are read from the product index, which follows the catalogue's changes later."""

TRUSTED_SECONDS = 4.0
"""How long the log is believed to be whole after the last confirmation."""

_MOST_TAGS = 100_000


class Stamp(NamedTuple):
    """The catalogue's clock as it was known when an answer began to be made."""

    epoch: str
    position: int
    indexed: int


class Validity:
    """The log of one process: each tag's last change, and what the catalogue's clock said last."""

    def __init__(self, *, most_tags: int = _MOST_TAGS, now: Callable[[], float] = time.monotonic) -> None:
        self._most_tags = most_tags
        self._now = now
        self._changed: dict[str, int] = {}
        # Below this position nothing is known: answers stamped before it are not valid.
        self._floor = 0
        self._clock: Stamp | None = None
        self.confirmed_at = float("-inf")
        """When the follower last had seen everything, on `now`'s clock."""
        self.trusted_until = float("-inf")
        """Until when nothing but a change can end an answer's validity, on `now`'s clock."""
        self.generation = 0
        """Goes up whenever an answer's validity may have ended; while it stands still, valid stays valid."""

    def confirm(self, epoch: str, position: int, indexed: int) -> None:
        """Take the catalogue's clock, after all changes up to its position were told.

        Safe also after a follower has missed some, or a catalogue was made anew: what is not known to be
        right is not valid any more.
        """
        clock = Stamp(epoch, position, indexed)
        known = self._clock
        if known is None or known.epoch != epoch or known.position != position:
            self._forget(position)
        if known != clock:
            self.generation += 1
        self._clock = clock
        self.confirmed_at = self._now()
        self.trusted_until = self.confirmed_at + TRUSTED_SECONDS

    def change(self, position: int, tags: Iterable[str]) -> None:
        """Take what a commit changed; one that was told before changes nothing.

        Positions come in order; one that skips some counts as a change of everything.
        """
        if self._clock is None or position <= self._clock.position:
            return
        if position != self._clock.position + 1:
            self.change_everything(position)
            return
        self._changed.update(dict.fromkeys(tags, position))
        self._move(position)
        if len(self._changed) > self._most_tags:
            self._trim()

    def change_everything(self, position: int) -> None:
        """Take a commit that may have changed anything."""
        if self._clock is None or position <= self._clock.position:
            return
        self._forget(position)
        self._move(position)

    def stamp(self) -> Stamp | None:
        """Give the stamp for an answer that begins to be made now; None: it must not be kept."""
        return self._clock if self._now() < self.trusted_until else None

    def is_valid(self, stamp: Stamp, tags: Iterable[str]) -> bool:
        """Tell whether it is sure that nothing that an answer shows was changed since its stamp."""
        clock = self._clock
        if clock is None or self._now() >= self.trusted_until or stamp.epoch != clock.epoch:
            return False
        if not self._floor <= stamp.position <= clock.position:
            return False
        changed = self._changed
        for tag in tags:
            if changed.get(tag, 0) > stamp.position or (tag == INDEX and stamp.indexed != clock.indexed):
                return False
        return True

    def _move(self, position: int) -> None:
        if self._clock is not None:
            self._clock = self._clock._replace(position=position)
        self.generation += 1

    def _forget(self, position: int) -> None:
        self._changed.clear()
        self._floor = position

    def _trim(self) -> None:
        """Forget the older half of the tags; answers older than what is kept are invalid from then on."""
        positions = sorted(self._changed.values())
        self._floor = max(self._floor, positions[len(positions) // 2])
        floor = self._floor
        self._changed = {tag: position for tag, position in self._changed.items() if position > floor}
