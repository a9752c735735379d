"""Brands: who made a thing, read from a shop's vendor field and its titles by the rules in brands.toml."""

import re
from functools import lru_cache
from typing import NamedTuple

from skatestock.vocabulary.category import Category
from skatestock.vocabulary.rules.model import BrandsFile
from skatestock.vocabulary.words import fold_name, fold_words, longest_by_first_word

_CACHED_WORDS = 4096
# Between two makers of one thing; the first is the brand.
_CROSS = frozenset({"x", "and"})


class BrandReading(NamedTuple):
    """Who made it (None where no rule knows), and how many letters of the title are the maker's name."""

    brand: str | None
    prefix_letters: int


class BrandReader:
    """Reads brands by one state of the rules. Pure, and safe to share."""

    def __init__(self, rules: BrandsFile) -> None:
        self._rules = rules.brands
        self._company_words = frozenset(map(fold_name, rules.company_words))
        self._by_name: dict[str, str] = {}
        self._by_mark: dict[str, str] = {}
        self._parts: dict[str, dict[str, str]] = {}
        for brand, rule in rules.brands.items():
            for name in (brand, *rule.aliases, *rule.sub_labels):
                self._by_name[fold_name(name)] = brand
            for mark in rule.marks:
                self._by_mark[fold_name(mark)] = brand
            if rule.within is not None:
                self._parts.setdefault(rule.within, {}).update(
                    (fold_name(sign), brand) for sign in rule.signs
                )
        self._longest = longest_by_first_word(self._by_name)
        self._known_words = lru_cache(_CACHED_WORDS)(self._find)
        self._codes = {
            brand: [
                (re.compile(rf"(?<![A-Z0-9])(?:{code.pattern})(?![A-Z0-9])"), code.prefix) for code in codes
            ]
            for brand, codes in ((brand, rule.style_codes) for brand, rule in rules.brands.items())
            if codes
        }

    def read(self, word: str | None, words: list[str]) -> BrandReading:
        """Read the brand from the shop's word for it (never the shop itself) and a title's folded words.

        The longest known name that the title begins with is believed before the word, which shops fill in
        carelessly; but a name that is a plain word too needs a word that names no one else.
        """
        for mark, brand in self._by_mark.items():
            if mark in words:
                return BrandReading(brand, 0)
        prefix, letters = self.find_prefix(words)
        by_title = self._find_part(prefix, words)
        if not word:
            return BrandReading(by_title, letters)
        by_word = self._find_part(self.find(word), words)
        if by_title is None or by_title == by_word:
            return BrandReading(by_word, letters)
        if self._rules[by_title].common_word or self._is_part(by_title, by_word):
            return BrandReading(by_word, letters if self._is_part(by_title, by_word) else 0)
        return BrandReading(by_title, letters)

    def find(self, word: str) -> str | None:
        """Find the brand that a word names; of two makers ("Adidas x Pop") the first."""
        return self._known_words(word)

    def _find(self, word: str) -> str | None:
        words = fold_words(word)
        while words:
            brand = self._by_name.get(" ".join(words))
            if brand is not None:
                return brand
            if words[-1] not in self._company_words:
                break
            words.pop()
        words = fold_words(word)
        brand, letters = self.find_prefix(words)
        rest = _words_after(words, letters)
        return brand if rest and rest[0] in _CROSS else None

    def find_prefix(self, words: list[str]) -> tuple[str | None, int]:
        """Find the longest name that folded words begin with: its brand, and how many letters it takes."""
        for count in range(self._longest.get(words[0], 0) if words else 0, 0, -1):
            name = " ".join(words[:count])
            brand = self._by_name.get(name)
            if brand is not None:
                return brand, len(name) - name.count(" ")
        return None, 0

    def usual_category(self, brand: str | None) -> Category | None:
        """Return what a maker's titles mean that name no thing."""
        return self._rules[brand].usual if brand is not None else None

    def find_style_code(self, brand: str | None, text: str) -> str | None:
        """Find a maker's own number of a style in a title or a SKU, in its one way of writing it."""
        for pattern, prefix in self._codes.get(brand, ()) if brand is not None else ():
            match = pattern.search(text)
            if match is not None:
                return prefix + match.group().replace(" ", "-").replace(".", "-")
        return None

    def has_style_codes(self, brand: str | None) -> bool:
        """Tell whether a rule says how a maker numbers its styles."""
        return brand in self._codes

    def _find_part(self, brand: str | None, words: list[str]) -> str | None:
        """Return the brand within a bigger one that words of the title are signs of, else the bigger one."""
        parts = self._parts.get(brand) if brand is not None else None
        return next((parts[word] for word in words if word in parts), brand) if parts else brand

    def _is_part(self, brand: str, of: str | None) -> bool:
        # "Nike" of "Nike SB": a title that says less does not contradict.
        return of is not None and f"{fold_name(of)} ".startswith(f"{fold_name(brand)} ")


def _words_after(words: list[str], letters: int) -> list[str]:
    place = 0
    while letters > 0:
        letters -= len(words[place])
        place += 1
    return words[place:]
