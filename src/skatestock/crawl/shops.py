"""The shops, as data: read from a TOML file that anyone may extend."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from skatestock.crawl.errors import ShopsFileError
from skatestock.crawl.platforms.recipe_model import Recipe, RecipeError, check_recipe
from skatestock.crawl.politeness import ROBOTS_AGENT
from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.identifiers import check_slug
from skatestock.vocabulary.money import check_currency
from skatestock.vocabulary.titles import TitleHabit

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")]

_Path = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^/[^\s?#]*$")]
PLATFORM_KEYS = {
    "store_path": ("squarespace", True),
    "sitemap_path": ("schema-org", False),
    "product_paths": ("schema-org", True),
    "recipe": ("recipe", True),
    "barcodes": ("shopify", False),
    "barcodes_per_crawl": ("shopify", False),
}
"""The keys that belong to one platform, and whether it needs them."""


class Shop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One retailer's online store, and its habits."""

    slug: _Text
    name: _Text
    city: _Text | None = None
    region: _Text | None = None
    url: _Text
    """Where the shop begins, without a final slash."""
    currency: _Text
    platform: Literal["shopify", "woocommerce", "squarespace", "schema-org", "recipe"]
    store_path: _Path | None = None
    """Where on a Squarespace site the store lies."""
    sitemap_path: _Path = "/sitemap.xml"
    """The sitemap that names a schema.org shop's products."""
    product_paths: tuple[_Path, ...] = ()
    """How the paths of a schema.org shop's product pages begin."""
    recipe: Recipe | None = None
    """How to read a shop on no platform that we know."""
    title_habit: TitleHabit
    vendor_is_shop: tuple[_Text, ...] = ()
    """The names in the vendor field that mean the shop itself and so name no brand."""
    crawl_every_seconds: Annotated[int, msgspec.Meta(ge=60, le=7 * 86400)] = 1800
    barcodes: bool = False
    """Whether a Shopify shop is asked for the barcodes of new and changed listings, each by a request."""
    barcodes_per_crawl: Annotated[int, msgspec.Meta(ge=1, le=500)] = 20
    """How many such requests a crawl may send."""
    feed_rows: Literal["listing", "variant"] = "listing"
    """What one row of the earlier system's feeds of this shop stands for."""
    robots_agent: _Text = ROBOTS_AGENT
    """The name by which the shop's robots.txt addresses us."""
    demo: bool = False
    """Whether this is a replica and everything seen of it must be labelled so."""

    @property
    def shop_names(self) -> tuple[str, ...]:
        """Return every name of the shop itself."""
        return (self.name, *self.vendor_is_shop)


def load_shops(path: Path | str | None = None) -> tuple[Shop, ...]:
    """Read the shops from a file, or the five that come with SkateStock.

    Raises ShopsFileError naming the file, the shop and the key at fault.
    """
    if path is None:
        return parse_shops(files("skatestock.crawl").joinpath("shops.toml").read_text("utf-8"), "shops.toml")
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ShopsFileError(f"{path}: the file of shops cannot be read: {error}") from error
    return parse_shops(text, str(path))


def parse_shops(text: str, file: str) -> tuple[Shop, ...]:
    """Read the shops from the text of a file whose name errors will mention."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ShopsFileError(f"{file}: this is no TOML: {error}") from error
    unknown = sorted(document.keys() - {"shops"})
    if unknown:
        raise ShopsFileError(f"{file}: there is no key {unknown[0]!r} beside [[shops]]")
    tables = document.get("shops")
    if not isinstance(tables, list) or not tables:
        raise ShopsFileError(f"{file}: the file needs at least one [[shops]] table")
    shops = tuple(_parse_shop(table, place, file) for place, table in enumerate(tables, 1))
    _check_unique(shops, file)
    return shops


def _parse_shop(table: Any, place: int, file: str) -> Shop:
    slug = table.get("slug") if isinstance(table, dict) else None
    where = f"{file}: shop {slug!r}" if isinstance(slug, str) and slug else f"{file}: shop number {place}"
    return read_shop(table, where)


def get_shop(shops: Sequence[Shop], slug: str) -> Shop:
    """Return the shop of that slug; raises ShopsFileError with the slugs that there are."""
    for shop in shops:
        if shop.slug == slug:
            return shop
    known = ", ".join(shop.slug for shop in shops)
    raise ShopsFileError(f"there is no shop {slug!r}; the shops are {known}")


def derive_demo_shops(shops: Sequence[Shop], urls: Mapping[str, str]) -> tuple[Shop, ...]:
    """Point the shops at replicas of them (slug to base URL), labelled as demo, with all their habits.

    Raises ShopsFileError for a replica of no known shop; shops without a replica are left out.
    """
    for slug in urls:
        get_shop(shops, slug)
    return tuple(
        msgspec.structs.replace(shop, url=_check_url(urls[shop.slug]), demo=True)
        for shop in shops
        if shop.slug in urls
    )


def read_shop(table: Mapping[str, Any], where: str) -> Shop:
    """Read one shop as a `[[shops]]` table describes it; raises ShopsFileError that begins with `where`."""
    try:
        shop = msgspec.convert(table, Shop)
    except msgspec.ValidationError as error:
        raise ShopsFileError(f"{where}: {_explain(error)}") from error
    _check_platform_keys(table, shop, where)
    for key, check in (("slug", check_slug), ("url", _check_url), ("currency", check_currency)):
        try:
            check(getattr(shop, key))
        except InvalidValueError as error:
            raise ShopsFileError(f"{where}: key {key!r}: {error}") from error
    return msgspec.structs.replace(shop, url=_check_url(shop.url))


def _check_platform_keys(table: Any, shop: Shop, where: str) -> None:
    for key, (platform, _) in PLATFORM_KEYS.items():
        if key in table and shop.platform != platform:
            raise ShopsFileError(f"{where}: key {key!r}: only for shops on the platform {platform!r}")
    for key, (platform, needed) in PLATFORM_KEYS.items():
        if needed and shop.platform == platform and not table.get(key):
            raise ShopsFileError(f"{where}: key {key!r}: a shop on {platform!r} needs it")
    if shop.recipe is not None:
        try:
            check_recipe(shop.recipe)
        except RecipeError as error:
            raise ShopsFileError(f"{where}: {error}") from error


def _explain(error: msgspec.ValidationError) -> str:
    # msgspec ends its messages with the place: "Expected `int`, got `str` - at `$.crawl_every_seconds`".
    message, _, place = str(error).partition(" - at `$.")
    return f"key '{place.rstrip('`')}': {message}" if place else message


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username:
        raise InvalidValueError(f"{url!r} is no http(s) address of a shop")
    return url.rstrip("/")


def _check_unique(shops: Sequence[Shop], file: str) -> None:
    for key in ("slug", "url"):
        seen: set[str] = set()
        for shop in shops:
            value = getattr(shop, key)
            if value in seen:
                raise ShopsFileError(
                    f"{file}: shop {shop.slug!r}: key {key!r}: another shop has {value!r} too"
                )
            seen.add(value)
