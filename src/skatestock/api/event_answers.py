"""Which events a stream is asked for, and how each is written."""

from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from skatestock.api.answers import to_price
from skatestock.api.event_ids import Place, write_event_id
from skatestock.api.event_schemas import (
    Event,
    EventListing,
    EventOffer,
    EventProduct,
    EventsQuestion,
    Terms,
)
from skatestock.api.schemas import Brand, NamedShop
from skatestock.catalog.event_queries import CatalogueEvent, OfferName, OfferTerms
from skatestock.catalog.views import discount_percent

_encoder = msgspec.json.Encoder()


class WrittenEvent(NamedTuple):
    """An event as it is sent, with what may be asked of it."""

    place: Place
    kind: str
    shop: str
    product: int
    brand: str | None
    discount: int
    block: bytes


def write_block(name: str, data: Any, event_id: str) -> bytes:
    """Write one event of a stream: its name, its id, and its data in one line of JSON."""
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), event_id.encode(), _encoder.encode(data))


def write_event(event: CatalogueEvent, catalogue: str) -> WrittenEvent:
    """Write an event of a catalogue."""
    place = Place(event.position, event.number)
    shown = to_event(event, write_event_id(place, catalogue))
    discount = None if shown.now is None else shown.now.discount_percent
    return WrittenEvent(
        place=place,
        kind=event.kind.value,
        shop=event.shop.slug,
        product=event.product_id,
        brand=None if event.brand is None else event.brand.slug,
        discount=discount or 0,
        block=write_block(event.kind.value, shown, shown.id),
    )


def is_wanted(event: WrittenEvent, question: EventsQuestion) -> bool:
    """Tell whether a stream was asked for this event."""
    return (
        (not question.kind or event.kind in question.kind)
        and (not question.shop or event.shop in question.shop)
        and (not question.product or event.product in question.product)
        and (not question.brand or event.brand in question.brand)
        and (question.min_discount is UNSET or event.discount >= question.min_discount)
    )


def to_event(event: CatalogueEvent, event_id: str) -> Event:
    """Show an event."""
    brand, shop = event.brand, event.shop
    return Event(
        id=event_id,
        kind=event.kind,
        at=event.at,
        changes=event.changes,
        product=EventProduct(
            id=event.product_id,
            name=event.product_name,
            brand=None if brand is None else Brand(slug=brand.slug, name=brand.name),
        ),
        shop=NamedShop(slug=shop.slug, name=shop.name, demo=shop.demo),
        listing=EventListing(
            id=event.listing_id, url=event.url, title=event.title, image_url=event.image_url
        ),
        offer=_to_offer(event.offer),
        now=_to_terms(event.now),
        before=_to_terms(event.before),
        demo=shop.demo,
    )


def _to_offer(offer: OfferName | None) -> EventOffer | None:
    if offer is None:
        return None
    return EventOffer(id=offer.id, offer_id=offer.offer_id, title=offer.title, size=offer.size)


def _to_terms(terms: OfferTerms | None) -> Terms | None:
    if terms is None:
        return None
    price = to_price(terms.price)
    assert price is not None
    discount = discount_percent(terms.price, terms.compare_at)
    return Terms(
        price=price,
        compare_at=None if discount is None else to_price(terms.compare_at),
        discount_percent=discount,
        availability=terms.availability,
    )
