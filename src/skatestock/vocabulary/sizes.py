"""Sizes: what a variant measures, read from a shop's words by the rules in sizes.toml.

A size's label is its one way of being written, and reads as the same size again.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from skatestock.vocabulary.category import Category
from skatestock.vocabulary.rules.model import AUDIENCES, SizeKind, SizesFile
from skatestock.vocabulary.words import fold_name

_MAX_LENGTH = 60
_MAX_SPELLINGS = 1000
_SIXTEENTH = Decimal("0.0625")
# Makers print 8.375 as 8.38 and 8.0625 as 8.06: rounded, but the same board.
_ROUNDING = Decimal("0.006")

_NUMBER = r"(?:\d{1,3}(?:\.\d{1,4})?(?:[ -]\d{1,2}/\d{1,2})?|\d{1,2}/\d{1,2})"
_INCH = r'(?: ?(?:"|in\b|inch(?:es)?\b))?'
_WHEELBASE = rf"(?: ?(?:wb|wheelbase):? ?{_NUMBER}{_INCH})?"
_DECK = re.compile(rf"({_NUMBER}){_INCH}(?: ?x ?({_NUMBER}){_INCH})?{_WHEELBASE}(?: (?:wide|deck))?")
_WHEEL = re.compile(r"(\d{2}(?:\.\d)?) ?(?:mm)?(?:[ /x-]+(\d{2,3}) ?(?:a|d|du))?")
_WHEEL_REVERSED = re.compile(r"(\d{2,3}) ?(?:a|d|du)[ /x-]+(\d{2}(?:\.\d)?) ?(?:mm)?")
_TRUCK = re.compile(
    rf"(\d{{2,3}}|\d\.\d{{1,2}}) ?(?:mm|hi|high|low|lo|std|standard)?(?: ?\(({_NUMBER}){_INCH}\))?"
)
_AXLE = re.compile(rf"({_NUMBER}){_INCH}(?: axle)?")
_WAIST = re.compile(r'w? ?(\d{2}) ?(?:w|"|waist)?(?: ?[x/]? ?l? ?(\d{2}) ?(?:l|")?)?')
_LENGTH = re.compile(rf"({_NUMBER}){_INCH}")
_SHOE_PART = re.compile(rf"([a-z]*)[ .:]*({_NUMBER})[ .]*([a-z]*)")
# A slash between two sizes, not the one in 9 1/2.
_BETWEEN_SHOES = re.compile(r"(?<! [1357])/|/(?![248]\b)")
_US = re.compile(r"\bus\b ?| ?\bus\b")
_SHOE_RANGE = re.compile(rf"(?:us )?(?:[a-z]* )?({_NUMBER}) ?- ?({_NUMBER})(?: us)?")
_TITLE_WIDTH = re.compile(r"(?<![\d.#])(?:[789]|1[01])\.\d{1,4}(?![\d.])(?:\"|”|'')?")
_TITLE_WHEEL = re.compile(r"(?<![\d.])\d{2}(?:\.\d)? ?mm\b", re.IGNORECASE)
_FRACTIONS = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8"}
_SIGNS = str.maketrans(
    {"”": '"', "″": '"', "“": '"', "’": "'", "×": "x", "–": "-", "—": "-", "⁄": "/", "\xa0": " "}
)
_LETTERS = {"men": "M", "women": "W", "youth": "Y", "child": "C"}


class Measure(NamedTuple):
    """One number of a size: inches, millimetres, or a size number of the trade."""

    name: str
    value: Decimal


class Size(NamedTuple):
    """A size: how it is measured, its label, and its numbers."""

    kind: SizeKind
    label: str
    measures: tuple[Measure, ...] = ()


class SizeReader:
    """Reads sizes by one state of the rules. Pure, and safe to share."""

    def __init__(self, rules: SizesFile) -> None:
        self._rules = rules
        self._option_names = frozenset(map(fold_name, rules.option_names))
        # Option names that were met, and whether they hold a size: nearly every offer is spared the folding.
        self._met_options: dict[str, bool] = {}
        self._other_options = frozenset(map(fold_name, rules.other_option_names))
        self._alpha = {fold_name(letter): letter for letter in rules.alpha.order}
        for letter, spellings in rules.alpha.spellings.items():
            self._alpha.update((fold_name(spelling), letter) for spelling in spellings)
        self._one_size = frozenset(map(fold_name, rules.one_size.words))
        audiences = ((name, getattr(rules.shoes, name)) for name in AUDIENCES)
        self._audiences = {fold_name(word): name for name, words in audiences for word in words}
        self._parsers: Mapping[SizeKind, Callable[[str, str | None, str | None], Size | None]] = {
            SizeKind.DECK: self._read_deck,
            SizeKind.WHEEL: self._read_wheel,
            SizeKind.TRUCK: self._read_truck,
            SizeKind.SHOE: self._read_shoe,
            SizeKind.SHOE_RANGE: self._read_shoe_range,
            SizeKind.WAIST: self._read_waist,
            SizeKind.ALPHA: self._read_alpha,
            SizeKind.FITTED: self._read_fitted,
            SizeKind.LENGTH: self._read_length,
            SizeKind.ONE_SIZE: self._read_one_size,
        }

    def read(
        self, text: str, category: Category | None, brand: str | None = None, audience: str | None = None
    ) -> Size | None:
        """Read the words of a size of a thing of this category; None where no rule knows them.

        The brand tells a truck's axle from its number; the audience, whose size a shoe's bare number is.
        """
        if len(text) > _MAX_LENGTH:
            return None
        text = _clean(text)
        for kind in self._rules.kinds["unknown" if category is None else category]:
            size = self._parsers[kind](text, brand, audience)
            if size is not None:
                return size
        return None

    def find_words(self, options: Mapping[str, str]) -> str | None:
        """Find the value of the option that holds a size."""
        for name, value in options.items():
            held = self._met_options.get(name)
            if self.is_size_option(name) if held is None else held:
                return value
        return None

    def is_size_option(self, name: str) -> bool:
        """Tell whether an option of this name holds a size."""
        held = fold_name(name) in self._option_names
        if len(self._met_options) < _MAX_SPELLINGS:
            self._met_options[name] = held
        return held

    def is_known_option(self, name: str) -> bool:
        """Tell whether a rule says of an option of this name that it holds a size, or that it holds none."""
        return self.is_size_option(name) or fold_name(name) in self._other_options

    def find_in_title(self, title: str, category: Category | None) -> str | None:
        """Find the words of a size in the title of a thing that has no size to choose."""
        match = None
        if category is Category.DECKS:
            match = _TITLE_WIDTH.search(title)
        elif category is Category.WHEELS:
            match = _TITLE_WHEEL.search(title)
        return None if match is None else match.group()

    def read_audience(self, words: list[str]) -> str | None:
        """Read from a shoe title's folded words whose size its numbers are; None where it does not say."""
        for word in words:
            # One letter is a size or an initial in a title, never an audience.
            if word in self._audiences and len(word) > 1:
                return self._audiences[word]
        return None

    def _within(self, limit: str, value: Decimal | None) -> bool:
        low, high = self._rules.limits[limit]
        return value is not None and low <= value <= high

    # ---------------------------------------------------------------- hard goods

    def _read_deck(self, text: str, _brand: str | None, _audience: str | None) -> Size | None:
        match = _DECK.fullmatch(text)
        width = _snap(_number(match[1])) if match else None
        if match is None or width is None or not self._within("deck_width", width):
            return None
        if match[2] is None:
            return Size(SizeKind.DECK, f'{_plain(width)}"', (Measure("width_inches", width),))
        length = _snap(_number(match[2]))
        if length is None or not self._within("deck_length", length):
            return None
        measures = (Measure("width_inches", width), Measure("length_inches", length))
        return Size(SizeKind.DECK, f'{_plain(width)}" × {_plain(length)}"', measures)

    def _read_wheel(self, text: str, _brand: str | None, _audience: str | None) -> Size | None:
        match, reversed_match = _WHEEL.fullmatch(text), _WHEEL_REVERSED.fullmatch(text)
        if match is None and reversed_match is None:
            return None
        words = (
            (match[1], match[2])
            if match
            else (reversed_match[2], reversed_match[1])
            if reversed_match
            else ()
        )
        diameter, durometer = (None if word is None else Decimal(word) for word in words)
        if diameter is None or not self._within("wheel_mm", diameter):
            return None
        if durometer is None:
            return Size(SizeKind.WHEEL, f"{_plain(diameter)} mm", (Measure("diameter_mm", diameter),))
        if not self._within("durometer", durometer):
            return None
        measures = (Measure("diameter_mm", diameter), Measure("durometer_a", durometer))
        return Size(SizeKind.WHEEL, f"{_plain(diameter)} mm {_plain(durometer)}A", measures)

    def _read_truck(self, text: str, brand: str | None, _audience: str | None) -> Size | None:
        match = _AXLE.fullmatch(text)
        axle = _number(match[1]) if match else None
        if axle is not None and self._within("axle", axle):
            return Size(SizeKind.TRUCK, f'{_plain(axle)}"', (Measure("axle_inches", axle),))
        match = _TRUCK.fullmatch(text)
        if match is None:
            return None
        number = match[1]
        known = self._rules.hangers.get(brand or "", {}).get(number)
        axle = _number(match[2]) if match[2] else known
        if axle is None:
            # Three digits are a hanger's millimetres with every maker; others mean what their maker says.
            named = len(number) == 3 and number.isdigit()
            return Size(SizeKind.TRUCK, number, (Measure("hanger", Decimal(number)),)) if named else None
        if not self._within("axle", axle):
            return None
        measures = (Measure("hanger", Decimal(number)), Measure("axle_inches", axle))
        return Size(SizeKind.TRUCK, f'{number} ({_plain(axle)}")', measures)

    def _read_length(self, text: str, _brand: str | None, _audience: str | None) -> Size | None:
        match = _LENGTH.fullmatch(text)
        inches = _number(match[1]) if match else None
        if inches is None or not self._within("length", inches):
            return None
        return Size(SizeKind.LENGTH, f'{_plain(inches)}"', (Measure("length_inches", inches),))

    # ---------------------------------------------------------------- what is worn

    def _read_shoe(self, text: str, _brand: str | None, audience: str | None) -> Size | None:
        parts = [self._read_shoe_part(part.strip(), audience) for part in _BETWEEN_SHOES.split(text)]
        measures = [part for part in parts if part is not None]
        names = [measure.name for measure in measures]
        if len(measures) != len(parts) or len(set(names)) != len(names) or len(names) > 2:
            return None
        # Two sizes are one shoe only where the shop says whose each of them is.
        if len(measures) == 2 and {"men", "women"} != set(names):
            return None
        measures.sort(key=lambda measure: AUDIENCES.index(measure.name))
        label = " / ".join(f"{_LETTERS[measure.name]} {_plain(measure.value)}" for measure in measures)
        return Size(SizeKind.SHOE, label, tuple(Measure(f"us_{m.name}", m.value) for m in measures))

    def _read_shoe_part(self, text: str, audience: str | None) -> Measure | None:
        match = _SHOE_PART.fullmatch(_US.sub("", text))
        if match is None:
            return None
        words = [word for word in (match[1], match[3]) if word]
        if len(words) > 1:
            return None
        whose = self._audiences.get(words[0]) if words else audience or self._rules.shoes.bare
        value = _number(match[2])
        if whose is None or value is None or value * 2 % 1 or not self._within(f"shoe_{whose}", value):
            return None
        return Measure(whose, value)

    def _read_shoe_range(self, text: str, _brand: str | None, _audience: str | None) -> Size | None:
        match = _SHOE_RANGE.fullmatch(text)
        first, last = (_number(match[1]), _number(match[2])) if match else (None, None)
        if first is None or last is None or not first < last or not self._within("shoe_men", last):
            return None
        measures = (Measure("us_from", first), Measure("us_to", last))
        return Size(SizeKind.SHOE_RANGE, f"{_plain(first)}-{_plain(last)}", measures)

    def _read_waist(self, text: str, _brand: str | None, _audience: str | None) -> Size | None:
        match = _WAIST.fullmatch(text)
        if match is None or not self._within("waist", Decimal(match[1])):
            return None
        waist = Measure("waist_inches", Decimal(match[1]))
        if match[2] is None:
            return Size(SizeKind.WAIST, f"W{match[1]}", (waist,))
        if not self._within("inseam", Decimal(match[2])):
            return None
        measures = (waist, Measure("inseam_inches", Decimal(match[2])))
        return Size(SizeKind.WAIST, f"W{match[1]} L{match[2]}", measures)

    def _read_alpha(self, text: str, _brand: str | None, _audience: str | None) -> Size | None:
        letters = [
            self._alpha.get(fold_name(part)) or self._alpha.get(part.strip()) for part in text.split("/")
        ]
        known = [letter for letter in letters if letter is not None]
        if not known or len(known) != len(letters) or len(known) > 2:
            return None
        order = self._rules.alpha.order
        places = [order.index(letter) for letter in known]
        if len(known) == 2 and places[1] != places[0] + 1:
            return None
        return Size(SizeKind.ALPHA, "/".join(known))

    def _read_fitted(self, text: str, _brand: str | None, _audience: str | None) -> Size | None:
        match = _LENGTH.fullmatch(text)
        value = _number(match[1]) if match else None
        if value is None or value * 8 % 1 or not self._within("fitted", value):
            return None
        return Size(SizeKind.FITTED, _eighths(value), (Measure("fitted", value),))

    def _read_one_size(self, text: str, _brand: str | None, _audience: str | None) -> Size | None:
        return Size(SizeKind.ONE_SIZE, "One size") if fold_name(text) in self._one_size else None


def _clean(text: str) -> str:
    """Bring signs and fractions into one form, in lower case."""
    text = text.translate(_SIGNS).replace("''", '"')
    for sign, words in _FRACTIONS.items():
        if sign in text:
            text = text.replace(sign, f" {words}")
    text = re.sub(r"(?<=[a-z])'s\b", "s", text.casefold())
    return " ".join(text.split())


def _number(text: str | None) -> Decimal | None:
    """Read `8.25`, `8 1/4`, `8-1/4` or `7/8`; None for a fraction that is none."""
    if text is None:
        return None
    total = Decimal(0)
    for part in text.replace("-", " ").split():
        above, slash, below = part.partition("/")
        if slash and (int(below) == 0 or int(above) >= int(below)):
            return None
        total += Decimal(above) / Decimal(below) if slash else Decimal(part)
    return total


def _snap(inches: Decimal | None) -> Decimal | None:
    if inches is None:
        return None
    nearest = (inches / _SIXTEENTH).to_integral_value() * _SIXTEENTH
    return nearest if abs(inches - nearest) <= _ROUNDING else inches


def _plain(value: Decimal) -> str:
    """Write a number without zeros at its end, to four places."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return text or "0"


def _eighths(value: Decimal) -> str:
    whole, rest = int(value), int((value % 1) * 8)
    if not rest:
        return str(whole)
    below = 8
    while rest % 2 == 0:
        rest, below = rest // 2, below // 2
    return f"{whole} {rest}/{below}"
