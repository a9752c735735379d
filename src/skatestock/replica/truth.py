"""Truth: what the world's own record says each offer's state was, at any moment and at crawl resolution."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from skatestock.replica.model import TruthRecord

_DECODER = msgspec.json.Decoder(TruthRecord)
_ENCODER = msgspec.json.Encoder()


class OfferKey(NamedTuple):
    """Identifies one offer of one listing of one shop."""

    shop: str
    listing_id: str
    offer_id: str


class OfferState(NamedTuple):
    """What a page says of an offer; money in minor units as the shop says it (0 is not None)."""

    price_minor: int
    compare_at_minor: int | None
    available: bool


Samples = dict[OfferKey, list[tuple[datetime, OfferState | None]]]
"""For each offer, the moments looked at with its state then; None where the page does not show it."""


def write_truth(records: Iterable[TruthRecord]) -> bytes:
    """Write records as JSON lines."""
    return b"".join(_ENCODER.encode(record) + b"\n" for record in records)


def read_truth(lines: bytes) -> list[TruthRecord]:
    """Read JSON lines back into records; raises msgspec.DecodeError on anything else."""
    return [_DECODER.decode(line) for line in lines.splitlines() if line]


def key_of(record: TruthRecord) -> OfferKey:
    """Tell which offer a record is about."""
    return OfferKey(record.shop, record.listing_id, record.offer_id)


def state_after(record: TruthRecord) -> OfferState | None:
    """Tell the state that a record leaves the offer in: None when it vanished."""
    if record.kind == "vanished":
        return None
    return OfferState(record.price_minor, record.compare_at_minor, record.available)


def fold(records: Iterable[TruthRecord], moment: datetime) -> dict[OfferKey, OfferState]:
    """Tell the state of every offer that is shown at a moment; records must be in their order."""
    states: dict[OfferKey, OfferState] = {}
    for record in records:
        if record.at > moment:
            break
        state = state_after(record)
        if state is None:
            states.pop(key_of(record), None)
        else:
            states[key_of(record)] = state
    return states


def sample(records: Sequence[TruthRecord], moments: Iterable[datetime]) -> Samples:
    """Look at every offer at each moment, beginning with the first moment at which it was ever shown.

    A later moment without it gives None. Moments may come in any order; the answer is in order of time.
    """
    samples: Samples = {}
    states: dict[OfferKey, OfferState | None] = {}
    position = 0
    for moment in sorted(set(moments)):
        while position < len(records) and records[position].at <= moment:
            states[key_of(records[position])] = state_after(records[position])
            position += 1
        for key, state in states.items():
            if state is not None or key in samples:
                samples.setdefault(key, []).append((moment, state))
    return samples


def expected_price_points(records: Sequence[TruthRecord], crawl_moments: Iterable[datetime]) -> Samples:
    """Keep of each offer's samples only those that differ from the one before.

    This is a history at crawl resolution in the shop's own words; None means not shown. What the pipeline
    makes of it (held prices, two crawls before a listing is delisted, compare-at 0 as missing) is left to the
    caller.
    """
    return {key: drop_repeats(states) for key, states in sample(records, crawl_moments).items()}


def drop_repeats(
    states: Iterable[tuple[datetime, OfferState | None]],
) -> list[tuple[datetime, OfferState | None]]:
    """Keep the first of every run of equal states."""
    kept: list[tuple[datetime, OfferState | None]] = []
    for moment, state in states:
        if not kept or kept[-1][1] != state:
            kept.append((moment, state))
    return kept


def shown_listings(records: Iterable[TruthRecord], moment: datetime) -> set[tuple[str, str]]:
    """Tell which listings (shop, listing id) are shown at a moment: those that show an offer."""
    return {(key.shop, key.listing_id) for key in fold(records, moment)}
