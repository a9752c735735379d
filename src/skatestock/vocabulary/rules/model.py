"""What the rule files may say, and what is checked of it."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec

from skatestock.vocabulary.category import Category
from skatestock.vocabulary.errors import RulesFileError
from skatestock.vocabulary.words import fold_name

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]
_Version = Annotated[int, msgspec.Meta(ge=1)]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: _Version


class StyleCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a maker numbers its styles; `prefix` is put before a number that is written without it."""

    pattern: _Text
    prefix: str = ""


class BrandRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One maker; brands.toml explains the keys."""

    aliases: tuple[_Text, ...] = ()
    sub_labels: tuple[_Text, ...] = ()
    common_word: bool = False
    marks: tuple[_Text, ...] = ()
    within: _Text | None = None
    signs: tuple[_Text, ...] = ()
    usual: Category | None = None
    style_codes: tuple[StyleCode, ...] = ()


class BrandsFile(_File, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """brands.toml."""

    company_words: tuple[_Text, ...] = ()
    brands: Mapping[_Text, BrandRule]

    def check(self) -> Iterator[str]:
        """List what is wrong: a name of two makers, a pattern that is none."""
        owners: dict[str, str] = {}
        for brand, rule in self.brands.items():
            for name in (brand, *rule.aliases, *rule.sub_labels):
                if not fold_name(name):
                    yield f"brand {brand!r}: the name {name!r} has no letters or digits"
                owner = owners.setdefault(fold_name(name), brand)
                if owner != brand:
                    yield f"brand {brand!r}: the name {name!r} is one of {owner!r} already"
            if (rule.within is None) is bool(rule.signs) or rule.within not in {None, *self.brands}:
                yield f"brand {brand!r}: 'within' names another brand, and 'signs' the words that tell"
            for code in rule.style_codes:
                try:
                    re.compile(code.pattern)
                except re.error as error:
                    yield f"brand {brand!r}: {code.pattern!r} is no pattern: {error}"


class CategoryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One category; categories.toml explains the keys."""

    nouns: tuple[_Text, ...] = ()
    types: tuple[_Text, ...] = ()
    taxonomy: Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2}(-\d+)*$")] | None = None


class CategoriesFile(_File, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """categories.toml."""

    not_nouns: tuple[_Text, ...] = ()
    ends_before: tuple[_Text, ...] = ()
    categories: Mapping[Category, CategoryRule]

    def check(self) -> Iterator[str]:
        """List what is wrong: a category without a rule, a word of two categories."""
        for category in Category:
            if category not in self.categories:
                yield f"category {category.value!r} has no rule"
        owners: dict[str, str] = {fold_name(phrase): "not_nouns" for phrase in self.not_nouns}
        for category, rule in self.categories.items():
            for phrase in (*rule.nouns, *rule.types):
                owner = owners.setdefault(fold_name(phrase), category.value)
                if owner != category:
                    yield f"category {category.value!r}: {phrase!r} is a word of {owner!r} already"


class SizeKind(StrEnum):
    """The ways of measuring that sizes are written in."""

    DECK = "deck"
    WHEEL = "wheel"
    TRUCK = "truck"
    SHOE = "shoe"
    SHOE_RANGE = "shoe-range"
    WAIST = "waist"
    ALPHA = "alpha"
    FITTED = "fitted"
    LENGTH = "length"
    ONE_SIZE = "one-size"


class ShoeRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By which words a shoe's size says whose it is."""

    bare: str
    men: tuple[_Text, ...]
    women: tuple[_Text, ...]
    youth: tuple[_Text, ...]
    child: tuple[_Text, ...]


class AlphaRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes by letters, from the smallest to the largest, and how else they are written."""

    order: tuple[_Text, ...]
    spellings: Mapping[_Text, tuple[_Text, ...]] = {}


class OneSizeRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What says that there is one size only."""

    words: tuple[_Text, ...]


class SizesFile(_File, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """sizes.toml; `kinds` is by category, and by `unknown` for what has none."""

    option_names: tuple[_Text, ...]
    other_option_names: tuple[_Text, ...] = ()
    kinds: Mapping[str, tuple[SizeKind, ...]]
    limits: Mapping[str, tuple[Decimal, Decimal]]
    shoes: ShoeRules
    alpha: AlphaRules
    one_size: OneSizeRules
    hangers: Mapping[_Text, Mapping[_Text, Decimal]] = {}

    def check(self) -> Iterator[str]:
        """List what is wrong: a category without kinds, a limit that is missing or upside down."""
        yield from _compare("kinds", self.kinds, {*(category.value for category in Category), "unknown"})
        yield from _compare("limits", self.limits, LIMITS)
        for name, (low, high) in self.limits.items():
            if not 0 < low < high:
                yield f"limits: {name!r} goes from {low} to {high}"
        if self.shoes.bare not in AUDIENCES:
            yield f"shoes: 'bare' is {self.shoes.bare!r}, not one of {', '.join(AUDIENCES)}"
        for letter in self.alpha.spellings:
            if letter not in self.alpha.order:
                yield f"alpha: there is no size {letter!r} in 'order'"


AUDIENCES = ("men", "women", "youth", "child")
LIMITS = frozenset(
    {"deck_width", "deck_length", "wheel_mm", "durometer", "axle", "waist", "inseam", "fitted", "length"}
    | {f"shoe_{audience}" for audience in AUDIENCES}
)
"""The measures that must have limits."""


class TitlesFile(_File, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """titles.toml."""

    colours: tuple[_Text, ...]
    shades: tuple[_Text, ...]
    materials: tuple[_Text, ...]

    def check(self) -> Iterator[str]:
        """List what is wrong: a word that could never be met, because titles are compared in lower case."""
        for word in (*self.colours, *self.shades, *self.materials):
            if word != word.casefold() or " " in word:
                yield f"{word!r} is not one word in lower case"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """All rule files together."""

    brands: BrandsFile
    categories: CategoriesFile
    sizes: SizesFile
    titles: TitlesFile

    def __post_init__(self) -> None:
        """Check what one file says of another; raises RulesFileError."""
        for maker in self.sizes.hangers:
            if maker not in self.brands.brands:
                raise RulesFileError(f"sizes.toml: hangers: there is no brand {maker!r} in brands.toml")

    @property
    def version(self) -> str:
        """Return the versions of brands, categories, sizes and titles, in this order: `1.1.1.1`."""
        parts = (self.brands, self.categories, self.sizes, self.titles)
        return ".".join(str(part.version) for part in parts)


def _compare(where: str, given: Mapping[str, object], wanted: frozenset[str] | set[str]) -> Iterator[str]:
    for name in sorted(wanted - given.keys()):
        yield f"{where}: {name!r} is missing"
    for name in sorted(given.keys() - wanted):
        yield f"{where}: there is no {name!r}"
