"""Money: integer minor units with a currency."""

import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import NamedTuple

from skatestock.vocabulary.errors import InvalidValueError

# ISO 4217 (list one, 2026): the currencies whose minor unit is not a hundredth.
_WHOLE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND"
_TEN_THOUSANDTHS = "CLF UYW"
_EXPONENTS = {
    currency: exponent
    for exponent, currencies in ((0, _WHOLE), (3, _THOUSANDTHS), (4, _TEN_THOUSANDTHS))
    for currency in currencies.split()
}
_CURRENCY = re.compile(r"[A-Z]{3}\Z")

MAX_MINOR = 2**53
"""Above any real price; keeps sums within PostgreSQL's bigint and JSON's exact integers."""


def minor_exponent(currency: str) -> int:
    """Tell how many decimal digits the currency's minor unit has (USD 2, JPY 0, KWD 3)."""
    return _EXPONENTS.get(check_currency(currency), 2)


def check_currency(currency: str) -> str:
    """Return the ISO 4217 code itself; raises InvalidValueError if it has not the form of one."""
    if not _CURRENCY.match(currency):
        raise InvalidValueError(f"{currency!r} is no ISO 4217 currency code")
    return currency


class Money(NamedTuple):
    """An amount in integer minor units of an ISO 4217 currency."""

    minor: int
    currency: str

    @classmethod
    def from_decimal(cls, amount: Decimal | str, currency: str) -> "Money":
        """Convert a decimal amount (`"45.00"`) exactly, half-even where it has more digits than the currency.

        Raises InvalidValueError for text that is no number, negative, not finite or beyond MAX_MINOR.
        """
        try:
            value = Decimal(amount)
        except InvalidOperation as error:
            raise InvalidValueError(f"{amount!r} is no decimal amount") from error
        if not value.is_finite() or value < 0 or value.adjusted() > 20:
            raise InvalidValueError(f"{amount!r} is no possible price")
        scaled = value.scaleb(minor_exponent(currency)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
        if scaled > MAX_MINOR:
            raise InvalidValueError(f"{amount!r} is no possible price")
        return cls(int(scaled), currency)

    def to_decimal(self) -> Decimal:
        """Return the amount as a decimal with exactly the currency's digits."""
        return Decimal(self.minor).scaleb(-minor_exponent(self.currency))

    def __str__(self) -> str:
        return f"{self.to_decimal():f} {self.currency}"


def discount_percent(price_minor: int, compare_at_minor: int | None) -> int | None:
    """Compute the whole percent, rounded down, that a price lies below its own offer's compare-at price.

    None where there is no discount: the compare-at price is missing, zero or not above the price.
    """
    if compare_at_minor is None or compare_at_minor <= price_minor or price_minor < 0:
        return None
    return 100 * (compare_at_minor - price_minor) // compare_at_minor
