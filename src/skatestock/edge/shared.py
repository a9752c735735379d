"""The second cache: answers in Redis, for all processes of one version of the program.

Redis is never the truth: an answer from there is checked against this process's own log of changes, as one
from its memory is, and when Redis is away the application is asked.
"""

import time
from collections.abc import Callable
from hashlib import blake2b

from skatestock.edge.entries import LONGEST_SECONDS, Entry, read_entry, write_entry
from skatestock.edge.errors import RedisAnswerError, RedisAwayError
from skatestock.edge.pipe import RedisPipe
from skatestock.edge.validity import Stamp, Validity

_KEPT_MILLISECONDS = b"%d" % (LONGEST_SECONDS * 1000)


class SharedAnswers:
    """The answers that processes share."""

    def __init__(
        self,
        pipe: RedisPipe,
        validity: Validity,
        program: str,
        *,
        wall: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipe = pipe
        self._validity = validity
        self._program = program
        self._wall = wall
        self._now = now

    async def find(self, address: bytes, stamp: Stamp) -> Entry | None:
        """Return a valid answer of the catalogue that the stamp is of; None also while Redis is away."""
        try:
            data = await self._pipe.call(b"GET", self._key(address, stamp))
        except (RedisAwayError, RedisAnswerError):
            return None
        if not isinstance(data, bytes):
            return None
        entry = read_entry(data, address, wall=self._wall(), now=self._now())
        if entry is None or not self._validity.is_valid(entry.stamp, entry.tags):
            return None
        return entry

    def keep(self, entry: Entry) -> None:
        """Give an answer to the other processes; nobody waits for it."""
        if self._pipe.connected:
            key = self._key(entry.address, entry.stamp)
            filled_at = self._wall() + entry.ends_at - self._now() - LONGEST_SECONDS
            data = write_entry(entry, filled_at)
            self._pipe.tell(b"SET", key, data, b"PX", _KEPT_MILLISECONDS)

    def _key(self, address: bytes, stamp: Stamp) -> bytes:
        name = blake2b(address, digest_size=20).hexdigest()
        return f"skatestock:edge:{self._program}:{stamp.epoch}:{name}".encode()
