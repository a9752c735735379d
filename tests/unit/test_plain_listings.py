"""The short way of reading a listing says what the way by the schema says, or nothing."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.event_strategies import NOW, listings

from skatestock.events.codec import encode
from skatestock.events.model import ListingObserved, OfferObserved
from skatestock.events.plain_listing import find_plain_listing
from skatestock.events.versions import load_schema
from skatestock.events.writers import SCHEMAS_OF_OURS
from skatestock.vocabulary.availability import Availability

_FRAME_BYTES = 5


def follow_schema(value: bytes) -> ListingObserved | None:
    """Read a message as Avro defines it; None where it is not one listing from end to end."""
    body = BytesIO(value[_FRAME_BYTES:])
    try:
        record = fastavro.schemaless_reader(body, SCHEMAS_OF_OURS["ListingObserved"], None)
        listing = msgspec.convert(record, ListingObserved)
    except Exception:  # whatever fastavro raises: it has no error of its own
        return None
    return None if body.read() else listing


def make_listing(text: str, *offers: OfferObserved) -> ListingObserved:
    """Make a listing that says `text` wherever a text may stand."""
    return ListingObserved(
        event_id="e",
        shop="labor",
        crawl_id="c",
        listing_id="1",
        observed_at=NOW,
        url=text or "-",
        handle=text or "-",
        title=text or "-",
        name=text or "-",
        brand=text or None,
        currency="USD",
        offers=offers or (make_offer(text),),
        parser="shopify",
        parser_version=1,
        fingerprint=bytes(range(224, 256)),
    )


def make_offer(text: str, offer_id: str = "a") -> OfferObserved:
    """Make an offer that says `text` wherever a text may stand."""
    return OfferObserved(
        offer_id=offer_id,
        title=text,
        options={"Size": text, text: "10"},
        sku=text,
        price_minor=6000,
        compare_at_minor=0,
        availability=Availability.OUT_OF_STOCK,
        barcode=text,
    )


@given(listing=listings)
def test_whatever_we_write_is_plain(listing: ListingObserved) -> None:
    assert find_plain_listing(encode(listing)) == listing


@pytest.mark.parametrize("length", [0, 1, 63, 64, 127, 128, 400])
@pytest.mark.parametrize("letter", ["a", "é", "€", "🛹"])
def test_texts_of_every_length_are_read(letter: str, length: int) -> None:
    listing = make_listing(letter * length)
    assert find_plain_listing(encode(listing)) == listing


@pytest.mark.parametrize("count", [1, 63, 64, 200])
def test_any_number_of_offers_is_read(count: int) -> None:
    listing = make_listing("x", *(make_offer("x", str(number)) for number in range(count)))
    assert find_plain_listing(encode(listing)) == listing


def damage(value: bytes, place: int, byte: int, how: str) -> bytes:
    """Spoil one byte of a message, or its length."""
    place %= len(value) or 1
    match how:
        case "changed":
            return value[:place] + bytes([byte]) + value[place + 1 :]
        case "put in":
            return value[:place] + bytes([byte]) + value[place:]
        case "taken out":
            return value[:place] + value[place + 1 :]
    return value[:place]


@settings(max_examples=1500)
@given(
    listing=listings,
    spoiled=st.lists(
        st.tuples(
            st.integers(_FRAME_BYTES, 400),
            st.integers(0, 255) | st.sampled_from([0, 1, 2, 3, 4, 5, 6, 126, 127, 128, 129, 254, 255]),
            st.sampled_from(["changed", "put in", "taken out", "cut off"]),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_damage_is_read_as_the_schema_reads_it_or_not_at_all(
    listing: ListingObserved, spoiled: list[tuple[int, int, str]]
) -> None:
    value = encode(listing)
    for place, byte, how in spoiled:
        value = value[:_FRAME_BYTES] + damage(value[_FRAME_BYTES:], place, byte, how)
    found = find_plain_listing(value)
    assert found is None or found == follow_schema(value)


@given(value=st.binary(max_size=300))
@example(value=b"")
@example(value=b"\0" * 200)
@example(value=b"\xff" * 200)
def test_bytes_of_any_kind_raise_nothing(value: bytes) -> None:
    found = find_plain_listing(value)
    assert found is None or found == follow_schema(value)


def with_offers(blocks: bytes) -> bytes:
    """Put other bytes in the place of a listing's offers."""
    whole = encode(make_listing("x"))
    offer = encode_offer(make_offer("x"))
    before, after = whole.split(b"\x02" + offer + b"\x00")
    return before + blocks + after


def encode_offer(offer: OfferObserved) -> bytes:
    """Write one offer as it stands within a listing."""
    out = BytesIO()
    fields: list[dict[str, Any]] = load_schema("ListingObserved")["fields"]
    (schema,) = (field["type"]["items"] for field in fields if field["name"] == "offers")
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), msgspec.structs.asdict(offer))
    return out.getvalue()


def test_offers_in_several_blocks_are_read() -> None:
    """Avro lets a writer split an array as it likes."""
    first, second = encode_offer(make_offer("x", "a")), encode_offer(make_offer("y", "b"))
    value = with_offers(b"\x02" + first + b"\x02" + second + b"\x00")
    found = find_plain_listing(value)
    assert found is not None
    assert [offer.offer_id for offer in found.offers] == ["a", "b"]
    assert found == follow_schema(value)


def test_a_block_that_tells_its_size_is_left_to_the_schema() -> None:
    """Avro lets a writer say in how many bytes a block stands, which ours never does."""
    offer = encode_offer(make_offer("x"))
    assert len(offer) < 64
    value = with_offers(b"\x01" + bytes([2 * len(offer)]) + offer + b"\x00")
    assert follow_schema(value) == make_listing("x")
    assert find_plain_listing(value) is None


def test_a_number_that_never_ends_is_left_to_the_schema() -> None:
    assert find_plain_listing(with_offers(b"\x80" * 40 + b"\x00")) is None
