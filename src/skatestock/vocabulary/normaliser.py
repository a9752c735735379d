"""From a shop's words about a listing to ours: brand, name, category, style code and sizes."""

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import NamedTuple

from skatestock.vocabulary.brands import BrandReader
from skatestock.vocabulary.categories import CategoryReader
from skatestock.vocabulary.category import Category
from skatestock.vocabulary.rules.loading import current_rules
from skatestock.vocabulary.rules.model import Rules
from skatestock.vocabulary.sizes import Size, SizeReader
from skatestock.vocabulary.words import fold_words, skip_letters

_CACHED_LISTINGS = 8192
_CACHED_KINDS = 1000
_CACHED_SIZES = 1000
_BETWEEN_BRAND_AND_NAME = " -–—:|.,~/®™"


class ListingReading(NamedTuple):
    """What the rules make of a listing's words; None where no rule knows."""

    name: str
    """The title without colourway and without the maker's name; never empty where the title is not."""
    brand: str | None
    category: Category | None
    basis: str | None
    """What said the category: `title`, `type`, `measure` or `brand`."""
    style_code: str | None
    """The maker's own number of the style, where the title says it."""
    audience: str | None
    """Whose size a shoe's bare number is, where the title says it: `women`, `youth` …"""
    size_words: str | None
    """A size in the title, which is that of offers without a size of their own."""


class Normaliser:
    """Reads listings by one state of the rules, and remembers what it has read, within bounds."""

    def __init__(self, rules: Rules) -> None:
        self.version = rules.version
        """Of the rules: it is stored with what they have made."""
        self.brands = BrandReader(rules.brands)
        self.categories = CategoryReader(rules.categories)
        self.sizes = SizeReader(rules.sizes)
        self._known_listings = lru_cache(_CACHED_LISTINGS)(self._read_listing)
        self._known_sizes: dict[tuple[Category | None, str | None, str | None], dict[str, Size | None]] = {}

    def read_listing(
        self, title: str, name: str, word: str | None, product_type: str | None
    ) -> ListingReading:
        """Read a listing.

        Takes its title, the title without colourway, the shop's word for the brand (never the shop's own
        name), and its product type.
        """
        return self._known_listings(title, name, word, product_type)

    def read_size(self, options: Mapping[str, str], reading: ListingReading) -> Size | None:
        """Read the size of one offer of a listing that was read; None where no rule knows it."""
        return self.read_sizes((options,), reading)[0]

    def read_sizes(self, offers: Iterable[Mapping[str, str]], reading: ListingReading) -> list[Size | None]:
        """Read the sizes of the offers of a listing that was read, each from its options."""
        known, find_words = self._sizes_like(reading), self.sizes.find_words
        sizes: list[Size | None] = []
        for options in offers:
            words = find_words(options) or reading.size_words
            if words is not None and words not in known:
                known[words] = self.sizes.read(words, reading.category, reading.brand, reading.audience)
            sizes.append(None if words is None else known[words])
        return sizes

    def _sizes_like(self, reading: ListingReading) -> dict[str, Size | None]:
        """Return the sizes known of things that are measured alike, by their words."""
        key = (reading.category, reading.brand, reading.audience)
        known = self._known_sizes.get(key)
        if known is None or len(known) > _CACHED_SIZES:
            if len(self._known_sizes) >= _CACHED_KINDS:
                self._known_sizes.clear()
            known = self._known_sizes[key] = {}
        return known

    def find_style_code(self, brand: str | None, skus: Iterable[str | None]) -> str | None:
        """Find the one style code that all SKUs of a listing agree on."""
        if not self.brands.has_style_codes(brand):
            return None
        codes = {self.brands.find_style_code(brand, sku) for sku in skus if sku}
        return codes.pop() if len(codes) == 1 else None

    def _read_listing(
        self, title: str, name: str, word: str | None, product_type: str | None
    ) -> ListingReading:
        title_words = fold_words(title)
        brand, letters = self.brands.read(word, title_words)
        name_words = title_words
        if name != title:
            name_words = fold_words(name)
            of_name, letters = self.brands.find_prefix(name_words)
            letters = letters if of_name == brand else 0
        if brand is not None and letters:
            name, name_words = _without_letters(name, name_words, letters)
        usual = self.brands.usual_category(brand)
        category, basis = self.categories.read_words(product_type, name_words, title, title_words, usual)
        audience = self.sizes.read_audience(title_words) if category is Category.SHOES else None
        code = self.brands.find_style_code(brand, title) if brand is not None else None
        size_words = self.sizes.find_in_title(title, category)
        return ListingReading(name, brand, category, basis, code, audience, size_words)


def _without_letters(name: str, words: list[str], letters: int) -> tuple[str, list[str]]:
    """Take the maker's name from a name's beginning; a name is never taken away whole."""
    rest = name[skip_letters(name, letters) :].lstrip(_BETWEEN_BRAND_AND_NAME).rstrip()
    if not rest:
        return name, words
    place = 0
    while letters > 0:
        letters -= len(words[place])
        place += 1
    return rest, words[place:]


@cache
def current_normaliser() -> Normaliser:
    """Return the normaliser of the rules that come with SkateStock."""
    return Normaliser(current_rules())
