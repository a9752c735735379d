"""Loads, and locks, the states that a batch of events is about to change: one query per kind of thing."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache

import asyncpg
import msgspec

from skatestock.catalog.model import (
    Change,
    CrawlState,
    Hold,
    ListingState,
    ListingWords,
    OfferState,
    PricePoint,
    ShopDemand,
    ShopState,
)
from skatestock.database.pool import Connection
from skatestock.vocabulary.availability import Availability

# One row lock per shop stands for all that is the shop's: two consumers never work on one shop at a time, and
# locking every listing instead would write to every one of them.
_LOCK_SHOPS = "SELECT id, slug FROM shops WHERE slug = ANY ($1) ORDER BY id FOR NO KEY UPDATE"

_CRAWLS = """
SELECT crawl_id, shop_id, started_at, completed_at, complete, reason, detail, pages, requests, listings_seen,
    changed, rejected
FROM crawls WHERE crawl_id = ANY ($1)
"""

_SEEN_WHOLE = """
SELECT s.id, last.started_at
FROM unnest($1::int[]) AS s (id)
CROSS JOIN LATERAL (
    SELECT started_at FROM crawls WHERE shop_id = s.id AND complete ORDER BY started_at DESC LIMIT 1
) AS last
"""

_OBSERVED = """
SELECT shop_id, id, listing_id, product_id, currency, observed_at, seen_at, missed, delisted_at,
    parser, parser_version,
    url, handle, title, name, vendor, brand, colourway, product_type, image_url
FROM listings
JOIN unnest($1::int[], $2::text[]) AS wanted (shop_id, listing_id) USING (shop_id, listing_id)
"""

_ALL_OF_SHOPS = """
SELECT shop_id, id, listing_id, product_id, currency, observed_at, seen_at, missed, delisted_at
FROM listings WHERE shop_id = ANY ($1::int[])
"""

_HOLDING = """
SELECT DISTINCT l.id FROM offers o JOIN listings l ON l.id = o.listing_id
WHERE o.held_at IS NOT NULL AND l.shop_id = ANY ($1::int[])
"""

# Options as they are written: those of most offers are the same few, and are read once.
_OFFERS = """
SELECT listing_id, id, offer_id, title, options::text, sku, position, price_minor, compare_at_minor,
    availability, since_at, held_price_minor, held_compare_at_minor, held_at, held_crawl_id, barcode,
    invalid_barcode
FROM offers WHERE listing_id = ANY ($1::bigint[])
"""

# For each offer the points from a moment on, and the one in force before it.
_POINTS = """
SELECT p.offer_id, p.observed_at, p.price_minor, p.compare_at_minor, p.availability, p.changes, p.crawl_id
FROM unnest($1::bigint[], $2::timestamptz[]) AS wanted (offer_id, from_at)
CROSS JOIN LATERAL (
    (SELECT * FROM price_points WHERE offer_id = wanted.offer_id AND observed_at < wanted.from_at
     ORDER BY observed_at DESC LIMIT 1)
    UNION ALL
    (SELECT * FROM price_points WHERE offer_id = wanted.offer_id AND observed_at >= wanted.from_at)
) AS p
ORDER BY p.offer_id, p.observed_at
"""

_AVAILABILITIES = {str(word): word for word in Availability}
_CHANGES = {str(word): word for word in Change}

# Offers share what it returns: a state's options are replaced, and never changed.
_read_options = lru_cache(maxsize=4096)(msgspec.json.decode)


async def load_shop_states(connection: Connection, demands: Mapping[str, ShopDemand]) -> dict[str, ShopState]:
    """Lock the shops (by slug) and load what the demands need of them; a shop that is unknown is left out."""
    rows = await connection.fetch(_LOCK_SHOPS, sorted(demands))
    shops = {row["id"]: ShopState(row["id"], row["slug"]) for row in rows}
    if shops:
        wanted = {shop_id: demands[shop.slug] for shop_id, shop in shops.items()}
        await _load_crawls(connection, shops, wanted)
        by_id = await _load_listings(connection, shops, wanted)
        await _load_offers(connection, shops, wanted, by_id)
    return {shop.slug: shop for shop in shops.values()}


async def _load_crawls(
    connection: Connection, shops: Mapping[int, ShopState], wanted: Mapping[int, ShopDemand]
) -> None:
    crawl_ids = [crawl_id for demand in wanted.values() for crawl_id in demand.crawl_ids]
    for crawl_id, shop_id, *rest in await connection.fetch(_CRAWLS, crawl_ids):
        shop = shops.get(shop_id)
        if shop is not None and crawl_id in wanted[shop_id].crawl_ids:
            shop.crawls[crawl_id] = CrawlState(crawl_id, *rest)
        for other_id, demand in wanted.items():
            if other_id != shop_id and crawl_id in demand.crawl_ids:
                shops[other_id].foreign_crawl_ids.add(crawl_id)
    for shop_id, started_at in await connection.fetch(_SEEN_WHOLE, list(shops)):
        shops[shop_id].seen_whole_at = started_at


async def _load_listings(
    connection: Connection, shops: Mapping[int, ShopState], wanted: Mapping[int, ShopDemand]
) -> dict[int, ListingState]:
    """Load the observed listings with their words, and all of the shops where a crawl ends without."""
    pairs = [(shop_id, listing_id) for shop_id, demand in wanted.items() for listing_id in demand.listing_ids]
    by_id: dict[int, ListingState] = {}
    if pairs:
        shop_ids, listing_ids = zip(*pairs, strict=True)
        for row in await connection.fetch(_OBSERVED, shop_ids, listing_ids):
            listing = by_id[row[1]] = _add_listing(shops, row, ListingWords(*row[11:]))
            listing.parser, listing.parser_version = row[9], row[10]
    ending = [shop_id for shop_id, demand in wanted.items() if demand.crawl_ends]
    if ending:
        for row in await connection.fetch(_ALL_OF_SHOPS, ending):
            if row[1] not in by_id:
                by_id[row[1]] = _add_listing(shops, row, None)
    return by_id


def _add_listing(
    shops: Mapping[int, ShopState], row: asyncpg.Record, words: ListingWords | None
) -> ListingState:
    listing = ListingState(*row[1:9])
    listing.words = words
    shops[row[0]].listings[listing.listing_id] = listing
    return listing


async def _load_offers(
    connection: Connection,
    shops: Mapping[int, ShopState],
    wanted: Mapping[int, ShopDemand],
    by_id: Mapping[int, ListingState],
) -> None:
    listing_ids = {
        listing.id
        for shop_id, shop in shops.items()
        for listing in shop.listings.values()
        if listing.words is not None or wanted[shop_id].needs_offers(listing)
    }
    ending = [shop_id for shop_id, demand in wanted.items() if demand.crawl_ends]
    if ending:
        listing_ids.update(row[0] for row in await connection.fetch(_HOLDING, ending))
    if not listing_ids:
        return
    earliest_at = min(demand.earliest_at for demand in wanted.values())
    loaded = []
    for row in await connection.fetch(_OFFERS, list(listing_ids)):
        offer = OfferState(*row[1:11])
        offer.options, offer.availability = _read_options(row[4]), _AVAILABILITIES[row[9]]
        offer.barcode, offer.invalid_barcode = row[15], row[16]
        by_id[row[0]].offers[offer.offer_id] = offer
        if row[13] is not None:
            offer.hold = Hold(row[11], row[12], row[13], row[14], offer.availability)
        if row[13] is not None or offer.availability is Availability.GONE or offer.since_at >= earliest_at:
            loaded.append(offer)
    await _load_points(connection, loaded)


async def _load_points(connection: Connection, offers: Iterable[OfferState]) -> None:
    """Load the points that a rule may look at again: around holds, before an end, at the batch's moments."""
    by_id = {offer.id: offer for offer in offers}
    if not by_id:
        return
    moments = [_from_moment(offer) for offer in by_id.values()]
    for row in await connection.fetch(_POINTS, list(by_id), moments):
        by_id[row[0]].points.append(_read_point(row))
    for offer in by_id.values():
        if offer.hold is not None and offer.price_minor is not None:
            offer.hold = offer.hold._replace(availability=_in_force(offer, offer.hold.held_at))


def _from_moment(offer: OfferState) -> datetime:
    return offer.since_at if offer.hold is None else min(offer.since_at, offer.hold.held_at)


def _read_point(row: asyncpg.Record) -> PricePoint:
    changes = [_CHANGES[word] for word in row[5]]
    return PricePoint(row[1], row[2], row[3], _AVAILABILITIES[row[4]], changes, row[6], stored=True)


def _in_force(offer: OfferState, moment: datetime) -> Availability:
    before: Iterator[PricePoint] = (point for point in reversed(offer.points) if point.observed_at <= moment)
    return next((point.availability for point in before), offer.availability)
