"""What a commit's change means to those who watch the catalogue: new listings, prices, stock."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum

import asyncpg
import msgspec

from skatestock.catalog.change_queries import CatalogueChange
from skatestock.catalog.model import Change
from skatestock.catalog.views import Label, ShopName
from skatestock.database.pool import Connection
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import Money


class EventKind(StrEnum):
    """What happened; one price point can be several."""

    LISTED = "listed"
    """A listing is new, or one has a further offer."""
    PRICE_CHANGED = "price_changed"
    """The price or the compare-at price."""
    RESTOCKED = "restocked"
    SOLD_OUT = "sold_out"
    DELISTED = "delisted"


_PLACES = {kind: place for place, kind in enumerate(EventKind, 1)}
_KINDS = {
    Change.FIRST_SEEN: EventKind.LISTED,
    Change.PRICE_UP: EventKind.PRICE_CHANGED,
    Change.PRICE_DOWN: EventKind.PRICE_CHANGED,
    Change.COMPARE_AT_CHANGED: EventKind.PRICE_CHANGED,
    Change.BACK_IN_STOCK: EventKind.RESTOCKED,
    Change.OUT_OF_STOCK: EventKind.SOLD_OUT,
    Change.DELISTED: EventKind.DELISTED,
}


class OfferName(msgspec.Struct, frozen=True, kw_only=True):
    """One buyable variant, as far as one needs to name it."""

    id: int
    offer_id: str
    title: str
    size: str | None


class OfferTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What an offer costs, and whether it can be bought."""

    price: Money
    compare_at: Money | None
    availability: Availability


class CatalogueEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a commit changed."""

    position: int
    """Of the commit."""
    number: int
    """Among the commit's events: growing, the same at every reading, with gaps."""
    kind: EventKind
    at: datetime
    """When it was observed."""
    changes: tuple[str, ...]
    """Everything that happened at that moment, in the words of price histories."""
    product_id: int
    product_name: str
    brand: Label | None
    shop: ShopName
    listing_id: int
    url: str
    title: str
    image_url: str | None
    offer: OfferName | None
    """None where a whole listing is new."""
    now: OfferTerms | None
    """None for a new listing without any price that is believed."""
    before: OfferTerms | None


_WORDS = """
       l.id AS listing_id, l.url, l.title, l.image_url, l.currency,
       p.id AS product_id, p.name AS product_name, b.slug AS brand_slug, b.name AS brand_name,
       s.id AS shop_id, s.slug AS shop_slug, s.name AS shop_name, s.demo
"""

_NEW_LISTINGS = f"""
SELECT t.place, l.first_seen_at AS at, {_WORDS}, cheapest.*
FROM unnest($1::bigint[]) WITH ORDINALITY AS t (listing_id, place)
JOIN listings l ON l.id = t.listing_id
JOIN products p ON p.id = l.product_id
JOIN shops s ON s.id = l.shop_id
LEFT JOIN brands b ON b.id = p.brand_id
LEFT JOIN LATERAL (
    SELECT price_minor, compare_at_minor, availability FROM offers
    WHERE listing_id = l.id AND price_minor IS NOT NULL
    ORDER BY array_position(ARRAY['in_stock', 'unknown', 'out_of_stock', 'gone'], availability), price_minor,
        compare_at_minor DESC NULLS LAST, id
    LIMIT 1) AS cheapest ON true
ORDER BY t.place
"""  # noqa: S608 - constants only

_POINTS = f"""
SELECT t.place, t.observed_at AS at, {_WORDS}, o.id, o.offer_id, o.title AS offer_title, o.size,
       now.price_minor, now.compare_at_minor, now.availability, now.changes,
       before.price_minor AS price_before, before.compare_at_minor AS compare_at_before,
       before.availability AS availability_before
FROM unnest($1::bigint[], $2::timestamptz[]) WITH ORDINALITY AS t (offer_id, observed_at, place)
JOIN price_points now ON now.offer_id = t.offer_id AND now.observed_at = t.observed_at
JOIN offers o ON o.id = t.offer_id
JOIN listings l ON l.id = o.listing_id
JOIN products p ON p.id = l.product_id
JOIN shops s ON s.id = l.shop_id
LEFT JOIN brands b ON b.id = p.brand_id
LEFT JOIN LATERAL (
    SELECT price_minor, compare_at_minor, availability FROM price_points
    WHERE offer_id = t.offer_id AND observed_at < t.observed_at ORDER BY observed_at DESC LIMIT 1
    ) AS before ON true
ORDER BY t.place
"""  # noqa: S608 - constants only


def count_entries(change: CatalogueChange) -> int:
    """Tell how many entries a change has; each is any number of events."""
    return len(change.new_listing_ids) + len(change.points)


async def fetch_events(
    connection: Connection, change: CatalogueChange, first: int, count: int
) -> list[CatalogueEvent]:
    """Return the events of some of a change's entries, in their order.

    New listings are told as they stand now. What is not there any more is left out.
    """
    known = len(change.new_listing_ids)
    events: list[CatalogueEvent] = []
    if listing_ids := change.new_listing_ids[first : first + count]:
        rows = await connection.fetch(_NEW_LISTINGS, listing_ids)
        events += [_read_new_listing(change.position, first + row["place"] - 1, row) for row in rows]
    begin = max(0, first - known)
    if points := change.points[begin : max(0, first + count - known)]:
        offer_ids, moments = zip(*points, strict=True)
        for row in await connection.fetch(_POINTS, offer_ids, moments):
            events += _read_point(change.position, known + begin + row["place"] - 1, row)
    return events


def name_kinds(changes: Iterable[str], availability: Availability) -> list[EventKind]:
    """Tell what kinds of event a price point is, from what happened at it."""
    kinds = {_KINDS[Change(change)] for change in changes if change != Change.BACK}
    if Change.BACK in changes:
        kinds.add(EventKind.RESTOCKED if availability is Availability.IN_STOCK else EventKind.LISTED)
    return sorted(kinds, key=_PLACES.__getitem__)


def _number(entry: int, kind: EventKind) -> int:
    # Not counted but reckoned: what an entry is by now must not move the numbers of those after it.
    return entry * len(EventKind) + _PLACES[kind]


def _read_new_listing(position: int, entry: int, row: asyncpg.Record) -> CatalogueEvent:
    return _read_event(
        row, position, entry, EventKind.LISTED, changes=(Change.FIRST_SEEN.value,), offer=None, before=None
    )


def _read_point(position: int, entry: int, row: asyncpg.Record) -> Iterator[CatalogueEvent]:
    offer = OfferName(id=row["id"], offer_id=row["offer_id"], title=row["offer_title"], size=row["size"])
    before = _read_terms(
        row["price_before"], row["compare_at_before"], row["availability_before"], row["currency"]
    )
    changes = tuple(row["changes"])
    for kind in name_kinds(changes, Availability(row["availability"])):
        yield _read_event(row, position, entry, kind, changes=changes, offer=offer, before=before)


def _read_event(
    row: asyncpg.Record,
    position: int,
    entry: int,
    kind: EventKind,
    *,
    changes: tuple[str, ...],
    offer: OfferName | None,
    before: OfferTerms | None,
) -> CatalogueEvent:
    return CatalogueEvent(
        position=position,
        number=_number(entry, kind),
        kind=kind,
        at=row["at"],
        changes=changes,
        product_id=row["product_id"],
        product_name=row["product_name"],
        brand=None if row["brand_slug"] is None else Label(slug=row["brand_slug"], name=row["brand_name"]),
        shop=ShopName(id=row["shop_id"], slug=row["shop_slug"], name=row["shop_name"], demo=row["demo"]),
        listing_id=row["listing_id"],
        url=row["url"],
        title=row["title"],
        image_url=row["image_url"],
        offer=offer,
        now=_read_terms(row["price_minor"], row["compare_at_minor"], row["availability"], row["currency"]),
        before=before,
    )


def _read_terms(
    price_minor: int | None, compare_at_minor: int | None, availability: str | None, currency: str
) -> OfferTerms | None:
    if price_minor is None or availability is None:
        return None
    return OfferTerms(
        price=Money(price_minor, currency),
        compare_at=None if compare_at_minor is None else Money(compare_at_minor, currency),
        availability=Availability(availability),
    )
