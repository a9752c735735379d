"""Sizes as shops write them, by the rules that come with SkateStock."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.vocabulary.category import Category
from skatestock.vocabulary.rules.loading import current_rules
from skatestock.vocabulary.rules.model import SizeKind
from skatestock.vocabulary.sizes import SizeReader

READER = SizeReader(current_rules().sizes)

CASES = {
    Category.DECKS: {
        '8.25"': ["8.25", '8.25"', "8.25”", "8 1/4", '8-1/4"', "8¼", "8.25 in", "8.250", '8.25" wide'],
        '8.375"': ["8.38", "8.375", '8 3/8"'],
        '8.0625"': ["8.06"],
        '8.5"': ["8½", "8.5"],
        '8.25" × 31.875"': ["8.25 x 31.875", '8.25" X 31.88"', '8.25” × 31 7/8” WB 14.25"'],
        None: ["S", "12.5", "825", "31.875", "8 9/8", "8 1/0", "8.25 x 52", "Popsicle"],
    },
    Category.WHEELS: {
        "52 mm": ["52", "52mm", "52 MM"],
        "54 mm 99A": ["54mm 99a", "54mm / 99A", "54/99a", "99a 54mm", "54mm 99 du", "54mm-99D"],
        "54 mm 101A": ["54mm 101a"],
        None: ["99a", "152mm", "54mm 12a"],
    },
    Category.TRUCKS: {
        '8.25"': ["8.25", '8.25" axle'],
        "147": ["147", "147mm", "147 Hi"],
        None: ["44", "5.6", "Low"],
    },
    Category.SHOES: {
        "M 9.5": ["9.5", "US 9.5", "9.5 US", "M 9.5", "Men's 9.5", "9.5M", "9½", "9 1/2", "Mens US 9.5"],
        "W 6.5": ["W 6.5", "Women's 6.5", "6.5W", "Wmns 6.5"],
        "M 8 / W 9.5": ["M 8 / W 9.5", "M8/W9.5", "W9.5 / M8", "8M / 9.5W", "US M 8 / W 9.5"],
        "Y 5.5": ["5.5Y", "Youth 5.5", "Y 5.5"],
        "C 10": ["10C", "10 Toddler"],
        None: ["8 / 9.5", "EU 42", "42", "9.3", "10 D", "M 8 / M 9", "L", "UK 8"],
    },
    Category.PANTS: {
        "W32": ["32", "W32", "32W", '32"', "32 waist"],
        "W32 L30": ["32x30", "32 x 30", "32×30", "W32 L30", "W32/L30", "32/30"],
        "M": ["M", "Medium"],
        None: ["99", "32 x 99", "Regular"],
    },
    Category.TEES: {
        "XXL": ["XXL", "2XL", "XX-Large", "xx large", "2X"],
        "M": ["m", "MEDIUM", "Med"],
        "S/M": ["S/M", "Small/Medium", "S / M"],
        "One size": ["O/S", "One Size", "OSFA", "one size fits most"],
        None: ["S/L", "9", "", "Blue", "M/"],
    },
    Category.HATS: {"7 3/8": ["7 3/8", "7.375", '7 3/8"', "7-3/8"], "7": ["7"], None: ["7.3", "9"]},
    Category.HARDWARE: {'0.875"': ['7/8"'], '1.25"': ['1 1/4"', '1.25"'], None: ["Allen", "8"]},
    Category.SOCKS: {"9-12": ["9-12", "US 9 - 12"], "L/XL": ["L/XL"], None: ["12-9"]},
    None: {"M": ["M"], None: ["9.5", "8.25", "32"]},
}
ROWS = [
    (category, words, label)
    for category, labels in CASES.items()
    for label in labels
    for words in labels[label]
]


@pytest.mark.parametrize(("category", "words", "label"), ROWS)
def test_a_size_is_read_as_a_skater_reads_it(
    category: Category | None, words: str, label: str | None
) -> None:
    size = READER.read(words, category)
    assert (size and size.label) == label


@pytest.mark.parametrize(
    ("brand", "words", "label"),
    [
        ("Independent", "149", '149 (8.5")'),
        ("Thunder", "148", '148 (8.25")'),
        ("Ace", "44", '44 (8.25")'),
        ("Venture", "5.6", '5.6 (8.25")'),
        ("Krux", "149", "149"),
        (None, "44", None),
    ],
)
def test_a_trucks_number_means_what_its_maker_says(brand: str | None, words: str, label: str | None) -> None:
    size = READER.read(words, Category.TRUCKS, brand)
    assert (size and size.label) == label


def test_the_title_says_whose_a_bare_shoe_size_is() -> None:
    for title, label in [("Nike Women's Vomero 5", "W 6"), ("Day One (GS)", "Y 6"), ("Janoski W", "M 6")]:
        audience = READER.read_audience(
            title.casefold().replace("'", "").replace("(", "").replace(")", "").split()
        )
        size = READER.read("6", Category.SHOES, None, audience)
        assert size is not None
        assert size.label == label


def test_a_size_has_its_numbers() -> None:
    deck = READER.read('8.38" x 32"', Category.DECKS)
    assert deck is not None
    assert deck.kind is SizeKind.DECK
    assert dict(deck.measures) == {"width_inches": Decimal("8.375"), "length_inches": Decimal(32)}
    shoe = READER.read("M 8 / W 9.5", Category.SHOES)
    assert shoe is not None
    assert dict(shoe.measures) == {"us_men": Decimal(8), "us_women": Decimal("9.5")}


@pytest.mark.parametrize(
    ("title", "category", "words"),
    [
        ('Carpet Company Tourist Deck 8.25"', Category.DECKS, '8.25"'),
        ("There - James Pitonyak Pretty - 8.38", Category.DECKS, "8.38"),
        ("OJ Super Juice 60mm 78a", Category.WHEELS, "60mm"),
        ("Vans Ave 2.0", Category.SHOES, None),
        ("Polar Team Deck", Category.DECKS, None),
    ],
)
def test_a_deck_or_wheel_says_its_size_in_the_title(
    title: str, category: Category, words: str | None
) -> None:
    assert READER.find_in_title(title, category) == words


def test_options_hold_a_size_by_their_name() -> None:
    assert READER.find_words({"Color": "8", "SIZE": "9"}) == "9"
    assert READER.find_words({"Grösse": "9"}) == "9"
    assert READER.find_words({"Title": "Default Title"}) is None
    assert [READER.is_known_option(name) for name in ("Taille", "Couleur", "Placeholder")] == [
        True,
        True,
        False,
    ]


size_text = st.text(max_size=70) | st.text(alphabet='0123456789./-x×"MWYLSX ½acm', max_size=14)


@given(size_text, st.none() | st.sampled_from(Category), st.sampled_from([None, "Ace", "Independent"]))
def test_any_words_give_a_size_that_reads_as_itself_or_none(
    words: str, category: Category | None, brand: str | None
) -> None:
    size = READER.read(words, category, brand)
    if size is not None:
        assert READER.read(size.label, category, brand) == size
        assert size.label.isascii() or "×" in size.label
