from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.money import MAX_MINOR, Money, check_currency, discount_percent, minor_exponent
from skatestock.vocabulary.plausibility import is_price_jump

EXPONENTS = {
    "USD": 2,
    "EUR": 2,
    "HUF": 2,
    "JPY": 0,
    "KRW": 0,
    "VND": 0,
    "ISK": 0,
    "KWD": 3,
    "TND": 3,
    "CLF": 4,
}
currencies = st.sampled_from(sorted(EXPONENTS))
amounts_minor = st.integers(0, MAX_MINOR)
prices_minor = st.integers(0, 10_000_00)


@pytest.mark.parametrize(("currency", "exponent"), EXPONENTS.items())
def test_minor_units_follow_iso_4217(currency: str, exponent: int) -> None:
    assert minor_exponent(currency) == exponent


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("45.00", "USD", 4500),
        ("45", "USD", 4500),
        ("1500", "JPY", 1500),
        ("423.923", "KWD", 423923),
        ("0.00", "USD", 0),
        ("0.005", "USD", 0),
        ("0.015", "USD", 2),
        ("29.1583", "GBP", 2916),
        ("1E+2", "USD", 10000),
    ],
)
def test_decimal_amounts_become_exact_minor_units(amount: str, currency: str, minor: int) -> None:
    assert Money.from_decimal(amount, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    "amount", ["", "abc", "-1", "NaN", "sNaN", "Infinity", "1e30", "1e999999", "90071992547410"]
)
def test_amounts_that_are_no_price_are_refused(amount: str) -> None:
    with pytest.raises(InvalidValueError):
        Money.from_decimal(amount, "CLF" if amount.startswith("9") else "USD")


@pytest.mark.parametrize("currency", ["", "usd", "US", "USDX", "US$", "USD\n", "ＵＳＤ"])
def test_what_has_not_the_form_of_a_code_is_no_currency(currency: str) -> None:
    with pytest.raises(InvalidValueError):
        check_currency(currency)


@given(amounts_minor, currencies)
def test_minor_units_survive_the_way_to_decimal_and_back(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert Money.from_decimal(money.to_decimal(), currency) == money
    assert Money.from_decimal(str(money).split()[0], currency) == money


@given(amounts_minor, currencies)
def test_a_decimal_has_exactly_the_digits_of_its_currency(minor: int, currency: str) -> None:
    exponent = Money(minor, currency).to_decimal().as_tuple().exponent
    assert exponent == -EXPONENTS[currency]


@given(st.text())
def test_any_text_becomes_money_or_is_refused(text: str) -> None:
    try:
        money = Money.from_decimal(text, "USD")
    except InvalidValueError:
        return
    assert 0 <= money.minor <= MAX_MINOR


def test_money_prints_its_amount_and_currency() -> None:
    assert [str(Money(1050, currency)) for currency in ("USD", "JPY", "KWD")] == [
        "10.50 USD",
        "1050 JPY",
        "1.050 KWD",
    ]


@pytest.mark.parametrize(
    ("price", "compare_at", "percent"),
    [(60_00, 120_00, 50), (60_00, None, None), (60_00, 0, None), (60_00, 60_00, None), (72_00, 38_80, None),
     (0, 50_00, 100), (0, 0, None), (99_99, 100_00, 0), (2, 3, 33)],
)  # fmt: skip
def test_a_discount_needs_a_compare_at_price_above_the_price(
    price: int, compare_at: int | None, percent: int | None
) -> None:
    assert discount_percent(price, compare_at) == percent


@given(prices_minor, st.none() | prices_minor)
def test_a_discount_is_never_more_than_the_exact_one(price: int, compare_at: int | None) -> None:
    percent = discount_percent(price, compare_at)
    if percent is None:
        assert compare_at is None or compare_at <= price
    else:
        assert compare_at is not None
        exact = 100 * (Decimal(compare_at) - price) / compare_at
        assert 0 <= percent <= exact < percent + 1


@pytest.mark.parametrize(
    ("believed", "new", "is_jump"),
    [(100, 0, True), (0, 0, True), (0, 999, False), (100, 30, False), (100, 29, True), (100, 170, False),
     (100, 171, True), (100, 100, False), (60_00, 60_00_00, True)],
)  # fmt: skip
def test_zero_and_moves_over_seventy_percent_are_jumps(believed: int, new: int, is_jump: bool) -> None:
    assert is_price_jump(believed, new) is is_jump


@given(st.integers(1, MAX_MINOR), st.integers(1, MAX_MINOR))
def test_a_jump_is_measured_without_rounding(believed: int, new: int) -> None:
    assert is_price_jump(believed, new) is (abs(Decimal(new) - believed) / believed > Decimal("0.7"))
