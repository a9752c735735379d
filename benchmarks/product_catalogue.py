"""A catalogue of many shops for benchmarks of reads: written by COPY, its values spread as in shops."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import asyncpg

from skatestock.database.pool import Connection

NOW = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
"""The present of the catalogue."""

_BRANDS = (
    *(
        "Quasi",
        "Baker",
        "Spitfire",
        "Independent",
        "Thunder",
        "Vans",
        "Nike SB",
        "Adidas",
        "Girl",
        "Chocolate",
    ),
    *("Real", "Anti Hero", "Krooked", "Toy Machine", "Powell Peralta", "Santa Cruz", "Creature", "Bones"),
)
_WORDS = (
    *(
        "Classic",
        "Logo",
        "Pro",
        "Team",
        "Stage",
        "Formula",
        "Vulc",
        "Busenitz",
        "Skyline",
        "Tyshawn",
        "Cruiser",
    ),
    *(
        "Reflex",
        "Eagle",
        "Bighead",
        "Swirl",
        "Garden",
        "Tower",
        "Heritage",
        "Wave",
        "Circle",
        "Rapido",
        "Lock",
    ),
    *(
        "Conical",
        "Radial",
        "Standard",
        "Hollow",
        "Titanium",
        "Forged",
        "Suede",
        "Canvas",
        "Low",
        "Mid",
        "High",
    ),
)
_COLOURS = (
    "Black",
    "White",
    "Navy",
    "Red",
    "Green",
    "Natural",
    "Grey",
    "Black/White",
    "Olive/Gum",
    "Core Black",
)
# Category by id: how often it is met, the sizes it comes in, and what it costs at least, in cents.
_CATEGORIES: tuple[tuple[int, int, tuple[str, ...], int], ...] = (
    (1, 22, ('8"', '8.125"', '8.25"', '8.375"', '8.5"', '8.75"', '9"'), 4500),
    (3, 6, ("139", "144", "149", "159", "169"), 2500),
    (4, 12, ("50mm 99a", "52mm 99a", "53mm 101a", "54mm 99a", "56mm 92a"), 2800),
    (8, 20, tuple(f"M {half / 2:g}" for half in range(12, 27)), 5500),
    (9, 16, ("XS", "S", "M", "L", "XL", "2XL"), 1800),
    (11, 10, ("S", "M", "L", "XL"), 4500),
    (13, 7, ("28", "30", "32", "34", "36", "38"), 5000),
    (17, 4, ("One size",), 900),
    (19, 3, (), 500),
)


class Scale(NamedTuple):
    """How much a catalogue holds."""

    shops: int = 50
    listings: int = 100_000
    offers: int = 5
    """Of each listing."""
    brands: int = 300


async def write_catalogue(connection: Connection, scale: Scale, seed: int = 1) -> None:
    """Fill an empty catalogue; the same seed gives the same rows."""
    chance = random.Random(seed)
    brands = [*_BRANDS, *(f"Brand {number}" for number in range(scale.brands - len(_BRANDS)))]
    await _copy(
        connection, "brands", ("slug", "name"), [(name.lower().replace(" ", "-"), name) for name in brands]
    )
    await _copy(connection, "shops", ("slug", "name", "url", "currency", "platform"), list(_shop_rows(scale)))
    shops = [row["id"] for row in await connection.fetch("SELECT id FROM shops ORDER BY id")]
    rows = _make_rows(chance, scale, brands, shops)
    for table, columns in _COLUMNS.items():
        await _copy(connection, table, columns, rows[table])
        await connection.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
        )
    await connection.execute("ANALYZE")


_COLUMNS = {
    "products": ("id", "name", "brand_id", "category_id", "colourway", "created_at"),
    "listings": (
        *(
            "id",
            "shop_id",
            "listing_id",
            "product_id",
            "url",
            "handle",
            "title",
            "name",
            "brand",
            "colourway",
        ),
        *("currency", "fingerprint", "parser", "parser_version", "first_seen_at", "observed_at", "seen_at"),
        "image_url",
    ),
    "offers": (
        *("id", "listing_id", "offer_id", "title", "options", "size", "position", "price_minor"),
        *("compare_at_minor", "availability", "since_at"),
    ),
}


def _shop_rows(scale: Scale) -> Iterator[tuple[str, ...]]:
    for number in range(scale.shops):
        yield f"shop-{number}", f"Shop {number}", f"https://shop-{number}.example", "USD", "shopify"


def _make_rows(
    chance: random.Random, scale: Scale, brands: Sequence[str], shops: Sequence[int]
) -> dict[str, list[tuple[Any, ...]]]:
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _COLUMNS}
    # few brands make most of what is sold
    brand_weights = [1 / (place + 1) for place in range(len(brands))]
    for listing in range(1, scale.listings + 1):
        brand = chance.choices(range(len(brands)), brand_weights)[0]
        category, _, sizes, least = chance.choices(_CATEGORIES, [often for _, often, _, _ in _CATEGORIES])[0]
        name = " ".join(chance.sample(_WORDS, 3)) + f" {listing % 97}"
        colourway = chance.choice(_COLOURS)
        seen_at = NOW - timedelta(seconds=chance.randrange(300 * 86400))
        handle = f"{name.lower().replace(' ', '-')}-{listing}"
        shop = listing % len(shops)
        address = f"https://shop-{shop}.example/products/{handle}"
        title = f"{brands[brand]} {name} - {colourway}"
        image = f"https://cdn.example/{listing}.jpg"
        rows["products"].append((listing, name, brand + 1, category, colourway, seen_at))
        rows["listings"].append(
            (
                *(listing, shops[shop], f"L{listing}", listing, address, handle, title, name, brands[brand]),
                *(colourway, "USD", b"\0" * 32, "shopify", 1, seen_at, seen_at, NOW, image),
            )
        )
        rows["offers"].extend(_offer_rows(chance, listing, scale.offers, sizes, least, seen_at))
    return rows


def _offer_rows(
    chance: random.Random, listing: int, offers: int, sizes: Sequence[str], least: int, seen_at: datetime
) -> Iterator[tuple[Any, ...]]:
    price = least + 500 * chance.randrange(12) + 95
    compare_at = price * 10 // chance.randrange(5, 10) if chance.random() < 0.2 else None
    first = chance.randrange(max(1, len(sizes)))
    for place in range(offers):
        size = sizes[(first + place) % len(sizes)] if sizes else None
        stock = "in_stock" if chance.random() < 0.6 else "out_of_stock"
        yield (
            *(
                listing * offers + place,
                listing,
                f"O{place}",
                size or "Default",
                {"Size": size} if size else {},
            ),
            *(size, place, price, compare_at, stock, seen_at + timedelta(hours=place)),
        )


async def _copy(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    try:
        await connection.copy_records_to_table(table, records=rows, columns=list(columns))
    except asyncpg.DataError as error:
        raise RuntimeError(f"the rows of {table} are not what its columns hold: {error}") from error
