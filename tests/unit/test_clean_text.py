"""Texts from outside: what comes out is clean, and what was clean already comes out as it went in."""

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from skatestock.vocabulary.text import clean_optional_text, clean_text, has_control_characters

SPACES = st.sampled_from([" ", "  ", "\t", "\n", "\u00a0", "\u2003", "\x1c", "\x85"])
TEXTS = st.lists(st.one_of(st.text(max_size=8), SPACES), max_size=12).map("".join)


def clean_plainly(text: str, max_length: int) -> str:
    """Do the same, one character after another."""
    kept = [char for char in text if char.isspace() or unicodedata.category(char) not in ("Cc", "Cs")]
    return " ".join("".join(kept).split())[:max_length].rstrip()


@given(TEXTS, st.integers(min_value=1, max_value=20))
@example(" A", 20)
@example("A ", 20)
@example("A  B", 20)
@example("A B", 2)
@example("A\u00a0B", 20)
@example("Größe\x00", 20)
def test_a_text_is_cleaned_as_its_characters_say(text: str, max_length: int) -> None:
    assert clean_text(text, max_length) == clean_plainly(text, max_length)


@given(TEXTS)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean_text(text, 20)
    assert clean_text(once, 20) == once
    assert not has_control_characters(once)


def test_a_text_of_which_nothing_is_left_is_missing() -> None:
    assert clean_optional_text(" \x00 ") is None
    assert clean_optional_text(None) is None
    assert clean_optional_text(" 8.25 ") == "8.25"
