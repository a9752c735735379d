import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.identifiers import check_identifier, check_slug, to_slug
from skatestock.vocabulary.text import clean_optional_text, clean_text, has_control_characters


@pytest.mark.parametrize("text", ["labor", "black-sheep", "nj", "7ply", "a-1-b"])
def test_slugs_are_lower_case_words_joined_by_hyphens(text: str) -> None:
    assert check_slug(text) == text


@pytest.mark.parametrize("text", ["", "-", "a-", "-a", "a--b", "A", "a b", "a_b", "ä", "a\n", "a" * 256])
def test_what_is_no_slug_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        check_slug(text)


@given(st.text())
@example("\ud800")
def test_every_name_has_one_slug(text: str) -> None:
    slug = to_slug(text)
    assert check_slug(slug) == slug == to_slug(text)


def test_names_become_telling_slugs() -> None:
    names = ["Black Sheep", "Fucking Awesome", "Sci-Fi Fantasy", "Stüssy", "Museum Of Peace & Quiet"]
    slugs = ["black-sheep", "fucking-awesome", "sci-fi-fantasy", "stussy", "museum-of-peace-quiet"]
    assert [to_slug(name) for name in names] == slugs


def test_names_without_ascii_letters_still_differ() -> None:
    assert to_slug("سلك نحاس") != to_slug("مفتاح") != to_slug("")


@pytest.mark.parametrize("text", ["41234567890", "gid://shopify/Product/1", "حذاء", "a b", "x" * 255])
def test_identifiers_are_any_printable_text(text: str) -> None:
    assert check_identifier(text) == text


@pytest.mark.parametrize("text", ["", "a\x00b", "a\nb", "\x1b[31m", "x" * 256, "\ud800", "a\u2028b"])
def test_what_cannot_be_stored_or_logged_is_no_identifier(text: str) -> None:
    with pytest.raises(InvalidValueError):
        check_identifier(text)


def test_clean_text_collapses_strips_and_cuts() -> None:
    assert clean_text("  Dunk \n\t Low\x00 Pro\u00a0QS\x1b ") == "Dunk Low Pro QS"
    assert clean_text("abc def", 4) == "abc"
    assert clean_text("طقم لٌقم\n") == "طقم لٌقم"
    assert clean_text("a\ud800b\x85c") == "ab c"


@pytest.mark.parametrize("text", [None, "", "  ", "\x00", "\n"])
def test_a_text_of_which_nothing_is_left_is_missing(text: str | None) -> None:
    assert clean_optional_text(text) is None


@given(st.text(alphabet=st.characters()), st.integers(0, 50))
@example("\x1c\x1d\x85 a", 10)
@example("a\x00 \x00b", 10)
def test_clean_text_can_be_stored_and_stays_as_it_is(text: str, max_length: int) -> None:
    clean = clean_text(text, max_length)
    assert clean_text(clean, max_length) == clean
    assert len(clean) <= max_length
    assert not has_control_characters(clean)
    assert clean.encode().decode() == clean


@given(st.text(alphabet=st.characters()))
def test_control_characters_are_those_that_unicode_calls_so(text: str) -> None:
    expected = any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
    assert has_control_characters(text) is expected
