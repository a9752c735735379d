"""How often the rules read brand and category as a person does, and what reading costs.

The gold standard is read beside the checkout (`../shared/data`, or SKATESTOCK_SHARED_DATA): 280 listings of
five shops, and the sale feeds that they are from. `--write` puts the result into docs/NORMALISATION.md.

    python -m benchmarks.normalisation [--write] [--rounds 25] [--wrong]
"""

import argparse
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
from benchmarks.figures import Figure, make_report, publish
from benchmarks.rounds import compare, measure_in_turns

from skatestock.crawl.shops import load_shops
from skatestock.vocabulary.category import Category
from skatestock.vocabulary.normaliser import ListingReading, Normaliser
from skatestock.vocabulary.rules.loading import current_rules, digest_rules
from skatestock.vocabulary.rules.model import BrandRule, Rules
from skatestock.vocabulary.titles import read_title
from skatestock.vocabulary.words import fold_words

WHAT = "brand and category as a person reads them"
PAGE = Path(__file__).parents[1] / "docs" / "NORMALISATION.md"
REACH_PERCENT = 3.0
"""At most so many listings have a wrong brand, a wrong category, or `other` for a category with a name."""

_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"
_NOTHING_FOUND = re.compile(r"no [a-z ]{1,30}found\Z", re.IGNORECASE)
_BARE_PATTERN = re.compile(r"[a-z]+|[0-9]+")


class GoldListing(msgspec.Struct, frozen=True):
    """One listing as a person who knows skateboarding read it."""

    shop: str
    title: str
    product_type: str | None
    brand: str
    category: Category
    colour: str | None
    sure: int

    @property
    def held_out(self) -> bool:
        """Tell whether it belongs to the half that nobody looked at before the first measurement."""
        return bool(sha256(self.title.encode()).digest()[0] & 1)


class Score(msgspec.Struct, frozen=True):
    """How many of so many listings were read right."""

    listings: int
    brands: int
    categories: int
    colourways: int
    unnamed: int
    """Those that have a category with a name, but were read as `other` or as nothing."""


def find_data() -> Path | None:
    """Find the recorded data; None where it is not there."""
    configured = os.environ.get("SKATESTOCK_SHARED_DATA")
    folder = Path(configured) if configured else Path(__file__).parents[2] / "shared" / "data"
    return folder if (folder / "normalisation" / "gold.jsonl").is_file() else None


def load_gold(data: Path) -> list[GoldListing]:
    """Read the gold standard."""
    lines = (data / "normalisation" / "gold.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=GoldListing) for line in lines]


def load_feed_listings(data: Path) -> set[tuple[str, str, str]]:
    """Read the distinct listings of the recorded feeds that have a title: shop, title, product type."""
    listings: dict[tuple[str, str], tuple[str, str, str]] = {}
    for file in sorted((data / "recorded-feeds").glob("*_*.json")):
        shop = file.stem.partition("_")[2]
        for row in msgspec.json.decode(file.read_bytes()):
            title, kind = (row.get(key) or "" for key in ("title", "productType"))
            if title and not _NOTHING_FOUND.match(title):
                handle = str(row["link"]).rstrip("/").rpartition("/")[2]
                listings[shop, handle] = (shop, title, "" if _NOTHING_FOUND.match(kind) else kind)
    return set(listings.values())


class Reader:
    """Reads titles as the crawl and ingest do together; the recorded listings have no vendor."""

    def __init__(self, rules: Rules) -> None:
        self._normaliser = Normaliser(rules)
        self._shops = {shop.slug: shop for shop in load_shops()}

    def read(self, shop: str, title: str, product_type: str | None) -> tuple[ListingReading, str | None]:
        """Read one listing, and its colourway."""
        habit, names = self._shops[shop].title_habit, self._shops[shop].shop_names
        title_reading = read_title(title, habit, None, names)
        name = title_reading.name or title
        reading = self._normaliser.read_listing(title, name, title_reading.brand, product_type or None)
        return reading, title_reading.colourway


def is_right_brand(read: str | None, gold: str) -> bool:
    """Tell whether two names of a maker are one, spelling aside."""
    return read is not None and "".join(fold_words(read)) == "".join(fold_words(gold))


def score(listings: Sequence[GoldListing], rules: Rules) -> Score:
    """Count what is right."""
    reader = Reader(rules)
    brands = categories = colourways = unnamed = 0
    for gold in listings:
        reading, colourway = reader.read(gold.shop, gold.title, gold.product_type)
        colourways += colourway == gold.colour
        brands += is_right_brand(reading.brand, gold.brand)
        categories += reading.category is gold.category
        unnamed += gold.category is not Category.OTHER and reading.category in (None, Category.OTHER)
    return Score(len(listings), brands, categories, colourways, unnamed)


def without_usual(rules: Rules) -> Rules:
    """Return the rules without what makers usually make."""
    brands: Mapping[str, BrandRule] = {
        name: msgspec.structs.replace(rule, usual=None) for name, rule in rules.brands.brands.items()
    }
    return msgspec.structs.replace(rules, brands=msgspec.structs.replace(rules.brands, brands=brands))


def render_block(data: Path) -> str:
    """Write what was measured as Markdown; the same rules and data give the same text."""
    rules, gold = current_rules(), load_gold(data)
    sets: dict[str, tuple[Sequence[GoldListing], Rules]] = {
        "all listings of the gold standard": (gold, rules),
        "those of which the person was sure": ([row for row in gold if row.sure == 3], rules),
        "the half that the rules were written with": ([row for row in gold if not row.held_out], rules),
        "the held-out half": ([row for row in gold if row.held_out], rules),
        "all, without what makers usually make": (gold, without_usual(rules)),
        "all, without product types": (
            [msgspec.structs.replace(row, product_type=None) for row in gold],
            rules,
        ),
    }
    lines = [
        _BEGIN,
        f"Rules {rules.version}, state {digest_rules()}.",
        "",
        "| listings | | brand right | category right | `other` or nothing instead | colourway right |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, (rows, used) in sets.items():
        scored = score(rows, used)
        shares = (
            _percent(n, scored.listings)
            for n in (scored.brands, scored.categories, scored.unnamed, scored.colourways)
        )
        lines.append(f"| {name} | {scored.listings} | {' | '.join(shares)} |")
    return "\n".join([*lines, "", *_render_feeds(data, rules), _END])


def _render_feeds(data: Path, rules: Rules) -> list[str]:
    reader = Reader(rules)
    listings = load_feed_listings(data)
    readings = [reader.read(*listing)[0] for listing in listings]
    total = len(readings)
    bases = Counter(reading.basis or "nothing" for reading in readings)
    unknown = sum(reading.brand is None for reading in readings)
    other = sum(reading.category is Category.OTHER for reading in readings)
    told = ", ".join(
        f"{basis} {_percent(bases[basis], total)}" for basis in ("title", "type", "measure", "brand")
    )
    nothing = _percent(bases["nothing"], total)
    return [
        f"Of the {total:,} distinct listings with a title in the recorded feeds, {_percent(unknown, total)}",
        f"have no known brand, {nothing} no category, and {_percent(other, total)} the category `other`.",
        f"What said the category: {told}.",
    ]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def measure(data: Path, rounds: int) -> list[Figure]:
    """Take the figures: errors in percent, and the time of reading against bare pattern matching."""
    gold = load_gold(data)
    scored = score(gold, current_rules())
    figures = [
        _wrong("wrong brand", scored.listings - scored.brands, scored.listings),
        _wrong("wrong category", scored.listings - scored.categories, scored.listings),
        _wrong("`other` for a category with a name", scored.unnamed, scored.listings),
    ]
    taken = measure_in_turns(_make_works(data), rounds)
    note = f"{len(load_feed_listings(data)):,} titles, none of them remembered"
    return [
        *figures,
        compare("read titles", taken["read"], "splitting them into words", taken["split"], note),
    ]


def _wrong(name: str, count: int, total: int) -> Figure:
    return Figure(name=name, unit="%", value=100 * count / total, reach=REACH_PERCENT, samples=total)


def _make_works(data: Path) -> dict[str, Callable[[], object]]:
    titles = [(title, kind) for _, title, kind in load_feed_listings(data)]

    def read() -> None:
        normaliser = Normaliser(current_rules())
        for title, kind in titles:
            normaliser.read_listing(title, title, None, kind)

    def split() -> None:
        for title, _ in titles:
            _BARE_PATTERN.findall(title.lower())

    return {"read": read, "split": split}


def print_wrong(data: Path) -> None:
    """Print every listing that is read otherwise than by the person."""
    reader = Reader(current_rules())
    for gold in load_gold(data):
        reading, _ = reader.read(gold.shop, gold.title, gold.product_type)
        if not is_right_brand(reading.brand, gold.brand) or reading.category is not gold.category:
            ours, theirs = (reading.brand, reading.category), (gold.brand, gold.category)
            print(f"{gold.shop}: {gold.title}: read as {ours}, by the person as {theirs}")


def write_page(data: Path) -> None:
    """Put what was measured into the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    PAGE.write_text(before + render_block(data) + after, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.normalisation", description=f"Measure {WHAT}."
    )
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--write", action="store_true", help="put the result into docs/NORMALISATION.md")
    parser.add_argument(
        "--wrong", action="store_true", help="print what is read otherwise than by the person"
    )
    options = parser.parse_args(arguments)
    data = find_data()
    if data is None:
        print("normalisation: the recorded data (../shared/data) is not there; nothing was measured")
        return 0
    if options.wrong:
        print_wrong(data)
        return 0
    if options.write:
        write_page(data)
    return publish(make_report("normalisation", WHAT, measure(data, options.rounds)))


if __name__ == "__main__":
    raise SystemExit(main())
