import json
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skatestock.vocabulary.currency_marks import find_currency
from skatestock.vocabulary.prices import Price, parse_price, parse_price_pair

log = logging.getLogger(__name__)
"""What the real data was read as: shown by `pytest --log-cli-level=info`."""

WHOLE_PARTS = st.integers(0, 999_999_999)


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("$1,299.00", "1299.00", "USD"),
        ("1.299,00 €", "1299.00", "EUR"),
        ("1 299,00 zł", "1299.00", "PLN"),
        ("1\u00a0299,00 €", "1299.00", "EUR"),
        ("CHF 1'049.95", "1049.95", "CHF"),
        ("1’049.95 CHF", "1049.95", "CHF"),
        ("₹1,23,456.00", "123456.00", "INR"),
        ("Rs.206.00", "206.00", "INR"),
        ("US$ 12.99", "12.99", "USD"),
        ("US $1.23", "1.23", "USD"),
        ("From $12", "12", "USD"),
        ("12 USD", "12", "USD"),
        ("423.923 KD", "423.923", "KWD"),
        ("123,456.789 OMR", "123456.789", "OMR"),
        ("9 800 Kč", "9800", "CZK"),
        ("50,- Kč", "50", "CZK"),
        ("¥1,200", "1200", "JPY"),
        ("12,000원", "12000", "KRW"),
        ("$.75", "0.75", "USD"),
        ("35€ 99", "35.99", "EUR"),
        ("$119. 95", "119.95", "USD"),
        ("٣٬٤٣٩٫٥٠ ر.س", "3439.50", "SAR"),
        ("$1,190.00 AUD", "1190.00", "AUD"),
        ("NZD $100.70", "100.70", "NZD"),
        ("AED 8000 (USD 2179)", "8000", "AED"),
        ("50 - $2.00 100 - $1.75", "2.00", "USD"),
        ("From 26 to 50 €", "26", "EUR"),
        ("6.95 - 9.95", "6.95", None),
        ("34.12 (40.94 inc VAT)", "34.12", None),
        ("0.500", "0.500", None),
        ("1.234.567", "1234567", None),
        ("Free!", "0", None),
        ("99 ¢", "99", None),
    ],
)
def test_prices_are_read_as_people_write_them(text: str, amount: str, currency: str | None) -> None:
    price = parse_price(text)
    assert price is not None
    assert (price.amount, price.currency) == (Decimal(amount), currency)


@pytest.mark.parametrize(
    "text",
    ["", "No price found", "40% OFF", "15.08.2017", "July, 2004", "25-09", "16.00 ft", "52mm", "-$5.00",
     "$-5", "Free Shipping on Orders $49+.", "AF1", "3x", "#884", "NaN", "1e5", "(min. order: 1)"],
)  # fmt: skip
def test_what_is_no_price_is_none(text: str) -> None:
    assert parse_price(text) is None


@pytest.mark.parametrize(
    ("text", "hint", "currency"),
    [
        ("$5", None, "USD"),
        ("$5", "CAD", "CAD"),
        ("$5", "EUR", "USD"),
        ("150 kr", "DKK", "DKK"),
        ("5.00", "Price: £ 39.95", "GBP"),
        ("£54.17", "USD", "GBP"),
        ("17.90", "ht / L'unité", None),
    ],
)
def test_a_hint_fills_in_and_decides_but_never_overrules(
    text: str, hint: str | None, currency: str | None
) -> None:
    price = parse_price(text, hint)
    assert price is not None
    assert price.currency == currency


def test_a_known_decimal_separator_settles_what_is_ambiguous() -> None:
    readings = [parse_price("1.234", decimal_separator=separator) for separator in (None, ".", ",")]
    assert [reading.amount if reading else None for reading in readings] == [1234, Decimal("1.234"), 1234]


@pytest.mark.parametrize(
    ("text", "price", "compare_at"),
    [
        ("$ 60.00 was $ 120.00", "60.00", "120.00"),
        ("Was $120.00 Now $60.00", "60.00", "120.00"),
        ("$60.00 RRP: $120.00", "60.00", "120.00"),
        ("$60.00", "60.00", None),
        ("was $120.00", None, "120.00"),
        ("No original price found", None, None),
    ],
)
def test_a_price_and_its_was_price_are_told_apart(
    text: str, price: str | None, compare_at: str | None
) -> None:
    pair = parse_price_pair(text)
    amounts = [None if part is None else part.amount for part in pair]
    assert amounts == [None if amount is None else Decimal(amount) for amount in (price, compare_at)]


@given(st.text(), st.none() | st.text(), st.sampled_from([None, ".", ","]))
@example("٫٫1", None, ".")
@example("Rs..", None, None)
@example("1" * 600, None, None)
def test_no_text_makes_the_reader_fail(text: str, hint: str | None, separator: str | None) -> None:
    price = parse_price(text, hint, decimal_separator=separator)
    assert price is None or (price.amount.is_finite() and price.amount >= 0)


@given(st.text(alphabet="0123456789.,' $€KDRs-–()%+kčwasno\u00a0", max_size=40))
def test_no_text_of_price_characters_makes_the_reader_fail(text: str) -> None:
    pair = parse_price_pair(text)
    assert all(part is None or part.amount >= 0 for part in pair)


def group(whole: int, separator: str) -> str:
    return f"{whole:,}".replace(",", separator)


@given(
    WHOLE_PARTS,
    st.integers(0, 99),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), (" ", "."), ("'", "."), ("\u00a0", ","), ("", ".")]),
    st.sampled_from(["${}", "€ {}", "{} €", "{} USD", "EUR{}", "From ${}", "{}", "Price: £{} *", "Rs. {}"]),
)
def test_every_way_of_writing_an_amount_is_read_back(
    whole: int, cents: int, separators: tuple[str, str], form: str
) -> None:
    grouping, point = separators
    price = parse_price(form.format(f"{group(whole, grouping)}{point}{cents:02}"))
    assert price is not None
    assert price.amount == Decimal(f"{whole}.{cents:02}")


@given(st.integers(0, 10**9), st.sampled_from(["KD {}", "{} OMR", "{} BHD"]))
def test_thousandths_are_read_back(minor: int, form: str) -> None:
    price = parse_price(form.format(f"{minor // 1000:,}.{minor % 1000:03}"))
    assert price is not None
    assert price.amount == Decimal(minor).scaleb(-3)


# The ISO codes that these marks have, written down independently of the parser's own tables.
KNOWN_MARKS = {
    "$": "USD", "US$": "USD", "A$": "AUD", "C$": "CAD", "R$": "BRL", "NT$": "TWD", "MX$": "MXN", "€": "EUR",
    "£": "GBP", "₹": "INR", "Rs": "INR", "₽": "RUB", "руб": "RUB", "руб.": "RUB", "р.": "RUB", "Р": "RUB",
    "zł": "PLN", "Kč": "CZK", "Ft": "HUF", "lei": "RON", "лв": "BGN", "лв.": "BGN", "грн": "UAH",
    "грн.": "UAH", "KD": "KWD", "TL": "TRY", "₪": "ILS", "₫": "VND", "Rp": "IDR", "RM": "MYR", "円": "JPY",
    "원": "KRW", "฿": "THB", "R": "ZAR", "kr": "SEK", "جنيه": "EGP", "درهم": "AED", "ريال": "SAR",
}  # fmt: skip


def price_rows(shared_data: Path) -> list[dict[str, Any]]:
    """The rows that the issue counts: a text in which a person read an amount or a currency."""
    lines = (shared_data / "pages" / "prices" / "price-strings.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["text"] and (row["currency"] or row["amount"] is not None)]


def is_read_right(row: dict[str, Any], price: Price | None) -> bool:
    """Amount equal, and the currency by its mark or its ISO code, as the person read them."""
    if row["amount"] is None or price is None:
        return row["amount"] is None and price is None
    if price.amount != Decimal(str(row["amount"])):
        return False
    expected = row["currency"]
    iso = KNOWN_MARKS.get(expected or "", expected.upper() if expected and expected.isascii() else None)
    # A mark that only the hint names is not in the text: there the code must be the one the hint names.
    same_mark = price.mark == expected or (price.mark is None and price.currency == find_currency(expected))
    if expected in KNOWN_MARKS:
        return price.currency == KNOWN_MARKS[expected]
    return same_mark or price.currency == iso


def test_recorded_price_strings_read_as_a_person_read_them(shared_data: Path) -> None:
    rows = price_rows(shared_data)
    misread = []
    for row in rows:
        price = parse_price(row["text"], row["currency_hint"], decimal_separator=row.get("decimal_separator"))
        if not is_read_right(row, price):
            misread.append((row["text"], row["amount"], row["currency"], price))
    share = 1 - len(misread) / len(rows)
    log.info("%.2f %% of %d price strings read as the person read them; not these:", 100 * share, len(rows))
    for reading in misread:
        log.info("%s", reading)
    assert len(rows) >= 1100
    assert share >= 0.98


def test_every_amount_of_the_recorded_feeds_is_read(shared_data: Path) -> None:
    unread = set()
    for feed in sorted((shared_data / "recorded-feeds").glob("*.json")):
        for row in json.loads(feed.read_text("utf-8")):
            for text in (row.get("originalPrice"), row.get("salePrice")):
                price = None if text is None else parse_price(text)
                if text is not None and (price is None or price.currency != "USD"):
                    unread.add(text)
    assert unread == {"No original price found"}
