"""Who made a thing, by the rules that come with SkateStock and by small ones of the tests' own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.vocabulary.brands import BrandReader
from skatestock.vocabulary.rules.loading import current_rules
from skatestock.vocabulary.words import fold_words, skip_letters

READER = BrandReader(current_rules().brands)
BRANDS = sorted(current_rules().brands.brands)
text = st.text(max_size=40) | st.lists(st.sampled_from([*BRANDS, "x", "Tee", "SB", "-"]), max_size=4).map(
    " ".join
)


def read(word: str | None, title: str) -> str | None:
    return READER.read(word, fold_words(title)).brand


@pytest.mark.parametrize(
    ("word", "title", "brand"),
    [
        # the longest name that the title begins with
        (None, "Nike SB Dunk Low Pro", "Nike SB"),
        (None, "Nike Dunk Low Retro", "Nike"),
        (None, "Nike Dunk Low SB", "Nike SB"),
        (None, "New Balance NM440HJR - White/Yellow", "New Balance Numeric"),
        (None, "New Balance 440 V2 - Sky Blue/White", "New Balance Numeric"),
        (None, "New Balance 2002R", "New Balance"),
        (None, "Converse CONS x Irak - One Star Pro Ox", "Converse"),
        (None, "Carpet Co. Egypt Tee- Blue", "Carpet Company"),
        (None, "SEXHIPPIES Flame Circle Tee", "Sexhippies"),
        (None, "Stüssy Basic Hoodie", "Stussy"),
        (None, "Pass~Port Workers Pant", "Pass~Port"),
        (None, "LEVIS 501 Jean", "Levi's"),
        # a whole word only, and nothing that no rule knows
        (None, "Popular Tee", None),
        (None, "Unheard Of Goods Tee", None),
        (None, "", None),
        # the vendor, however it is spelt
        ("ADIDAS SKATEBOARDING", "Samba ADV", "Adidas"),
        ("Polar Skate Co.", "Big Boy Jeans", "Polar"),
        ("Converse CONS x Irak", "One Star", "Converse"),
        ("Polar Bear Records", "Tee", None),
        # a vendor that is wrong, and one that says more than the title
        ("SPITFIRE", "Bones Wheels 100's", "Bones"),
        ("Nike SB", "Nike Dunk High", "Nike SB"),
        # a plain word is no maker where the vendor names another one, known or not
        ("Thrasher", "Classic Real Good Tee", "Thrasher"),
        ("Thrasher", "Real Good Tee", "Thrasher"),
        ("Unheard Of", "Real Good Tee", None),
        (None, "Real Good Tee", "Real"),
        # a mark that only one maker may use
        (None, "Powell-Peralta ReAction Figure- Steve Steadham", "Super7"),
    ],
)
def test_the_maker_is_read_from_title_and_vendor(word: str | None, title: str, brand: str | None) -> None:
    assert read(word, title) == brand


@pytest.mark.parametrize("brand", BRANDS)
def test_a_canonical_name_is_its_own_brand_as_is_every_other_name(brand: str) -> None:
    rule = current_rules().brands.brands[brand]
    assert READER.find(brand) == brand
    assert {READER.find(name) for name in (*rule.aliases, *rule.sub_labels)} <= {brand}
    if not any(mark in brand for mark in rule.marks):
        assert read(None, f"{brand} Team Tee") == brand


@given(st.none() | text, text)
def test_any_words_give_a_known_brand_or_none(word: str | None, title: str) -> None:
    assert read(word, title) in (*BRANDS, None)


@given(text)
def test_folding_is_idempotent_and_skipping_its_letters_leaves_the_rest(words: str) -> None:
    folded = fold_words(words)
    assert fold_words(" ".join(folded)) == folded
    assert skip_letters(words, 0) == 0
    assert skip_letters(words, 10_000) == len(words)


@pytest.mark.parametrize(
    ("brand", "words", "code"),
    [
        ("New Balance Numeric", "New Balance Numeric Tiago Lemos NM1010RU Brown - Blue", "NM1010RU"),
        ("New Balance Numeric", "New Balance Numeric - 306BLJ (Black/Black/White) - 9", "NM306BLJ"),
        ("Nike SB", "DM0807-200", "DM0807-200"),
        ("Nike SB", "Nike SB Dunk Low DM0807 200", "DM0807-200"),
        ("Vans", "VN0A5FCBBA2", "VN0A5FCBBA2"),
        ("Asics", "1203A398.100", "1203A398-100"),
        ("Polar", "DM0807-200", None),
        ("Nike SB", "XDM0807-2001", None),
        (None, "DM0807-200", None),
    ],
)
def test_a_style_code_is_read_for_its_own_maker_only(brand: str | None, words: str, code: str | None) -> None:
    assert READER.find_style_code(brand, words) == code
