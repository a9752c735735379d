"""Listings as the five shops write them, and what the rules make of them as a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.vocabulary.category import Category
from skatestock.vocabulary.normaliser import Normaliser, current_normaliser
from skatestock.vocabulary.rules.loading import current_rules

NORMALISER = current_normaliser()


@pytest.mark.parametrize(
    ("title", "name", "word", "product_type", "expected"),
    [
        ("Nike SB Dunk Low Pro - Red Stardust/Neutral Olive", "Nike SB Dunk Low Pro", None, "",
         ("Dunk Low Pro", "Nike SB", Category.SHOES)),
        ("Converse CONS x Irak - Andover Jacket", "x Irak Andover Jacket", "Converse CONS", "Hoodie",
         ("x Irak Andover Jacket", "Converse", Category.JACKETS)),
        ("There Skateboards - There - James Pitonyak Pretty - 8.38", "There - James Pitonyak Pretty - 8.38",
         "There Skateboards", None, ("James Pitonyak Pretty - 8.38", "There", Category.DECKS)),
        ("Bones Wheels 100's", "Bones Wheels 100's", "SPITFIRE", "Wheels",
         ("100's", "Bones", Category.WHEELS)),
        ("Polar", "Polar", "Polar", None, ("Polar", "Polar", None)),
        ("Levi's® 501 Jean", "Levi's® 501 Jean", None, None, ("501 Jean", "Levi's", Category.PANTS)),
        ("Unheard Of Gadget", "Unheard Of Gadget", None, "Sale", ("Unheard Of Gadget", None, None)),
    ],
)  # fmt: skip
def test_a_listing_is_read_as_a_whole(
    title: str,
    name: str,
    word: str | None,
    product_type: str | None,
    expected: tuple[str, str | None, Category | None],
) -> None:
    reading = NORMALISER.read_listing(title, name, word, product_type)
    assert (reading.name, reading.brand, reading.category) == expected


def test_sizes_come_from_the_options_or_else_from_the_title() -> None:
    deck = NORMALISER.read_listing('Polar Team Deck 8.25"', 'Polar Team Deck 8.25"', None, None)
    offers = [{"Size": "8.5"}, {"Title": "Default Title"}, {}, {"size": "Popsicle"}]
    labels = [size and size.label for size in NORMALISER.read_sizes(offers, deck)]
    assert labels == ['8.5"', '8.25"', '8.25"', None]
    shoe = NORMALISER.read_listing("Nike Women's Vomero 5", "Nike Women's Vomero 5", None, None)
    size = NORMALISER.read_size({"Size": "6"}, shoe)
    assert size is not None
    assert size.label == "W 6"


def test_a_style_code_of_skus_counts_only_where_they_agree() -> None:
    assert NORMALISER.find_style_code("Nike SB", ["DM0807-200-9", None, "DM0807-200-10"]) == "DM0807-200"
    assert NORMALISER.find_style_code("Nike SB", ["DM0807-200", "DM0808-200"]) is None
    assert NORMALISER.find_style_code("Nike SB", [None, ""]) is None
    assert NORMALISER.find_style_code("Polar", ["DM0807-200"]) is None


words = st.text(max_size=40) | st.lists(
    st.sampled_from(["Nike", "SB", "x", "Tee", "-", "8.25", "with", "ReAction", "Women's", "’", "ß", "7/8"]),
    max_size=6,
).map(" ".join)


@given(words, words, st.none() | words, st.none() | words)
def test_any_words_can_be_read_and_are_read_alike_twice(
    title: str, name: str, word: str | None, product_type: str | None
) -> None:
    reading = NORMALISER.read_listing(title, name, word, product_type)
    assert reading == Normaliser(current_rules()).read_listing(title, name, word, product_type)
    assert bool(reading.name) is bool(name)


@given(words)
def test_a_canonical_brand_is_read_as_itself(title: str) -> None:
    brand = NORMALISER.read_listing(title, title, None, None).brand
    if brand is not None:
        assert NORMALISER.brands.find(brand) == brand
