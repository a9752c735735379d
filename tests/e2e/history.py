"""The history that a database holds, and the one that a world's truth says it must hold."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import asyncpg
from tests.e2e.reference import History, Point, Seen, replay

from skatestock.replica.model import TruthRecord
from skatestock.replica.truth import OfferKey, sample

Histories = dict[OfferKey, list[Point]]

_POINTS = """
    SELECT s.slug, l.listing_id, o.offer_id, p.observed_at, p.price_minor, p.compare_at_minor, p.availability
    FROM price_points p JOIN offers o ON o.id = p.offer_id JOIN listings l ON l.id = o.listing_id
    JOIN shops s ON s.id = l.shop_id ORDER BY p.observed_at
"""

_HELD = """
    SELECT s.slug, l.listing_id, o.offer_id, o.held_price_minor
    FROM offers o JOIN listings l ON l.id = o.listing_id JOIN shops s ON s.id = l.shop_id
    WHERE o.held_at IS NOT NULL
"""


async def fetch_histories(dsn: str) -> Histories:
    """Read every price point, by offer."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(_POINTS)
    finally:
        await connection.close()
    found: Histories = defaultdict(list)
    for slug, listing_id, offer_id, *point in rows:
        found[OfferKey(slug, listing_id, offer_id)].append(Point(*point))
    return dict(found)


async def fetch_held(dsn: str) -> dict[OfferKey, int]:
    """Read the prices that wait for a second look."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(_HELD)
    finally:
        await connection.close()
    return {OfferKey(*row[:3]): row[3] for row in rows}


def expect_histories(truth: Sequence[TruthRecord], crawls: Sequence[datetime]) -> Histories:
    """Tell the history of every offer after complete crawls of all shops at these moments."""
    replayed = _replay_crawls(truth, crawls)
    return {key: history.points for key, history in replayed.items() if history.points}


def expect_held(truth: Sequence[TruthRecord], crawls: Sequence[datetime]) -> dict[OfferKey, int]:
    """Tell which prices wait for a second look after such crawls."""
    held = {key: history.held_price_minor for key, history in _replay_crawls(truth, crawls).items()}
    return {key: price_minor for key, price_minor in held.items() if price_minor is not None}


def _replay_crawls(truth: Sequence[TruthRecord], crawls: Sequence[datetime]) -> dict[OfferKey, History]:
    samples = sample(truth, crawls)
    shown: dict[tuple[str, str], set[datetime]] = defaultdict(set)
    for key, states in samples.items():
        shown[key.shop, key.listing_id].update(at for at, state in states if state is not None)
    replayed: dict[OfferKey, History] = {}
    for key, states in samples.items():
        listing = shown[key.shop, key.listing_id]
        replayed[key] = replay(
            (at, at in listing, None if state is None else Seen(*state)) for at, state in states
        )
    return replayed


def find_differences(found: Histories, expected: Histories) -> list[str]:
    """Tell where two sets of histories differ, for a person."""
    return [
        f"{key}\n  found    {[tuple(map(str, point)) for point in found.get(key, [])]}"
        f"\n  expected {[tuple(map(str, point)) for point in expected.get(key, [])]}"
        for key in sorted({*found, *expected})
        if found.get(key) != expected.get(key)
    ]
