"""Recipes as data: how to read a shop that is on no known platform. Pure.

A recipe names the shop's listing pages and says, by CSS selectors for HTML or by dotted paths for JSON, where
a listing and its offers stand. docs/DATA_SOURCES.md explains every key.
"""

import re
from typing import Annotated, Any, Literal

import msgspec

from skatestock.crawl.errors import CrawlError

_Path = Annotated[str, msgspec.Meta(min_length=1, max_length=300, pattern=r"^\S(.*\S)?$")]
_STEP = re.compile(r"[^.\[\]\s]+(?:\[\])?\Z")


class RecipeError(CrawlError):
    """A recipe that cannot be used; the message names the key."""


class OfferFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one offer's state stands, from its listing or, with `items`, from each of its offers on."""

    items: _Path | None = None
    """The offers of a listing; without it a listing is one offer."""
    id: _Path | None = None
    price: _Path
    compare_at: _Path | None = None
    sku: _Path | None = None
    barcode: _Path | None = None
    title: _Path | None = None
    size: _Path | None = None
    colour: _Path | None = None
    in_stock: _Path | None = None
    """What is there (HTML) or true (JSON) only while the offer can be bought."""
    sold_out: _Path | None = None
    """What is there or true only while it cannot."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to read a shop's listing pages."""

    format: Literal["html", "json"]
    pages: _Path
    """The path of a listing page; `{page}` stands for its number."""
    first_page: Annotated[int, msgspec.Meta(ge=0, le=1)] = 1
    whole: _Path | None = None
    """What stands at the end of every HTML page: one without it is taken for a part of a page."""
    next: _Path | None = None
    """The address of the next page; without it the pages are counted until one is empty."""
    items: _Path
    link: _Path
    id: _Path | None = None
    """The shop's own id of a listing; without it the path of its address."""
    title: _Path
    vendor: _Path | None = None
    product_type: _Path | None = None
    image: _Path | None = None
    amounts: Literal["text", "decimal", "minor"] = "text"
    """Prices as a person reads them, as plain decimals, or as whole minor units."""
    in_stock_words: tuple[str, ...] = ()
    """What a JSON text at `in_stock` says while the offer can be bought."""
    offer: OfferFields


def parse_recipe(table: Any) -> Recipe:
    """Read a recipe from a table of a shops file; raises RecipeError naming the key at fault."""
    try:
        recipe = msgspec.convert(table, Recipe)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        raise RecipeError(f"key 'recipe.{place.rstrip('`')}': {message}" if place else message) from error
    check_recipe(recipe)
    return recipe


def check_recipe(recipe: Recipe) -> None:
    """Check what a recipe's keys mean together, and every selector or path; raises RecipeError."""
    if recipe.format == "html" and recipe.whole is None:
        raise RecipeError("key 'recipe.whole': an HTML page needs something by which its end is known")
    if not recipe.pages.startswith("/") or (recipe.next is None and "{page}" not in recipe.pages):
        raise RecipeError("key 'recipe.pages': a path that begins with / and holds {page}, or a key 'next'")
    check = _check_css if recipe.format == "html" else _check_path
    for key, value in _iterate_paths(recipe):
        check(key, value)


def _iterate_paths(recipe: Recipe) -> list[tuple[str, str]]:
    keys = ("whole", "next", "items", "link", "id", "title", "vendor", "product_type", "image")
    paths = [(key, getattr(recipe, key)) for key in keys]
    paths += [(f"offer.{key}", getattr(recipe.offer, key)) for key in recipe.offer.__struct_fields__]
    return [(key, value) for key, value in paths if value is not None]


def _check_css(key: str, value: str) -> None:
    # Not at the top: the parser of HTML would be loaded by every command that reads the file of shops.
    from cssselect import SelectorError

    from skatestock.crawl.platforms.documents import compile_css

    try:
        compile_css(value)
    except (SelectorError, ValueError) as error:
        raise RecipeError(f"key 'recipe.{key}': {value!r} is no CSS selector: {error}") from error


def _check_path(key: str, value: str) -> None:
    if not all(_STEP.match(step) for step in value.split(".")):
        raise RecipeError(f"key 'recipe.{key}': {value!r} is no path such as data.items[]")
