"""The shops file's keys of each platform: what each needs, and what belongs to another."""

from __future__ import annotations

import pytest

from skatestock.crawl.errors import ShopsFileError
from skatestock.crawl.platforms.port import Platform
from skatestock.crawl.platforms.registry import find_barcode_source, open_platform
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.shops import Shop, load_shops, parse_shops

KEYS = {
    "shopify": "",
    "woocommerce": "",
    "squarespace": 'store_path = "/store"',
    "schema-org": 'product_paths = ["/products/", "/p/"]\nsitemap_path = "/xmlsitemap.php"',
    "recipe": """[shops.recipe]
format = "html"
pages = "/shop?page={page}"
whole = "footer"
items = "li"
link = "a::attr(href)"
title = "h2"
[shops.recipe.offer]
price = ".price"
""",
}
FIRST_URLS = {
    "shopify": "/products.json?limit=250&page=1",
    "woocommerce": "/wp-json/wc/store/v1/products?per_page=100&page=1&orderby=id&order=asc&type=variation",
    "squarespace": "/store?format=json",
    "schema-org": "/xmlsitemap.php",
    "recipe": "/shop?page=1",
}


def shop_of(platform: str, keys: str) -> Shop:
    text = f"""[[shops]]
slug = "some-shop"
name = "Some Shop"
url = "https://shop.example"
currency = "USD"
title_habit = "plain"
platform = "{platform}"
{keys}
"""
    (shop,) = parse_shops(text, "shops.toml")
    return shop


@pytest.mark.parametrize("platform", KEYS)
def test_a_shop_of_each_platform_begins_where_its_keys_say(platform: str) -> None:
    known: Platform = open_platform(shop_of(platform, KEYS[platform]), Politeness())
    (first,) = known.open_walk().first_requests()
    assert first.url == "https://shop.example" + FIRST_URLS[platform]
    assert known.limit_requests() >= 400
    assert known.estimate_requests(400, 2000) >= 2


def test_only_a_shopify_shop_can_be_asked_for_barcodes_and_none_is_unless_told() -> None:
    assert not any(shop.barcodes for shop in load_shops())
    asked = shop_of("shopify", "barcodes = true\nbarcodes_per_crawl = 7")
    assert find_barcode_source(shop_of("shopify", "")) is None
    source = find_barcode_source(asked)
    assert source is not None
    sizes = [
        open_platform(shop, Politeness()).estimate_requests(400, 2000) for shop in (asked, load_shops()[0])
    ]
    assert sizes == [10, 3]
    for key in ("barcodes = true", "barcodes_per_crawl = 7"):
        with pytest.raises(ShopsFileError, match="only for shops on the platform 'shopify'"):
            shop_of("woocommerce", key)
    for number in (0, 501):
        with pytest.raises(ShopsFileError, match="barcodes_per_crawl"):
            shop_of("shopify", f"barcodes_per_crawl = {number}")


@pytest.mark.parametrize("platform", ["squarespace", "schema-org", "recipe"])
def test_a_platform_that_needs_a_key_says_so(platform: str) -> None:
    with pytest.raises(ShopsFileError, match=f"a shop on '{platform}' needs it"):
        shop_of(platform, "")


@pytest.mark.parametrize(
    ("platform", "keys"),
    [("shopify", KEYS["squarespace"]), ("squarespace", KEYS["schema-org"]), ("woocommerce", KEYS["recipe"])],
)
def test_a_key_of_another_platform_is_refused(platform: str, keys: str) -> None:
    with pytest.raises(ShopsFileError, match="only for shops on the platform"):
        shop_of(platform, keys)


@pytest.mark.parametrize(
    ("platform", "keys", "said"),
    [
        ("magento", "", "platform"),
        ("squarespace", 'store_path = "store"', "store_path"),
        ("schema-org", 'product_paths = ["products?x"]', "product_paths"),
        ("recipe", KEYS["recipe"].replace('whole = "footer"', ""), "recipe.whole"),
        ("recipe", KEYS["recipe"].replace('"li"', '"li["'), "recipe.items"),
        ("recipe", KEYS["recipe"].replace("format", "formt"), "formt"),
        ("recipe", 'recipe = "x"', "recipe"),
    ],
)
def test_a_mistake_names_its_key(platform: str, keys: str, said: str) -> None:
    with pytest.raises(ShopsFileError, match=said):
        shop_of(platform, keys)
