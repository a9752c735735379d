"""Habits: how each shop writes down what it sells, the five real ones and the five invented ones."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from skatestock.replica.model import Design

Markup = Literal["mixed", "json-ld", "microdata"]


class Habit(NamedTuple):
    """One shop's way with titles, vendors, types, options, price endings and compare-at prices.

    `ending_minor` is taken off whole dollars (5 makes 104.95). `compare_at` weighs how a listing says its
    compare-at price while nothing is reduced; `marks_was` is the share of reductions that say the former one.
    `markup` is what the product pages say by schema.org where that is all they say: JSON-LD, microdata (and
    OpenGraph of what has no options), or JSON-LD with every third page in microdata.
    """

    name: str
    city: str
    title: Callable[[Design], str]
    product_types: Mapping[str, tuple[str, ...]]
    own_vendor: str
    own_vendor_share: float
    shouts_vendor: bool
    size_option: str
    shoe_size: str
    long_sizes: bool
    ending_minor: int
    compare_at: dict[str, int]
    marks_was: float
    colour_option_share: float = 0.0
    markup: Markup = "mixed"


def _labor_title(design: Design) -> str:
    name = f"{design.brand} {design.model}".replace(" Tee", " T-Shirt")
    return f"{name} - {'/'.join(design.colours)}" if design.colours else name


def _blacksheep_title(design: Design) -> str:
    return f"{design.brand} {design.model} {' - '.join(design.colours)}".strip()


def _seasons_title(design: Design) -> str:
    name = f"{design.brand} {design.model}"
    return f"{name}- {'/'.join(design.colours)}" if design.colours else name


def _nj_title(design: Design) -> str:
    colours = "/".join(design.colours)
    return f"{design.brand} - {design.model}" + (f" ({colours})" if colours else "")


def _premier_title(design: Design) -> str:
    return f"{design.brand} {design.model}"


_CLOTHING = dict.fromkeys(("tees", "shirts", "sweatshirts", "jackets", "pants", "shorts"), ("Clothing", ""))

HABITS: dict[str, Habit] = {
    "seasons": Habit(
        name="Seasons Skate Shop",
        city="Albany NY",
        title=_seasons_title,
        product_types={"tees": ("T-Shirts",), "accessories": ("Misc.", ""), "grip-tape": ("Griptape",)},
        own_vendor="Seasons Skate Shop",
        own_vendor_share=0.15,
        shouts_vendor=False,
        size_option="Size",
        shoe_size="{}",
        long_sizes=False,
        ending_minor=0,
        compare_at={"null": 8, "zero": 1, "equal": 1},
        marks_was=0.3,
    ),
    "premier": Habit(
        name="Premier",
        city="Virginia Beach VA",
        title=_premier_title,
        product_types={
            "tees": ("T Shirts",),
            "shoes": ("Footwear",),
            "sweatshirts": ("Sweaters-Fleece",),
            "jackets": ("Outerwear",),
            "pants": ("Pants", "Jeans"),
        },
        own_vendor="Premier",
        own_vendor_share=0.05,
        shouts_vendor=False,
        size_option="SIZE",
        shoe_size="{} US",
        long_sizes=False,
        ending_minor=0,
        compare_at={"null": 5, "zero": 3, "equal": 1, "below": 1},
        marks_was=0.9,
        colour_option_share=0.25,
    ),
    "labor": Habit(
        name="Labor Skateboard Shop",
        city="New York NY",
        title=_labor_title,
        product_types={"shoes": ("Footwear",), "tees": ("T-Shirts", "Cut and Sew"), "decks": ("Decks",)},
        own_vendor="Labor Skateshop",
        own_vendor_share=0.3,
        shouts_vendor=False,
        size_option="Size",
        shoe_size="{}",
        long_sizes=True,
        ending_minor=0,
        compare_at={"null": 6, "zero": 1, "below": 2},
        marks_was=0.8,
    ),
    "nj": Habit(
        name="NJ Skateshop",
        city="New Jersey",
        title=_nj_title,
        product_types={
            "shoes": ("Shoe",),
            "tees": ("tshirt", "Tshirt"),
            "jackets": ("Jacket",),
            "sweatshirts": ("Hoodie",),
            "decks": ("Deck",),
            "accessories": ("Figures", "Placeholder"),
        },
        own_vendor="NJ Skateshop",
        own_vendor_share=0.1,
        shouts_vendor=True,
        size_option="size",
        shoe_size="US {}",
        long_sizes=False,
        ending_minor=1,
        compare_at={"null": 3, "zero": 5, "equal": 2},
        marks_was=0.85,
    ),
    "blacksheep": Habit(
        name="Black Sheep Skate Shop",
        city="Charlotte NC",
        title=_blacksheep_title,
        product_types=_CLOTHING | {"tees": ("T-Shirt", "Clothing"), "hats": ("Accessories", "Hat")},
        own_vendor="Black Sheep",
        own_vendor_share=0.1,
        shouts_vendor=False,
        size_option="Size",
        shoe_size="{}",
        long_sizes=False,
        ending_minor=5,
        compare_at={"null": 7, "zero": 1, "equal": 1, "below": 1},
        marks_was=0.95,
    ),
}

_NOWHERE = "Nowhere (invented)"

HABITS |= {
    "wooden-wave": HABITS["premier"]._replace(
        name="Wooden Wave", city=_NOWHERE, own_vendor="Wooden Wave", size_option="Size", marks_was=0.9
    ),
    "square-wheel": HABITS["seasons"]._replace(
        name="Square Wheel", city=_NOWHERE, own_vendor="Square Wheel", marks_was=0.9
    ),
    "linked-ledge": HABITS["labor"]._replace(
        name="Linked Ledge", city=_NOWHERE, own_vendor="Linked Ledge", markup="json-ld"
    ),
    "meta-manual": HABITS["blacksheep"]._replace(
        name="Meta Manual", city=_NOWHERE, own_vendor="Meta Manual", markup="microdata"
    ),
    "plain-plaza": HABITS["nj"]._replace(
        name="Plain Plaza", city=_NOWHERE, own_vendor="Plain Plaza", size_option="Size"
    ),
}

LONG_SIZES = {"S": "Small", "M": "Medium", "L": "Large", "XL": "X-Large", "XXL": "XX-Large"}
