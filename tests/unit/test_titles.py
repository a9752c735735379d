import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.vocabulary.titles import TitleHabit, TitleReading, read_brand, read_title

log = logging.getLogger(__name__)
"""What the real data was read as: shown by `pytest --log-cli-level=info`."""

HABITS = {
    "premier": TitleHabit.PLAIN,
    "labor": TitleHabit.DASH_COLOURS,
    "seasons": TitleHabit.HYPHEN_COLOURS,
    "nj": TitleHabit.BRAND_DASH,
    "blacksheep": TitleHabit.TRAILING_COLOURS,
}


@pytest.mark.parametrize(
    ("habit", "title", "name", "colourway"),
    [
        ("labor", "Nike SB Dunk Low Pro - Red Stardust/Neutral Olive-Monarch",
         "Nike SB Dunk Low Pro", "Red Stardust/Neutral Olive-Monarch"),
        ("labor", "There Refuge Team Skateboard Deck", "There Refuge Team Skateboard Deck", None),
        ("labor", "Polar Team Deck - 8.25", "Polar Team Deck - 8.25", None),
        ("seasons", "Vans Skate Slip-On- True White", "Vans Skate Slip-On", "True White"),
        ("seasons", "Nike SB Vertebrae- Coconut Milk/Jade Ice- Sesame",
         "Nike SB Vertebrae", "Coconut Milk/Jade Ice- Sesame"),
        ("seasons", "Grand Poly/Rayon Shorts-", "Grand Poly/Rayon Shorts", None),
        ("seasons", "Seasons- Albany DVD- 2016", "Seasons- Albany DVD- 2016", None),
        ("blacksheep", "Nike SB Zoom Janoski OG+ Black - University Red - Summit White",
         "Nike SB Zoom Janoski OG+", "Black - University Red - Summit White"),
        ("blacksheep", "Asics Skateboarding Gel-Vickka Pro Black - Graphite Grey",
         "Asics Skateboarding Gel-Vickka Pro", "Black - Graphite Grey"),
        ("blacksheep", "Vans Skate Grosso Sk8 Mid - Black/White/Emo Leather",
         "Vans Skate Grosso Sk8 Mid", "Black/White/Emo Leather"),
        ("blacksheep", "Stance Panthers Belong Socks", "Stance Panthers Belong Socks", None),
        ("premier", "Clarks Wallabee Dark Brown Suede", "Clarks Wallabee Dark Brown Suede", None),
    ],
)  # fmt: skip
def test_each_shop_writes_colours_in_its_own_way(
    habit: str, title: str, name: str, colourway: str | None
) -> None:
    assert read_title(title, HABITS[habit], None, ()) == TitleReading(name, None, colourway)


@pytest.mark.parametrize(
    ("title", "brand", "name", "colourway"),
    [
        ("Vans - Skate Half Cab (Gold)", "Vans", "Skate Half Cab", "Gold"),
        ("Converse CONS x Irak - One Star Pro Ox (Amber Brown/Black))",
         "Converse CONS", "x Irak One Star Pro Ox", "Amber Brown/Black"),
        ("Nike SB - City of Love Longsleeve (Earth) - S", "Nike SB", "City of Love Longsleeve", "Earth"),
        ("Bronze - Mesh Cargo Shorts - S / Creme", "Bronze", "Mesh Cargo Shorts", "Creme"),
        ("NJ - Street Logo Zip Hoodie (Fall ‘23)", "NJ", "Street Logo Zip Hoodie (Fall ‘23)", None),
        ("Clown - Triptych (3 Decks) - 8.25", "Clown", "Triptych (3 Decks)", None),
        ("Gift Card", None, "Gift Card", None),
    ],
)  # fmt: skip
def test_the_brand_stands_before_the_dash(
    title: str, brand: str | None, name: str, colourway: str | None
) -> None:
    assert read_title(title, TitleHabit.BRAND_DASH, None, ()) == TitleReading(name, brand, colourway)


def test_the_vendor_is_the_brand_and_leaves_the_name() -> None:
    reading = read_title("Nike SB Dunk Low - Black", TitleHabit.DASH_COLOURS, "Nike SB", ["Labor"])
    assert reading == TitleReading("Dunk Low", "Nike SB", "Black")
    reading = read_title("Popular Tee", TitleHabit.PLAIN, "Pop", [])
    assert reading == TitleReading("Popular Tee", "Pop", None)
    assert read_title("Polar", TitleHabit.PLAIN, "Polar", []).name == "Polar"


def test_a_vendor_that_is_the_shop_itself_is_no_brand() -> None:
    shop_names = ["Labor", "Labor Skateshop"]
    vendors = ["LABOR SKATE SHOP", "labor", "", None, "Polar Skate Co."]
    assert [read_brand(vendor, shop_names) for vendor in vendors] == [
        None,
        None,
        None,
        None,
        "Polar Skate Co.",
    ]


def test_a_brand_in_the_title_stands_in_for_a_vendor_that_is_the_shop() -> None:
    reading = read_title("Dime - Team Split Hoodie", TitleHabit.BRAND_DASH, "NJ Skateshop", ["NJ Skateshop"])
    assert reading == TitleReading("Team Split Hoodie", "Dime", None)


@given(
    st.text(alphabet=st.sampled_from("aB7 -/()x.\t") | st.characters(), max_size=40),
    st.sampled_from(TitleHabit),
    st.none() | st.text(alphabet="aBx ", max_size=5),
)
def test_any_title_keeps_a_name(title: str, habit: TitleHabit, vendor: str | None) -> None:
    reading = read_title(title, habit, vendor, ["x"])
    assert bool(reading.name) is bool(read_title(title, TitleHabit.PLAIN, None, ()).name)
    assert reading.brand != ""
    assert reading.colourway != ""


def read_gold(shared_data: Path) -> list[dict[str, Any]]:
    lines = (shared_data / "normalisation" / "gold.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_colourways_of_recorded_titles_read_as_a_person_read_them(shared_data: Path) -> None:
    outcomes: Counter[str] = Counter()
    for row in read_gold(shared_data):
        colourway = read_title(row["title"], HABITS[row["shop"]], None, ()).colourway
        outcome = "right" if colourway == row["colour"] else "silent" if colourway is None else "wrong"
        outcomes[outcome] += 1
        if outcome != "right":
            log.info("%s: %s → %s, not %s", outcome, row["title"], colourway, row["colour"])
    log.info("colourways: %s", dict(outcomes))
    assert outcomes["right"] / outcomes.total() >= 0.95
    assert outcomes["wrong"] / outcomes.total() <= 0.01


def test_brands_written_in_titles_are_those_a_person_read(shared_data: Path) -> None:
    """Without vendors only one shop's titles say the brand; sub-labels are not folded here yet."""
    rows = [row for row in read_gold(shared_data) if row["shop"] == "nj"]
    brands = [read_title(row["title"], TitleHabit.BRAND_DASH, None, ()).brand for row in rows]
    pairs = [(brand, row["brand"]) for brand, row in zip(brands, rows, strict=True) if brand]
    same = [pair for pair in pairs if pair[0].casefold() == pair[1].casefold()]
    log.info("brands: %d of %d are written as the person wrote them", len(same), len(pairs))
    # The others are a maker's sub-label or another spelling: the one name begins like the other.
    others = [(ours, theirs) for ours, theirs in pairs if (ours, theirs) not in same]
    letters = [
        ("".join(filter(str.isalnum, a.casefold())), "".join(filter(str.isalnum, b.casefold())))
        for a, b in others
    ]
    assert len(pairs) == len(rows)
    assert all(a.startswith(b) or b.startswith(a) for a, b in letters)
