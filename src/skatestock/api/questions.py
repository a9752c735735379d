"""The query parameters of each endpoint, and how they are read from an address.

A question is strict: an unknown parameter, a repeated one that takes one value, or a value outside its bounds
is an error that names it. The OpenAPI document is made from the same structs.
"""

import re
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from skatestock.api.errors import InvalidParameterError, InvalidRequestError, UnknownParameterError
from skatestock.api.schemas import SOME_TEXT, InvalidParameter, ShopSlug

MAX_FIELDS = 150
"""How many parameters a query may have, the values of each counted: more than any question has room for."""
_INTEGER = re.compile(r"-?[0-9]{1,30}\Z")
_SLUG = r"^[^\u0000]+$"
_FLAGS = {"true": True, "false": False}

_Question = TypeVar("_Question", bound=Struct)

Shops = Annotated[
    tuple[ShopSlug, ...],
    Meta(
        description="Only what these shops have; repeat it for several. A shop that we do not know has "
        "nothing.",
        examples=[["blacksheep"]],
        max_length=20,
    ),
]


BrandSlug = Annotated[
    str,
    Meta(
        description="A brand's short name in addresses.", examples=["adidas"], pattern=_SLUG, max_length=255
    ),
]
CategorySlug = Annotated[
    str,
    Meta(
        description="A category's short name in addresses.", examples=["shoes"], pattern=_SLUG, max_length=60
    ),
]
ShortText = Annotated[
    str,
    Meta(description="A word or a few.", examples=["M 9.5"], min_length=1, max_length=60, pattern=SOME_TEXT),
]
PriceText = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,3})?$")]


class NoQuestion(Struct, frozen=True, kw_only=True):
    """Nothing to ask."""


class ProductsQuestion(Struct, frozen=True, kw_only=True):
    """Which products to list."""

    q: Annotated[
        Annotated[str, Meta(min_length=1, max_length=100, pattern=SOME_TEXT)] | UnsetType,
        Meta(
            description="Only products with all these words, or words that begin with, hold or resemble "
            "them, in "
            "name, brand, category, colour or a listing's title; without regard to case, accents and order.",
            examples=["busenitz vulc"],
        ),
    ] = UNSET
    shop: Shops = ()
    brand: Annotated[
        tuple[BrandSlug, ...],
        Meta(description="Only these brands.", examples=[["adidas"]], max_length=20),
    ] = ()
    category: Annotated[
        tuple[CategorySlug, ...],
        Meta(description="Only these categories.", examples=[["shoes"]], max_length=23),
    ] = ()
    size: Annotated[
        tuple[ShortText, ...],
        Meta(
            description="Only what is offered in one of these sizes, as offers write them in `size`.",
            examples=[["M 9.5"]],
            max_length=20,
        ),
    ] = ()
    colour: Annotated[
        tuple[ShortText, ...],
        Meta(description="Only what is offered in one of these colours.", examples=[["navy"]], max_length=20),
    ] = ()
    min_price: Annotated[
        PriceText | UnsetType,
        Meta(description="Only offers of at least this price, in their own currency.", examples=["20"]),
    ] = UNSET
    max_price: Annotated[
        PriceText | UnsetType,
        Meta(description="Only offers of at most this price, in their own currency.", examples=["59.99"]),
    ] = UNSET
    min_discount: Annotated[
        Annotated[int, Meta(ge=1, le=100)] | UnsetType,
        Meta(description="Only offers at least so many percent below their compare-at price.", examples=[20]),
    ] = UNSET
    on_sale: Annotated[
        bool | UnsetType,
        Meta(
            description="`true`: only offers below their compare-at price. `false`: only products "
            "without one "
            "among the offers that match otherwise.",
            examples=[True],
        ),
    ] = UNSET
    in_stock: Annotated[
        bool | UnsetType,
        Meta(
            description="`true`: only what can be bought now. `false`: only products without such an "
            "offer among "
            "those that match otherwise.",
            examples=[True],
        ),
    ] = UNSET
    new_since: Annotated[
        Annotated[datetime, Meta(tz=True)] | UnsetType,
        Meta(
            description="Only listings first seen then or later, with its distance from UTC.",
            examples=["2026-03-01T00:00:00Z"],
        ),
    ] = UNSET
    include_delisted: Annotated[
        bool, Meta(description="Also what the shops do not list any more.", examples=[False])
    ] = False
    sort: Annotated[
        Literal["relevance", "price", "-price", "discount", "newest", "-changed"] | UnsetType,
        Meta(
            description="The order; `relevance` where there is a `q`, else `newest`, unless it is given. "
            "`price` "
            "goes up by `matching_price` and `-price` down, `discount` begins with the deepest one of an "
            "offer "
            "that matches, `-changed` with what changed last.",
            examples=["price"],
        ),
    ] = UNSET
    page: Annotated[int, Meta(description="Which page, from 1.", examples=[1], ge=1, le=1_000_000)] = 1
    limit: Annotated[
        int, Meta(description="How many products a page holds.", examples=[24], ge=1, le=100)
    ] = 24
    cursor: Annotated[
        Annotated[str, Meta(min_length=1, max_length=200, pattern="^[A-Za-z0-9_-]+$")] | UnsetType,
        Meta(
            description="The `next_cursor` of an answer with the same filters and order: what follows "
            "it. Better "
            "than `page` for reading far: nothing is skipped or repeated when products come in.",
            examples=["AAAAAAAACowAAAAAAAABhm9nHvBq3Sw0"],
        ),
    ] = UNSET
    facets: Annotated[
        bool, Meta(description="Also count what each value of each filter would find.", examples=[False])
    ] = False


class HistoryQuestion(Struct, frozen=True, kw_only=True):
    """Which part of a product's history."""

    days: Annotated[int, Meta(description="How many days back from now.", examples=[90], ge=1, le=3650)] = 90
    shop: Shops = ()
    size: Annotated[
        tuple[ShortText, ...],
        Meta(description="Only offers in these sizes.", examples=[["M 9.5"]], max_length=20),
    ] = ()


class LookupQuestion(Struct, frozen=True, kw_only=True):
    """Which page at a shop."""

    url: Annotated[
        str,
        Meta(
            description="The address of a product's page at a shop, as a browser shows it.",
            examples=["https://shop.example/collections/shoes/products/busenitz?variant=1"],
            min_length=4,
            max_length=2000,
            pattern=r"^[^\u0000]+$",
        ),
    ]


def parse_question(kind: type[_Question], query: bytes) -> _Question:
    """Read a question from an address's query.

    Raises InvalidRequestError for what is no query at all, UnknownParameterError and InvalidParameterError,
    each naming every parameter at fault.
    """
    given = _gather(query)
    readers = _readers(kind)
    unknown = [name for name in given if name not in readers]
    if unknown:
        raise _unknown_parameters(unknown, readers)
    values: dict[str, Any] = {}
    errors: list[InvalidParameter] = []
    for name, texts in given.items():
        try:
            values[name] = readers[name].read(texts)
        except ValueError as error:
            errors.append(InvalidParameter(parameter=name, message=str(error)))
    errors += [
        InvalidParameter(parameter=name, message="is needed")
        for name, reader in readers.items()
        if reader.required and name not in given
    ]
    if errors:
        raise InvalidParameterError(
            "; ".join(f"{error.parameter} {error.message}" for error in errors), errors=errors
        )
    return kind(**values)


def parse_product_id(text: str) -> int | None:
    """Read a product's id from a path; None for what cannot be one."""
    if not re.fullmatch(r"[1-9][0-9]{0,18}", text):
        return None
    number = int(text)
    return number if number < 2**63 else None


class _Reader:
    """Reads the values that one parameter was given."""

    def __init__(self, declared: msgspec.inspect.Field, annotation: Any) -> None:
        kind = _unwrap(declared.type)
        self.required = declared.required
        self._annotation = annotation
        self._many = isinstance(kind, msgspec.inspect.VarTupleType)
        one = _unwrap(kind.item_type) if isinstance(kind, msgspec.inspect.VarTupleType) else kind
        self._integer = isinstance(one, msgspec.inspect.IntType)
        self._flag = isinstance(kind, msgspec.inspect.BoolType)

    def read(self, texts: list[str]) -> Any:
        """Return the typed value; raises ValueError with a message that follows the parameter's name."""
        if not self._many and len(texts) > 1:
            raise ValueError(f"takes one value and was given {len(texts)}")
        given = [self._read_one(text) for text in texts] if self._many else self._read_one(texts[0])
        try:
            return msgspec.convert(given, self._annotation)
        except msgspec.ValidationError as error:
            reason = re.split(r", got | - at ", str(error))[0].replace("Expected", "expected")
            raise ValueError(f"{reason}, got {_shorten(texts)}") from error

    def _read_one(self, text: str) -> str | int | bool:
        if self._integer and _INTEGER.match(text):
            return int(text)
        return _FLAGS.get(text, text) if self._flag else text


@cache
def _readers(kind: type[Struct]) -> dict[str, _Reader]:
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    annotations = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return {field.name: _Reader(field, annotations[field.name]) for field in info.fields}


def _unwrap(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    if isinstance(kind, msgspec.inspect.Metadata):
        return _unwrap(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return _unwrap(kind.types[0])
    return kind


def _gather(query: bytes) -> dict[str, list[str]]:
    if not query:
        return {}
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise InvalidRequestError(
            f"the query must be percent-encoded UTF-8 with at most {MAX_FIELDS} parameters"
        ) from error
    gathered: dict[str, list[str]] = {}
    for name, text in pairs:
        gathered.setdefault(name, []).append(text)
    return gathered


def _unknown_parameters(unknown: list[str], readers: dict[str, _Reader]) -> UnknownParameterError:
    known = f"use {', '.join(readers)}" if readers else "this endpoint has none"
    return UnknownParameterError(
        f"there is no parameter {', '.join(_shorten([name]) for name in unknown)}; {known}",
        errors=[InvalidParameter(parameter=name[:60], message=f"unknown; {known}") for name in unknown],
    )


def _shorten(texts: list[str]) -> str:
    return ", ".join(ascii(text if len(text) <= 60 else f"{text[:60]}…") for text in texts[:3])
