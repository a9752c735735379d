"""Random small catalogues, and what lists of their products must hold: the index's rules again, in Python."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from tests.integration.catalog_rows import NOW

from skatestock.catalog.product_filter import ProductFilter, Sort
from skatestock.database.pool import Connection
from skatestock.vocabulary.money import discount_percent, minor_exponent

SHOPS = ("labor", "nj", "premier")
BRANDS = ("adidas", "baker", "quasi")
CATEGORIES = {"decks": 1, "wheels": 4, "shoes": 8}
SIZES = ('8.25"', '8.5"', "M 9", "S")
COLOURWAYS = ("Black", "Black/White", "Core Black", "Navy & Gray", "Assorted", None)
COLOURS = ("black", "white", "navy", "grey", "assorted")
CURRENCIES = ("USD", "USD", "USD", "EUR", "JPY")
RANKS = {"in_stock": 0, "unknown": 1, "out_of_stock": 2, "gone": 3}
_COLOURS_OF = {
    "Black": {"black"},
    "Black/White": {"black", "white"},
    "Core Black": {"black"},
    "Navy & Gray": {"navy", "grey"},
    "Assorted": {"assorted"},
    None: set[str](),
}


@dataclass(frozen=True)
class Offer:
    """An offer as it was written."""

    size: str | None
    colour: str | None
    price: int | None
    compare_at: int | None
    availability: str
    since_at: datetime


@dataclass(frozen=True)
class Listing:
    """A listing as it was written."""

    id: int
    shop: str
    currency: str
    colourway: str | None
    first_seen_at: datetime
    live: bool
    offers: tuple[Offer, ...]


@dataclass
class Product:
    """A product as it was written."""

    id: int
    brand: str | None
    category: str | None
    colourway: str | None
    listings: list[Listing] = field(default_factory=list)

    def considered(self) -> list[Listing]:
        live = [listing for listing in self.listings if listing.live]
        return live or self.listings


@dataclass(frozen=True)
class Row:
    """An offer, or a listing without any, with all that a filter may ask of it."""

    product: Product
    listing: Listing
    offer: Offer | None

    @property
    def rank(self) -> int:
        return 3 if self.offer is None else RANKS[self.offer.availability]

    @property
    def amount(self) -> Decimal | None:
        if self.offer is None or self.offer.price is None:
            return None
        return Decimal(self.offer.price).scaleb(-minor_exponent(self.listing.currency))

    @property
    def discount(self) -> int | None:
        if self.offer is None or self.offer.price is None:
            return None
        return discount_percent(self.offer.price, self.offer.compare_at)

    @property
    def colours(self) -> set[str]:
        named = self.offer.colour if self.offer is not None else None
        return _COLOURS_OF[named or self.listing.colourway or self.product.colourway]

    @property
    def standing(self) -> tuple[int, int, str, Decimal]:
        """Order rows as a buyer would: availability first, then prices, one currency after the other."""
        amount = self.amount
        currency = "" if amount is None else self.listing.currency
        return self.rank, amount is None, currency, amount or Decimal(0)


def make_catalogue(chance: random.Random, products: int) -> list[Product]:
    """Make some products, with listings that clash and agree in every way."""
    numbers = iter(range(1, 10_000))
    made = []
    for number in range(1, products + 1):
        product = Product(
            number,
            chance.choice((*BRANDS, None)),
            chance.choice((*CATEGORIES, None)),
            chance.choice(COLOURWAYS),
        )
        product.listings = [make_listing(chance, next(numbers)) for _ in range(chance.randrange(4))]
        made.append(product)
    return made


def make_listing(chance: random.Random, number: int) -> Listing:
    live = chance.random() < 0.8
    return Listing(
        id=number,
        shop=chance.choice(SHOPS),
        currency=chance.choice(CURRENCIES),
        colourway=chance.choice(COLOURWAYS),
        first_seen_at=NOW - timedelta(days=chance.randrange(6)),
        live=live,
        offers=tuple(make_offer(chance, live) for _ in range(chance.randrange(5))),
    )


def make_offer(chance: random.Random, live: bool) -> Offer:
    price = chance.choice((None, 1000, 2000, 3000, 4500))
    return Offer(
        size=chance.choice((*SIZES, None)),
        colour=chance.choice((None, None, "Black", "Navy & Gray")),
        price=price,
        compare_at=chance.choice((None, None, 2000, 4000, 9000)),
        availability=chance.choice(("in_stock", "out_of_stock", "unknown", "gone") if live else ("gone",)),
        since_at=NOW - timedelta(hours=chance.randrange(5)),
    )


async def write_catalogue(connection: Connection, products: Iterable[Product]) -> None:
    """Write products into an empty catalogue."""
    shops = {slug: number for number, slug in enumerate(SHOPS, start=1)}
    brands = {slug: number for number, slug in enumerate(BRANDS, start=1)}
    await connection.executemany(
        "INSERT INTO shops (id, slug, name, url, currency, platform) OVERRIDING SYSTEM VALUE "
        "VALUES ($1, $2, $2, 'https://' || $2 || '.example', 'USD', 'shopify')",
        [(number, slug) for slug, number in shops.items()],
    )
    await connection.executemany(
        "INSERT INTO brands (id, slug, name) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $2)",
        [(number, slug) for slug, number in brands.items()],
    )
    for product in products:
        await connection.execute(
            "INSERT INTO products (id, name, brand_id, category_id, colourway, created_at) "
            "OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6)",
            *(product.id, f"Product {product.id}", brands.get(product.brand or "")),
            *(CATEGORIES.get(product.category or ""), product.colourway, NOW),
        )
        for listing in product.listings:
            await write_listing(connection, product.id, listing, shops[listing.shop])


async def write_listing(connection: Connection, product_id: int, listing: Listing, shop_id: int) -> None:
    await connection.execute(
        "INSERT INTO listings (id, shop_id, listing_id, product_id, url, handle, title, name, colourway, "
        "currency, fingerprint, parser, parser_version, first_seen_at, observed_at, seen_at, delisted_at) "
        "OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $3, 'A title', 'A name', $6, $7, '\\x00', "
        "'shopify', 1, $8, $9, $9, $10)",
        *(listing.id, shop_id, f"L{listing.id}", product_id, f"https://x.example/products/L{listing.id}"),
        *(listing.colourway, listing.currency, listing.first_seen_at, NOW, None if listing.live else NOW),
    )
    await connection.executemany(
        "INSERT INTO offers (listing_id, offer_id, title, options, position, size, price_minor, "
        "compare_at_minor, availability, since_at) VALUES ($1, $2, 'T', $3, $4, $5, $6, $7, $8, $9)",
        [
            (
                *(listing.id, f"O{place}", {"Color": offer.colour} if offer.colour else {}, place),
                *(offer.size, offer.price, offer.compare_at, offer.availability, offer.since_at),
            )
            for place, offer in enumerate(listing.offers)
        ],
    )


def rows_of(product: Product) -> list[Row]:
    return [
        Row(product, listing, offer) for listing in product.listings for offer in (listing.offers or (None,))
    ]


def find_matching(product: Product, wanted: ProductFilter) -> list[Row]:
    """Find the rows of a product that meet every positive filter, unless a negative one forbids it."""
    rows = [row for row in rows_of(product) if all(test(row) for test in write_tests(wanted))]
    if wanted.in_stock is False and any(row.rank == 0 for row in rows):
        return []
    if wanted.on_sale is False and any(row.discount is not None for row in rows):
        return []
    return rows


def write_tests(wanted: ProductFilter) -> list[Callable[[Row], bool]]:
    def bounded(row: Row) -> bool:
        if wanted.min_amount is None and wanted.max_amount is None:
            return True
        amount = row.amount
        lowest, highest = wanted.min_amount or 0, wanted.max_amount
        return (
            amount is not None and lowest <= amount * 1000 and (highest is None or amount * 1000 <= highest)
        )

    return [
        lambda row: wanted.include_delisted or row.listing.live,
        lambda row: not wanted.shops or row.listing.shop in wanted.shops,
        lambda row: not wanted.brands or row.product.brand in wanted.brands,
        lambda row: not wanted.categories or row.product.category in wanted.categories,
        lambda row: not wanted.sizes or (row.offer is not None and row.offer.size in wanted.sizes),
        lambda row: not wanted.colours or bool(row.colours & set(wanted.colours)),
        bounded,
        lambda row: wanted.min_discount is None or (row.discount or 0) >= wanted.min_discount,
        lambda row: not wanted.on_sale or row.discount is not None,
        lambda row: not wanted.in_stock or row.rank == 0,
        lambda row: wanted.new_since is None or row.listing.first_seen_at >= wanted.new_since,
    ]


def find_expected(products: Iterable[Product], wanted: ProductFilter, sort: Sort) -> list[int]:
    """List the ids of the products that match, in their order."""
    matching = {product.id: rows for product in products if (rows := find_matching(product, wanted))}
    return sorted(matching, key=lambda number: (*order_key(matching[number], sort), -number))


def order_key(rows: list[Row], sort: Sort) -> tuple[object, ...]:
    best = min(row.standing for row in rows)
    unpriced, amount = best[1], best[3]
    considered = rows[0].product.considered()
    if sort is Sort.PRICE:
        return unpriced, amount
    if sort is Sort.HIGHEST_PRICE:
        return unpriced, -amount
    if sort is Sort.DISCOUNT:
        return (-max(-1 if row.discount is None else row.discount for row in rows),)
    if sort is Sort.NEWEST:
        return (-max(listing.first_seen_at for listing in considered).timestamp(),)
    changed = [offer.since_at.timestamp() for listing in considered for offer in listing.offers]
    return (-max(changed, default=0.0),)


def copy_of(product: Product) -> Product:
    return replace(product, listings=list(product.listings))
