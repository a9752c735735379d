"""The shops that are watched: those of the file, and those that were added by command."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from skatestock.catalog.model import ShopRecord
from skatestock.catalog.shop_queries import fetch_definitions, fetch_resting
from skatestock.crawl.errors import ShopsFileError
from skatestock.crawl.shops import PLATFORM_KEYS, Shop, load_shops, read_shop
from skatestock.database.pool import Connection
from skatestock.settings import Settings
from skatestock.telemetry.logs import get_logger

_ALLOW_PRIVATE = "allow_private"

_log = get_logger(__name__)


class WatchedShops(msgspec.Struct, frozen=True, kw_only=True):
    """Every shop, and what is particular to some."""

    shops: tuple[Shop, ...]
    added: frozenset[str] = frozenset()
    """The slugs of those that were added by command."""
    public_only: frozenset[str] = frozenset()
    """Of those, the ones that may only be at a public address."""
    resting: frozenset[str] = frozenset()
    """The slugs of those that an operator put to rest."""
    shadowed: tuple[str, ...] = ()
    """Slugs that were added by command although the file names the shop too: the file wins."""


async def fetch_watched_shops(connection: Connection, settings: Settings) -> WatchedShops:
    """Read the shops of the file and those that were added by command; the file wins."""
    return join_shops(
        load_shops(settings.shops_file),
        await fetch_definitions(connection),
        await fetch_resting(connection),
    )


def join_shops(
    from_file: Sequence[Shop], definitions: Iterable[dict[str, Any]], resting: Collection[str] = ()
) -> WatchedShops:
    """Join both lists; a definition that this version cannot read is left out, and that is logged."""
    slugs, urls = {shop.slug for shop in from_file}, {shop.url for shop in from_file}
    added: list[Shop] = []
    public_only, shadowed = set(), []
    for definition in definitions:
        shop, allow_private = _read_definition(definition)
        if shop is None:
            continue
        if shop.slug in slugs or shop.url in urls:
            shadowed.append(shop.slug)
            continue
        added.append(shop)
        if not allow_private:
            public_only.add(shop.slug)
    return WatchedShops(
        shops=(*from_file, *added),
        added=frozenset(shop.slug for shop in added),
        public_only=frozenset(public_only),
        resting=frozenset(resting),
        shadowed=tuple(shadowed),
    )


def define_shop(shop: Shop, *, allow_private: bool) -> dict[str, Any]:
    """Write a shop as the table keeps it: what its entry in the file would say."""
    plain = {key: value for key, value in msgspec.to_builtins(shop).items() if value not in (None, (), [])}
    fitting = {
        key: value
        for key, value in plain.items()
        if key not in PLATFORM_KEYS or PLATFORM_KEYS[key][0] == shop.platform
    }
    return fitting | {_ALLOW_PRIVATE: allow_private}


def shop_records(shops: Iterable[Shop]) -> list[ShopRecord]:
    """Turn shops as their file describes them into what the catalogue keeps of them."""
    fields = ShopRecord.__struct_fields__
    return [ShopRecord(**{field: getattr(shop, field) for field in fields}) for shop in shops]


def _read_definition(definition: dict[str, Any]) -> tuple[Shop | None, bool]:
    table = {key: value for key, value in definition.items() if key != _ALLOW_PRIVATE}
    try:
        return read_shop(table, "added by command"), bool(definition.get(_ALLOW_PRIVATE))
    except ShopsFileError as error:
        _log.error("shop_unreadable", shop=str(table.get("slug")), error=str(error))
        return None, False
