"""What today's rules would change in stored listings. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from skatestock.vocabulary.normaliser import ListingReading, Normaliser
from skatestock.vocabulary.titles import TitleHabit, read_title

KINDS = ("brand", "category", "colourway", "size", "style code", "name")
"""What can change, in the order in which a diff tells it."""


class ShopWays(NamedTuple):
    """How a shop writes its titles, and the names under which it is its own vendor."""

    title_habit: TitleHabit
    shop_names: tuple[str, ...]


class StoredOffer(NamedTuple):
    """An offer as it is stored, as far as the rules read it."""

    id: int
    options: dict[str, str]
    sku: str | None
    size: str | None


class StoredListing(NamedTuple):
    """A listing as it is stored, with the product that is named by it alone."""

    id: int
    product_id: int
    alone: bool
    """Whether it is its product's only listing, which then names it."""
    title: str
    vendor: str | None
    product_type: str | None
    name: str
    word: str | None
    """The shop's word for the brand."""
    colourway: str | None
    brand: str | None
    category: str | None
    style_code: str | None
    rules_version: str | None
    product_name: str
    product_brand: str | None
    product_category: str | None
    product_colourway: str | None
    offers: tuple[StoredOffer, ...] = ()


class RuleChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change, and how often it happens."""

    kind: str
    before: str | None
    after: str | None
    count: int
    example: str
    """The title of one listing that it happens to."""


class RulesDiff(msgspec.Struct, kw_only=True):
    """Everything that today's rules change in the catalogue."""

    rules_version: str
    listings: int = 0
    """How many were read."""
    changed: int = 0
    """How many of them the rules make something else of, or of an offer of theirs."""
    unmarked: int = 0
    """How many only get the version of the rules."""
    changes: tuple[RuleChange, ...] = ()
    """By kind, the most frequent first."""


class Reread(NamedTuple):
    """A stored listing as today's rules read it."""

    stored: StoredListing
    name: str
    word: str | None
    colourway: str | None
    reading: ListingReading
    style_code: str | None
    sizes: tuple[str | None, ...]
    """Of its offers, in their order."""

    @property
    def shown_brand(self) -> str | None:
        """Return the brand that its product shows: that of the rules, else the shop's own word."""
        return self.reading.brand or self.word

    def differences(self) -> Iterator[tuple[str, str | None, str | None]]:
        """List what changes: kind, before, after."""
        stored, reading = self.stored, self.reading
        category = reading.category.value if reading.category else None
        if stored.alone:
            yield "brand", stored.product_brand, self.shown_brand
            yield "category", stored.product_category, category
            yield "colourway", stored.product_colourway, self.colourway
            yield "name", stored.product_name, reading.name
        else:
            yield "brand", stored.brand or stored.word, self.shown_brand
            yield "category", stored.category, category
            yield "colourway", stored.colourway, self.colourway
        yield "style code", stored.style_code, self.style_code
        for offer, size in zip(stored.offers, self.sizes, strict=True):
            yield "size", offer.size, size

    def changes(self) -> set[tuple[str, str | None, str | None]]:
        """Return the differences that are ones."""
        return {change for change in self.differences() if change[1] != change[2]}

    def is_reworded(self) -> bool:
        """Tell whether the listing's own row says anything else, seen or not."""
        stored, reading = self.stored, self.reading
        category = reading.category.value if reading.category else None
        before = (
            stored.name,
            stored.word,
            stored.colourway,
            stored.brand,
            stored.category,
            stored.style_code,
        )
        return before != (self.name, self.word, self.colourway, reading.brand, category, self.style_code)

    def is_new(self, rules_version: str) -> bool:
        """Tell whether anything must be written, be it only the version of the rules."""
        return self.stored.rules_version != rules_version or self.is_reworded() or bool(self.changes())

    @property
    def changed_sizes(self) -> list[tuple[int, str | None]]:
        """Return the offers whose size changes, by id."""
        pairs = zip(self.stored.offers, self.sizes, strict=True)
        return [(offer.id, size) for offer, size in pairs if offer.size != size]


def reread_listing(stored: StoredListing, normaliser: Normaliser, ways: ShopWays | None) -> Reread:
    """Read a stored listing again from its raw words.

    Without the shop's ways, what its title was read as stays: nobody knows how the shop writes colours.
    """
    name, word, colourway = stored.name, stored.word, stored.colourway
    if ways is not None:
        read = read_title(stored.title, ways.title_habit, stored.vendor, ways.shop_names)
        name, word, colourway = read.name or stored.title, read.brand, read.colourway
    reading = normaliser.read_listing(stored.title, name, word, stored.product_type)
    sizes = normaliser.read_sizes((offer.options for offer in stored.offers), reading)
    return Reread(
        stored,
        name,
        word,
        colourway,
        reading,
        reading.style_code
        or normaliser.find_style_code(reading.brand, (offer.sku for offer in stored.offers)),
        tuple(None if size is None else size.label for size in sizes),
    )


class DiffTally:
    """Counts changes while listings go by."""

    def __init__(self, rules_version: str) -> None:
        self._diff = RulesDiff(rules_version=rules_version)
        self._counts: Counter[tuple[str, str | None, str | None]] = Counter()
        self._examples: dict[tuple[str, str | None, str | None], str] = {}

    def add(self, reread: Reread) -> None:
        """Count one listing."""
        self._diff.listings += 1
        changes = reread.changes()
        if changes or reread.is_reworded():
            self._diff.changed += 1
        elif reread.stored.rules_version != self._diff.rules_version:
            self._diff.unmarked += 1
        self._counts.update(changes)
        for change in changes:
            self._examples.setdefault(change, reread.stored.title)

    def finish(self) -> RulesDiff:
        """Return the diff."""
        ordered = sorted(
            self._counts.items(), key=lambda item: (KINDS.index(item[0][0]), -item[1], str(item[0]))
        )
        changes = tuple(
            RuleChange(kind=kind, before=before, after=after, count=count, example=self._examples[change])
            for change, count in ordered
            for kind, before, after in (change,)
        )
        return msgspec.structs.replace(self._diff, changes=changes)


def count_changes(diff: RulesDiff) -> Mapping[str, int]:
    """Return how many listings change in each way."""
    counts: Counter[str] = Counter()
    for change in diff.changes:
        counts[change.kind] += change.count
    return {kind: counts[kind] for kind in KINDS if counts[kind]}
