"""How large an event may become: a log takes no message of any size. Pure.

A shop decides how many listings it shows and what its broken products look like, so the parts of an event
that grow with the shop have budgets. Within them every event stays below MAX_EVENT_BYTES, half of what the
topic takes at most (`max.message.bytes`).
"""

from collections.abc import Iterable

from skatestock.events.model import MAX_REJECTED, RejectedObservation

MAX_EVENT_BYTES = 8 * 2**20
MAX_LISTING_IDS_BYTES = 4 * 2**20
"""All listing ids of a crawl: about 280,000 ids of 13 digits, or 15,000 of the longest."""
MAX_REJECTED_BYTES = 3 * 2**20
"""All rejects of a crawl."""

# What Avro writes before a text of ours: its length, in at most two bytes up to 8,191.
_LENGTH_BYTES = 2
_MARKS_OF_A_REJECT = 8


def measure_text(text: str) -> int:
    """Return how many bytes a text of up to 8,191 bytes takes in an event, at most."""
    return _LENGTH_BYTES + (len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")))


def measure_reject(reject: RejectedObservation) -> int:
    """Return how many bytes a reject takes in an event, at most."""
    texts = (reject.listing_id or "", reject.reason, reject.detail, reject.position, reject.excerpt)
    return _MARKS_OF_A_REJECT + sum(map(measure_text, texts))


def choose_rejected(rejected: Iterable[RejectedObservation]) -> tuple[RejectedObservation, ...]:
    """Choose the rejects that an event carries: the first ones, while number and bytes last."""
    chosen: list[RejectedObservation] = []
    room = MAX_REJECTED_BYTES
    for reject in rejected:
        room -= measure_reject(reject)
        if room < 0 or len(chosen) == MAX_REJECTED:
            break
        chosen.append(reject)
    return tuple(chosen)
