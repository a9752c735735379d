"""Which platform a shop is on, ready to be walked."""

from skatestock.crawl.platforms.port import BarcodeSource, Platform
from skatestock.crawl.platforms.shopify_cents import ProductObjects
from skatestock.crawl.platforms.sitemap_walk import SitemapPlatform
from skatestock.crawl.platforms.squarespace import PAGE_SIZE as SQUARESPACE_PAGE_SIZE
from skatestock.crawl.platforms.walks import (
    PagedPlatform,
    RecipeWalk,
    ShopifyWalk,
    SquarespaceWalk,
    WooCommerceWalk,
)
from skatestock.crawl.platforms.woocommerce import MAX_PAGE_SIZE as WOOCOMMERCE_PAGE_SIZE
from skatestock.crawl.politeness import Politeness
from skatestock.crawl.shops import Shop

# What a page of a recipe's shop holds is known only when it was read; shops show about so many.
_RECIPE_PAGE_SIZE = 24


def open_platform(shop: Shop, politeness: Politeness) -> Platform:
    """Make the platform of a shop; its keys were checked when the shops file was read."""
    url, pages, limit = shop.url, politeness.max_pages, politeness.page_limit
    if shop.platform == "woocommerce":
        size = min(limit, WOOCOMMERCE_PAGE_SIZE)
        return PagedPlatform(
            open_walk=lambda: WooCommerceWalk(url, size), page_size=size, max_pages=pages, variation_size=size
        )
    if shop.platform == "squarespace":
        path = shop.store_path or "/"
        size = SQUARESPACE_PAGE_SIZE
        return PagedPlatform(open_walk=lambda: SquarespaceWalk(url, path), page_size=size, max_pages=pages)
    if shop.platform == "schema-org":
        return SitemapPlatform(shop_url=url, sitemap_path=shop.sitemap_path, product_paths=shop.product_paths)
    if shop.platform == "recipe":
        recipe = shop.recipe
        assert recipe is not None
        size = _RECIPE_PAGE_SIZE
        return PagedPlatform(open_walk=lambda: RecipeWalk(url, recipe), page_size=size, max_pages=pages)
    extra = shop.barcodes_per_crawl if shop.barcodes else 0
    return PagedPlatform(
        open_walk=lambda: ShopifyWalk(url, limit), page_size=limit, max_pages=pages, extra_requests=extra
    )


def find_barcode_source(shop: Shop) -> BarcodeSource | None:
    """Find where a shop says its barcodes beside its listings; None where it is not to be asked."""
    return ProductObjects(shop.url) if shop.barcodes and shop.platform == "shopify" else None
