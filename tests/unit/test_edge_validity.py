"""The log of changes: what is valid is never outdated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.edge_scene import confirmed_validity

from skatestock.edge.validity import INDEX, TRUSTED_SECONDS, Stamp, Validity

TAGS = ("product:1", "product:2", "shop:1", "catalogue")


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def stamp_of(validity: Validity) -> Stamp:
    stamp = validity.stamp()
    assert stamp is not None
    return stamp


def test_an_answer_is_valid_until_one_of_its_tags_changes() -> None:
    validity = confirmed_validity()
    stamp = stamp_of(validity)
    assert validity.is_valid(stamp, ["product:1", "shop:1"])
    validity.change(11, ["product:2"])
    assert validity.is_valid(stamp, ["product:1", "shop:1"])
    validity.change(12, ["shop:1"])
    assert not validity.is_valid(stamp, ["product:1", "shop:1"])
    assert validity.is_valid(stamp_of(validity), ["product:1", "shop:1"])


def test_a_change_that_may_be_of_anything_ends_every_answer() -> None:
    validity = confirmed_validity()
    stamp = stamp_of(validity)
    validity.change_everything(11)
    assert not validity.is_valid(stamp, ["product:1"])


def test_positions_that_were_skipped_count_as_a_change_of_everything() -> None:
    validity = confirmed_validity()
    stamp = stamp_of(validity)
    validity.change(13, ["product:2"])
    assert not validity.is_valid(stamp, ["product:1"])
    stamp = stamp_of(validity)
    validity.confirm("epoch", 14, 10)
    assert not validity.is_valid(stamp, ["product:1"])


def test_an_answer_of_the_index_ends_when_the_index_moves() -> None:
    validity = confirmed_validity()
    stamp = stamp_of(validity)
    validity.confirm("epoch", 10, 11)
    assert validity.is_valid(stamp, ["product:1"])
    assert not validity.is_valid(stamp, [INDEX])
    assert validity.is_valid(stamp_of(validity), [INDEX])


def test_nothing_is_valid_without_a_confirmation_of_the_last_seconds() -> None:
    clock = Clock()
    validity = Validity(now=clock)
    assert validity.stamp() is None
    validity.confirm("epoch", 10, 10)
    stamp = stamp_of(validity)
    clock.at += TRUSTED_SECONDS
    assert validity.stamp() is None
    assert not validity.is_valid(stamp, ["product:1"])
    validity.confirm("epoch", 10, 10)
    assert validity.is_valid(stamp, ["product:1"])


def test_answers_of_another_catalogue_or_of_the_future_are_not_valid() -> None:
    validity = confirmed_validity()
    assert not validity.is_valid(Stamp("other", 10, 10), ["product:1"])
    assert not validity.is_valid(Stamp("epoch", 11, 10), ["product:1"])
    assert not validity.is_valid(Stamp("epoch", 10, 11), [INDEX])
    old = stamp_of(validity)
    validity.confirm("made anew", 10, 10)
    assert not validity.is_valid(old, ["product:1"])


def test_a_log_that_is_full_forgets_the_oldest_and_trusts_nothing_older() -> None:
    validity = confirmed_validity(most_tags=10)
    old = stamp_of(validity)
    for position in range(11, 31):
        validity.change(position, [f"product:{position}"])
    assert not validity.is_valid(old, ["product:1"])
    assert validity.is_valid(stamp_of(validity), ["product:30"])
    assert not validity.is_valid(Stamp("epoch", 29, 10), ["product:30"])


def test_the_generation_moves_whenever_something_may_have_ended() -> None:
    validity = confirmed_validity()
    before = validity.generation
    validity.confirm("epoch", 10, 10)
    assert validity.generation == before
    validity.change(11, ["product:1"])
    assert validity.generation > before


CHANGES = st.lists(st.sets(st.sampled_from(TAGS), max_size=3), max_size=30)


@given(CHANGES, st.integers(0, 30), st.sets(st.sampled_from(TAGS), min_size=1), st.integers(1, 6))
def test_what_is_valid_was_not_changed_since(
    changes: list[set[str]], stamped_after: int, tags: set[str], most_tags: int
) -> None:
    validity = confirmed_validity(most_tags=most_tags)
    stamp = stamp_of(validity)
    for number, changed in enumerate(changes):
        if number == stamped_after:
            stamp = stamp_of(validity)
        validity.change(11 + number, changed)
    later = [changed for number, changed in enumerate(changes) if 11 + number > stamp.position]
    if validity.is_valid(stamp, tags):
        assert not any(changed & tags for changed in later)
    elif most_tags >= len(TAGS):
        assert any(changed & tags for changed in later)
