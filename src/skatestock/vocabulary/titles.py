"""Titles: what a shop's own way of writing them says of name, brand and colourway."""

import re
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from skatestock.vocabulary.colours import find_trailing_colour, looks_like_colourway
from skatestock.vocabulary.text import clean_text


class TitleHabit(StrEnum):
    """How a shop writes its titles."""

    PLAIN = "plain"
    """`Name`: no colour (Premier)."""
    DASH_COLOURS = "dash-colours"
    """`Name - A/B` (Labor)."""
    HYPHEN_COLOURS = "hyphen-colours"
    """`Name- A/B` (Seasons)."""
    BRAND_DASH = "brand-dash"
    """`Brand - Name (A/B)`, in old rows followed by ` - Size` or ` - Size / Colour` (NJ)."""
    TRAILING_COLOURS = "trailing-colours"
    """`Name A - B - C`: the colours follow the name without a mark (Black Sheep)."""


class TitleReading(NamedTuple):
    """What a title says; None where it does not."""

    name: str
    brand: str | None
    colourway: str | None


def read_title(
    title: str, habit: TitleHabit, vendor: str | None, shop_names: Collection[str]
) -> TitleReading:
    """Read a title by its shop's habit; the name is never empty unless the title is.

    The brand is the vendor, unless that is the shop itself (`shop_names`): then it is what the title says,
    which only the brand-dash habit does. Nothing is guessed.
    """
    title = clean_text(title)
    brand = read_brand(vendor, shop_names)
    rest = title
    if habit is TitleHabit.BRAND_DASH:
        written_brand, rest = _split_brand(title)
        brand = brand or written_brand
    name, colourway = _SPLIT_COLOURWAY[habit](rest)
    return TitleReading(_without_brand(name, brand), brand, colourway)


def read_brand(vendor: str | None, shop_names: Collection[str]) -> str | None:
    """Read the brand from a vendor field; None when it is empty or names the shop itself."""
    brand = clean_text(vendor or "", 200)
    no_brands = {_letters(name) for name in shop_names} | {""}
    return None if _letters(brand) in no_brands else brand


@lru_cache(maxsize=1024)
def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _without_brand(name: str, brand: str | None) -> str:
    if brand is None or name[: len(brand)].casefold() != brand.casefold():
        return name
    rest = name[len(brand) :]
    # Only a whole word is the brand ("Pop" is not that of "Popular"), and a name is never taken away whole.
    return rest.strip(" -") or name if rest[:1] in (" ", "-") else name


def _split_brand(title: str) -> tuple[str | None, str]:
    brand, dash, rest = title.partition(" - ")
    if not dash or not brand.strip() or not rest.strip():
        return None, title
    # Of two makers the first is the brand; the other stays in the name: "Converse CONS", "x Irak Rugby".
    maker, cross, partner = brand.strip().partition(" x ")
    return maker, f"x {partner} {rest.strip()}" if cross else rest.strip()


NameAndColourway = tuple[str, str | None]


def _keep_whole(title: str) -> NameAndColourway:
    return title, None


def _split_at(title: str, start: int, end: int) -> NameAndColourway:
    name, colourway = title[:start].strip(), title[end:].strip()
    if not colourway and name:
        return name, None
    return (name, colourway) if name and looks_like_colourway(colourway) else (title, None)


def _split_dash(title: str) -> NameAndColourway:
    start = title.rfind(" - ")
    return _keep_whole(title) if start < 0 else _split_at(title, start, start + 3)


def _split_hyphen(title: str) -> NameAndColourway:
    # The first hyphen that clings to the word before it: those after it stand between colours.
    match = _CLINGING_HYPHEN.search(title)
    return _keep_whole(title) if match is None else _split_at(title, match.start(), match.end())


def _split_brackets(title: str) -> NameAndColourway:
    title = _without_size(title)
    match = _LAST_BRACKETS.search(title)
    if match is None or not looks_like_colourway(match[1]):
        return title, None
    return _split_at(title[: match.end(1)], match.start(), match.start(1))


def _split_trailing(title: str) -> NameAndColourway:
    separator = _BETWEEN_COLOURS.search(title)
    start = find_trailing_colour(title[: separator.start()] if separator else title)
    if start:
        return _split_at(title, start, start)
    # No known colour before the first dash: what follows it is one only where a slash says so.
    if separator is None or "/" not in title[separator.end() :]:
        return _keep_whole(title)
    return _split_at(title, separator.start(), separator.end())


def _without_size(title: str) -> str:
    match = _TRAILING_SIZE.search(title)
    if match is None:
        return title
    colour = match["colour"]
    return f"{title[: match.start()]} ({colour})" if colour else title[: match.start()]


_BETWEEN_COLOURS = re.compile(r" - |- | / ")
_CLINGING_HYPHEN = re.compile(r"(?<=\S)-(?: |\Z)")
_LAST_BRACKETS = re.compile(r"\(([^()]*)\)+\Z")
_TRAILING_SIZE = re.compile(
    r" - (?:[2-5]?X{0,3}[SL]|M|\d{1,2}(?:\.\d{1,3})?)(?: / (?P<colour>[^()\d]+))?\Z", re.IGNORECASE
)

_SPLIT_COLOURWAY: Mapping[TitleHabit, Callable[[str], NameAndColourway]] = {
    TitleHabit.PLAIN: _keep_whole,
    TitleHabit.DASH_COLOURS: _split_dash,
    TitleHabit.HYPHEN_COLOURS: _split_hyphen,
    TitleHabit.BRAND_DASH: _split_brackets,
    TitleHabit.TRAILING_COLOURS: _split_trailing,
}
