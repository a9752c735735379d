"""Records what a batch has changed in the loaded states: set-based statements, and COPY for what is new."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from skatestock.catalog.commands_changes import Touched
from skatestock.catalog.copy_rows import copy_observations, copy_points
from skatestock.catalog.model import ListingState, Observation, OfferState, PricePoint, ShopState
from skatestock.catalog.normalising import NormalisedListing, find_sizes, normalise_listings
from skatestock.catalog.states_diff import Changed, collect_changes, tell_touched
from skatestock.database.partitions import ensure_month_partitions
from skatestock.database.pool import Connection
from skatestock.vocabulary.availability import Availability

_RECORD_CRAWLS = """
INSERT INTO crawls (shop_id, crawl_id, started_at, completed_at, complete, reason, detail, pages, requests,
    listings_seen, changed, rejected)
SELECT * FROM unnest($1::int[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bool[], $6::text[],
    $7::text[], $8::int[], $9::int[], $10::int[], $11::int[], $12::int[])
ON CONFLICT (crawl_id) DO UPDATE SET
    started_at = EXCLUDED.started_at, completed_at = EXCLUDED.completed_at, complete = EXCLUDED.complete,
    reason = EXCLUDED.reason, detail = EXCLUDED.detail, pages = EXCLUDED.pages, requests = EXCLUDED.requests,
    listings_seen = EXCLUDED.listings_seen, changed = EXCLUDED.changed, rejected = EXCLUDED.rejected
WHERE crawls.shop_id = EXCLUDED.shop_id
"""

_TOUCH_LISTINGS = """
UPDATE listings SET seen_at = new.seen_at, missed = new.missed, delisted_at = new.delisted_at
FROM unnest($1::bigint[], $2::timestamptz[], $3::smallint[], $4::timestamptz[])
    AS new (id, seen_at, missed, delisted_at)
WHERE listings.id = new.id
"""

_OBSERVE_LISTINGS = """
UPDATE listings SET seen_at = new.seen_at, missed = new.missed, delisted_at = new.delisted_at,
    observed_at = new.observed_at, fingerprint = new.fingerprint, parser = new.parser,
    parser_version = new.parser_version
FROM unnest($1::bigint[], $2::timestamptz[], $3::smallint[], $4::timestamptz[], $5::timestamptz[],
    $6::bytea[], $7::text[], $8::int[])
    AS new (id, seen_at, missed, delisted_at, observed_at, fingerprint, parser, parser_version)
WHERE listings.id = new.id
"""

_REWORD_LISTINGS = """
UPDATE listings SET url = new.url, handle = new.handle, title = new.title, name = new.name,
    vendor = new.vendor, brand = new.brand, colourway = new.colourway, product_type = new.product_type,
    image_url = new.image_url, brand_id = new.brand_id, category_id = new.category_id,
    style_code = new.style_code, rules_version = new.rules_version
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::text[], $10::text[], $11::int[], $12::smallint[], $13::text[], $14::text[])
    AS new (id, url, handle, title, name, vendor, brand, colourway, product_type, image_url,
        brand_id, category_id, style_code, rules_version)
WHERE listings.id = new.id
"""

# A product that several listings share is named by what joined them, not by any one of them.
_REWORD_PRODUCTS = """
UPDATE products SET name = new.name, brand_id = new.brand_id, colourway = new.colourway,
    category_id = new.category_id
FROM unnest($1::bigint[], $2::text[], $3::int[], $4::smallint[], $5::text[])
    AS new (id, name, brand_id, category_id, colourway)
WHERE products.id = new.id AND (SELECT count(*) FROM listings l WHERE l.product_id = new.id) = 1
"""

# The most rows of all. Arrays are sent as they are written in SQL, which takes a fifth of the time that
# asyncpg needs to make them of values; moments, of which there are few, by their places among those of all.
_MOVE_OFFERS = """
UPDATE offers SET price_minor = new.price_minor, compare_at_minor = new.compare_at_minor,
    availability = new.availability, since_at = ($5::timestamptz[])[new.since_place]
FROM unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::text::text[], $6::text::int[])
    AS new (id, price_minor, compare_at_minor, availability, since_place)
WHERE offers.id = new.id
"""

_HOLD_OFFERS = """
UPDATE offers SET held_price_minor = new.held_price_minor, held_compare_at_minor = new.held_compare_at_minor,
    held_at = new.held_at, held_crawl_id = new.held_crawl_id
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::text[])
    AS new (id, held_price_minor, held_compare_at_minor, held_at, held_crawl_id)
WHERE offers.id = new.id
"""

_REWORD_OFFERS = """
UPDATE offers SET title = new.title, options = new.options, sku = new.sku, position = new.position,
    size = new.size, barcode = new.barcode, invalid_barcode = new.invalid_barcode
FROM unnest($1::bigint[], $2::text[], $3::jsonb[], $4::text[], $5::smallint[], $6::text[], $7::text[],
    $8::text[])
    AS new (id, title, options, sku, position, size, barcode, invalid_barcode)
WHERE offers.id = new.id
"""

_REVISE_POINTS = """
UPDATE price_points SET price_minor = new.price_minor, compare_at_minor = new.compare_at_minor,
    availability = new.availability, changes = string_to_array(new.changes, ',')
FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::text[], $6::text[])
    AS new (offer_id, observed_at, price_minor, compare_at_minor, availability, changes)
WHERE price_points.offer_id = new.offer_id AND price_points.observed_at = new.observed_at
"""

_RETRACT_POINTS = """
DELETE FROM price_points USING unnest($1::bigint[], $2::timestamptz[]) AS old (offer_id, observed_at)
WHERE price_points.offer_id = old.offer_id AND price_points.observed_at = old.observed_at
"""

# An observation that was read anew takes the place of the first reading.
_REREAD_OBSERVATIONS = """
UPDATE observations SET parser_version = new.parser_version, evidence = new.evidence
FROM unnest($1::bigint[], $2::timestamptz[], $3::int[], $4::text[])
    AS new (listing_id, observed_at, parser_version, evidence)
WHERE observations.listing_id = new.listing_id AND observations.observed_at = new.observed_at
"""

_RECORD_REJECTED = """
INSERT INTO rejected_observations
    (shop_id, crawl_id, ordinal, listing_id, reason, detail, position, excerpt, rejected_at)
SELECT * FROM unnest($1::int[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::timestamptz[])
ON CONFLICT (crawl_id, ordinal) DO NOTHING
"""

_PRODUCT_COLUMNS = ("id", "name", "brand_id", "category_id", "colourway", "created_at")
_LISTING_COLUMNS = (
    *("id", "shop_id", "listing_id", "product_id", "url", "handle", "title", "name", "vendor", "brand"),
    *("colourway", "product_type", "image_url", "currency", "fingerprint", "parser", "parser_version"),
    *("first_seen_at", "observed_at", "seen_at", "missed", "delisted_at"),
    *("brand_id", "category_id", "style_code", "rules_version"),
)
_OFFER_COLUMNS = (
    *(
        "id",
        "listing_id",
        "offer_id",
        "title",
        "options",
        "sku",
        "position",
        "price_minor",
        "compare_at_minor",
    ),
    *("availability", "since_at", "held_price_minor", "held_compare_at_minor", "held_at", "held_crawl_id"),
    *("size", "barcode", "invalid_barcode"),
)
_NO_HOLD = (None, None, None, None)

PARTITIONED_BY_MONTH = ("price_points", "observations")
"""The tables whose partitions must be made ahead."""

Row = tuple[Any, ...]


class Recorded(NamedTuple):
    """What was written."""

    points: list[PricePoint]
    """The price points that are new."""
    touched: Touched
    """For the caller to record as its transaction's change."""


async def record_shop_states(connection: Connection, shops: Iterable[ShopState]) -> Recorded:
    """Write everything that has changed since the states were loaded.

    The states are spent afterwards: load them again for the next batch.
    """
    shops = list(shops)
    changed = collect_changes(shops)
    await _record_crawls(connection, shops)
    await _add_listings(connection, changed.new_listings)
    await _add_offers(connection, changed.new_offers)
    await _update_listings(connection, changed)
    await _update_offers(connection, changed)
    await _record_observations(connection, changed)
    await _record_points(connection, changed)
    await _record_rejected(connection, shops)
    return Recorded([point for _, point in changed.new_points], tell_touched(changed))


class PricePointMonths:
    """Sees to it that price points find the partition of their month; remembers which ones stand.

    What finds none stays in the default partition, and is not lost.
    """

    def __init__(self) -> None:
        self._standing: set[date] = set()
        self._made: set[date] = set()

    def begin_transaction(self) -> None:
        """Forget the months that the transaction before has made: it may have failed."""
        self._made.clear()

    async def ensure(self, connection: Connection, moments: Iterable[datetime]) -> None:
        """Make the months of these moments, within the caller's transaction."""
        months = {moment.date().replace(day=1) for moment in moments} - self._standing - self._made
        if months:
            made = [
                name
                for table in PARTITIONED_BY_MONTH
                for name in await ensure_month_partitions(connection, table, months)
            ]
            (self._made if made else self._standing).update(months)


# ---------------------------------------------------------------- what is new


async def _add_listings(connection: Connection, new: Sequence[tuple[int, ListingState]]) -> None:
    """Add listings, each with a product of its own: joining products is another room's work."""
    if not new:
        return
    product_ids = await _take_ids(connection, "products", len(new))
    listing_ids = await _take_ids(connection, "listings", len(new))
    for (_, listing), product_id, listing_id in zip(new, product_ids, listing_ids, strict=True):
        listing.product_id, listing.id = product_id, listing_id
    normalised = await normalise_listings(connection, [listing for _, listing in new])
    products = [
        (*_product_row(listing, words), listing.first_seen_at)
        for (_, listing), words in zip(new, normalised, strict=True)
    ]
    listings = [
        _listing_row(shop_id, listing, words)
        for (shop_id, listing), words in zip(new, normalised, strict=True)
    ]
    await _copy(connection, "products", _PRODUCT_COLUMNS, products)
    await _copy(connection, "listings", _LISTING_COLUMNS, listings)


def _product_row(listing: ListingState, words: NormalisedListing) -> Row:
    return (
        *(listing.product_id, words.product_name, words.product_brand_id),
        *(words.category_id, words.colourway),
    )


def _listing_row(shop_id: int, listing: ListingState, words: NormalisedListing) -> Row:
    assert listing.words is not None
    assert listing.sighting is not None
    return (
        *(listing.id, shop_id, listing.listing_id, listing.product_id),
        *listing.words,
        listing.currency,
        *listing.sighting,
        *(listing.first_seen_at, listing.observed_at, listing.seen_at, listing.missed, listing.delisted_at),
        *_rule_columns(words),
    )


def _rule_columns(words: NormalisedListing) -> Row:
    return (words.brand_id, words.category_id, words.style_code, words.rules_version)


async def _add_offers(connection: Connection, new: Sequence[tuple[ListingState, OfferState]]) -> None:
    if not new:
        return
    offer_ids = await _take_ids(connection, "offers", len(new))
    for (_, offer), offer_id in zip(new, offer_ids, strict=True):
        offer.id = offer_id
    # Made as they are sent: PostgreSQL takes in the first ones while the last are read.
    rows = (_offer_row(*item, size) for item, size in zip(new, find_sizes(new), strict=True))
    await _copy(connection, "offers", _OFFER_COLUMNS, rows)


def _offer_row(listing: ListingState, offer: OfferState, size: str | None) -> Row:
    return (
        offer.id,
        listing.id,
        offer.offer_id,
        offer.title,
        offer.options,
        offer.sku,
        offer.position,
        offer.price_minor,
        offer.compare_at_minor,
        offer.availability,
        offer.since_at,
        *_hold_columns(offer),
        size,
        offer.barcode,
        offer.invalid_barcode,
    )


def _hold_columns(offer: OfferState) -> Row:
    return _NO_HOLD if offer.hold is None else offer.hold[:4]


async def _take_ids(connection: Connection, table: str, count: int) -> list[int]:
    taken: list[int] = await connection.fetchval(
        "SELECT array_agg(nextval($1::text::regclass)) FROM generate_series(1, $2::int)",
        f"{table}_id_seq",
        count,
    )
    return taken


async def _copy(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    await connection.copy_records_to_table(table, columns=columns, records=rows)


# ---------------------------------------------------------------- what has changed


async def _update_listings(connection: Connection, changed: Changed) -> None:
    touched = [_touched_row(listing) for listing in changed.touched]
    await _execute(connection, _TOUCH_LISTINGS, touched)
    observed = [
        (*_touched_row(listing), listing.observed_at, *listing.sighting)
        for listing in changed.observed
        if listing.sighting is not None
    ]
    await _execute(connection, _OBSERVE_LISTINGS, observed)
    if changed.reworded:
        normalised = await normalise_listings(connection, changed.reworded)
        both = list(zip(changed.reworded, normalised, strict=True))
        rows = [(listing.id, *(listing.words or ()), *_rule_columns(words)) for listing, words in both]
        await _execute(connection, _REWORD_LISTINGS, rows)
        products = [_product_row(listing, words) for listing, words in both]
        await _execute(connection, _REWORD_PRODUCTS, products)


def _touched_row(listing: ListingState) -> Row:
    return (listing.id, listing.seen_at, listing.missed, listing.delisted_at)


async def _update_offers(connection: Connection, changed: Changed) -> None:
    if changed.moved_offers:
        await _move_offers(connection, changed.moved_offers)
    held = [(offer.id, *_hold_columns(offer)) for offer in changed.held_offers]
    await _execute(connection, _HOLD_OFFERS, held)
    reworded = [
        (
            *(offer.id, offer.title, offer.options, offer.sku, offer.position, size),
            *(offer.barcode, offer.invalid_barcode),
        )
        for (_, offer), size in zip(changed.reworded_offers, find_sizes(changed.reworded_offers), strict=True)
    ]
    await _execute(connection, _REWORD_OFFERS, reworded)


async def _move_offers(connection: Connection, offers: Sequence[OfferState]) -> None:
    places: dict[datetime, int] = {}
    for offer in offers:
        places.setdefault(offer.since_at, len(places) + 1)
    await connection.execute(
        _MOVE_OFFERS,
        _array(offer.id for offer in offers),
        _array(offer.price_minor for offer in offers),
        _array(offer.compare_at_minor for offer in offers),
        _array(offer.availability for offer in offers),
        list(places),
        _array(places[offer.since_at] for offer in offers),
    )


def _array(values: Iterable[int | Availability | None]) -> str:
    """Write an array as SQL does; none of the values needs quotes."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


async def _record_observations(connection: Connection, changed: Changed) -> None:
    new: list[tuple[ListingState, Observation]] = []
    reread: list[Row] = []
    for listing in (*(listing for _, listing in changed.new_listings), *changed.observed):
        for seen in listing.observations.values():
            if seen.is_reread:
                reread.append((listing.id, seen.observed_at, seen.parser_version, seen.evidence))
            else:
                new.append((listing, seen))
    if new:
        await copy_observations(connection, new)
    await _execute(connection, _REREAD_OBSERVATIONS, reread)


async def _record_points(connection: Connection, changed: Changed) -> None:
    retracted = [(offer.id, point.observed_at) for offer, point in changed.retracted_points]
    await _execute(connection, _RETRACT_POINTS, retracted)
    if changed.new_points:
        await copy_points(connection, changed.new_points)
    revised = [
        (
            offer.id,
            point.observed_at,
            point.price_minor,
            point.compare_at_minor,
            point.availability,
            ",".join(point.changes),
        )
        for offer, point in changed.revised_points
    ]
    await _execute(connection, _REVISE_POINTS, revised)


async def _record_crawls(connection: Connection, shops: Iterable[ShopState]) -> None:
    await _execute(connection, _RECORD_CRAWLS, list(_crawl_rows(shops)))


def _crawl_rows(shops: Iterable[ShopState]) -> Iterator[Row]:
    for shop in shops:
        for crawl in shop.crawls.values():
            if crawl.touched:
                yield (
                    *(shop.id, crawl.crawl_id, crawl.started_at, crawl.completed_at, crawl.complete),
                    *(crawl.reason, crawl.detail, crawl.pages, crawl.requests, crawl.listings_seen),
                    *(crawl.changed, crawl.rejected),
                )


async def _record_rejected(connection: Connection, shops: Iterable[ShopState]) -> None:
    rows = [(shop.id, *rejected) for shop in shops for rejected in shop.rejected]
    await _execute(connection, _RECORD_REJECTED, rows)


async def _execute(connection: Connection, statement: str, rows: Sequence[Row]) -> None:
    """Run a statement over `unnest` once for all rows, if there are any."""
    if rows:
        await connection.execute(statement, *zip(*rows, strict=True))
