"""Records that were written with other versions of our schemas, and schemas that must not be followed."""

from __future__ import annotations

import copy
import io
import struct
from collections.abc import Collection
from datetime import datetime
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.event_strategies import NOW, crawls, events, listings

from skatestock.events.codec import FIXED, Codec, encode
from skatestock.events.errors import UndecodableError
from skatestock.events.model import Event, ListingObserved, OfferObserved
from skatestock.events.versions import EVENTS, AvroSchema, full_name, load_schema
from skatestock.vocabulary.availability import Availability

OTHER_ID = 4711
SEASON = {"name": "season", "type": ["null", "string"], "default": None}


class Registry:
    """Gives the fixed ids and some more, of which nobody knows before they were asked for."""

    def __init__(self, **schemas: AvroSchema) -> None:
        self._there = {int(name.removeprefix("id_")): schema for name, schema in schemas.items()}
        self._here: dict[int, AvroSchema] = {}
        self.asked: list[int] = []
        self.is_away = False

    def id_of(self, event: str) -> int:
        return FIXED.id_of(event)

    def find_schema(self, schema_id: int) -> AvroSchema | None:
        return self._here.get(schema_id) or FIXED.find_schema(schema_id)

    async def learn(self, schema_ids: Collection[int]) -> None:
        if self.is_away:
            raise ConnectionError("the registry is away")
        self.asked.extend(schema_ids)
        self._here.update({each: self._there[each] for each in schema_ids if each in self._there})


def clock() -> datetime:
    return NOW


def field_of(schema: AvroSchema, name: str) -> Any:
    return next(field for field in schema["fields"] if field["name"] == name)


def offer_of(schema: AvroSchema) -> Any:
    return field_of(schema, "offers")["type"]["items"]


def to_record(event: Event) -> dict[str, Any]:
    """Say an event as Avro's writers want it."""
    record = msgspec.structs.asdict(event)
    part = "offers" if isinstance(event, ListingObserved) else "rejected"
    return record | {part: [msgspec.structs.asdict(item) for item in record[part]]}


def write(schema: AvroSchema, record: dict[str, Any], schema_id: int = OTHER_ID) -> bytes:
    out = io.BytesIO()
    out.write(struct.pack(">BI", 0, schema_id))
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), record)
    return out.getvalue()


async def read(schema: AvroSchema, *values: bytes) -> list[Event]:
    codec = Codec(Registry(id_4711=schema))
    await codec.prepare(values)
    return [codec.decode(value, clock=clock) for value in values]


def read_kind(codec: Codec, value: bytes) -> str | None:
    try:
        codec.decode(value, clock=clock)
    except UndecodableError as error:
        return error.kind
    return None


@given(event=listings)
async def test_what_a_newer_producer_adds_is_passed_over(event: ListingObserved) -> None:
    schema = load_schema("ListingObserved")
    schema["fields"].insert(3, SEASON)
    offer_of(schema)["fields"].insert(0, {"name": "weights", "type": {"type": "array", "items": "long"}})
    record = to_record(event) | {"season": "winter"}
    for offer in record["offers"]:
        offer["weights"] = [1, -(2**40), 3]
    assert await read(schema, write(schema, record)) == [event]


@given(event=listings)
async def test_another_order_of_fields_is_read_by_their_names(event: ListingObserved) -> None:
    schema = load_schema("ListingObserved")
    schema["fields"].reverse()
    offer_of(schema)["fields"].reverse()
    assert await read(schema, write(schema, to_record(event))) == [event]


@given(event=events)
async def test_what_an_older_producer_left_out_is_what_the_model_says(event: Event) -> None:
    schema = load_schema(type(event).__name__)
    left_out = {field["name"] for field in schema["fields"] if "default" in field}
    schema["fields"] = [field for field in schema["fields"] if field["name"] not in left_out]
    defaults = {
        field.name: field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        for field in msgspec.structs.fields(type(event))
        if field.name in left_out
    }
    expected = msgspec.structs.replace(event, **defaults)
    assert await read(schema, write(schema, to_record(event))) == [expected]


@given(event=listings)
async def test_what_older_offers_left_out_is_what_the_model_says(event: ListingObserved) -> None:
    schema = load_schema("ListingObserved")
    offer = offer_of(schema)
    offer["fields"] = [field for field in offer["fields"] if "default" not in field]
    (decoded,) = await read(schema, write(schema, to_record(event)))
    assert isinstance(decoded, ListingObserved)
    assert {(each.sku, each.availability, len(each.options)) for each in decoded.offers} == {
        (None, Availability.UNKNOWN, 0)
    }


@given(event=crawls())
async def test_an_older_producers_narrower_numbers_are_read(event: Any) -> None:
    schema = load_schema("CrawlCompleted")
    for name in ("pages", "requests"):
        field_of(schema, name)["type"] = ["int", "null"]
    assert await read(schema, write(schema, to_record(event))) == [event]


async def test_a_word_that_is_not_known_yet_becomes_its_default() -> None:
    schema = load_schema("ListingObserved")
    field_of(offer_of(schema), "availability")["type"]["symbols"].insert(0, "preorder")
    record = to_record(listing())
    record["offers"][0]["availability"] = "preorder"
    (decoded,) = await read(schema, write(schema, record))
    assert isinstance(decoded, ListingObserved)
    assert decoded.offers[0].availability is Availability.UNKNOWN


async def test_a_record_that_ours_cannot_read_dies_alone() -> None:
    schema = load_schema("ListingObserved")
    field_of(schema, "handle")["type"] = ["string", "long"]
    good, bad = write(schema, to_record(listing())), write(schema, to_record(listing()) | {"handle": 7})
    codec = Codec(Registry(id_4711=schema))
    await codec.prepare([good, bad])
    assert [read_kind(codec, value) for value in (good, bad)] == [None, "senseless"]


def listing() -> ListingObserved:
    return ListingObserved(
        event_id="e-1",
        shop="labor",
        crawl_id="c-1",
        listing_id="71",
        observed_at=NOW,
        url="https://shop.example/products/dunk",
        handle="dunk",
        title="Nike SB Dunk",
        name="Dunk",
        currency="USD",
        offers=(OfferObserved(offer_id="1", title="9", price_minor=1),),
        parser="shopify",
        parser_version=1,
        fingerprint=bytes(32),
    )


async def test_each_unknown_id_is_asked_for_and_what_is_known_never_again() -> None:
    schema = load_schema("ListingObserved")
    registry = Registry(id_4711=schema)
    codec = Codec(registry)
    known, other = encode(listing()), write(schema, to_record(listing()))
    junk = [b"", b"\x00\x00", b"\x01\x00\x00\x00\x09 no magic", b"\x00\x00\x00\x00\x09 nobody's"]
    await codec.prepare([known, other, other, *junk])
    assert sorted(registry.asked) == [9, FIXED.id_of("ListingObserved"), OTHER_ID]
    assert [read_kind(codec, value) for value in (known, other)] == [None, None]
    assert [read_kind(codec, value) for value in junk] == [
        "truncated",
        "truncated",
        "bad_magic_byte",
        "unknown_schema_id",
    ]

    registry.asked.clear()
    registry.is_away = True
    await codec.prepare([known, other])
    assert registry.asked == []
    with pytest.raises(ConnectionError):
        await codec.prepare([known, write(schema, to_record(listing()), 12)])


def nested(depth: int) -> Any:
    schema: Any = "long"
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def with_field(type_: Any) -> AvroSchema:
    schema = load_schema("ListingObserved")
    schema["fields"].append({"name": "more", "type": type_})
    return schema


NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
DANGEROUS: dict[str, AvroSchema] = {
    "a record that holds itself": with_field(NODE),
    "records that hold each other": with_field(
        {
            "type": "record",
            "name": "Hen",
            "fields": [
                {
                    "name": "egg",
                    "type": {
                        "type": "record",
                        "name": "Egg",
                        "fields": [{"name": "hen", "type": {"type": "array", "items": "Hen"}}],
                    },
                }
            ],
        }
    ),
    "the event in itself": with_field({"type": "map", "values": full_name("ListingObserved")}),
    "items without bytes": with_field({"type": "array", "items": "null"}),
    "records without fields": with_field(
        {"type": "array", "items": {"type": "record", "name": "Nothing", "fields": []}}
    ),
    "digests without bytes": with_field(
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}
    ),
    "a size that is none": with_field({"type": "fixed", "name": "F", "size": "x"}),
    "a depth that no event has": with_field(nested(100)),
    "a depth that no stack has": with_field(nested(100_000)),
    "another record": load_schema("ListingObserved") | {"name": "Invoice"},
    "another namespace": load_schema("ListingObserved") | {"namespace": "elsewhere"},
    "no record": {"type": "string"},
    "no schema": {"type": "nonsense"},
    "a schema in parts": with_field("skatestock.elsewhere.Part"),
    "fields that are none": load_schema("ListingObserved") | {"fields": 3},
    "another system's schema": {"type": "PROTOBUF"},
    "a schema that calls itself checked": {
        "__fastavro_parsed": True,
        "__named_schemas": {},
        "type": "record",
        "name": full_name("ListingObserved"),
        "fields": [{"name": "x", "type": "unheard"}],
    },
}


@pytest.mark.parametrize("what", DANGEROUS)
async def test_a_schema_that_must_not_be_followed_is_an_unknown_one(what: str) -> None:
    codec = Codec(Registry(id_4711=DANGEROUS[what]))
    value = struct.pack(">BI", 0, OTHER_ID) + b"\x02" * 2_000_000
    await codec.prepare([value])
    for _ in range(2):
        with pytest.raises(UndecodableError, match="the schema 4711 cannot be read") as caught:
            codec.decode(value, clock=clock)
        assert caught.value.kind == "unknown_schema_id"
        assert len(caught.value.text) <= 500


@pytest.mark.parametrize(
    "type_",
    [
        ["null", "long"],
        {"type": "record", "name": "Pair", "fields": [{"name": "a", "type": "int"}]},
        ["null", "Fingerprint"],
        nested(20),
    ],
    ids=["nullable", "record", "reference", "nested"],
)
@given(damage=st.binary(max_size=40), at=st.integers(0, 400))
async def test_damage_to_a_record_of_another_schema_decodes_or_is_refused(
    type_: Any, damage: bytes, at: int
) -> None:
    schema = with_field(type_)
    codec = Codec(Registry(id_4711=schema))
    whole = struct.pack(">BI", 0, OTHER_ID) + encode(listing())[5:] + b"\x00"
    value = whole[:5] + (whole[5 : 5 + at] + damage + whole[5 + at + len(damage) :])
    await codec.prepare([value])
    read_kind(codec, value)


@pytest.mark.parametrize("event", EVENTS)
def test_the_fixed_ids_keep_every_version_apart(event: str) -> None:
    assert FIXED.find_schema(FIXED.id_of(event)) == load_schema(event)
    assert {FIXED.id_of(event) % 100 for event in EVENTS} == {1, 2}
