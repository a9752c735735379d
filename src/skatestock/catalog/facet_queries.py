"""Facets: for every filter of a list, what choosing each of its values instead would find."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from skatestock.catalog.product_filter import (
    SOLD_OUT,
    Conditions,
    ProductFilter,
    write_conditions,
    write_search,
)
from skatestock.catalog.search import find_search
from skatestock.database.pool import Connection

DISCOUNTS = (10, 20, 30, 40, 50, 60, 70)
"""The least discounts that are counted, in percent."""
NEW_DAYS = (1, 7, 30, 90)
"""The days back from now for which new listings are counted."""
MOST_VALUES = 200
"""Of each facet, the most frequent values."""


class FacetValue(msgspec.Struct, frozen=True, kw_only=True):
    """What one value of a filter would find."""

    value: str
    name: str | None
    count: int


class Facets(msgspec.Struct, frozen=True, kw_only=True):
    """For each filter, its values with what they would find; all other filters stay as they are."""

    shop: tuple[FacetValue, ...]
    brand: tuple[FacetValue, ...]
    category: tuple[FacetValue, ...]
    size: tuple[FacetValue, ...]
    colour: tuple[FacetValue, ...]
    in_stock: tuple[FacetValue, ...]
    on_sale: tuple[FacetValue, ...]
    min_discount: tuple[FacetValue, ...]
    new_since: tuple[FacetValue, ...]
    lowest_amount: int | None
    """Of the offers that match but for the bounds of the price, in thousandths of their currency."""
    highest_amount: int | None


class _Part(NamedTuple):
    """One facet's part of the statement: its name, its value and the value's name, and its rows."""

    facet: str
    sql: str


# Which filters a facet leaves out.
_OWN: dict[str, dict[str, Any]] = {
    "shop": {"shops": ()},
    "brand": {"brands": ()},
    "category": {"categories": ()},
    "size": {"sizes": ()},
    "colour": {"colours": ()},
    "in_stock": {"in_stock": None},
    "on_sale": {"on_sale": None},
    "min_discount": {"min_discount": None},
    "new_since": {"new_since": None},
    "price": {"min_amount": None, "max_amount": None},
}
_COLUMNS = (
    "product_id, shop_id, brand_id, category_id, standing, amount, discount, sizes, colours, first_seen_at"
)
_NAMED = {
    "shop": ("shop_id", "shops"),
    "brand": ("brand_id", "brands"),
    "category": ("category_id", "categories"),
}
_LISTED = {"size": "sizes", "colour": "colours"}


async def find_facets(connection: Connection, wanted: ProductFilter, now: datetime) -> Facets:
    """Count for every filter what each of its values would find, all other filters staying as they are."""
    search = None if wanted.search is None else await find_search(connection, wanted.search)
    arguments: list[Any] = []
    relations = [] if wanted.search is None else [write_search(search, arguments)]
    bases: dict[ProductFilter, tuple[str, Conditions]] = {}
    parts: list[str] = []
    for facet, own in _OWN.items():
        others = msgspec.structs.replace(wanted, **own)
        if others not in bases:
            name = f"base_{len(bases)}"
            conditions = write_conditions(others, arguments, searched=wanted.search is not None)
            relations.append(
                f"{name} AS MATERIALIZED (SELECT {_COLUMNS} FROM indexed_offers "  # noqa: S608 - names of ours
                f"WHERE {conditions.where})"
            )
            bases[others] = name, conditions
        base, conditions = bases[others]
        parts.extend(_write_parts(facet, base, conditions.having, now, arguments))
    rows = await connection.fetch(f"WITH {', '.join(relations)} {' UNION ALL '.join(parts)}", *arguments)
    found: dict[str, list[FacetValue]] = {facet: [] for facet in _OWN}
    for row in rows:
        found[row["facet"]].append(FacetValue(value=row["value"], name=row["name"], count=row["count"]))
    bounds = {value.value: value.count for value in found.pop("price")}
    return Facets(
        **{facet: tuple(values) for facet, values in found.items()},
        lowest_amount=bounds.get("lowest"),
        highest_amount=bounds.get("highest"),
    )


def _write_parts(facet: str, base: str, having: str, now: datetime, arguments: list[Any]) -> list[str]:
    if facet in _NAMED:
        return [_write_named(facet, base, having)]
    if facet in _LISTED:
        return [_write_listed(facet, base, having)]
    count: Callable[..., str] = _write_count
    if facet == "in_stock":
        return [
            count(facet, "true", base, f"standing < {SOLD_OUT}", having),
            count(facet, "false", base, "true", f"{having} AND min(standing) >= {SOLD_OUT}"),
        ]
    if facet == "on_sale":
        return [
            count(facet, "true", base, "discount IS NOT NULL", having),
            count(facet, "false", base, "true", f"{having} AND max(discount) IS NULL"),
        ]
    if facet == "min_discount":
        return [count(facet, str(least), base, f"discount >= {least}", having) for least in DISCOUNTS]
    if facet == "new_since":
        return [_write_new(base, having, now - timedelta(days=days), arguments) for days in NEW_DAYS]
    return [_write_bound(bound, base, having) for bound in ("lowest", "highest")]


def _write_named(facet: str, base: str, having: str) -> str:
    column, table = _NAMED[facet]
    return f"""(
        SELECT '{facet}' AS facet, t.slug AS value, t.name, c.count
        FROM (SELECT {column}, count(*) AS count
              FROM (SELECT {column}, product_id FROM {base} GROUP BY 1, 2 HAVING {having}) AS chosen
              GROUP BY 1) AS c JOIN {table} t ON t.id = c.{column}
        ORDER BY c.count DESC, t.slug LIMIT {MOST_VALUES})"""  # noqa: S608 - names of ours only


def _write_listed(facet: str, base: str, having: str) -> str:
    return f"""(
        SELECT '{facet}' AS facet, value, NULL AS name, count(*) AS count
        FROM (SELECT value, product_id FROM {base} CROSS JOIN LATERAL unnest({_LISTED[facet]}) AS value
              GROUP BY 1, 2 HAVING {having}) AS chosen
        GROUP BY value ORDER BY count DESC, value LIMIT {MOST_VALUES})"""  # noqa: S608 - names of ours only


def _write_count(facet: str, value: str, base: str, where: str, having: str) -> str:
    return f"""(
        SELECT '{facet}' AS facet, '{value}' AS value, NULL AS name, count(*) AS count
        FROM (SELECT product_id FROM {base} WHERE {where} GROUP BY product_id
              HAVING {having}) AS chosen)"""  # noqa: S608 - names of ours only


def _write_new(base: str, having: str, since: datetime, arguments: list[Any]) -> str:
    arguments.append(since)
    value = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return _write_count("new_since", value, base, f"first_seen_at >= ${len(arguments)}", having)


def _write_bound(bound: str, base: str, having: str) -> str:
    aggregate = "min" if bound == "lowest" else "max"
    return f"""(
        SELECT 'price' AS facet, '{bound}' AS value, NULL AS name, {aggregate}(amount) AS count
        FROM (SELECT {aggregate}(amount) AS amount FROM {base} GROUP BY product_id
              HAVING {having}) AS chosen)"""  # noqa: S608 - names of ours only
