"""From a question about products to what the catalogue is asked."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import UNSET, UnsetType

from skatestock.api.cursors import parse_cursor
from skatestock.api.errors import InvalidParameterError
from skatestock.api.questions import ProductsQuestion
from skatestock.api.schemas import InvalidParameter
from skatestock.catalog.product_filter import ProductFilter, Sort
from skatestock.catalog.views import ProductPlace

# PostgreSQL and Python both know the years between.
_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def to_filter(question: ProductsQuestion) -> ProductFilter:
    """Write a question as a filter; raises InvalidParameterError for values that make no sense together."""
    lowest, highest = _to_amount(question.min_price), _to_amount(question.max_price)
    if lowest is not None and highest is not None and lowest > highest:
        raise refuse("min_price", "is above max_price")
    return ProductFilter(
        search=question.q or None,
        shops=_ordered(question.shop),
        brands=_ordered(question.brand),
        categories=_ordered(question.category),
        sizes=_ordered(question.size),
        colours=_ordered(_spell(colour) for colour in question.colour),
        min_amount=lowest,
        max_amount=highest,
        min_discount=question.min_discount or None,
        on_sale=_find_flag(question.on_sale),
        in_stock=_find_flag(question.in_stock),
        new_since=_to_moment(question.new_since),
        include_delisted=question.include_delisted,
    )


def to_sort(question: ProductsQuestion) -> Sort:
    """Tell the order that is asked for; raises InvalidParameterError for relevance to nothing."""
    if question.sort is UNSET:
        return Sort.NEWEST if question.q is UNSET else Sort.RELEVANCE
    sort = Sort(question.sort)
    if sort is Sort.RELEVANCE and question.q is UNSET:
        raise refuse("sort", "relevance needs a q that products can be relevant to")
    return sort


def to_place(question: ProductsQuestion, wanted: ProductFilter, sort: Sort) -> ProductPlace | None:
    """Read the cursor; raises InvalidParameterError for one that is not of this very list."""
    if isinstance(question.cursor, UnsetType):
        return None
    if question.page != 1:
        raise refuse("cursor", "and page cannot both say where to read")
    place = parse_cursor(question.cursor, wanted, sort)
    if place is None:
        raise refuse("cursor", "is no next_cursor of an answer with these filters and this order")
    return place


def refuse(parameter: str, message: str) -> InvalidParameterError:
    """Make the problem of one parameter."""
    fault = InvalidParameter(parameter=parameter, message=message)
    return InvalidParameterError(f"{parameter} {message}", errors=[fault])


def _to_amount(text: str | UnsetType) -> int | None:
    return None if isinstance(text, UnsetType) else int(Decimal(text) * 1000)


def _to_moment(moment: datetime | UnsetType) -> datetime | None:
    if isinstance(moment, UnsetType):
        return None
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        utc = _LATEST
    if not _EARLIEST <= utc < _LATEST:
        raise refuse("new_since", "must be a moment after 1970 and before the year 9999")
    return utc


def _find_flag(flag: bool | UnsetType) -> bool | None:
    return flag if isinstance(flag, bool) else None


def _spell(colour: str) -> str:
    colour = colour.strip().casefold()
    return "grey" if colour == "gray" else colour


def _ordered(values: Iterable[str]) -> tuple[str, ...]:
    """Order alternatives, each once: the order in which they are named changes nothing."""
    return tuple(sorted(set(values)))
