"""Colour words: enough of them to find where a title's colours begin when no mark does."""

import re
from functools import cache
from typing import NamedTuple

from skatestock.vocabulary.rules.loading import current_rules

_WORD = re.compile(r"\S+")
_LETTER = re.compile(r"[^\W\d_]")
# Sizes that stand where a colour could: 8.25, 10", 52mm, XL, One Size.
_SIZE = re.compile(r"(?:[\d.]+ ?(?:\"|”|mm|in)?|[2-5]?x{0,3}[sl]|m|one size)\Z", re.IGNORECASE)


class _ColourWords(NamedTuple):
    colours: frozenset[str]
    shades: frozenset[str]
    materials: frozenset[str]


@cache
def _colour_words() -> _ColourWords:
    titles = current_rules().titles
    return _ColourWords(frozenset(titles.colours), frozenset(titles.shades), frozenset(titles.materials))


def looks_like_colourway(text: str) -> bool:
    """Tell whether a text in the place of a colour can be one: it has letters, and is no size or year."""
    return bool(_LETTER.search(text)) and not any(map(str.isdigit, text)) and not _SIZE.match(text)


def find_trailing_colour(text: str) -> int | None:
    """Find where the colour at a text's end begins ("Old Skool Dark Navy": 10); None if it ends in none."""
    colours, shades, materials = _colour_words()
    words = list(_WORD.finditer(text))
    end = len(words)
    while end > 1 and _plain(words[end - 1]) in materials and _plain(words[end - 2]) in colours | shades:
        end -= 1
    if end < 1 or not all(part in colours for part in _plain(words[end - 1]).split("/")):
        return None
    start = end - 1
    while start > 0 and _plain(words[start - 1]) in shades:
        start -= 1
    return words[start].start()


def _plain(word: re.Match[str]) -> str:
    return word.group().casefold()
