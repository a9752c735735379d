"""Bodies as Squarespace's stores write them with `?format=json`."""

from collections.abc import Sequence
from html import escape
from typing import Any

from skatestock.replica.model import Listing, Offer
from skatestock.replica.shopify import image_address, write_price

STORE_PATH = "/store"
PAGE_SIZE = 50

Row = dict[str, Any]


def write_store(listings: Sequence[Listing], page: int, *, more: bool) -> Row:
    """Write one page of a store, and where the next one is."""
    pagination: Row = {"nextPage": more, "pageSize": PAGE_SIZE}
    if more:
        pagination["nextPageUrl"] = f"{STORE_PATH}?page={page + 1}"
    return {
        "website": {"id": "replica", "siteTitle": "replica"},
        "collection": {"id": "store", "fullUrl": STORE_PATH, "typeName": "products"},
        "items": [write_item(listing) for listing in listings],
        "pagination": pagination,
    }


def write_item(listing: Listing) -> Row:
    """Write one product."""
    return {
        "id": str(listing.listing_id),
        "recordType": 11,
        "title": escape(listing.title, quote=False),
        "urlId": f"p/{listing.handle}",
        "fullUrl": f"{STORE_PATH}/p/{listing.handle}",
        "tags": list(listing.tags),
        "categories": [listing.product_type] if listing.product_type else [],
        "assetUrl": f"https:{image_address(listing)}",
        "items": [{"assetUrl": f"https:{image_address(listing)}"}],
        "structuredContent": {
            "productType": 1,
            "variants": [_write_variant(listing, offer) for offer in listing.present_offers()],
        },
    }


def _write_variant(listing: Listing, offer: Offer) -> Row:
    was = offer.compare_at_minor or 0
    on_sale = was > offer.price_minor
    regular_minor = was if on_sale else offer.price_minor
    sale_minor = offer.price_minor if on_sale else 0
    named = listing.option_names != ("Title",)
    pairs = list(zip(listing.option_names, offer.options, strict=False)) if named else []
    return {
        "id": str(offer.offer_id),
        "sku": offer.sku or "",
        "price": regular_minor,
        "salePrice": sale_minor,
        "priceMoney": {"currency": "USD", "value": write_price(regular_minor)},
        "salePriceMoney": {"currency": "USD", "value": write_price(sale_minor)},
        "onSale": on_sale,
        "unlimited": False,
        "qtyInStock": 3 if offer.available else 0,
        "attributes": dict(pairs),
        "optionValues": [{"optionName": name, "value": value} for name, value in pairs],
    }
