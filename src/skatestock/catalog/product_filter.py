"""Which products a list holds and in which order, and how that is said in SQL over the product index."""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from skatestock.catalog.search import Search

SOLD_OUT = 1 << 60
"""Standings below this are those of offers in stock; migration 0010 says what a standing is."""
NO_AMOUNT = (1 << 45) - 1
"""The amount in a standing without a price."""

_IN_STOCK = f"standing < {SOLD_OUT}"


class Sort(StrEnum):
    """An order of products; of equals the newest product comes first."""

    RELEVANCE = "relevance"
    """By how well the words that were searched for are met, those in stock first."""
    PRICE = "price"
    """By the lowest matching price."""
    HIGHEST_PRICE = "-price"
    DISCOUNT = "discount"
    """By the deepest matching discount."""
    NEWEST = "newest"
    """By when the youngest listing was first seen."""
    CHANGED = "-changed"
    """By when an offer last changed."""


class ProductFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which products: those with an offer for which all of this holds; empty or None does not filter."""

    search: str | None = None
    """Words that the product is found by: its own, and its listings' titles."""
    shops: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    min_amount: int | None = None
    """In thousandths of the offer's currency, like `max_amount`."""
    max_amount: int | None = None
    min_discount: int | None = None
    """In percent."""
    on_sale: bool | None = None
    """False: only products of which no offer that matches otherwise is on sale."""
    in_stock: bool | None = None
    """False: only products of which no offer that matches otherwise is in stock."""
    new_since: datetime | None = None
    """Only listings first seen then or later."""
    include_delisted: bool = False

    def needs_offers(self) -> bool:
        """Tell whether a filter speaks of offers, so that a product's own row cannot answer it."""
        return self.include_delisted or any(
            chosen not in ((), None)
            for chosen in (
                *(self.shops, self.sizes, self.colours, self.min_amount, self.max_amount),
                *(self.min_discount, self.on_sale, self.new_since),
            )
        )


class Conditions(NamedTuple):
    """A filter in SQL: what a row must meet, what a product's rows must meet together, and the arguments."""

    where: str
    having: str
    arguments: list[Any]


def write_conditions(
    wanted: ProductFilter, arguments: list[Any], *, per_product: bool = False, searched: bool = False
) -> Conditions:
    """Write a filter as conditions on `indexed_offers`, or `indexed_products`, adding to the arguments.

    Only the filters that are asked for are written, so that the others cost nothing. `searched` asks for the
    products of a relation `searched`.
    """
    where = [] if wanted.include_delisted else ["listed"]
    having: list[str] = []

    def add(condition: str, value: Any) -> None:
        arguments.append(value)
        where.append(condition.format(f"${len(arguments)}"))

    for table, column, slugs in _named(wanted):
        ids = f"SELECT id FROM {table} WHERE slug = ANY ({{}}::text[])"  # noqa: S608 - a name of ours
        add(f"{column} = ANY (ARRAY({ids}))", list(slugs))
    for condition, value in _valued(wanted):
        if value not in ((), None):
            add(condition, list(value) if isinstance(value, tuple) else value)
    if wanted.on_sale:
        where.append("discount IS NOT NULL")
    if wanted.in_stock:
        where.append(_IN_STOCK)
    if wanted.on_sale is False:
        having.append("max(discount) IS NULL")
    if wanted.in_stock is False:
        (where if per_product else having).append(
            f"standing >= {SOLD_OUT}" if per_product else f"min(standing) >= {SOLD_OUT}"
        )
    if searched:
        where.append("product_id IN (SELECT product_id FROM searched)")
    return Conditions(" AND ".join(where) or "true", " AND ".join(having) or "true", arguments)


def write_search(search: Search | None, arguments: list[Any]) -> str:
    """Write the relation `searched`: the products that are found, each with its relevance (0 to 7)."""
    if search is None:
        return "searched AS (SELECT product_id, 0 AS relevance FROM product_summaries WHERE false)"
    arguments.extend(search)
    own, whole, begun = (
        f"(search @@ ${len(arguments) - back}::text::tsquery)::integer" for back in (2, 1, 0)
    )
    return (
        f"searched AS MATERIALIZED (SELECT product_id, "  # noqa: S608 - numbers of arguments only
        f"4 * {own} + 2 * {whole} + {begun} AS relevance "
        f"FROM product_summaries WHERE search @@ ${len(arguments) - 3}::text::tsquery)"
    )


def write_key(sort: Sort, *, per_product: bool) -> str:
    """Write the whole number that an order goes up by."""
    low, high = ("", "") if per_product else ("min", "max")
    amount = f"({low}(standing) & {NO_AMOUNT})"
    keys = {
        Sort.PRICE: amount,
        Sort.HIGHEST_PRICE: f"CASE {amount} WHEN {NO_AMOUNT} THEN {NO_AMOUNT} ELSE -{amount} END",
        Sort.DISCOUNT: f"-coalesce({high}(discount), -1)::bigint",
        Sort.NEWEST: f"-extract(epoch FROM {high}(newest_at))::bigint",
        Sort.CHANGED: f"-coalesce(extract(epoch FROM {high}(changed_at))::bigint, 0)",
        Sort.RELEVANCE: f"-(2 * {high}(relevance) + ({low}(standing) < {SOLD_OUT})::integer)::bigint",
    }
    return keys[sort]


def _named(wanted: ProductFilter) -> list[tuple[str, str, tuple[str, ...]]]:
    named = (
        ("shops", "shop_id", wanted.shops),
        ("brands", "brand_id", wanted.brands),
        ("categories", "category_id", wanted.categories),
    )
    return [one for one in named if one[2]]


def _valued(wanted: ProductFilter) -> tuple[tuple[str, Any], ...]:
    return (
        ("sizes && {}::text[]", wanted.sizes),
        ("colours && {}::text[]", wanted.colours),
        ("amount >= {}::bigint", wanted.min_amount),
        ("amount <= {}::bigint", wanted.max_amount),
        ("discount >= {}::integer", wanted.min_discount),
        ("first_seen_at >= {}::timestamptz", wanted.new_since),
    )
