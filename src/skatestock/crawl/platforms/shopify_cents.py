"""Shopify's `/products/<handle>.js`: one product in integer cents, with the barcodes no other form has. Pure.

Names and types differ from the products page: `type` for `product_type`, images that begin with `//`, and
amounts in hundredths whatever the currency, so that 1000 yen are 100000.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
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
    name_options,
    parse_amount,
    read_barcode,
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
from skatestock.events.model import ListingObserved, OfferObserved
from skatestock.vocabulary.availability import Availability

PARSER = "shopify-cents"
PARSER_VERSION = 1


class ProductObject(msgspec.Struct, frozen=True, kw_only=True):
    """What one product's object says."""

    page: ParsedPage
    barcodes: Mapping[str, str]
    """Offer id to barcode as the shop wrote it, which need be no GTIN; offers without one are left out."""


class _Variant(msgspec.Struct):
    id: Any = None
    title: Any = None
    options: Any = None
    sku: Any = None
    available: Any = None
    price: Any = None
    compare_at_price: Any = None
    barcode: Any = None


class _Product(msgspec.Struct):
    variants: list[_Variant]
    id: Any = None
    title: Any = None
    handle: Any = None
    vendor: Any = None
    type: Any = None
    images: Any = None
    options: Any = None


_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_product = msgspec.json.Decoder(_Product).decode


def product_object_url(shop_url: str, handle: str) -> str:
    """Return the address of one product's object."""
    return f"{shop_url}/products/{quote(handle, safe='')}.js"


def parse_product_object(body: bytes, sighting: Sighting) -> ProductObject:
    """Read one product's object; raises PageError for a body that is none."""
    # Decoded once for its shape: what is no product at all must not pass for a bad one.
    product = decode_body(body, _decode_product)
    raw = decode_body(body, _decode_raw)
    reader = ItemReader(
        read_id=find_raw_id,
        read=lambda item, listing_id: _read_product(item, listing_id, sighting.shop),
        excerpt=bytes,
    )
    return ProductObject(page=gather_page([raw], sighting, reader), barcodes=_read_barcodes(product))


class ProductObjects:
    """A shop's product objects as the source of its barcodes; a `BarcodeSource`."""

    parser = PARSER
    parser_version = PARSER_VERSION

    def __init__(self, shop_url: str) -> None:
        self._shop_url = shop_url

    def url_of(self, event: ListingObserved) -> str:
        """Return the address of a listing's object."""
        return product_object_url(self._shop_url, event.handle)

    def read_barcodes(self, body: bytes) -> Mapping[str, str]:
        """Read the barcodes alone, also where the rest of the object makes no sense."""
        return _read_barcodes(decode_body(body, _decode_product))


def _read_barcodes(product: _Product) -> dict[str, str]:
    return {
        offer_id: barcode
        for variant in product.variants
        if (offer_id := read_identifier(variant.id)) and (barcode := read_barcode(variant.barcode))
    }


def _read_product(raw: msgspec.Raw, listing_id: str, shop: Shop) -> ListingRead:
    product = decode_item(raw, _decode_product)
    require_id(listing_id)
    handle = require_handle(read_text(product.handle))
    names = _option_names(product.options)
    images = product.images if isinstance(product.images, list) else ()
    return ListingRead(
        parser=PARSER,
        parser_version=PARSER_VERSION,
        listing_id=listing_id,
        handle=handle,
        url=f"{shop.url}/products/{quote(handle, safe='')}",
        title=read_title(product.title),
        vendor=read_text(product.vendor),
        product_type=read_text(product.type),
        image_url=next((image for image in images if isinstance(image, str)), None),
        offers=unique_offers(_read_offer(variant, names, shop.currency) for variant in product.variants),
    )


def _option_names(options: Any) -> Sequence[str | None]:
    # Texts in nearly every shop, objects with a name in some.
    rows = options if isinstance(options, list) else ()
    return [read_text(row.get("name") if isinstance(row, dict) else row) for row in rows]


def _read_offer(variant: _Variant, names: Sequence[str | None], currency: str) -> OfferObserved:
    offer_id = read_identifier(variant.id)
    if offer_id is None:
        raise RejectedError(RejectReason.NO_OFFER_ID, "a variant has no usable id")
    price_minor = _read_cents(variant.price, currency)
    if price_minor is None:
        raise unreadable_price(f"variant {offer_id}", variant.price)
    compare_at = variant.compare_at_price
    compare_at_minor = None if compare_at is None else _read_cents(compare_at, currency)
    if compare_at is not None and compare_at_minor is None:
        raise unreadable_compare_at(f"variant {offer_id}", compare_at)
    return OfferObserved(
        offer_id=offer_id,
        title=read_text(variant.title) or "",
        options=_read_options(names, variant.options),
        sku=read_text(variant.sku),
        price_minor=price_minor,
        compare_at_minor=compare_at_minor,
        availability=Availability.from_flag(
            variant.available if isinstance(variant.available, bool) else None
        ),
    )


def _read_cents(value: Any, currency: str) -> int | None:
    if type(value) is not int or not 0 <= value < 10**15:
        return None
    return parse_amount(f"{Decimal(value).scaleb(-2):f}", currency)


def _read_options(names: Sequence[str | None], values: Any) -> dict[str, str]:
    texts = [read_text(value) for value in (values if isinstance(values, list) else ())]
    padded = [*names, *[None] * len(texts)]
    options = name_options(zip(padded, texts, strict=False))
    return {} if options == {"Title": "Default Title"} else options
