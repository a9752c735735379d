"""Facets: for every filter of a list, what choosing each of its values instead would find."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from skatestock.catalog.product_filter import (
    SOLD_OUT,
    ProductFilter,
    write_conditions,
    write_search,
)
from skatestock.catalog.search import Search, find_search
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
_WHOLE_PRODUCTS = """
SELECT product_id, brand_id, category_id, standing, discount, newest_at, lowest_amount, highest_amount
FROM indexed_products WHERE {where}"""
_PRODUCTS_OF_OFFERS = """
SELECT product_id, min(brand_id) AS brand_id, min(category_id) AS category_id, min(standing) AS standing,
       max(discount) AS discount, max(first_seen_at) AS newest_at, min(amount) AS lowest_amount,
       max(amount) AS highest_amount
FROM {base} GROUP BY product_id HAVING {having}"""


async def find_facets(connection: Connection, wanted: ProductFilter, now: datetime) -> Facets:
    """Count for every filter what each of its values would find, all other filters staying as they are."""
    search = None if wanted.search is None else await find_search(connection, wanted.search)
    statement = _FacetStatement(wanted, search, now)
    for facet, own in _OWN.items():
        statement.add(facet, msgspec.structs.replace(wanted, **own))
    rows = await connection.fetch(statement.write(), *statement.arguments)
    found: dict[str, list[FacetValue]] = {facet: [] for facet in _OWN}
    for row in rows:
        found[row["facet"]].append(FacetValue(value=row["value"], name=row["name"], count=row["count"]))
    bounds = {value.value: value.count for value in found.pop("price")}
    return Facets(
        **{facet: tuple(values) for facet, values in found.items()},
        lowest_amount=bounds.get("lowest"),
        highest_amount=bounds.get("highest"),
    )


class _Value(NamedTuple):
    """A value that one row of each product tells, or one of the bounds of the price."""

    value: str
    aggregate: str
    """Over the products of a relation."""
    where: str
    """Which offers it finds; empty where the row of each product tells it in any case."""


class _FacetStatement:
    """All facets as one statement: each from the least that tells it, and nothing read twice.

    What several facets read, PostgreSQL keeps in memory; what one reads, it never does.
    """

    def __init__(self, wanted: ProductFilter, search: Search | None, now: datetime) -> None:
        self.arguments: list[Any] = []
        self._searched = wanted.search is not None
        self._now = now
        self._relations: list[str] = []
        if self._searched:
            self._relations.append(write_search(search, self.arguments))
        self._offers: dict[ProductFilter, tuple[str, str]] = {}
        self._products: dict[tuple[ProductFilter, bool], str] = {}
        self._values: dict[str, list[tuple[str, _Value]]] = {}
        self._parts: list[str] = []

    def add(self, facet: str, others: ProductFilter) -> None:
        """Add what the values of a facet find within all other filters."""
        if facet not in _NAMED and facet not in _LISTED:
            self._add_values(facet, others)
        elif _is_kept(others):
            self._parts.append(_write_kept(facet, others, self.arguments))
        elif facet in ("brand", "category"):
            whole = not others.needs_offers()
            self._parts.append(_write_of_product(facet, self._name_products(others, whole=whole)))
        else:
            write = _write_shops if facet == "shop" else _write_listed
            self._parts.append(write(facet, *self._name_offers(others)))

    def write(self) -> str:
        """Write the statement of all that was added."""
        parts = [*self._parts, *(_write_values(name, values) for name, values in self._values.items())]
        return f"{'WITH ' if self._relations else ''}{', '.join(self._relations)} {' UNION ALL '.join(parts)}"

    def _add_values(self, facet: str, others: ProductFilter) -> None:
        values = _list_values(facet, self._now, self.arguments)
        # its discount and its amounts are those of all its offers, in stock or not
        whole = not others.needs_offers() and others.in_stock is None
        base, having = ("", "true") if whole else self._name_offers(others)
        for value in values:
            if having != "true" and value.where:
                self._parts.append(_write_count(facet, value, base, having))
            else:
                products = self._name_products(others, whole=whole)
                self._values.setdefault(products, []).append((facet, value))

    def _name_offers(self, others: ProductFilter) -> tuple[str, str]:
        """Name the offers that meet a filter; and write what those of a product must meet together."""
        if others not in self._offers:
            conditions = write_conditions(others, self.arguments, searched=self._searched)
            name = f"offers_{len(self._offers)}"
            rows = f"SELECT {_COLUMNS} FROM indexed_offers WHERE {conditions.where}"  # noqa: S608 - names of ours
            self._relations.append(f"{name} AS ({rows})")
            self._offers[others] = name, conditions.having
        return self._offers[others]

    def _name_products(self, others: ProductFilter, *, whole: bool) -> str:
        """Name the products that meet a filter, each in one row: its own, or that of its offers."""
        if (others, whole) not in self._products:
            if whole:
                conditions = write_conditions(
                    others, self.arguments, per_product=True, searched=self._searched
                )
                rows = _WHOLE_PRODUCTS.format(where=conditions.where)
            else:
                base, having = self._name_offers(others)
                rows = _PRODUCTS_OF_OFFERS.format(base=base, having=having)
            name = f"products_{len(self._products)}"
            self._relations.append(f"{name} AS ({rows})")
            self._products[others, whole] = name
        return self._products[others, whole]


def _is_kept(others: ProductFilter) -> bool:
    """Tell whether counts are kept for a filter: by category, and for what is in stock."""
    rest = msgspec.structs.replace(others, categories=(), in_stock=None)
    return rest == ProductFilter() and others.in_stock is not False


def _list_values(facet: str, now: datetime, arguments: list[Any]) -> list[_Value]:
    if facet == "in_stock":
        sold_out = f"standing >= {SOLD_OUT}"
        return [
            _count("true", f"standing < {SOLD_OUT}", f"standing < {SOLD_OUT}"),
            _count("false", sold_out, ""),
        ]
    if facet == "on_sale":
        on_sale = "discount IS NOT NULL"
        return [_count("true", on_sale, on_sale), _count("false", "discount IS NULL", "")]
    if facet == "min_discount":
        return [_count(str(least), f"discount >= {least}", f"discount >= {least}") for least in DISCOUNTS]
    if facet == "new_since":
        return [_count_new(now - timedelta(days=days), arguments) for days in NEW_DAYS]
    return [_Value("lowest", "min(lowest_amount)", ""), _Value("highest", "max(highest_amount)", "")]


def _count(value: str, products: str, offers: str) -> _Value:
    return _Value(value, f"count(*) FILTER (WHERE {products})", offers)


def _count_new(since: datetime, arguments: list[Any]) -> _Value:
    arguments.append(since)
    moment = f"${len(arguments)}::timestamptz"
    value = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return _count(value, f"newest_at >= {moment}", f"first_seen_at >= {moment}")


def _write_values(products: str, values: list[tuple[str, _Value]]) -> str:
    """Write all that one pass over products tells."""
    counts = ", ".join(f"{one.aggregate} AS count_{place}" for place, (_, one) in enumerate(values))
    rows = ", ".join(f"('{facet}', '{one.value}', count_{n})" for n, (facet, one) in enumerate(values))
    return f"""(
        SELECT facet, value, NULL::text AS name, count
        FROM (SELECT {counts} FROM {products}) AS counted
        CROSS JOIN LATERAL (VALUES {rows}) AS told (facet, value, count))"""  # noqa: S608 - names of ours only


def _write_count(facet: str, one: _Value, base: str, having: str) -> str:
    return f"""(
        SELECT '{facet}' AS facet, '{one.value}' AS value, NULL::text AS name, count(*) AS count
        FROM (SELECT product_id FROM {base} WHERE {one.where} GROUP BY product_id
              HAVING {having}) AS chosen)"""  # noqa: S608 - names of ours only


def _write_kept(facet: str, others: ProductFilter, arguments: list[Any]) -> str:
    column = "in_stock" if others.in_stock else "products"
    where = f"facet = '{facet}'"
    if others.categories:
        arguments.append(list(others.categories))
        ids = f"SELECT id FROM categories WHERE slug = ANY (${len(arguments)}::text[])"  # noqa: S608
        where += f" AND category_id = ANY (ARRAY({ids}))"
    counts = f"""
        SELECT value, sum({column}) AS count FROM facet_counts WHERE {where}
        GROUP BY value HAVING sum({column}) > 0"""  # noqa: S608 - names of ours only
    if facet in _NAMED:
        ids = f"SELECT value::integer AS id, count FROM ({counts}) AS kept"  # noqa: S608 - names of ours
        return _write_named(facet, ids)
    return f"""(
        SELECT '{facet}' AS facet, value, NULL::text AS name, count FROM ({counts}) AS kept
        ORDER BY count DESC, value LIMIT {MOST_VALUES})"""  # noqa: S608 - names of ours only


def _write_of_product(facet: str, products: str) -> str:
    column, _ = _NAMED[facet]
    return _write_named(
        facet,
        f"SELECT {column} AS id, count(*) AS count FROM {products} GROUP BY 1",  # noqa: S608 - names of ours
    )


def _write_shops(facet: str, base: str, having: str) -> str:
    return _write_named(
        facet,
        f"""
        SELECT shop_id AS id, count(*) AS count
        FROM (SELECT shop_id, product_id FROM {base} GROUP BY 1, 2 HAVING {having}) AS chosen
        GROUP BY 1""",  # noqa: S608 - names of ours only
    )


def _write_named(facet: str, counts: str) -> str:
    _, table = _NAMED[facet]
    return f"""(
        SELECT '{facet}' AS facet, t.slug AS value, t.name, c.count
        FROM ({counts}) AS c JOIN {table} t ON t.id = c.id
        ORDER BY c.count DESC, t.slug LIMIT {MOST_VALUES})"""  # noqa: S608 - names of ours only


def _write_listed(facet: str, base: str, having: str) -> str:
    return f"""(
        SELECT '{facet}' AS facet, value, NULL::text AS name, count(*) AS count
        FROM (SELECT value, product_id FROM {base} CROSS JOIN LATERAL unnest({_LISTED[facet]}) AS value
              GROUP BY 1, 2 HAVING {having}) AS chosen
        GROUP BY value ORDER BY count DESC, value LIMIT {MOST_VALUES})"""  # noqa: S608 - names of ours only
