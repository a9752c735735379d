"""Folding the truth: hand-written records with the answers a person works out."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from skatestock.replica.model import TruthKind, TruthRecord
from skatestock.replica.truth import (
    OfferKey,
    OfferState,
    expected_price_points,
    fold,
    read_truth,
    sample,
    shown_listings,
    write_truth,
)

START_AT = datetime(2026, 1, 1, tzinfo=UTC)
KEY = OfferKey("labor", "1", "11")


def at(hours: int) -> datetime:
    return START_AT + timedelta(hours=hours)


def record(
    hours: int, kind: TruthKind, price_minor: int = 6000, available: bool = True, offer_id: str = "11"
) -> TruthRecord:
    return TruthRecord(at(hours), "labor", "1", offer_id, price_minor, None, available, kind, "regular")


LIFE = [
    record(0, "first_seen", 6000),
    record(2, "price", 4500),
    record(4, "price", 6000),
    record(6, "vanished", 6000),
    record(8, "returned", 6000),
]


def test_a_fold_gives_the_last_state_up_to_and_at_the_moment() -> None:
    assert fold(LIFE, at(1)) == {KEY: OfferState(6000, None, True)}
    assert fold(LIFE, at(2)) == {KEY: OfferState(4500, None, True)}
    assert fold(LIFE, at(7)) == {}
    assert fold(LIFE, at(9)) == {KEY: OfferState(6000, None, True)}
    assert fold(LIFE, START_AT - timedelta(seconds=1)) == {}


def test_a_price_that_returns_is_three_price_points() -> None:
    points = expected_price_points(LIFE, [at(1), at(3), at(5)])
    assert points[KEY] == [
        (at(1), OfferState(6000, None, True)),
        (at(3), OfferState(4500, None, True)),
        (at(5), OfferState(6000, None, True)),
    ]


def test_what_happens_between_two_crawls_is_not_seen() -> None:
    assert expected_price_points(LIFE, [at(1), at(5)])[KEY] == [(at(1), OfferState(6000, None, True))]


def test_a_vanished_offer_is_none_and_its_return_a_point_again() -> None:
    points = expected_price_points(LIFE, [at(5), at(7), at(9)])[KEY]
    assert [state for _, state in points] == [
        OfferState(6000, None, True),
        None,
        OfferState(6000, None, True),
    ]


def test_an_offer_is_sampled_from_the_first_crawl_that_could_see_it() -> None:
    late = [*LIFE, record(10, "first_seen", 100, offer_id="12")]
    samples = sample(late, [at(1), at(11), at(12)])
    assert [moment for moment, _ in samples[OfferKey("labor", "1", "12")]] == [at(11), at(12)]
    assert [moment for moment, _ in samples[KEY]] == [at(1), at(11), at(12)]


def test_an_offer_that_no_crawl_ever_saw_is_in_no_sample() -> None:
    short_lived = [record(1, "first_seen"), record(2, "vanished")]
    assert sample(short_lived, [at(0), at(3)]) == {}


def test_a_listing_is_shown_while_one_of_its_offers_is() -> None:
    two = [record(0, "first_seen"), record(0, "first_seen", offer_id="12"), record(1, "vanished")]
    assert shown_listings(two, at(1)) == {("labor", "1")}
    assert shown_listings([*two, record(2, "vanished", offer_id="12")], at(2)) == set()


def test_records_survive_their_way_through_json_lines() -> None:
    assert read_truth(write_truth(LIFE)) == LIFE
    assert b'"at":"2026-01-01T02:00:00Z"' in write_truth(LIFE)


@given(st.lists(st.integers(min_value=0, max_value=12), max_size=8))
def test_sampling_agrees_with_folding_at_every_moment(hours: list[int]) -> None:
    samples = sample(LIFE, [at(hour) for hour in hours])
    for moment, state in samples.get(KEY, []):
        assert fold(LIFE, moment).get(KEY) == state
