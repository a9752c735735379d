"""Brands and categories with what the shops list of them, read from the product index."""

from typing import NamedTuple

from skatestock.catalog.errors import IndexNotBuiltError
from skatestock.catalog.product_filter import SOLD_OUT
from skatestock.database.pool import Connection

_FIND = """
SELECT counted.slug, counted.name, counted.products, counted.in_stock, counted.on_sale, state.version
FROM product_index_state state LEFT JOIN (
    SELECT t.id, t.slug, t.name, count(p.product_id) AS products,
           count(p.product_id) FILTER (WHERE p.standing < {sold_out}) AS in_stock,
           count(p.product_id) FILTER (WHERE p.discount IS NOT NULL) AS on_sale
    FROM {table} t LEFT JOIN indexed_products p ON p.{column} = t.id AND p.listed
    GROUP BY t.id, t.slug, t.name {having}) AS counted ON true
ORDER BY counted.{order}"""


class LabelCount(NamedTuple):
    """A brand or a category, and how many of its products the shops list."""

    slug: str
    name: str
    products: int
    in_stock: int
    """Of these, with an offer in stock."""
    on_sale: int
    """Of these, with an offer below its compare-at price."""


async def find_brands(connection: Connection) -> tuple[LabelCount, ...]:
    """Read every brand of which a shop lists something, by slug."""
    return await _find(connection, "brands", "brand_id", "HAVING count(p.product_id) > 0", "slug")


async def find_categories(connection: Connection) -> tuple[LabelCount, ...]:
    """Read every category, also those of which no shop lists anything now, in the order of the vocabulary."""
    return await _find(connection, "categories", "category_id", "", "id")


async def _find(
    connection: Connection, table: str, column: str, having: str, order: str
) -> tuple[LabelCount, ...]:
    statement = _FIND.format(table=table, column=column, having=having, order=order, sold_out=SOLD_OUT)
    rows = await connection.fetch(statement)
    if not rows or not rows[0]["version"]:
        raise IndexNotBuiltError("the counts are being made for the first time; try again soon")
    return tuple(LabelCount(*row[:5]) for row in rows if row["slug"] is not None)
