"""The shops of a mixed world as a crawl knows them: five real ones and five invented, over all platforms."""

from collections.abc import Mapping
from typing import Any

import msgspec

from skatestock.crawl.platforms.recipe_model import parse_recipe
from skatestock.crawl.shops import Shop, derive_demo_shops, load_shops
from skatestock.replica.habits import HABITS
from skatestock.replica.marked_pages import RECIPE
from skatestock.replica.model import INVENTED_PLATFORMS
from skatestock.replica.squarespace import STORE_PATH
from skatestock.vocabulary.titles import TitleHabit

_TITLES = {
    "wooden-wave": TitleHabit.PLAIN,
    "square-wheel": TitleHabit.HYPHEN_COLOURS,
    "linked-ledge": TitleHabit.DASH_COLOURS,
    "meta-manual": TitleHabit.TRAILING_COLOURS,
    "plain-plaza": TitleHabit.BRAND_DASH,
}


def derive_mixed_shops(urls: Mapping[str, str]) -> tuple[Shop, ...]:
    """Point the ten shops at their replicas (slug to base URL); those without one are left out.

    Raises ShopsFileError for a replica of no known shop.
    """
    shops = (*load_shops(), *(_make_shop(slug) for slug in INVENTED_PLATFORMS))
    return derive_demo_shops(shops, urls)


def read_platform_keys(platform: str) -> Mapping[str, Any]:
    """Return what a crawl must be told of a replica shop on a platform, as keys of its shop."""
    keys: Mapping[str, Mapping[str, Any]] = {
        "squarespace": {"store_path": STORE_PATH},
        "schema-org": {"product_paths": ("/products/",)},
        # Two faces of the replica, and one way to read them.
        "open-graph": {"platform": "schema-org", "product_paths": ("/products/",)},
        "recipe": {"recipe": parse_recipe(RECIPE)},
    }
    return keys.get(platform, {})


def _make_shop(slug: str) -> Shop:
    habit, platform = HABITS[slug], INVENTED_PLATFORMS[slug]
    return msgspec.convert(
        {
            "slug": slug,
            "name": habit.name,
            "city": habit.city,
            # It is nowhere until it is pointed at its replica.
            "url": f"http://{slug}.invalid",
            "currency": "USD",
            "platform": platform,
            "title_habit": _TITLES[slug],
            "vendor_is_shop": [habit.name],
            **read_platform_keys(platform),
        },
        Shop,
    )
