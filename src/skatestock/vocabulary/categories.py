"""Categories: what kind of thing a listing is, read from title and type by the rules in categories.toml."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from skatestock.vocabulary.category import Category
from skatestock.vocabulary.rules.model import CategoriesFile
from skatestock.vocabulary.words import fold_name, fold_words, longest_by_first_word

# A deck's width is given in inches to the hundredth or with an inch mark; 8.5 alone may be a shoe's size.
_DECK_WIDTH = re.compile(r"(?<![\d.])(?:[789]|10)(?:\.\d{1,3}(?:\"|”|''| ?in\b)|\.\d{2,3})(?![\d.])")
_WHEEL_DIAMETER = re.compile(r"(?<![\d.])(?:4[89]|5\d|6\d)(?:\.\d)? ?mm\b", re.IGNORECASE)


class CategoryReading(NamedTuple):
    """What kind of thing it is, and what said so: `title`, `type`, `measure`, `brand`; None where unknown."""

    category: Category | None
    basis: str | None


_UNKNOWN = CategoryReading(None, None)


class CategoryReader:
    """Reads categories by one state of the rules. Pure, and safe to share."""

    def __init__(self, rules: CategoriesFile) -> None:
        self._ends = frozenset(map(fold_name, rules.ends_before))
        self._title_nouns: dict[str, Category | None] = {}
        self._type_nouns: dict[str, Category | None] = {}
        for category, rule in rules.categories.items():
            _put(self._title_nouns, rule.nouns, category)
            _put(self._type_nouns, (*rule.nouns, *rule.types), category)
        _put(self._title_nouns, rules.not_nouns, None)
        _put(self._type_nouns, rules.not_nouns, None)
        self._longest = longest_by_first_word(self._type_nouns)
        self._by_type: dict[str, Category | None] = {}

    def read(
        self, product_type: str | None, name: str, title: str = "", usual: Category | None = None
    ) -> CategoryReading:
        """Read the category of a listing from its name, else its type, else its measures.

        The name is the title without brand and colourway, which have nouns of their own ("Bones Bearings",
        "Dill Truck"); the whole `title` is asked after both, and what its maker usually makes last.
        """
        title = title or name
        return self.read_words(product_type, fold_words(name), title, fold_words(title), usual)

    def read_words(
        self,
        product_type: str | None,
        name: list[str],
        title: str,
        title_words: list[str],
        usual: Category | None,
    ) -> CategoryReading:
        """Read the same from words that are folded already."""
        by_type = self._read_type(product_type) if product_type else None
        named = self._find_nouns(name)
        if named:
            return CategoryReading(by_type if by_type in named else named[-1], "title")
        if by_type is not None:
            return CategoryReading(by_type, "type")
        measured = _read_measure(title)
        if measured is not None:
            return CategoryReading(measured, "measure")
        named = self._find_nouns(title_words)
        if named:
            return CategoryReading(named[-1], "title")
        return _UNKNOWN if usual is None else CategoryReading(usual, "brand")

    def _read_type(self, product_type: str) -> Category | None:
        # Shops have a few dozen types; what they write there is kept, within bounds.
        if product_type not in self._by_type:
            if len(self._by_type) >= 4096:
                self._by_type.clear()
            found = self._scan(fold_words(product_type), self._type_nouns)
            self._by_type[product_type] = found[-1] if found else None
        return self._by_type[product_type]

    def _find_nouns(self, words: list[str]) -> list[Category]:
        if not self._ends.isdisjoint(words):
            for place, word in enumerate(words):
                if word in self._ends:
                    before = self._scan(words[:place], self._title_nouns)
                    if before:
                        return before
        return self._scan(words, self._title_nouns)

    def _scan(self, words: list[str], nouns: Mapping[str, Category | None]) -> list[Category]:
        """Walk through the words, at each place by the longest phrase that begins there."""
        found: list[Category] = []
        longest, skip = self._longest, 0
        for place, word in enumerate(words):
            if place < skip or word not in longest:
                continue
            for count in range(longest[word], 0, -1):
                phrase = " ".join(words[place : place + count])
                if phrase in nouns:
                    category = nouns[phrase]
                    if category is not None:
                        found.append(category)
                    skip = place + count
                    break
        return found


def _put(nouns: dict[str, Category | None], phrases: Collection[str], category: Category | None) -> None:
    for phrase in phrases:
        for form in _forms(fold_name(phrase)):
            nouns.setdefault(form, category)


def _forms(phrase: str) -> Iterable[str]:
    """Return a phrase in the singular and in the plural."""
    if phrase.endswith(("s", "sh", "ch", "x")):
        return (phrase, f"{phrase}es")
    if phrase.endswith("y") and phrase[-2:-1] not in "aeiou":
        return (phrase, f"{phrase[:-1]}ies")
    return (phrase, f"{phrase}s")


def _read_measure(title: str) -> Category | None:
    if not any(map(str.isdigit, title)):
        return None
    if _DECK_WIDTH.search(title):
        return Category.DECKS
    return Category.WHEELS if _WHEEL_DIAMETER.search(title) else None
