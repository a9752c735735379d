"""Bodies as WooCommerce's Store API writes them: products, and their variations as rows of their own."""

from collections.abc import Sequence
from html import escape
from typing import Any

from skatestock.replica.model import Listing, Offer
from skatestock.replica.shopify import image_address

API_PATH = "/wp-json/wc/store/v1/products"
MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 10

Row = dict[str, Any]


def is_simple(listing: Listing) -> bool:
    """Tell whether a product has no variations: it is its own only offer, under its own id."""
    return listing.option_names == ("Title",)


def write_prices(offers: Sequence[Offer]) -> Row:
    """Write the prices of one offer, or of a product by its cheapest one with the range beside it."""
    cheapest = min(offers, key=lambda offer: offer.price_minor)
    dearest = max(offer.price_minor for offer in offers)
    span = {"min_amount": str(cheapest.price_minor), "max_amount": str(dearest)}
    was = cheapest.compare_at_minor or 0
    return {
        "price": str(cheapest.price_minor),
        # A shop of this kind asks its regular price unless a sale is on; it has no other "was".
        "regular_price": str(max(was, cheapest.price_minor)),
        "sale_price": str(cheapest.price_minor),
        "price_range": span if cheapest.price_minor != dearest else None,
        "currency_code": "USD",
        "currency_symbol": "$",
        "currency_minor_unit": 2,
        "currency_decimal_separator": ".",
        "currency_thousand_separator": ",",
        "currency_prefix": "$",
        "currency_suffix": "",
    }


def write_product(origin: str, listing: Listing) -> Row:
    """Write one product; its variations are named by their ids, their values by slugs."""
    offers = listing.present_offers()
    simple = is_simple(listing)
    return {
        **_write_common(origin, listing, offers),
        "id": listing.listing_id,
        "parent": 0,
        "type": "simple" if simple else "variable",
        "variation": "",
        "sku": (offers[0].sku or "") if simple else "",
        "attributes": [] if simple else _write_attributes(listing, offers),
        "variations": [] if simple else [_name_variation(listing, offer) for offer in offers],
        "categories": [{"id": 7, "name": escape(listing.product_type or "Other"), "slug": "x"}],
        "brands": [{"id": 8, "name": escape(listing.vendor), "slug": "y"}],
        "is_in_stock": any(offer.available for offer in offers),
        "has_options": not simple,
    }


def write_variations(origin: str, listing: Listing) -> list[Row]:
    """Write the rows of a product's variations; a simple product has none."""
    if is_simple(listing):
        return []
    return [
        {
            **_write_common(origin, listing, [offer]),
            "id": offer.offer_id,
            "parent": listing.listing_id,
            "type": "variation",
            "variation": ", ".join(
                f"{name}: {value}" for name, value in zip(listing.option_names, offer.options, strict=False)
            ),
            "sku": offer.sku or "",
            "attributes": [],
            "variations": [],
            "is_in_stock": offer.available,
            "has_options": False,
        }
        for offer in listing.present_offers()
    ]


def _write_common(origin: str, listing: Listing, offers: Sequence[Offer]) -> Row:
    return {
        "name": escape(listing.title),
        "slug": listing.handle,
        "permalink": f"{origin}/product/{listing.handle}/",
        "description": listing.body_html,
        "on_sale": any((offer.compare_at_minor or 0) > offer.price_minor for offer in offers),
        "prices": write_prices(offers),
        "images": [{"id": 1, "src": f"https:{image_address(listing)}"}],
        "is_purchasable": True,
        "is_on_backorder": False,
    }


def _write_attributes(listing: Listing, offers: Sequence[Offer]) -> list[Row]:
    return [
        {
            "id": place + 1,
            "name": name,
            "has_variations": True,
            "terms": [
                {"id": number, "name": escape(value), "slug": _slug(value)}
                for number, value in enumerate(dict.fromkeys(offer.options[place] for offer in offers), 1)
            ],
        }
        for place, name in enumerate(listing.option_names)
    ]


def _name_variation(listing: Listing, offer: Offer) -> Row:
    pairs = zip(listing.option_names, offer.options, strict=False)
    return {
        "id": offer.offer_id,
        "attributes": [{"name": name, "value": _slug(value)} for name, value in pairs],
    }


def _slug(value: str) -> str:
    return value.lower().replace(" ", "-").replace('"', "")


def read_page_size(parameters: dict[str, str]) -> int:
    """Read `per_page`: nonsense is the default, and more than the most is the most."""
    text = parameters.get("per_page", "")
    size = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else DEFAULT_PAGE_SIZE
    return max(1, min(size, MAX_PAGE_SIZE))
