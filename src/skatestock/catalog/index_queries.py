"""Lists of products, read from the product index."""

from typing import Any, NamedTuple

import asyncpg

from skatestock.catalog.errors import IndexNotBuiltError
from skatestock.catalog.product_filter import (
    NO_AMOUNT,
    SOLD_OUT,
    ProductFilter,
    Sort,
    write_conditions,
    write_key,
    write_search,
)
from skatestock.catalog.search import Search, find_search
from skatestock.catalog.views import Label, ProductPage, ProductPlace, ProductSummary, ShopName
from skatestock.database.pool import Connection
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import Money, minor_exponent

_LIST = """
WITH {searched}
found AS {kept} ({found}),
page AS (SELECT * FROM found WHERE {after} ORDER BY key, product_id DESC LIMIT $1 OFFSET $2)
SELECT (SELECT count(*) FROM found) AS total, (SELECT version FROM product_index_state) AS version,
       page.key, page.standing, p.id, p.name, p.colourway, b.slug AS brand_slug, b.name AS brand_name,
       g.slug AS category_slug, g.name AS category_name, s.image_url, s.availability, s.currency,
       s.price_minor, s.highest_minor, s.compare_at_minor, i.changed_at,
       ARRAY(SELECT ROW(h.id, h.slug, h.name, h.demo) FROM shops h WHERE h.id = ANY (s.shop_ids)
             ORDER BY h.slug) AS shops
FROM (SELECT) AS once
LEFT JOIN (page JOIN products p ON p.id = page.product_id
    JOIN product_summaries s ON s.product_id = p.id
    JOIN indexed_products i ON i.product_id = p.id
    LEFT JOIN brands b ON b.id = p.brand_id
    LEFT JOIN categories g ON g.id = p.category_id) ON true
ORDER BY page.key, p.id DESC"""
_BY_PRODUCT = "SELECT product_id, {key} AS key, standing FROM indexed_products {joined} WHERE {where}"
_BY_OFFER = """
SELECT product_id, {key} AS key, min(standing) AS standing FROM indexed_offers {joined} WHERE {where}
GROUP BY product_id HAVING {having}"""


_LAG = """
SELECT state.version, state.built_to IS NOT NULL AS building, clock.position, clock.indexed,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - changed_at)::float8 FROM catalogue_changes
                 WHERE position > clock.indexed ORDER BY position LIMIT 1), 0) AS behind_seconds
FROM catalogue_clock clock LEFT JOIN product_index_state state ON true"""


class IndexLag(NamedTuple):
    """How far the product index has followed."""

    version: int
    """0: it was never built."""
    building: bool
    position: int
    """Of the last change of the catalogue."""
    indexed: int
    """Of the last change that the index has followed."""
    behind_seconds: float
    """How old the first change is that it has not."""


class Statement(NamedTuple):
    """A statement with its arguments."""

    sql: str
    arguments: list[Any]


async def find_index_lag(connection: Connection) -> IndexLag:
    """Tell how far the product index is behind the catalogue."""
    row = await connection.fetchrow(_LAG)
    assert row is not None, "the migration has made the clock's one row"
    return IndexLag(row["version"] or 0, *row[1:])


async def find_products(
    connection: Connection,
    wanted: ProductFilter,
    *,
    sort: Sort = Sort.NEWEST,
    page: int = 1,
    limit: int = 24,
    after: ProductPlace | None = None,
) -> ProductPage:
    """Read one page of the products that a filter lets through, or what follows a place in their order.

    Pages count from 1; one beyond the last is empty. Raises IndexNotBuiltError while there is no index yet.
    """
    search = None if wanted.search is None else await find_search(connection, wanted.search)
    statement = write_list(wanted, search, sort=sort, offset=(page - 1) * limit, limit=limit, after=after)
    rows = await connection.fetch(statement.sql, *statement.arguments)
    first = rows[0]
    if not first["version"]:
        raise IndexNotBuiltError("the list of products is being built for the first time; try again soon")
    items = tuple(_read_summary(row) for row in rows if row["id"] is not None)
    more = len(items) > limit
    place = ProductPlace(rows[limit - 1]["key"], rows[limit - 1]["id"]) if more else None
    return ProductPage(items=items[:limit], total=first["total"], next=place)


def write_list(
    wanted: ProductFilter,
    search: Search | None,
    *,
    sort: Sort,
    offset: int,
    limit: int,
    after: ProductPlace | None,
) -> Statement:
    """Write the statement of one page, and of one product more."""
    arguments: list[Any] = [limit + 1, offset]
    per_product = not wanted.needs_offers() and not (wanted.in_stock and sort is Sort.DISCOUNT)
    searched = wanted.search is not None
    relation = write_search(search, arguments) + "," if searched else ""
    conditions = write_conditions(wanted, arguments, per_product=per_product, searched=searched)
    ranked = searched and sort is Sort.RELEVANCE
    found = (_BY_PRODUCT if per_product else _BY_OFFER).format(
        key=write_key(sort, per_product=per_product),
        joined="JOIN searched USING (product_id)" if ranked else "",
        where=conditions.where,
        having=conditions.having,
    )
    beyond = "true"
    if after is not None:
        arguments.extend(after)
        key, product_id = f"${len(arguments) - 1}::bigint", f"${len(arguments)}::bigint"
        beyond = f"key > {key} OR key = {key} AND product_id < {product_id}"
    # Nearly all products are counted and sorted sooner in two passes than put by for both.
    is_wide = per_product and not (searched or wanted.brands or wanted.categories)
    kept = "NOT MATERIALIZED" if is_wide else "MATERIALIZED"
    return Statement(_LIST.format(searched=relation, kept=kept, found=found, after=beyond), arguments)


def _read_summary(row: asyncpg.Record) -> ProductSummary:
    compare_at, currency = row["compare_at_minor"], row["currency"]
    shops = tuple(ShopName(*shop) for shop in row["shops"])
    return ProductSummary(
        id=row["id"],
        name=row["name"],
        brand=_read_label(row["brand_slug"], row["brand_name"]),
        category=_read_label(row["category_slug"], row["category_name"]),
        colourway=row["colourway"],
        image_url=row["image_url"],
        price=_read_money(row["price_minor"], currency),
        price_highest=_read_money(row["highest_minor"], currency),
        compare_at=_read_money(compare_at, currency),
        availability=Availability(row["availability"]),
        changed_at=row["changed_at"],
        shops=shops,
        demo=any(shop.demo for shop in shops),
        matching_price=read_price(row["standing"]),
        matching_in_stock=row["standing"] < SOLD_OUT,
    )


def read_price(standing: int) -> Money | None:
    """Read the price out of a standing; None where it has none."""
    amount, number = standing & NO_AMOUNT, standing >> 45 & 0x7FFF
    if amount == NO_AMOUNT:
        return None
    currency = "".join(chr(65 + number // power % 26) for power in (676, 26, 1))
    exponent = minor_exponent(currency)
    return Money(amount // 10 ** (3 - exponent) if exponent <= 3 else amount * 10, currency)


def _read_label(slug: str | None, name: str | None) -> Label | None:
    return None if slug is None or name is None else Label(slug=slug, name=name)


def _read_money(minor: int | None, currency: str | None) -> Money | None:
    return None if minor is None or currency is None else Money(minor, currency)
