"""How query parameters are read: strictly, and with errors that name every parameter at fault."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from skatestock.api.errors import (
    InvalidParameterError,
    InvalidRequestError,
    RequestError,
    UnknownParameterError,
)
from skatestock.api.questions import (
    HistoryQuestion,
    NoQuestion,
    ProductsQuestion,
    parse_product_id,
    parse_question,
)


def ask(query: bytes) -> ProductsQuestion | RequestError:
    """Read a question, or give the error that it is; anything else comes through."""
    try:
        return parse_question(ProductsQuestion, query)
    except RequestError as error:
        return error


def test_nothing_asked_is_the_defaults() -> None:
    assert parse_question(ProductsQuestion, b"") == ProductsQuestion()
    assert parse_question(ProductsQuestion, b"").q is UNSET
    assert parse_question(HistoryQuestion, b"") == HistoryQuestion(days=90)


def test_every_parameter_is_read() -> None:
    question = parse_question(
        ProductsQuestion,
        b"shop=labor&shop=black-sheep&q=Busenitz+Vulc%20II&in_stock=true&include_delisted=true"
        b"&page=3&limit=100",
    )
    assert question == ProductsQuestion(
        shop=("labor", "black-sheep"),
        q="Busenitz Vulc II",
        in_stock=True,
        include_delisted=True,
        page=3,
        limit=100,
    )


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=", "page"),
        ("page=1000001", "page"),
        ("page=1e1", "page"),
        ("page=1.0", "page"),
        ("page=+1", "page"),
        ("page=%201", "page"),
        ("page=0x1", "page"),
        ("page=1_0", "page"),
        ("page=%EF%BC%91", "page"),
        ("page=" + "9" * 5000, "page"),
        ("page=1&page=1", "page"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=NaN", "limit"),
        ("limit=true", "limit"),
        ("in_stock=1", "in_stock"),
        ("in_stock=True", "in_stock"),
        ("in_stock=", "in_stock"),
        ("include_delisted=yes", "include_delisted"),
        ("q=", "q"),
        ("q=%20%09", "q"),
        ("q=a%00b", "q"),
        ("q=" + "a" * 101, "q"),
        ("q=a&q=b", "q"),
        ("brand=", "brand"),
        ("brand=a%00", "brand"),
        ("category=%00", "category"),
        ("size=%20", "size"),
        ("size=" + "a" * 61, "size"),
        ("colour=", "colour"),
        ("min_price=1,50", "min_price"),
        ("min_price=-1", "min_price"),
        ("max_price=1e3", "max_price"),
        ("max_price=1.2345", "max_price"),
        ("min_discount=0", "min_discount"),
        ("min_discount=101", "min_discount"),
        ("min_discount=5.5", "min_discount"),
        ("on_sale=yes", "on_sale"),
        ("new_since=yesterday", "new_since"),
        ("new_since=2026-03-01T00:00:00", "new_since"),
        ("sort=cheapest", "sort"),
        ("cursor=", "cursor"),
        ("cursor=%2B%2B", "cursor"),
        ("facets=1", "facets"),
        ("shop=", "shop"),
        ("shop=Labor", "shop"),
        ("shop=labor,nj", "shop"),
        ("shop=labor&shop=%00", "shop"),
        ("&".join(["shop=labor"] * 21), "shop"),
        ("shop=" + "a" * 256, "shop"),
    ],
)
def test_a_senseless_value_is_named(query: str, named: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_question(ProductsQuestion, query.encode())
    assert [error.parameter for error in caught.value.errors] == [named]
    assert named in str(caught.value)
    assert len(str(caught.value)) < 400


def test_all_senseless_values_are_named_at_once() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_question(ProductsQuestion, b"limit=x&page=0&in_stock=maybe")
    assert [error.parameter for error in caught.value.errors] == ["limit", "page", "in_stock"]


@pytest.mark.parametrize("kind", [NoQuestion, ProductsQuestion, HistoryQuestion])
def test_unknown_parameters_are_named(
    kind: type[NoQuestion | ProductsQuestion | HistoryQuestion],
) -> None:
    with pytest.raises(UnknownParameterError) as caught:
        parse_question(kind, b"pgae=1&__class__=2&")
    assert [error.parameter for error in caught.value.errors] == ["pgae", "__class__"]


@pytest.mark.parametrize("query", [b"q=%ff", b"\xff=1", b"&".join([b"shop=a"] * 151)])
def test_what_is_no_query_is_an_invalid_request(query: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        parse_question(ProductsQuestion, query)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_question_or_an_error_of_ours(query: bytes) -> None:
    question = ask(query)
    if isinstance(question, RequestError):
        assert 400 <= question.status < 500
    else:
        assert 1 <= question.limit <= 100


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "shop",
                "q",
                "size",
                "sort",
                "new_since",
                "max_price",
                "cursor",
                "in_stock",
                "include_delisted",
                "page",
                "limit",
            ]
        ),
        st.one_of(st.text(max_size=120), st.integers().map(str), st.sampled_from(["true", "false"])),
    )
)
def test_any_values_are_a_question_or_are_named(values: dict[str, str]) -> None:
    try:
        query = urlencode(values).encode()
    except UnicodeEncodeError:
        return  # lone surrogates are no text that could be sent
    question = ask(query)
    if isinstance(question, RequestError):
        assert question.errors
        assert {fault.parameter for fault in question.errors} <= values.keys()
    else:
        assert question.q is UNSET or "\0" not in str(question.q)


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("42", 42), (str(2**63 - 1), 2**63 - 1)])
def test_a_product_id_is_a_plain_positive_number(text: str, number: int) -> None:
    assert parse_product_id(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "+1", "01", "1_0", "1.0", "1e3", " 1", "1\n", "１", "x", "\0", str(2**63), "9" * 5000],
)
def test_what_can_be_no_product_id_is_none(text: str) -> None:
    assert parse_product_id(text) is None
