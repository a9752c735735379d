"""The file of shops: the five that come along, and a clear error for every way to break one."""

from __future__ import annotations

from pathlib import Path

import pytest

from skatestock.crawl.errors import ShopsFileError
from skatestock.crawl.shops import derive_demo_shops, get_shop, load_shops, parse_shops
from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.titles import TitleHabit

GOOD = {
    "slug": '"labor"',
    "name": '"Labor"',
    "url": '"https://laborskateshop.com"',
    "currency": '"USD"',
    "platform": '"shopify"',
    "title_habit": '"dash-colours"',
}


def write(**changes: str | None) -> str:
    keys = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return "[[shops]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def test_the_five_shops_come_along_with_their_habits() -> None:
    shops = {shop.slug: shop for shop in load_shops()}
    assert {slug: (shop.url, shop.title_habit) for slug, shop in shops.items()} == {
        "seasons": ("https://seasonsskateshop.com", TitleHabit.HYPHEN_COLOURS),
        "premier": ("https://thepremierstore.com", TitleHabit.PLAIN),
        "labor": ("https://laborskateshop.com", TitleHabit.DASH_COLOURS),
        "nj": ("https://njskateshop.com", TitleHabit.BRAND_DASH),
        "blacksheep": ("https://blacksheepskateshop.com", TitleHabit.TRAILING_COLOURS),
    }
    assert {(s.currency, s.platform, s.crawl_every_seconds, s.demo) for s in shops.values()} == {
        ("USD", "shopify", 1800, False)
    }
    assert (shops["premier"].city, shops["premier"].region) == ("Virginia Beach", "VA")


def test_a_file_of_ones_own_is_read_from_its_path(tmp_path: Path) -> None:
    file = tmp_path / "my-shops.toml"
    file.write_text(write(url='"https://laborskateshop.com/"', crawl_every_seconds="60"), "utf-8")
    (shop,) = load_shops(file)
    assert (shop.url, shop.crawl_every_seconds, shop.shop_names) == (
        "https://laborskateshop.com",
        60,
        ("Labor",),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[shops", ("no TOML",)),
        ("", ("[[shops]]",)),
        ("shops = 3", ("[[shops]]",)),
        ("shops = [3]", ("shop number 1",)),
        ("[[shop]]\nslug = 'x'", ("'shop'",)),
        (write(slug=None), ("shop number 1", "slug")),
        (write(slug="3"), ("shop number 1", "'slug'")),
        (write(slug='"Black Sheep"'), ("'Black Sheep'", "'slug'")),
        (write(name=None), ("'labor'", "name")),
        (write(name='"  "'), ("'labor'", "'name'")),
        (write(url='"laborskateshop.com"'), ("'labor'", "'url'")),
        (write(url='"ftp://labor"'), ("'labor'", "'url'")),
        (write(url='"https://x.example/?a=1"'), ("'labor'", "'url'")),
        (write(url='"https://[x"'), ("'labor'", "'url'")),
        (write(url='"https://x.example:99999"'), ("'labor'", "'url'")),
        (write(currency='"usd"'), ("'labor'", "'currency'")),
        (write(platform='"magento"'), ("'labor'", "'platform'")),
        (write(title_habit='"loud"'), ("'labor'", "'title_habit'")),
        (write(crawl_every_seconds='"often"'), ("'labor'", "'crawl_every_seconds'")),
        (write(crawl_every_seconds="5"), ("'labor'", "'crawl_every_seconds'")),
        (write(vendor_is_shop='"Labor"'), ("'labor'", "'vendor_is_shop'")),
        (write(colour='"red"'), ("'labor'", "colour")),
        (write() + write(url='"https://other.example"'), ("'labor'", "'slug'", "another shop")),
        (write() + write(slug='"other"'), ("'other'", "'url'", "another shop")),
    ],
)
def test_a_broken_file_names_the_file_the_shop_and_the_key(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ShopsFileError) as caught:
        parse_shops(text, "mine.toml")
    for word in ("mine.toml", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "absent.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ShopsFileError, match=r"absent\.toml"):
        load_shops(file)


def test_demo_shops_keep_their_habits_and_are_labelled() -> None:
    shops = load_shops()
    demo = derive_demo_shops(shops, {"nj": "http://127.0.0.1:4001/", "labor": "http://127.0.0.1:4002"})
    assert [(s.slug, s.url, s.demo) for s in demo] == [
        ("labor", "http://127.0.0.1:4002", True),
        ("nj", "http://127.0.0.1:4001", True),
    ]
    assert get_shop(demo, "nj").title_habit is get_shop(shops, "nj").title_habit


def test_a_replica_of_no_known_shop_is_an_error() -> None:
    with pytest.raises(ShopsFileError, match=r"'zoo'.*seasons, premier"):
        derive_demo_shops(load_shops(), {"zoo": "http://127.0.0.1:1"})
    with pytest.raises(InvalidValueError):
        derive_demo_shops(load_shops(), {"nj": "nowhere"})
