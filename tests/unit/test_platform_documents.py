"""docs/DATA_SOURCES.md says of the platforms what the code does: keys, words and limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args, get_type_hints

from skatestock.crawl.platforms import schema_nodes, sitemap, sitemap_walk, woocommerce
from skatestock.crawl.platforms.recipe_model import OfferFields, Recipe
from skatestock.crawl.shops import Shop
from skatestock.replica.platform_faces import PLATFORM_ROUTES

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "DATA_SOURCES.md").read_text("utf-8")
PLATFORMS = get_args(get_type_hints(Shop)["platform"])


def section(heading: str) -> str:
    return TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]


def keys_of(table: str) -> list[str]:
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [key for cell in cells for key in re.findall(r"`([^`]+)`", cell)]


def words_of(text: str) -> set[str]:
    return {word.lower() for word in re.findall(r"`([A-Za-z]+)`", text)}


def test_every_platform_is_named_and_the_replica_plays_it() -> None:
    (row,) = (line for line in TEXT.splitlines() if line.startswith("| `platform` "))
    assert tuple(re.findall(r"`([a-z-]+)`", row)[1:]) == PLATFORMS
    assert set(PLATFORM_ROUTES) == {*PLATFORMS, "open-graph"}
    table = (DOCS / "REPLICA.md").read_text("utf-8").split("### Shops of other platforms\n")[1]
    assert keys_of(table.split("\n## ")[0]) == list(PLATFORM_ROUTES)


def test_every_key_of_a_recipe_is_explained_and_no_other() -> None:
    text = section("A recipe for any other shop")
    listing, offer = text.split("The keys of `[shops.recipe.offer]`:")
    assert set(keys_of(listing)) == set(Recipe.__struct_fields__)
    assert set(keys_of(offer)) == set(OfferFields.__struct_fields__)


def test_the_words_of_availability_are_those_of_the_code() -> None:
    text = section("Any shop with schema.org data")
    (line,) = (line for line in text.splitlines() if line.startswith("- `InStock`"))
    buyable, others = line.split("are in stock;")
    assert words_of(buyable) == schema_nodes.BUYABLE
    assert words_of(others) == schema_nodes.NOT_BUYABLE


def test_the_limits_are_those_of_the_code() -> None:
    assert f"{woocommerce.MAX_PAGE_SIZE} rows a page" in section("WooCommerce's Store API")
    assert f"; {sitemap_walk.MAX_EMPTY} in a row end" in section("Any shop with schema.org data")
    assert f"({sitemap.MAX_ADDRESSES:,} where a sitemap names them)" in TEXT
