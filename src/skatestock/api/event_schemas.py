"""The shapes of what the stream of events says, and how it is asked."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from skatestock.api.questions import Shops
from skatestock.api.schemas import (
    AvailabilityWord,
    Brand,
    Demo,
    Discount,
    ImageAddress,
    NamedShop,
    OfferId,
    OfferTitle,
    Price,
    ProductId,
)
from skatestock.catalog.event_queries import EventKind
from skatestock.vocabulary.availability import Availability

EVENT_ID_PATTERN = "^[0-9]{1,18}-[0-9]{1,12}-[0-9a-f]{8}$"

LastEventId = Annotated[
    Annotated[str, Meta(pattern=EVENT_ID_PATTERN)] | UnsetType,
    Meta(
        description="The id that came last: everything after it follows, nothing is left out and nothing "
        "comes twice. What is older than the two days that are kept is answered with a `resync` event.",
        examples=["812-3-9f1c2a7e"],
    ),
]


EventIdWord = Annotated[
    str,
    Meta(
        description="The event's id, to resume after it.",
        examples=["812-3-9f1c2a7e"],
        pattern=EVENT_ID_PATTERN,
    ),
]


class EventsQuestion(Struct, frozen=True, kw_only=True):
    """Which events, from where on, and for how long."""

    kind: Annotated[
        tuple[EventKind, ...],
        Meta(
            description="Only these kinds; repeat it for several.", examples=[["price_changed"]], max_length=5
        ),
    ] = ()
    shop: Shops = ()
    product: Annotated[
        tuple[ProductId, ...],
        Meta(description="Only these products; repeat it for several.", examples=[[1]], max_length=50),
    ] = ()
    brand: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...],
        Meta(
            description="Only products of these brands, by slug; repeat it for several.",
            examples=[["krooked"]],
            max_length=20,
        ),
    ] = ()
    min_discount: Annotated[
        Annotated[int, Meta(ge=1, le=100)] | UnsetType,
        Meta(
            description="Only where the price now is at least so many percent below the compare-at price.",
            examples=[20],
        ),
    ] = UNSET
    last_event_id: LastEventId = UNSET
    seconds: Annotated[
        Annotated[int, Meta(ge=1, le=3600)] | UnsetType,
        Meta(
            description="End the stream after so many seconds; without it, it goes on until you end it.",
            examples=[5],
        ),
    ] = UNSET


class EventsHeaders(Struct, frozen=True, kw_only=True):
    """Headers of the stream's request."""

    last_event_id: LastEventId = field(default=UNSET, name="Last-Event-ID")


class EventOffer(Struct, frozen=True, kw_only=True):
    """The offer that an event is about."""

    id: Annotated[int, Meta(description="Our own id of the offer, as in price histories.", examples=[7])]
    offer_id: OfferId
    title: OfferTitle
    size: Annotated[
        str | None,
        Meta(description="The size in our one way of writing it, where we know it.", examples=["9"]),
    ]


class Terms(Struct, frozen=True, kw_only=True):
    """What an offer costs, and whether it can be bought."""

    price: Price
    compare_at: Annotated[Price | None, Meta(description="The price it is reduced from, where it is.")]
    discount_percent: Discount
    availability: AvailabilityWord


class EventListing(Struct, frozen=True, kw_only=True):
    """The listing that an event is about."""

    id: Annotated[int, Meta(description="Our own id of the listing.", examples=[3])]
    url: Annotated[
        str, Meta(description="Its page at the shop.", examples=["https://shop.example/products/busenitz"])
    ]
    title: Annotated[str, Meta(description="As the shop titles it.", examples=["Busenitz Vulc II"])]
    image_url: ImageAddress


class EventProduct(Struct, frozen=True, kw_only=True):
    """The product that an event is about."""

    id: ProductId
    name: Annotated[str, Meta(description="The product's name.", examples=["Busenitz Vulc II"])]
    brand: Annotated[Brand | None, Meta(description="Whose it is, where we know it.")]


class Event(Struct, frozen=True, kw_only=True):
    """One thing that changed: the data of one event of the stream."""

    id: EventIdWord
    kind: Annotated[
        EventKind,
        Meta(
            description="What happened; also the event's name. `listed`: a listing is new, or has a further "
            "offer. `price_changed`: the price or the compare-at price.",
            examples=["price_changed"],
        ),
    ]
    at: Annotated[
        datetime,
        Meta(description="When it was observed, in UTC, whole seconds.", examples=["2026-03-02T09:00:00Z"]),
    ]
    changes: Annotated[
        tuple[str, ...],
        Meta(
            description="All that happened to the offer at that moment, in the words of price histories.",
            examples=[["price_down"]],
        ),
    ]
    product: Annotated[EventProduct, Meta(description="Which product.")]
    shop: Annotated[NamedShop, Meta(description="At which shop.")]
    listing: Annotated[EventListing, Meta(description="On which page of the shop.")]
    offer: Annotated[EventOffer | None, Meta(description="Which variant; null where a whole listing is new.")]
    now: Annotated[
        Terms | None,
        Meta(
            description="The offer's terms from that moment on; of a new listing, those of its cheapest "
            "offer as it stands, or null where no price is believed yet."
        ),
    ]
    before: Annotated[Terms | None, Meta(description="The offer's terms until then; null where it had none.")]
    demo: Demo


class Resync(Struct, frozen=True, kw_only=True):
    """The data of the event `resync`: what happened in between cannot be told any more; read anew."""

    reason: Annotated[
        Literal["too_old", "another_catalogue"],
        Meta(
            description="`too_old`: it is not kept any more. `another_catalogue`: it was restored since.",
            examples=["too_old"],
        ),
    ]


_EVENT = Event(
    id="812-3-9f1c2a7e",
    kind=EventKind.PRICE_CHANGED,
    at=datetime(2026, 3, 2, 9, tzinfo=UTC),
    changes=("price_down",),
    product=EventProduct(id=1, name="Busenitz Vulc II", brand=Brand(slug="adidas", name="Adidas")),
    shop=NamedShop(slug="blacksheep", name="Black Sheep", demo=False),
    listing=EventListing(
        id=3,
        url="https://shop.example/products/busenitz",
        title="Adidas - Busenitz Vulc II (Navy/White)",
        image_url=None,
    ),
    offer=EventOffer(id=7, offer_id="4401", title="9 / Navy", size="M 9"),
    now=Terms(
        price=Price(minor=4500, currency="USD", decimal="45.00"),
        compare_at=Price(minor=6000, currency="USD", decimal="60.00"),
        discount_percent=25,
        availability=Availability.IN_STOCK,
    ),
    before=Terms(
        price=Price(minor=6000, currency="USD", decimal="60.00"),
        compare_at=None,
        discount_percent=None,
        availability=Availability.IN_STOCK,
    ),
    demo=False,
)


class StreamedEvent(Struct, frozen=True, kw_only=True):
    """A stream of events that goes on until you end it; each has these fields, one a line."""

    event: Annotated[
        str, Meta(description="Its name: the kind of what happened, or `resync`.", examples=["price_changed"])
    ]
    id: Annotated[
        str,
        Meta(description="To resume after it.", examples=["812-3-9f1c2a7e"], pattern=EVENT_ID_PATTERN),
    ]
    data: Annotated[
        str,
        Meta(
            description="What happened, as JSON.",
            examples=[msgspec.json.encode(_EVENT).decode()],
            extra_json_schema={
                "contentMediaType": "application/json",
                "contentSchema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/Event"},
                        {"$ref": "#/components/schemas/Resync"},
                    ]
                },
            },
        ),
    ]
