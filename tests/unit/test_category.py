import json
import logging
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.vocabulary.category import Category, read_category

log = logging.getLogger(__name__)
"""What the real data was read as: shown by `pytest --log-cli-level=info`."""


@pytest.mark.parametrize(
    ("product_type", "title", "category"),
    [
        ("Pants", "Grand Cotton Shorts- Black", Category.SHORTS),
        ("Hoodie", "DC Shoes x Cash Only Limited T-Shirt White", Category.TEES),
        ("Outerwear", "Stussy Short Military Parka", Category.JACKETS),
        ("Beanies", "Stussy Bucket Hat Marl Knit- Green", Category.HATS),
        ("Accessories", "New Era Carolina Panthers Cuff Beanie", Category.BEANIES),
        ("Footwear", "Nike SB PS8", Category.SHOES),
        ("Outerwear", "Noah Harrington", Category.JACKETS),
        ("Shoes", "Vans Skate Slip-On- True White", Category.SHOES),
        ("", "Anti Hero Eagle Hooded Sweatshirt", Category.SWEATSHIRTS),
        ("", "Butter Blue Note S/S Shirt- Multi", Category.SHIRTS),
        ("", "Classic Grip Diamond Grip Tape", Category.GRIP_TAPE),
        ("", "$50 E-Gift Card", Category.GIFT_CARDS),
        ("", "There - James Pitonyak Pretty - 8.38", Category.DECKS),
        ("", 'Carpet Company Tourist 8.5"', Category.DECKS),
        ("Turner 52mm", "Ghetto child - Unity", None),
        ("", "Spitfire Formula Four 99d 53mm", Category.WHEELS),
        ("", "Bones Reds Bearings", Category.BEARINGS),
    ],
)
def test_the_title_says_what_a_thing_is_before_its_type_does(
    product_type: str, title: str, category: Category | None
) -> None:
    assert read_category(product_type, title) is category


@pytest.mark.parametrize(
    "title", ["Asics Gel-Kayano 14", "Vans - Skate Half Cab (Gold) - 8.5", "", "Shortboard"]
)
@pytest.mark.parametrize("product_type", [None, "", "Clothing", "Miscellaneous", "No product type found"])
def test_nothing_is_guessed(product_type: str | None, title: str) -> None:
    assert read_category(product_type, title) is None


@given(st.none() | st.text(), st.text())
def test_any_words_give_a_category_or_none(product_type: str | None, title: str) -> None:
    assert read_category(product_type, title) in (*Category, None)


def test_categories_have_names_for_people() -> None:
    assert [Category.GRIP_TAPE.label, Category.TEES.label] == ["Grip tape", "Tees"]


def test_recorded_listings_get_the_category_a_person_gave_them(shared_data: Path) -> None:
    outcomes: Counter[str] = Counter()
    for line in (shared_data / "normalisation" / "gold.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        category = read_category(row["product_type"], row["title"])
        outcome = "right" if category == row["category"] else "silent" if category is None else "wrong"
        outcomes[outcome] += 1
        if outcome != "right":
            log.info("%s: %s → %s, not %s", outcome, row["title"], category, row["category"])
    log.info("categories: %s", dict(outcomes))
    assert outcomes["right"] / outcomes.total() >= 0.9
    assert outcomes["wrong"] / outcomes.total() <= 0.02
