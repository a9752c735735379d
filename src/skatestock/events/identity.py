"""Deterministic event ids: the same thing said twice has the same id."""

from uuid import UUID, uuid5

import msgspec

_NAMESPACE = UUID("6d1f2c0e-4f0b-5a6e-9a53-0c2a5d3f7b11")
_encoder = msgspec.json.Encoder()


def listing_event_id(crawl_id: str, shop: str, listing_id: str, fingerprint: bytes) -> str:
    """Compute the id of a ListingObserved: one crawl saying one state of one listing is one event."""
    return _name_event("ListingObserved", crawl_id, shop, listing_id, fingerprint.hex())


def crawl_event_id(crawl_id: str) -> str:
    """Compute the id of a CrawlCompleted: a crawl ends once."""
    return _name_event("CrawlCompleted", crawl_id)


def _name_event(*parts: str) -> str:
    # As a JSON array, so that no choice of parts can be mistaken for another ("a", "bc" and "ab", "c").
    return str(uuid5(_NAMESPACE, _encoder.encode(parts).decode()))
