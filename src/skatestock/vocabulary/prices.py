"""Prices: what a person reads in a price text."""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from skatestock.vocabulary.currency_marks import (
    CurrencyMark,
    find_currency,
    find_currency_marks,
    resolve_shared_sign,
)
from skatestock.vocabulary.money import minor_exponent

_MAX_TEXT_LENGTH = 500
"""Longer texts are not prices; what stands behind this is not read."""


class Price(NamedTuple):
    """An amount as a text writes it."""

    amount: Decimal
    currency: str | None
    """ISO 4217 code; None where neither the text nor the hint names one."""
    mark: str | None = None
    """The sign, code or word that names the currency in the text; None where the text has none."""


class PricePair(NamedTuple):
    """A price and the "was" price beside it; None where the text does not give it."""

    price: Price | None
    compare_at: Price | None


class _Figure(NamedTuple):
    """One number in a text, with the mark that stands at it."""

    start: int
    end: int
    digits: str
    mark: CurrencyMark | None
    mark_is_before: bool


def parse_price(
    text: str, currency_hint: str | None = None, *, decimal_separator: str | None = None
) -> Price | None:
    """Read the price in a text ("From $1,299.00", "1 290,- Kč", "12 USD"); None where it has none.

    Of several prices the first counts, but one marked as a former price ("was") gives way. The hint is a code
    or any text that may name a currency: it decides shared signs (`$` with "CAD") and fills in a missing one.
    `decimal_separator` settles "1.234" where the caller knows the shop's habit: else three digits behind
    a single separator are thousands, unless the currency has three decimals. Never raises.
    """
    pair = parse_price_pair(text, currency_hint, decimal_separator=decimal_separator)
    return pair.price or pair.compare_at


def parse_price_pair(
    text: str, currency_hint: str | None = None, *, decimal_separator: str | None = None
) -> PricePair:
    """Read a price and the "was" price beside it ("$ 60.00 was $ 120.00"); never raises."""
    text = _normalise(text)
    hint = find_currency(currency_hint)
    now_text, was_text = _split_was(text)
    price = _parse_one(now_text, hint, decimal_separator)
    return PricePair(price, _parse_one(was_text, hint, decimal_separator) if was_text else None)


def _parse_one(text: str, hint: str | None, decimal_separator: str | None) -> Price | None:
    if _FREE.match(text):
        return Price(Decimal(0), hint)
    figure = _choose(text, list(_find_figures(text)))
    if figure is None:
        return None
    mark = figure.mark
    currency = hint if mark is None else resolve_shared_sign(mark.text, mark.currency, hint)
    exponent = 2 if currency is None else minor_exponent(currency)
    amount = _read_digits(figure.digits, exponent, decimal_separator)
    return Price(amount, currency, None if mark is None else mark.text)


def _normalise(text: str) -> str:
    text = text[:_MAX_TEXT_LENGTH]
    if not text.isascii():
        text = "".join(map(_to_plain, text))
    return " ".join(text.split())


def _to_plain(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def _split_was(text: str) -> tuple[str, str]:
    was = _WAS.search(text)
    if was is None:
        return text, ""
    before, after = text[: was.start()], text[was.end() :]
    now = _NOW.search(after)
    return (before, after) if now is None else (after[now.end() :], after[: now.start()])


def _find_figures(text: str) -> Iterator[_Figure]:
    text = _NO_PRICE.sub(_blank, text)
    marks = find_currency_marks(text)
    for match in _FIGURE.finditer(text):
        # In "Rs.500" and "S/.12" the dot is the mark's, not the figure's.
        is_marks_dot = any(mark.start <= match.start() < mark.end for mark in marks)
        start, end = match.start() + is_marks_dot, match.end()
        mark, mark_is_before = _mark_at(text, start, end, marks)
        figure = _Figure(start, end, text[start:end], mark, mark_is_before)
        if _may_be_price(text, figure):
            yield figure._replace(digits=figure.digits + _find_cents(text, figure))


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _mark_at(text: str, start: int, end: int, marks: list[CurrencyMark]) -> tuple[CurrencyMark | None, bool]:
    before = _marks_before(text, start, marks)
    after = [mark for mark in marks if mark.start >= end and _GAP_AFTER.fullmatch(text, end, mark.start)]
    at_figure = before + after
    if not at_figure:
        return None, False
    first = at_figure[0]
    # Of "$1,190.00 AUD" and "NZD $100.70" the code is what the sign means.
    codes = (mark for mark in at_figure if _is_code_for(mark, first))
    chosen = next(codes, first)
    return chosen, chosen in before


def _is_code_for(mark: CurrencyMark, sign: CurrencyMark) -> bool:
    if mark.text != mark.currency or mark.text == sign.currency:
        return False
    return resolve_shared_sign(sign.text, None, mark.text) is not None


def _marks_before(text: str, start: int, marks: list[CurrencyMark]) -> list[CurrencyMark]:
    found: list[CurrencyMark] = []
    for mark in reversed(marks):
        if mark.end <= start and _GAP_BEFORE.fullmatch(text, mark.end, start):
            if mark.strong or (mark.text == "R" and mark.end == start):
                found.append(mark)
            start = mark.start
    return found


def _may_be_price(text: str, figure: _Figure) -> bool:
    first = figure.mark.start if figure.mark is not None and figure.mark_is_before else figure.start
    before, after = text[:first], text[figure.end :]
    if _DASH_BEFORE.search(before) or _NOT_BEHIND_PRICE.match(after):
        return False
    if figure.mark is not None:
        return True
    # A figure that clings to a word is a model or a size.
    return not (before[-1:].isalpha() or before[-1:] == "#" or _CLINGING.match(after))


def _find_cents(text: str, figure: _Figure) -> str:
    """Find the decimals that stand behind the sign, as in "35€99"; empty where there are none."""
    mark = figure.mark
    if mark is None or figure.mark_is_before or not figure.digits.isdigit() or mark.end - figure.end > 2:
        return ""
    cents = _CENTS.match(text, mark.end)
    return "" if cents is None else "." + (cents[1] or cents[2])


def _choose(text: str, figures: list[_Figure]) -> _Figure | None:
    for index, figure in enumerate(figures):
        if figure.mark is not None:
            previous = figures[index - 1] if index else None
            if previous and not figure.mark_is_before and _RANGE.fullmatch(text, previous.end, figure.start):
                # "26 to 50 €" begins at 26 €; "50 - $2.00" is fifty pieces at $2.00.
                return previous._replace(mark=figure.mark)
            return figure
    return next((figure for figure in figures if not _is_in_brackets(text, figure.start)), None)


def _is_in_brackets(text: str, position: int) -> bool:
    return text.count("(", 0, position) > text.count(")", 0, position)


def _read_digits(text: str, exponent: int, decimal_separator: str | None) -> Decimal:
    text = text.rstrip(".,")
    if text[0] == ".":
        rest = text[1:]
        if rest.isdigit() or decimal_separator == ".":
            return Decimal("0." + _digits_of(rest))
        text = rest
    point = _find_point(text, exponent, decimal_separator)
    if point is None:
        return Decimal(_digits_of(text))
    return Decimal(f"{_digits_of(text[:point])}.{_digits_of(text[point:])}")


def _digits_of(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _find_point(text: str, exponent: int, decimal_separator: str | None) -> int | None:
    """Find the decimal separator in the digits of one number; None if all its separators group."""
    if decimal_separator is not None:
        found = text.rfind(decimal_separator)
        return None if found < 0 else found
    separators = [character for character in text if character in ".,"]
    if not separators:
        return None
    last = separators[-1]
    point = text.rindex(last)
    behind = len(_digits_of(text[point:]))
    if len(set(separators)) > 1:
        return point if separators.count(last) == 1 else None
    if len(separators) > 1:
        return None if behind == 3 else point
    return None if behind == 3 and _groups_thousands(text, point, exponent) else point


def _groups_thousands(text: str, point: int, exponent: int) -> bool:
    """Tell whether the only separator, three digits from the end, stands between thousands and hundreds."""
    whole = text[:point]
    if " " in whole or "'" in whole or len(whole) > 3 or whole.startswith("0"):
        return False
    # Of the currencies with thousandths most write them behind a point: 423.923 KD.
    return not (exponent == 3 and text[point] == ".")


_PLAIN = {
    "\u066b": ".",
    "\u066c": ",",
    "\u2019": "'",
    "\u2018": "'",
    "\u02bc": "'",
    "\u2212": "-",
    "\u200e": "",
    "\u200f": "",
    "\u202a": "",
    "\u202c": "",
}

_FREE = re.compile(r"(?:free|gratis|kostenlos)[ !.]*\Z", re.IGNORECASE)
_WAS = re.compile(r"\b(?:was|rrp|msrp|originally|instead of|statt)\b:?", re.IGNORECASE)
_NOW = re.compile(r"\b(?:now|jetzt|sale)\b:?", re.IGNORECASE)

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?,?"
# Feet, but not forints: Ft is a currency.
_UNIT = r" ?(?:(?-i:ft)|cm|mm|kg|ml|oz|lbs?)\b"
# Dates, percentages, "$49+" and measures: figures that are no prices whatever stands at them.
_NO_PRICE = re.compile(
    rf"(?<![\d.,])(?:\d{{1,2}}([./-])\d{{1,2}}\1\d{{4}}(?!\d)|\d+(?:[.,]\d+)?(?: ?%|\+|{_UNIT}))"
    rf"|\b{_MONTH} \d{{4}}\b",
    re.IGNORECASE,
)
_FIGURE = re.compile(
    r"\.?(?<!\d)(?:\d{1,3}(?: \d{3})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,']\d+)*)(?:[.,] \d\d(?![\d.,]))?"
)
_GAP_BEFORE = re.compile(r"[ :.]*")
_GAP_AFTER = re.compile(r"(?:[.,] ?[-–—]{1,2}|[-–—]{1,2})? ?")
# A minus ("-5", "$-5"), or the middle of "25-09"; a dash behind a word ("ab-5") only joins.
_DASH_BEFORE = re.compile(r"(?<![^\W\d_])-\Z")
_NOT_BEHIND_PRICE = re.compile(r"\+|-\d")
_CLINGING = re.compile(r"[A-Za-z]")
_RANGE = re.compile(r" ?(?:-|–|—|to|bis|до|à) ?")
_CENTS = re.compile(r"(?: (\d\d)|(\d{2,3}))(?![\d.,]| ?[€£$])")
