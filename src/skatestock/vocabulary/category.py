"""Categories: what kind of thing a product is, read from a shop's free words."""

import re
from collections.abc import Mapping
from enum import StrEnum


class Category(StrEnum):
    """The kinds of things that skate shops sell."""

    DECKS = "decks"
    COMPLETES = "completes"
    TRUCKS = "trucks"
    WHEELS = "wheels"
    BEARINGS = "bearings"
    HARDWARE = "hardware"
    GRIP_TAPE = "grip-tape"
    SHOES = "shoes"
    TEES = "tees"
    SHIRTS = "shirts"
    SWEATSHIRTS = "sweatshirts"
    JACKETS = "jackets"
    PANTS = "pants"
    SHORTS = "shorts"
    HATS = "hats"
    BEANIES = "beanies"
    SOCKS = "socks"
    BAGS = "bags"
    ACCESSORIES = "accessories"
    PROTECTIVE = "protective"
    MEDIA = "media"
    GIFT_CARDS = "gift-cards"
    OTHER = "other"

    @property
    def label(self) -> str:
        """Return the name for people, such as `Grip tape`."""
        return self.value.replace("-", " ").capitalize()


# The nouns by which titles and product types name a category, as patterns between word boundaries.
_NOUNS: dict[Category, str] = {
    Category.DECKS: r"decks?",
    Category.COMPLETES: r"completes?|complete (?:skate)?boards?",
    Category.TRUCKS: r"trucks?",
    Category.WHEELS: r"wheels?",
    Category.BEARINGS: r"bearings?",
    Category.HARDWARE: r"hardware|risers?|riser pads?|bushings?|skate tools?",
    Category.GRIP_TAPE: r"grip ?tapes?|grip sheets?",
    Category.SHOES: r"shoes?|sneakers?|boots?|sandals?|slip-?ons?",
    Category.TEES: r"t[ -]?shirts?|tees?|tank ?tops?|long ?sleeves?",
    Category.SHIRTS: r"shirts?|overshirts?|button[ -]ups?|polos?|rugby|jerseys?|flannels?",
    Category.SWEATSHIRTS: r"sweatshirts?|hood(?:ie|ies|y)?|crew ?necks?|sweaters?|cardigans?|fleece",
    Category.JACKETS: r"jackets?|coats?|parkas?|puffers?|anoraks?|windbreakers?|vests?|quarter zip",
    Category.PANTS: r"pants?|jeans?|trousers?|chinos?|sweatpants?|overalls?",
    Category.SHORTS: r"shorts?|sweatshorts?|boardshorts?",
    Category.HATS: r"hats?|caps?|snapbacks?|visors?|[56][ -]panels?",
    Category.BEANIES: r"beanies?|skullcaps?",
    Category.SOCKS: r"socks?",
    Category.BAGS: r"bags?|backpacks?|totes?|duffels?|duffles?|(?:hip|waist|fanny) packs?",
    Category.ACCESSORIES: r"belts?|wallets?|key ?chains?|stickers?|sunglasses|scar(?:f|ves)|gloves?|wax",
    Category.PROTECTIVE: r"helmets?|(?:knee|elbow) pads?|wrist guards?",
    Category.MEDIA: r"dvds?|books?|zines?|magazines?",
    Category.GIFT_CARDS: r"(?:e-?)?gift ?cards?|gift certificates?",
    Category.OTHER: r"(?:action |reaction )?figures?",
}

# Words that say enough as a product type, but nothing inside a title.
_TYPES: Mapping[Category, str] = {
    Category.SHOES: r"footwear",
    Category.JACKETS: r"outerwear",
    Category.ACCESSORIES: r"accessor(?:y|ies)",
    Category.GRIP_TAPE: r"grip",
    Category.BEANIES: r"headwear beanies",
}


def _compile(nouns: Mapping[Category, str]) -> re.Pattern[str]:
    # One named group per category; its name is that of the enum's member. Longer words win by the boundary.
    groups = "|".join(f"(?P<{category.name}>{pattern})" for category, pattern in nouns.items())
    return re.compile(rf"(?<![\w-])(?:{groups})(?![\w])", re.IGNORECASE)


_TITLE_NOUN = _compile(_NOUNS)
_TYPE_NOUN = _compile(
    _NOUNS | {category: f"{_NOUNS[category]}|{words}" for category, words in _TYPES.items()}
)

# A deck's width is given in inches to the hundredth or with an inch mark; 8.5 alone may be a shoe's size.
_DECK_WIDTH = re.compile(r"(?<![\d.])(?:[789]|10)(?:\.\d{1,3}(?:\"|”|''| ?in\b)|\.\d{2,3})(?![\d.])")
_WHEEL_DIAMETER = re.compile(r"(?<![\d.])(?:4[89]|5\d|6\d)(?:\.\d)? ?mm\b", re.IGNORECASE)


def read_category(product_type: str | None, title: str) -> Category | None:
    """Read the category from a listing's title, else its product type; None when neither says it.

    The title is asked first because it is written per product, where types are shared or left over. In it the
    last noun decides, as English puts it ("Short Military Parka", "DC Shoes x Cash Only T-Shirt").
    """
    return _last_noun(_TITLE_NOUN, title) or _last_noun(_TYPE_NOUN, product_type or "") or _by_measure(title)


def _last_noun(pattern: re.Pattern[str], text: str) -> Category | None:
    found = None
    for match in pattern.finditer(text):
        found = match
    return Category[found.lastgroup] if found is not None and found.lastgroup else None


def _by_measure(title: str) -> Category | None:
    if _DECK_WIDTH.search(title):
        return Category.DECKS
    return Category.WHEELS if _WHEEL_DIAMETER.search(title) else None
