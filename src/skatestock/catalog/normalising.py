"""What the rules make of loaded listings, as it is written beside their raw words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from skatestock.catalog.commands import ensure_brands
from skatestock.catalog.model import ListingState, ListingWords, OfferState
from skatestock.database.pool import Connection
from skatestock.vocabulary.identifiers import to_slug
from skatestock.vocabulary.normaliser import ListingReading, Normaliser, current_normaliser

slug_of_brand = lru_cache(maxsize=4096)(to_slug)


class NormalisedListing(NamedTuple):
    """What is stored of a reading, for the listing and for the product that is named by it alone."""

    product_name: str
    product_brand_id: int | None
    """Of the brand that the rules know, else of the shop's own word for it, which is shown as it stands."""
    brand_id: int | None
    """Only of a brand that the rules know."""
    category_id: int | None
    colourway: str | None
    style_code: str | None
    rules_version: str


async def normalise_listings(
    connection: Connection, listings: Sequence[ListingState]
) -> list[NormalisedListing]:
    """Read the words of listings by today's rules, adding brands that are new to the catalogue."""
    normaliser = current_normaliser()
    words = [_words_of(listing) for listing in listings]
    readings = [read_words(normaliser, said) for said in words]
    known = {reading.brand for reading in readings if reading.brand}
    shown = {
        said.brand for said, reading in zip(words, readings, strict=True) if said.brand and not reading.brand
    }
    # The first name of a slug stays, so those of the rules come before the words of shops.
    names = {slug_of_brand(brand): brand for brand in (*sorted(shown, reverse=True), *known)}
    ids = await ensure_brands(connection, names)
    brand_ids = {brand: ids[slug_of_brand(brand)] for brand in known | shown}
    category_ids = await fetch_category_ids(connection)
    return [
        NormalisedListing(
            reading.name,
            brand_ids.get(reading.brand or said.brand or ""),
            brand_ids.get(reading.brand or ""),
            None if reading.category is None else category_ids[reading.category],
            said.colourway,
            reading.style_code or _find_style_code(normaliser, reading, listing),
            normaliser.version,
        )
        for listing, said, reading in zip(listings, words, readings, strict=True)
    ]


async def fetch_category_ids(connection: Connection) -> Mapping[str, int]:
    """Return the ids of the categories by slug."""
    return {row[0]: row[1] for row in await connection.fetch("SELECT slug, id FROM categories")}


def read_words(normaliser: Normaliser, words: ListingWords) -> ListingReading:
    """Read a listing by what it says of itself."""
    return normaliser.read_listing(words.title, words.name, words.brand, words.product_type)


def find_sizes(offers: Iterable[tuple[ListingState, OfferState]]) -> Iterator[str | None]:
    """Tell the size of each offer, None where no rule knows it; the offers of a listing come together."""
    normaliser = current_normaliser()
    for listing, some in groupby(offers, key=itemgetter(0)):
        reading = read_words(normaliser, _words_of(listing))
        for size in normaliser.read_sizes([offer.options for _, offer in some], reading):
            yield size and size.label


def _words_of(listing: ListingState) -> ListingWords:
    assert listing.words is not None, "a listing that is written has been observed"
    return listing.words


def _find_style_code(normaliser: Normaliser, reading: ListingReading, listing: ListingState) -> str | None:
    if not normaliser.brands.has_style_codes(reading.brand):
        return None
    return normaliser.find_style_code(reading.brand, [offer.sku for offer in listing.offers.values()])
