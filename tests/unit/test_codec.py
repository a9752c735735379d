from collections.abc import Collection
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.event_strategies import NOW, crawls, events, listings

from skatestock.events.codec import FIXED, Codec, decode, encode, event_name
from skatestock.events.errors import SenselessEventError, UndecodableError
from skatestock.events.model import (
    MAX_REJECTED,
    CrawlCompleted,
    Event,
    ListingObserved,
    OfferObserved,
    RejectedObservation,
)
from skatestock.events.sense import MAX_OFFERS
from skatestock.events.versions import AvroSchema
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import MAX_MINOR
from skatestock.vocabulary.text import has_control_characters

OFFER = OfferObserved(
    offer_id="411",
    title="9 / Black",
    options={"Size": "9", "Color": "Black"},
    sku="NK-9",
    price_minor=60_00,
    compare_at_minor=120_00,
    availability=Availability.IN_STOCK,
)
LISTING = ListingObserved(
    event_id="e-1",
    shop="labor",
    crawl_id="c-1",
    listing_id="71",
    observed_at=NOW,
    url="https://shop.example/products/dunk",
    handle="dunk",
    title="Nike SB Dunk - Black",
    name="Dunk",
    vendor="Nike SB",
    brand="Nike SB",
    colourway="Black",
    product_type="Shoes",
    image_url="https://cdn.example/dunk.jpg?v=1",
    currency="USD",
    offers=(OFFER, msgspec.structs.replace(OFFER, offer_id="412")),
    parser="shopify",
    parser_version=1,
    fingerprint=bytes(range(32)),
)
CRAWL = CrawlCompleted(
    event_id="e-2",
    shop="labor",
    crawl_id="c-1",
    started_at=NOW - timedelta(minutes=5),
    completed_at=NOW,
    complete=True,
    reason="complete",
    pages=3,
    requests=4,
    listing_ids=("71", "72"),
    changed=1,
    rejected=(RejectedObservation(reason="no_offers", detail="empty", position="page 1, product 3"),),
    rejected_total=1,
)
FRAMES = [encode(LISTING), encode(CRAWL)]


def clock() -> datetime:
    return NOW


def decode_kind(value: bytes) -> str | None:
    """Decode and return the kind of the error, or None; any other error fails the test."""
    try:
        decode(value, clock=clock)
    except UndecodableError as error:
        return error.kind
    return None


@given(events)
def test_every_valid_event_reads_back_as_it_was_said(event: Event) -> None:
    assert decode(encode(event), clock=clock) == event


@given(events)
def test_no_valid_event_is_read_with_anything_behind_or_missing(event: Event) -> None:
    value = encode(event)
    assert decode_kind(value + b"\x00") == "truncated"
    assert decode_kind(value[:-1]) in ("truncated", "senseless")


def test_the_frame_is_confluents() -> None:
    assert [value[:5].hex() for value in FRAMES] == ["00000000c9", "0000000002"]
    assert [event_name(event) for event in (LISTING, CRAWL)] == ["ListingObserved", "CrawlCompleted"]


def test_the_error_says_kind_and_text() -> None:
    with pytest.raises(UndecodableError, match="begins with 0x7b") as caught:
        decode(b"{}")
    assert (caught.value.kind, caught.value.text) == ("bad_magic_byte", str(caught.value))


def test_the_error_of_any_nonsense_can_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skatestock.events.codec.find_nonsense", lambda *_: None)
    value = encode(msgspec.structs.replace(LISTING, shop="\x00\n" * 10_000))
    monkeypatch.undo()
    with pytest.raises(UndecodableError) as caught:
        decode(value, clock=clock)
    assert len(caught.value.text) <= 500
    assert not has_control_characters(caught.value.text)


def test_a_registry_can_give_out_other_ids() -> None:
    class Registry:
        def id_of(self, event: str) -> int:
            return FIXED.id_of(event) + 100_000

        def find_schema(self, schema_id: int) -> AvroSchema | None:
            return FIXED.find_schema(schema_id - 100_000)

        async def learn(self, schema_ids: Collection[int]) -> None:
            raise AssertionError("everything is known")

    codec = Codec(Registry())
    value = codec.encode(LISTING)
    assert value[:5].hex() == "0000018769"
    assert codec.decode(value, clock=clock) == LISTING
    assert decode_kind(value) == "unknown_schema_id"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"", "truncated"),
        (b"\x00", "truncated"),
        (b"\x00\x00\x00\x00", "truncated"),
        (b"{}", "bad_magic_byte"),
        (b"\x01" + FRAMES[0][1:], "bad_magic_byte"),
        (b"\x00\x00\x00\x00\x03" + FRAMES[0][5:], "unknown_schema_id"),
        (b"\x00\xff\xff\xff\xff", "unknown_schema_id"),
        (b"\x00\x00\x00\x00\x01", "truncated"),
        (FRAMES[0] + FRAMES[0], "truncated"),
        (FRAMES[0][:6] + b"\xff\xff" + FRAMES[0][8:], "senseless"),
    ],
)
def test_bytes_that_are_no_event_say_why(value: bytes, kind: str) -> None:
    assert decode_kind(value) == kind


@pytest.mark.parametrize("value", FRAMES)
def test_every_truncation_is_refused(value: bytes) -> None:
    kinds = {decode_kind(value[:length]) for length in range(len(value))}
    assert None not in kinds


@pytest.mark.parametrize("value", FRAMES)
def test_every_flipped_bit_decodes_or_is_refused(value: bytes) -> None:
    kinds = set()
    for bit in range(8 * len(value)):
        flipped = bytearray(value)
        flipped[bit // 8] ^= 1 << bit % 8
        kinds.add(decode_kind(bytes(flipped)))
    assert kinds == {None, "bad_magic_byte", "unknown_schema_id", "truncated", "senseless"}


@settings(max_examples=300)
@given(
    st.binary()
    | st.binary().map(lambda body: FRAMES[0][:5] + body)
    | st.binary().map(lambda body: FRAMES[1][:5] + body)
)
@example(FRAMES[1][:5] + b"\xff" * 40)
@example(FRAMES[0][:5] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")
def test_any_bytes_decode_or_are_refused(value: bytes) -> None:
    decode_kind(value)


@given(events, st.data())
def test_any_damage_to_an_event_decodes_or_is_refused(event: Event, data: st.DataObject) -> None:
    value = bytearray(encode(event))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    decode_kind(bytes(value))


def offers_with(**changes: Any) -> tuple[OfferObserved, ...]:
    return (msgspec.structs.replace(OFFER, **changes),)


SENSELESS_LISTINGS: dict[str, dict[str, Any]] = {
    "no offers": {"offers": ()},
    "too many offers": {"offers": tuple(offers_with(offer_id=str(n))[0] for n in range(MAX_OFFERS + 1))},
    "an offer id twice": {"offers": (OFFER, OFFER)},
    "an empty offer id": {"offers": offers_with(offer_id="")},
    "an unprintable offer id": {"offers": offers_with(offer_id="4\n11")},
    "a negative price": {"offers": offers_with(price_minor=-1)},
    "an absurd price": {"offers": offers_with(price_minor=MAX_MINOR + 1)},
    "a negative compare-at price": {"offers": offers_with(compare_at_minor=-1)},
    "an absurd compare-at price": {"offers": offers_with(compare_at_minor=MAX_MINOR + 1)},
    "an offer observed to be gone": {"offers": offers_with(availability=Availability.GONE)},
    "NUL in an offer's title": {"offers": offers_with(title="a\x00b")},
    "a control character in an option": {"offers": offers_with(options={"Size": "\x1b[31m"})},
    "a control character in an option's name": {"offers": offers_with(options={"Si\x7fze": "9"})},
    "an endless sku": {"offers": offers_with(sku="x" * 501)},
    "a lone surrogate": {"title": "a\ud800"},
    "a line break in the title": {"title": "a\nb"},
    "NUL in the vendor": {"vendor": "\x00"},
    "an empty title": {"title": ""},
    "an empty name": {"name": ""},
    "an empty handle": {"handle": ""},
    "an empty brand": {"brand": ""},
    "an endless title": {"title": "x" * 1001},
    "an endless url": {"url": "x" * 4097},
    "an unprintable listing id": {"listing_id": "7\u20281"},
    "a listing id that is too long": {"listing_id": "7" * 256},
    "an empty crawl id": {"crawl_id": ""},
    "a shop that is no slug": {"shop": "Labor"},
    "a currency that is no code": {"currency": "US$"},
    "a moment before 2000": {"observed_at": datetime(1999, 12, 31, tzinfo=UTC)},
    "a moment within a second": {"observed_at": NOW.replace(microsecond=1000)},
    "a short fingerprint": {"fingerprint": b"\x00" * 31},
    "no parser version": {"parser_version": 0},
}

SENSELESS_CRAWLS: dict[str, dict[str, Any]] = {
    "completed before it started": {"completed_at": CRAWL.started_at - timedelta(seconds=1)},
    "complete for a reason": {"reason": "blocked"},
    "incomplete without a reason": {"complete": False},
    "a listing id twice": {"listing_ids": ("71", "71")},
    "an unprintable listing id": {"listing_ids": ("71", "\x00")},
    "a negative count": {"pages": -1},
    "a count beyond its type": {"requests": 2**31},
    "fewer rejects than are listed": {"rejected_total": 0},
    "too many rejects": {"rejected": CRAWL.rejected * (MAX_REJECTED + 1), "rejected_total": MAX_REJECTED + 1},
    "a reject without a reason": {"rejected": (msgspec.structs.replace(CRAWL.rejected[0], reason=""),)},
    "NUL in an excerpt": {"rejected": (msgspec.structs.replace(CRAWL.rejected[0], excerpt="\x00"),)},
    "an endless excerpt": {"rejected": (msgspec.structs.replace(CRAWL.rejected[0], excerpt="x" * 2001),)},
    "a line break in the detail": {"detail": "a\nb"},
}


@pytest.mark.parametrize("what", SENSELESS_LISTINGS)
def test_a_senseless_observation_is_neither_said_nor_believed(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_refused(msgspec.structs.replace(LISTING, **SENSELESS_LISTINGS[what]), monkeypatch)


@pytest.mark.parametrize("what", SENSELESS_CRAWLS)
def test_a_senseless_crawl_is_neither_said_nor_believed(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(msgspec.structs.replace(CRAWL, **SENSELESS_CRAWLS[what]), monkeypatch)


def assert_refused(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SenselessEventError):
        encode(event)
    # A sender without our checks: what its bytes say must be refused just so.
    monkeypatch.setattr("skatestock.events.codec.find_nonsense", lambda *_: None)
    try:
        value = encode(event)
    except (ValueError, OverflowError, UnicodeEncodeError):
        return
    monkeypatch.undo()
    assert decode_kind(value) in ("senseless", "truncated")


def test_moments_up_to_a_day_ahead_are_believed() -> None:
    ahead = encode(msgspec.structs.replace(LISTING, observed_at=NOW + timedelta(days=1)))
    beyond = encode(msgspec.structs.replace(LISTING, observed_at=NOW + timedelta(days=1, seconds=1)))
    assert [decode_kind(value) for value in (ahead, beyond)] == [None, "senseless"]


def test_moments_in_other_zones_are_the_same_moments() -> None:
    local = msgspec.structs.replace(LISTING, observed_at=NOW.astimezone(timezone(timedelta(hours=-5))))
    assert encode(local) == encode(LISTING)


def test_a_moment_without_a_zone_is_not_said() -> None:
    with pytest.raises(SenselessEventError):
        encode(msgspec.structs.replace(LISTING, observed_at=NOW.replace(tzinfo=None)))


@given(listings)
def test_schema_and_struct_agree_on_what_may_be_missing(event: ListingObserved) -> None:
    decoded = decode(encode(event), clock=clock)
    assert isinstance(decoded, ListingObserved)
    assert [offer.availability for offer in decoded.offers] == [offer.availability for offer in event.offers]


@given(crawls())
def test_excerpts_keep_their_line_breaks(event: CrawlCompleted) -> None:
    decoded = decode(encode(event), clock=clock)
    assert isinstance(decoded, CrawlCompleted)
    assert [reject.excerpt for reject in decoded.rejected] == [reject.excerpt for reject in event.rejected]
