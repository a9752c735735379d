"""Shopify's `/products.json`: bytes to observations. Pure.

What real bodies show is in docs/DATA_SOURCES.md. Prices are decimal strings without a currency; `updated_at`
is the time of the response and is never read.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from skatestock.crawl.observing import ListingRead, ParsedPage, Sighting
from skatestock.crawl.platforms.reading import (
    ItemReader,
    RejectedError,
    decode_body,
    decode_item,
    find_raw_id,
    gather_page,
    parse_amount,
    read_identifier,
    read_text,
    read_title,
    require_handle,
    require_id,
    unique_offers,
    unreadable_compare_at,
    unreadable_price,
)
from skatestock.crawl.reasons import RejectReason
from skatestock.crawl.shops import Shop
from skatestock.events.model import OfferObserved
from skatestock.vocabulary.availability import Availability

PARSER = "shopify"
PARSER_VERSION = 1

# 30 is what a page holds without a limit, 50 what most themes ask for.
_OWN_PAGE_SIZES = (30, 50)


class _Products(msgspec.Struct):
    products: list[msgspec.Raw]


class _Variant(msgspec.Struct):
    # Only `id` and the prices must be what they are; of anything else that is no text we take nothing.
    id: Any = None
    title: Any = None
    option1: Any = None
    option2: Any = None
    option3: Any = None
    sku: Any = None
    available: Any = None
    price: Any = None
    compare_at_price: Any = None


class _Product(msgspec.Struct):
    id: Any = None
    title: Any = None
    handle: Any = None
    vendor: Any = None
    product_type: Any = None
    variants: list[_Variant] | None = None
    images: Any = None
    options: Any = None


_decode_products = msgspec.json.Decoder(_Products).decode
_decode_product = msgspec.json.Decoder(_Product).decode


def products_url(shop_url: str, page: int, limit: int) -> str:
    """Return the address of one page of a shop's products."""
    return f"{shop_url}/products.json?limit={limit}&page={page}"


def page_size(first_page_count: int, limit: int) -> int:
    """Tell how many products a full page holds; a shop that ignores our limit shows it on its first page."""
    return first_page_count if first_page_count in _OWN_PAGE_SIZES else limit


def parse_products_page(body: bytes, sighting: Sighting) -> ParsedPage:
    """Read one page of `/products.json`.

    One bad product is rejected alone and still counts as seen where its id can be read. Raises PageError for
    a body that is no such page: then nothing is known of the products that it should have shown.
    """
    products = decode_body(body, _decode_products).products
    reader = ItemReader(
        read_id=find_raw_id,
        read=lambda raw, listing_id: _read_product(raw, listing_id, sighting.shop),
        excerpt=bytes,
    )
    return gather_page(products, sighting, reader)


def _read_product(raw: msgspec.Raw, listing_id: str, shop: Shop) -> ListingRead:
    product = decode_item(raw, _decode_product)
    require_id(listing_id)
    handle = require_handle(read_text(product.handle))
    return ListingRead(
        parser=PARSER,
        parser_version=PARSER_VERSION,
        listing_id=listing_id,
        handle=handle,
        url=f"{shop.url}/products/{quote(handle, safe='')}",
        title=read_title(product.title),
        vendor=read_text(product.vendor),
        product_type=read_text(product.product_type),
        image_url=_first_image(product.images),
        offers=_read_offers(product, shop.currency),
    )


def _read_offers(product: _Product, currency: str) -> tuple[OfferObserved, ...]:
    names = _option_names(product.options)
    return unique_offers(_read_offer(variant, names, currency) for variant in product.variants or ())


def _read_offer(variant: _Variant, names: Sequence[str], currency: str) -> OfferObserved:
    offer_id = read_identifier(variant.id)
    if offer_id is None:
        raise RejectedError(RejectReason.NO_OFFER_ID, "a variant has no usable id")
    price_minor = _read_amount(variant.price, currency)
    if price_minor is None:
        raise unreadable_price(f"variant {offer_id}", variant.price)
    available = variant.available if isinstance(variant.available, bool) else None
    return OfferObserved(
        offer_id=offer_id,
        title=read_text(variant.title) or "",
        options=_read_options(names, (variant.option1, variant.option2, variant.option3)),
        sku=read_text(variant.sku),
        price_minor=price_minor,
        compare_at_minor=_read_compare_at(variant.compare_at_price, offer_id, currency),
        availability=Availability.from_flag(available),
    )


def _read_compare_at(value: Any, offer_id: str, currency: str) -> int | None:
    if value is None or value == "":
        return None
    amount_minor = _read_amount(value, currency)
    if amount_minor is None:
        raise unreadable_compare_at(f"variant {offer_id}", value)
    return amount_minor


def _read_amount(value: Any, currency: str) -> int | None:
    # A bare number is refused: elsewhere Shopify writes cents so, and a guess would be off by a hundred.
    return parse_amount(value, currency) if isinstance(value, str) else None


def _option_names(options: Any) -> Sequence[str]:
    names: list[str] = []
    for place, option in enumerate(options if isinstance(options, list) else (), 1):
        name = read_text(option.get("name") if isinstance(option, dict) else option) or f"Option {place}"
        names.append(f"{name} {place}" if name in names else name)
    return names


def _read_options(names: Sequence[str], values: Sequence[Any]) -> dict[str, str]:
    options: dict[str, str] = {}
    for place, value in enumerate(values):
        text = read_text(value)
        if text is not None:
            options[names[place] if place < len(names) else f"Option {place + 1}"] = text
    # What Shopify calls a product without options.
    return {} if options == {"Title": "Default Title"} else options


def _first_image(images: Any) -> str | None:
    first = images[0] if isinstance(images, list) and images else None
    source = first.get("src") if isinstance(first, dict) else first
    return source if isinstance(source, str) else None
