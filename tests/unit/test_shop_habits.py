"""How a shop writes its titles, and which vendors are the shop itself: found from its listings alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.crawl.feeds import parse_feed, parse_feed_name
from skatestock.crawl.habits import ENOUGH, Habits, SeenTitle, find_habits
from skatestock.crawl.shops import Shop, get_shop, load_shops
from skatestock.vocabulary.titles import TitleHabit

SHOPS = load_shops()
URL = "https://corner.example"


def find(*titles: str, vendors: tuple[str | None, ...] = (None,), name: str = "Corner Skate Shop") -> Habits:
    seen = [SeenTitle(title, vendors[place % len(vendors)]) for place, title in enumerate(titles)]
    return find_habits(seen, [name], URL)


def test_the_habits_of_the_real_shops_are_found_from_each_day_that_was_recorded(shared_data: Path) -> None:
    found = {}
    for file in sorted((shared_data / "recorded-feeds").glob("*.json")):
        day, slug = parse_feed_name(str(file))
        shop = get_shop(SHOPS, slug)
        feed = parse_feed(file.read_bytes(), shop, day, file.name)
        seen = [SeenTitle(listing.title, listing.vendor) for listing in feed.observations]
        found[file.name] = find_habits(seen, [shop.name], shop.url).title_habit, shop.title_habit
    assert len(found) == 28
    assert {name: pair for name, pair in found.items() if pair[0] is not pair[1]} == {}


@pytest.mark.parametrize("shop", SHOPS, ids=lambda shop: shop.slug)
def test_the_names_of_the_real_shops_are_found_among_all_brands_that_they_sell(
    shop: Shop, shared_data: Path
) -> None:
    lines = (shared_data / "normalisation" / "gold.jsonl").read_text("utf-8").splitlines()
    brands = sorted({row["brand"] for row in map(json.loads, lines) if row["brand"]})
    assert len(brands) > 50
    seen = [SeenTitle("Deck", vendor) for vendor in (*brands, *shop.vendor_is_shop)]
    found = find_habits(seen, [shop.name], shop.url)
    # A shop's own label is named like the shop: as a vendor it says no more.
    assert set(found.vendor_is_shop) == set(shop.vendor_is_shop)
    by_address = find_habits(seen, [], shop.url)
    assert set(by_address.vendor_is_shop) == set(shop.vendor_is_shop)


@pytest.mark.parametrize(
    ("title", "habit"),
    [
        ("Polar Big Boy Jeans- Washed Black", TitleHabit.HYPHEN_COLOURS),
        ("Polar Big Boy Jeans - Washed Black/White", TitleHabit.DASH_COLOURS),
        ("Polar Big Boy Jeans Black - White", TitleHabit.TRAILING_COLOURS),
        ("Polar Big Boy Jeans Dark Navy", TitleHabit.TRAILING_COLOURS),
        ("Polar - Big Boy Jeans (Washed Black)", TitleHabit.BRAND_DASH),
        ("Nobody Knows Them - Big Boy Jeans (Washed Black)", TitleHabit.BRAND_DASH),
        ("Polar Big Boy Jeans", TitleHabit.PLAIN),
    ],
)
def test_a_quarter_of_the_titles_shows_the_habit_and_a_few_do_not(title: str, habit: TitleHabit) -> None:
    without = ["Spitfire Formula Four 52mm"] * 30
    assert find(*without, *[title] * 10).title_habit is habit
    assert find(*without, *[title] * 2).title_habit is TitleHabit.PLAIN


def test_a_vendor_before_the_dash_is_a_brand_that_no_rule_need_know() -> None:
    found = find(*["Nobody Knows Them - Big Boy"] * 20, vendors=("Nobody Knows Them",))
    assert (found.title_habit, found.titles_so, found.titles) == (TitleHabit.BRAND_DASH, 20, 20)


def test_what_is_not_clear_is_not_guessed() -> None:
    hyphen, dash = "Jeans- Washed Black", "Jeans - Washed Black"
    assert find(*[hyphen] * (ENOUGH - 1)).title_habit is None
    assert find(*[hyphen] * ENOUGH).title_habit is TitleHabit.HYPHEN_COLOURS
    assert find(*[hyphen] * 10, *[dash] * 10).title_habit is None
    assert find(*["Jeans"] * 85, *[dash] * 15).title_habit is None


def test_a_vendor_is_the_shop_by_its_name_or_address_whatever_is_added() -> None:
    vendors = ("CORNER", "The Corner Store", "Corner Skateshop", "Cornerstone", "Polar", None, "")
    found = find(*["Deck"] * 14, vendors=vendors)
    assert set(found.vendor_is_shop) == {"CORNER", "The Corner Store", "Corner Skateshop"}
    assert found.vendors_so == 6
    assert find("Deck", vendors=("Skate Shop", "Theories"), name="Skate Shop").vendor_is_shop == (
        "Skate Shop",
    )
    assert find("Deck", vendors=("Pier", "Polar"), name="Pier Skateshop, Oslo").vendor_is_shop == ("Pier",)
    seen = [SeenTitle("Deck", "127")]
    assert find_habits(seen, ["Corner"], "http://127.0.0.1:80").vendor_is_shop == ()


@given(st.lists(st.tuples(st.text(max_size=30), st.none() | st.text(max_size=10)), max_size=30), st.text())
def test_any_listings_have_habits_or_none(rows: list[tuple[str, str | None]], name: str) -> None:
    found = find_habits([SeenTitle(*row) for row in rows], [name], URL)
    assert 0 <= found.titles_so <= found.titles == len(rows)
    assert all(vendor == vendor.strip() != "" for vendor in found.vendor_is_shop)
