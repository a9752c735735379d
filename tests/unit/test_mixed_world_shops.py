"""The shops of the mixed world as a crawl knows them, and as a file of shops."""

from __future__ import annotations

import pytest

from skatestock.cli.demo import format_shops
from skatestock.cli.mixed_world import derive_mixed_shops
from skatestock.crawl.errors import ShopsFileError
from skatestock.crawl.shops import parse_shops
from skatestock.replica.model import INVENTED_PLATFORMS, MIXED_SHOP_SLUGS

URLS = {slug: f"http://127.0.0.1:{8600 + place}" for place, slug in enumerate(MIXED_SHOP_SLUGS)}


def test_the_mixed_shops_are_ten_over_all_platforms() -> None:
    shops = derive_mixed_shops(URLS)
    assert {shop.slug: shop.url for shop in shops} == URLS
    platforms = {shop.slug: shop.platform for shop in shops}
    assert platforms == dict.fromkeys(MIXED_SHOP_SLUGS, "shopify") | INVENTED_PLATFORMS
    assert set(platforms.values()) == {"shopify", "woocommerce", "squarespace", "schema-org", "recipe"}
    assert all(shop.demo for shop in shops)


def test_a_file_of_the_mixed_shops_says_all_that_a_crawl_needs() -> None:
    shops = derive_mixed_shops(URLS)
    read = parse_shops(format_shops(shops), "shops.toml")
    for shop, again in zip(shops, read, strict=True):
        for key in shop.__struct_fields__:
            if key != "crawl_every_seconds":
                assert getattr(again, key) == getattr(shop, key), (shop.slug, key)


def test_shops_without_a_replica_are_left_out_and_unknown_ones_refused() -> None:
    assert [shop.slug for shop in derive_mixed_shops({"plain-plaza": "http://127.0.0.1:1"})] == [
        "plain-plaza"
    ]
    with pytest.raises(ShopsFileError, match="there is no shop 'zumiez'"):
        derive_mixed_shops({"zumiez": "http://127.0.0.1:1"})
