"""What is stored of the last observations of listings, for comparing it with another reading of them."""

from datetime import datetime

import asyncpg
import msgspec

from skatestock.database.pool import Connection


class ObservedOffer(msgspec.Struct, frozen=True, kw_only=True):
    """An offer as its listing's last observation left it."""

    offer_id: str
    title: str
    options: dict[str, str]
    sku: str | None
    price_minor: int | None
    """As it was observed, also where it is held."""
    compare_at_minor: int | None
    availability: str
    barcode: str | None
    """A GTIN in fourteen digits, or the text that is none."""


class ObservedListing(msgspec.Struct, frozen=True, kw_only=True):
    """A listing as its last observation left it."""

    listing_id: str
    observed_at: datetime
    parser: str
    parser_version: int
    currency: str
    url: str
    handle: str
    title: str
    name: str
    vendor: str | None
    brand: str | None
    colourway: str | None
    product_type: str | None
    image_url: str | None
    has_moved_on: bool
    """Whether something has changed since, without another observation: the listing is gone, or was."""
    offers: tuple[ObservedOffer, ...]


_LISTINGS = """
SELECT l.id, l.listing_id, l.observed_at, l.parser, l.parser_version, l.currency, l.url, l.handle, l.title,
    l.name, l.vendor, l.brand, l.colourway, l.product_type, l.image_url,
    l.delisted_at IS NOT NULL OR EXISTS (
        SELECT FROM offers o WHERE o.listing_id = l.id AND o.since_at > l.observed_at) AS has_moved_on
FROM listings l JOIN shops s ON s.id = l.shop_id
JOIN observations seen ON seen.listing_id = l.id AND seen.observed_at = l.observed_at
WHERE s.slug = $1 AND seen.crawl_id = $2
"""

_OFFERS = """
SELECT listing_id, offer_id, title, options::text AS options, sku,
    CASE WHEN held_at IS NULL THEN price_minor ELSE held_price_minor END AS price_minor,
    CASE WHEN held_at IS NULL THEN compare_at_minor ELSE held_compare_at_minor END AS compare_at_minor,
    availability, coalesce(barcode, invalid_barcode) AS barcode
FROM offers WHERE listing_id = ANY ($1::bigint[]) ORDER BY listing_id, position, id
"""

_KNOWN = """
SELECT l.listing_id FROM listings l JOIN shops s ON s.id = l.shop_id
WHERE s.slug = $1 AND l.listing_id = ANY ($2::text[])
"""


async def find_observed_listings(
    connection: Connection, shop: str, crawl_id: str
) -> dict[str, ObservedListing]:
    """Return, by listing id, those listings of a shop whose last observation is of this crawl."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await connection.fetch(_LISTINGS, shop, crawl_id)
        offers: dict[int, list[ObservedOffer]] = {}
        for row in await connection.fetch(_OFFERS, [row["id"] for row in rows]):
            offers.setdefault(row["listing_id"], []).append(_read_offer(row))
    return {row["listing_id"]: _read_listing(row, offers.get(row["id"], [])) for row in rows}


async def find_known_listing_ids(connection: Connection, shop: str, listing_ids: list[str]) -> set[str]:
    """Return which of these listings of a shop the catalogue has."""
    return {row[0] for row in await connection.fetch(_KNOWN, shop, listing_ids)}


def _read_listing(row: asyncpg.Record, offers: list[ObservedOffer]) -> ObservedListing:
    words = {name: value for name, value in row.items() if name != "id"}
    return ObservedListing(**words, offers=tuple(offers))


def _read_offer(row: asyncpg.Record) -> ObservedOffer:
    words = {name: value for name, value in row.items() if name != "listing_id"}
    return ObservedOffer(**words | {"options": msgspec.json.decode(words["options"], type=dict[str, str])})
