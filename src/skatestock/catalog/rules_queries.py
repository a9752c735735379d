"""What no rule knew, most frequent first."""

import msgspec

from skatestock.database.pool import Connection
from skatestock.vocabulary.normaliser import Normaliser


class UnknownWords(msgspec.Struct, frozen=True, kw_only=True):
    """Words of one shop that no rule knows."""

    kind: str
    """`brand`, `category`, `size`, or `option`: the name of an option that may hold a size or not."""
    shop: str
    words: str
    """The shop's word for the brand, or what its title begins with; its product type, or the listing's name;
    a size behind its category; the name of an option."""
    count: int
    """Listings; for sizes and options, offers."""
    example: str
    """The title of one of the listings."""


class RulesReport(msgspec.Struct, frozen=True, kw_only=True):
    """What no rule knew, and how much of the catalogue the current rules have read."""

    rules_version: str
    listings: int
    outdated: int
    """Listings that other rules have read, or none: `skatestock rules apply` brings them up to date."""
    unknown: tuple[UnknownWords, ...]


_LISTINGS = "SELECT count(*) FROM listings"
_OUTDATED = "SELECT count(*) FROM listings WHERE rules_version IS DISTINCT FROM $1"

_UNKNOWN_BRANDS = """
SELECT 'brand' AS kind, s.slug AS shop,
    coalesce(l.brand, array_to_string((string_to_array(l.title, ' '))[1:2], ' ')) AS words,
    count(*) AS count, min(l.title) AS example
FROM listings l JOIN shops s ON s.id = l.shop_id
WHERE l.brand_id IS NULL AND l.rules_version IS NOT NULL AND ($1::text[] IS NULL OR s.slug = ANY ($1))
GROUP BY 2, 3
"""

_UNKNOWN_CATEGORIES = """
SELECT 'category' AS kind, s.slug AS shop, coalesce(l.product_type, l.name) AS words,
    count(*) AS count, min(l.title) AS example
FROM listings l JOIN shops s ON s.id = l.shop_id
WHERE l.category_id IS NULL AND l.rules_version IS NOT NULL AND ($1::text[] IS NULL OR s.slug = ANY ($1))
GROUP BY 2, 3
"""

_OPTION_NAMES = "SELECT DISTINCT jsonb_object_keys(options) FROM offers"

_UNKNOWN_SIZES = """
SELECT 'size' AS kind, s.slug AS shop, coalesce(c.slug, 'no category') || ': ' || option.value AS words,
    count(*) AS count, min(l.title) AS example
FROM offers o JOIN listings l ON l.id = o.listing_id JOIN shops s ON s.id = l.shop_id
LEFT JOIN categories c ON c.id = l.category_id
CROSS JOIN LATERAL jsonb_each_text(o.options) AS option
WHERE o.size IS NULL AND option.key = ANY ($2::text[]) AND l.rules_version IS NOT NULL
    AND ($1::text[] IS NULL OR s.slug = ANY ($1))
GROUP BY 2, 3
"""

_UNKNOWN_OPTIONS = """
SELECT 'option' AS kind, s.slug AS shop, option.key AS words, count(*) AS count, min(l.title) AS example
FROM offers o JOIN listings l ON l.id = o.listing_id JOIN shops s ON s.id = l.shop_id
CROSS JOIN LATERAL jsonb_object_keys(o.options) AS option (key)
WHERE option.key = ANY ($2::text[]) AND l.rules_version IS NOT NULL
    AND ($1::text[] IS NULL OR s.slug = ANY ($1))
GROUP BY 2, 3
"""


async def find_unknown_words(
    connection: Connection, normaliser: Normaliser, *, shops: tuple[str, ...] = ()
) -> RulesReport:
    """Read what no rule knew, most frequent first; without shops, of all of them."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        listings = await connection.fetchval(_LISTINGS)
        outdated = await connection.fetchval(_OUTDATED, normaliser.version)
        names = [row[0] for row in await connection.fetch(_OPTION_NAMES)]
        sizes = [name for name in names if normaliser.sizes.is_size_option(name)]
        strange = [name for name in names if not normaliser.sizes.is_known_option(name)]
        chosen = list(shops) or None
        rows = [
            *await connection.fetch(_UNKNOWN_BRANDS, chosen),
            *await connection.fetch(_UNKNOWN_CATEGORIES, chosen),
            *await connection.fetch(_UNKNOWN_SIZES, chosen, sizes),
            *await connection.fetch(_UNKNOWN_OPTIONS, chosen, strange),
        ]
    unknown = sorted((UnknownWords(**row) for row in rows), key=lambda row: (-row.count, row.kind, row.words))
    return RulesReport(
        rules_version=normaliser.version, listings=listings, outdated=outdated, unknown=tuple(unknown)
    )
