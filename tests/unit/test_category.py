import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.vocabulary.categories import CategoryReader
from skatestock.vocabulary.category import Category
from skatestock.vocabulary.rules.loading import current_rules

READER = CategoryReader(current_rules().categories)


def read_category(product_type: str | None, title: str) -> Category | None:
    return READER.read(product_type, title).category


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


@pytest.mark.parametrize(
    ("product_type", "name", "title", "usual", "expected"),
    [
        ("Jeans", "501 Straight Pant Dill Truck", "", None, (Category.PANTS, "title")),
        ("Shirts", "Wool Shirt Jacket", "", None, (Category.JACKETS, "title")),
        ("Footwear", "Godney Lace", "Clarks Originals Godney Lace", None, (Category.SHOES, "type")),
        (None, "Reds", "Bones Bearings Reds", None, (Category.BEARINGS, "title")),
        (None, "Samba ADV", "Adidas Samba ADV", Category.SHOES, (Category.SHOES, "brand")),
        (None, "Samba Tee", "Adidas Samba Tee", Category.SHOES, (Category.TEES, "title")),
        (None, "Hoodie with Bucket Hat Pocket", "", None, (Category.SWEATSHIRTS, "title")),
        (None, "Ringer Tee / Short Sleeve", "", None, (Category.TEES, "title")),
        (None, "Something", "", None, (None, None)),
    ],
)
def test_title_type_measure_and_maker_are_asked_in_this_order(
    product_type: str | None,
    name: str,
    title: str,
    usual: Category | None,
    expected: tuple[Category | None, str | None],
) -> None:
    assert READER.read(product_type, name, title, usual) == expected


@pytest.mark.parametrize("category", Category)
def test_every_noun_names_its_own_category_in_the_singular_and_the_plural(category: Category) -> None:
    for noun in current_rules().categories.categories[category].nouns:
        assert read_category(None, f"Some {noun}") is category, noun
        assert read_category(noun, "") is category, noun
