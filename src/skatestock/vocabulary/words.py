"""Words: how names are compared that every shop spells its own way."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

# A run of letters or of digits is a word of its own, so that "NM440" and "NM 440" are the same two.
_WORD = re.compile(r"[^\W\d_]+|\d+")
# The same for most texts, several times faster.
_ASCII_WORD = re.compile(r"[a-z]+|[0-9]+")
_APOSTROPHES = "'`’‘´"


def fold_words(text: str) -> list[str]:
    """Split a text into words without case, accents, apostrophes and punctuation."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower().replace("'", "").replace("`", ""))
    decomposed = unicodedata.normalize("NFKD", text)
    kept = (letter for letter in decomposed if letter not in _APOSTROPHES)
    return _WORD.findall("".join(letter for letter in kept if not unicodedata.combining(letter)).casefold())


@lru_cache(maxsize=4096)
def fold_name(text: str) -> str:
    """Return the words of a name as one text; names that only differ in spelling give the same."""
    return " ".join(fold_words(text))


def longest_by_first_word(names: Iterable[str]) -> dict[str, int]:
    """Return how many words the longest of the folded names has, by their first word.

    A search for names begins nowhere else, which leaves most words of a title after one look.
    """
    longest: dict[str, int] = {}
    for name in names:
        words = name.split(" ")
        longest[words[0]] = max(longest.get(words[0], 0), len(words))
    return longest


def skip_letters(text: str, count: int) -> int:
    """Return the place in a text behind its first `count` letters and digits, as `fold_words` counts them."""
    seen = 0
    for place, letter in enumerate(text):
        if seen >= count:
            return place
        if letter.isascii():
            seen += letter.isalnum()
        else:
            seen += sum(map(len, fold_words(letter)))
    return len(text)
