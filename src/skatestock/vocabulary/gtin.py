"""GTINs: the numbers behind barcodes, with eight, twelve, thirteen or fourteen digits."""

import re

_SEPARATED = re.compile(r"[0-9]+(?:[ -][0-9]+)*\Z")
_LENGTHS = frozenset({8, 12, 13, 14})
# GS1 prefixes of numbers that every shop gives out for itself, in the form of thirteen digits.
_OWN_PREFIXES = ("02", "04", "2")


def parse_gtin(text: str) -> str | None:
    """Read a barcode as a GTIN of fourteen digits; None where its length or check digit is not one's.

    Source of the check digit: GS1 General Specifications, 7.9: weights 3 and 1 in turns from the right.
    """
    text = text.strip()
    digits = re.sub("[ -]", "", text)
    if not _SEPARATED.match(text) or len(digits) not in _LENGTHS or not digits.strip("0"):
        return None
    return digits.zfill(14) if _check_digit(digits[:-1]) == digits[-1] else None


def is_shop_own(gtin: str) -> bool:
    """Tell whether a GTIN, in fourteen digits, is one that shops give out for themselves.

    It identifies nothing anywhere else. GTINs of eight digits are told by their own prefixes, 0 and 2.
    """
    if gtin.startswith("000000"):
        return gtin[6] in "02"
    return gtin[1:].startswith(_OWN_PREFIXES)


def _check_digit(digits: str) -> str:
    weighted = sum(int(digit) * (1 if place % 2 else 3) for place, digit in enumerate(reversed(digits)))
    return str(-weighted % 10)
