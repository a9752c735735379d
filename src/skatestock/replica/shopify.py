"""Bodies as Shopify writes them: the products page, one product in its two other forms, collections."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from skatestock.replica.model import Listing, Offer

STAMP = "0000-response-time-0000"
"""Stands in a cached body where the time of the response goes."""

MAX_PAGE_SIZE = 250
DEFAULT_PAGE_SIZE = 30

# Shops write their own wall clock. A fixed offset serves on machines without time zone data too.
_SHOP_ZONE = timezone(timedelta(hours=-5))
_IMAGE_HOST = "cdn.replica.invalid"


def write_time(moment: datetime) -> str:
    """Write a moment in the shop's zone, as Shopify does."""
    return moment.astimezone(_SHOP_ZONE).isoformat(timespec="seconds")


def write_price(minor: int) -> str:
    """Write an amount as the decimal string of the products page."""
    return f"{minor // 100}.{minor % 100:02d}"


def write_variant(listing: Listing, offer: Offer, position: int) -> dict[str, Any]:
    """Write one variant of the products page; `updated_at` is the stamp."""
    options: Sequence[str | None] = (*offer.options, None, None, None)
    published = write_time(listing.published_at)
    return {
        "id": offer.offer_id,
        "title": offer.title,
        "option1": options[0],
        "option2": options[1],
        "option3": options[2],
        "sku": offer.sku,
        "requires_shipping": listing.requires_shipping,
        "taxable": True,
        "featured_image": None,
        "available": offer.available,
        "price": write_price(offer.price_minor),
        "grams": offer.grams,
        "compare_at_price": None if offer.compare_at_minor is None else write_price(offer.compare_at_minor),
        "position": position,
        "product_id": listing.listing_id,
        "created_at": published,
        "updated_at": STAMP,
    }


def write_options(listing: Listing) -> list[dict[str, Any]]:
    """Write the option columns with the values that are on the page."""
    offers = listing.present_offers()
    return [
        {"name": name, "position": place + 1, "values": list(dict.fromkeys(o.options[place] for o in offers))}
        for place, name in enumerate(listing.option_names)
    ]


def write_product(listing: Listing) -> dict[str, Any]:
    """Write one product of the products page, in the order of its real fields."""
    published = write_time(listing.published_at)
    return {
        "id": listing.listing_id,
        "title": listing.title,
        "handle": listing.handle,
        "body_html": listing.body_html,
        "published_at": published,
        "created_at": published,
        "updated_at": STAMP,
        "vendor": listing.vendor,
        "product_type": listing.product_type,
        "tags": list(listing.tags),
        "variants": [
            write_variant(listing, offer, place + 1) for place, offer in enumerate(listing.present_offers())
        ],
        "images": [_write_image(listing)],
        "options": write_options(listing),
    }


def image_address(listing: Listing) -> str:
    """Tell where the listing's picture would be, without the scheme."""
    number = listing.copied_from or listing.listing_id
    return f"//{_IMAGE_HOST}/s/files/1/{listing.shop}/files/{number}.jpg?v=1"


def _write_image(listing: Listing) -> dict[str, Any]:
    published = write_time(listing.published_at)
    return {
        "id": listing.listing_id + 7,
        "created_at": published,
        "position": 1,
        "updated_at": published,
        "product_id": listing.listing_id,
        "variant_ids": [],
        "src": f"https:{image_address(listing)}",
        "width": 1200,
        "height": 1200,
    }


def render_product(listing: Listing) -> bytes:
    """Encode a product of the page, with the stamp in it; encoded anew only when the listing changed."""
    cached = listing.rendered.get("page")
    if cached is None or cached[0] != listing.version:
        cached = (listing.version, msgspec.json.encode(write_product(listing)))
        listing.rendered["page"] = cached
    return cached[1]


def render_page(listings: Iterable[Listing], at: datetime) -> bytes:
    """Encode a products page at the time of the response."""
    return stamp(b'{"products":[' + b",".join(map(render_product, listings)) + b"]}", at)


def stamp(body: bytes, at: datetime) -> bytes:
    """Put the time of the response where it belongs."""
    return body.replace(STAMP.encode(), write_time(at).encode())


def write_single(listing: Listing) -> dict[str, Any]:
    """Write `/products/<handle>.json`: no availability, tags as one text, a currency beside each price."""
    product = write_product(listing) | {"tags": ", ".join(listing.tags), "template_suffix": None}
    for variant in product["variants"]:
        del variant["available"]
        variant["compare_at_price"] = variant["compare_at_price"] or ""
        variant |= {
            "price_currency": "USD",
            "compare_at_price_currency": "USD" if variant["compare_at_price"] else "",
        }
    product["image"] = product["images"][0]
    return {"product": product}


def write_cents(listing: Listing) -> dict[str, Any]:
    """Write `/products/<handle>.js`: integer cents, other names, a least compare-at price of 0."""
    offers = listing.present_offers()
    prices = [offer.price_minor for offer in offers]
    was = [offer.compare_at_minor or 0 for offer in offers]
    image = image_address(listing)
    published = write_time(listing.published_at)
    return {
        "id": listing.listing_id,
        "title": listing.title,
        "handle": listing.handle,
        "description": listing.body_html,
        "published_at": published,
        "created_at": published,
        "vendor": listing.vendor,
        "type": listing.product_type,
        "tags": list(listing.tags),
        "price": min(prices),
        "price_min": min(prices),
        "price_max": max(prices),
        "available": any(offer.available for offer in offers),
        "price_varies": min(prices) != max(prices),
        "compare_at_price": min(was) or None,
        "compare_at_price_min": min(was),
        "compare_at_price_max": max(was),
        "compare_at_price_varies": min(was) != max(was),
        "variants": [_write_cents_variant(listing, offer) for offer in offers],
        "images": [image],
        "featured_image": image,
        "options": list(listing.option_names),
        "content": listing.body_html,
    }


def _write_cents_variant(listing: Listing, offer: Offer) -> dict[str, Any]:
    named = "Default Title" not in offer.options
    options: Sequence[str | None] = (*offer.options, None, None, None)
    return {
        "id": offer.offer_id,
        "title": offer.title,
        "option1": options[0],
        "option2": options[1],
        "option3": options[2],
        "sku": offer.sku,
        "requires_shipping": listing.requires_shipping,
        "taxable": True,
        "featured_image": None,
        "available": offer.available,
        "name": f"{listing.title} - {offer.title}" if named else listing.title,
        "public_title": offer.title if named else None,
        "options": list(offer.options),
        "price": offer.price_minor,
        "weight": offer.grams,
        "compare_at_price": offer.compare_at_minor,
        "inventory_management": "shopify",
        "barcode": offer.barcode,
    }


def render_cents(listing: Listing) -> bytes:
    """Encode the cents object with slashes and angle brackets escaped as Shopify escapes them."""
    return msgspec.json.encode(write_cents(listing)).replace(b"/", b"\\/").replace(b"<", b"\\u003c")


def is_on_sale(listing: Listing) -> bool:
    """Tell whether any shown offer's compare-at price is above its price."""
    return any((offer.compare_at_minor or 0) > offer.price_minor for offer in listing.present_offers())


def write_collections(listings: Sequence[Listing], at: datetime) -> dict[str, Any]:
    """Write `/collections.json` for the two collections every shop has."""
    counts = {"all": ("All", len(listings)), "sale": ("Sale", sum(map(is_on_sale, listings)))}
    return {
        "collections": [
            {
                "id": 270_000_000_000 + place,
                "title": title,
                "handle": handle,
                "description": "",
                "published_at": write_time(at),
                "updated_at": write_time(at),
                "image": None,
                "products_count": count,
            }
            for place, (handle, (title, count)) in enumerate(counts.items())
        ]
    }


def find_collection(listings: Sequence[Listing], handle: str) -> Sequence[Listing] | None:
    """Find what a collection shows: `all` or `sale`."""
    if handle == "all":
        return listings
    return [listing for listing in listings if is_on_sale(listing)] if handle == "sale" else None


def read_paging(parameters: dict[str, str]) -> tuple[int, int]:
    """Read limit and page as leniently as Shopify: nonsense is the default, too much is the most."""
    limit = _read_number(parameters.get("limit"), DEFAULT_PAGE_SIZE)
    return min(limit, MAX_PAGE_SIZE), _read_number(parameters.get("page"), 1)


def _read_number(text: str | None, default: int) -> int:
    if not text or len(text) > 12 or not text.isascii() or not text.isdigit():
        return default
    return int(text) or default
