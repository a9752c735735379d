"""Barcodes: which are GTINs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.vocabulary.gtin import is_shop_own, parse_gtin


@pytest.mark.parametrize(
    ("text", "gtin"),
    [
        ("96385074", "00000096385074"),
        ("036000291452", "00036000291452"),
        ("4006381333931", "04006381333931"),
        ("10614141000415", "10614141000415"),
        (" 4 006381 333931 ", "04006381333931"),
        ("4006381333932", None),
        ("400638133393", None),
        ("00000000", None),
        ("", None),
        ("ABC", None),
        ("-96385074", None),
        ("٤٠٠٦٣٨١٣٣٣٩٣١", None),
    ],
)
def test_a_barcode_is_a_gtin_by_its_length_and_check_digit(text: str, gtin: str | None) -> None:
    assert parse_gtin(text) == gtin


def test_numbers_that_shops_give_out_themselves_are_told() -> None:
    own = ["2000000000008", "0212345678909", "04006381333931"[1:]]
    read = [parse_gtin(text) for text in own]
    assert [gtin and is_shop_own(gtin) for gtin in read] == [True, True, False]


@given(st.text(max_size=20) | st.text(alphabet="0123456789 -", max_size=16))
def test_any_text_gives_a_gtin_that_reads_as_itself_or_none(text: str) -> None:
    gtin = parse_gtin(text)
    if gtin is not None:
        assert len(gtin) == 14
        assert parse_gtin(gtin) == gtin


@given(st.text(alphabet="0123456789", min_size=13, max_size=13), st.integers(0, 12), st.integers(1, 9))
def test_one_wrong_digit_is_noticed(digits: str, place: int, by: int) -> None:
    wrong = digits[:place] + str((int(digits[place]) + by) % 10) + digits[place + 1 :]
    assert parse_gtin(digits) is None or parse_gtin(wrong) is None
