"""The first cache: answers in this process, bounded by their bytes; the longest unread leave first."""

from collections import OrderedDict

from skatestock.edge.entries import Entry
from skatestock.edge.validity import Validity


class Memory:
    """The answers of one process; none is given out that is not valid at that moment."""

    def __init__(self, validity: Validity, most_bytes: int) -> None:
        self._validity = validity
        self._most_bytes = most_bytes
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        # an entry grows while it is here (by its encodings): what it counted for is kept beside it
        self._counted: dict[bytes, int] = {}
        self.bytes = 0
        self.evicted = 0

    def find(self, address: bytes, now: float) -> Entry | None:
        """Return a valid answer."""
        entry = self._entries.get(address)
        if entry is None:
            return None
        validity = self._validity
        if now >= validity.trusted_until:
            return None
        if entry.generation != validity.generation:
            if not validity.is_valid(entry.stamp, entry.tags):
                self._remove(address)
                return None
            entry.generation = validity.generation
        if now >= entry.ends_at:
            self._remove(address)
            return None
        self._entries.move_to_end(address)
        return entry

    def keep(self, entry: Entry) -> None:
        """Remember an answer in place of the one that was there."""
        self._remove(entry.address)
        if entry.size > self._most_bytes:
            return
        self._entries[entry.address] = entry
        self._counted[entry.address] = entry.size
        self.bytes += entry.size
        while self.bytes > self._most_bytes:
            self._remove(next(iter(self._entries)))
            self.evicted += 1

    def count_again(self, entry: Entry) -> None:
        """Take note that an answer has grown, if it still is here."""
        if self._entries.get(entry.address) is entry:
            self.keep(entry)

    def __len__(self) -> int:
        """Return how many answers there are."""
        return len(self._entries)

    def _remove(self, address: bytes) -> None:
        if self._entries.pop(address, None) is not None:
            self.bytes -= self._counted.pop(address)
