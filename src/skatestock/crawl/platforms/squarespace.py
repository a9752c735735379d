"""Squarespace's store pages with `?format=json`: bytes to observations. Pure.

A variant's `price` is the regular one; `salePrice` is what is asked while it is `onSale`. Both stand there as
hundredths and, in newer shops, as text with a currency (`priceMoney`), which is preferred.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urljoin, urlsplit, urlunsplit

import msgspec
from parsel import Selector

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import ListingRead, ParsedPage, Sighting
from skatestock.crawl.platforms.documents import compile_xpath
from skatestock.crawl.platforms.json_ld import find_json
from skatestock.crawl.platforms.reading import (
    ItemReader,
    RejectedError,
    decode_body,
    decode_item,
    find_raw_id,
    gather_page,
    name_options,
    parse_amount,
    read_html_text,
    read_identifier,
    read_text,
    read_title,
    require_handle,
    require_id,
    unique_offers,
    unreadable_compare_at,
    unreadable_price,
)
from skatestock.crawl.politeness import is_same_shop
from skatestock.crawl.reasons import CrawlReason, RejectReason
from skatestock.crawl.shops import Shop
from skatestock.events.model import OfferObserved
from skatestock.vocabulary.availability import Availability

PARSER = "squarespace"
PARSER_VERSION = 1
PAGE_SIZE = 50
"""About how many products a page shows; each shop sets its own."""


class _Pagination(msgspec.Struct):
    nextPage: Any = None  # noqa: N815 - Squarespace's own names
    nextPageUrl: Any = None  # noqa: N815


class _Store(msgspec.Struct):
    items: list[msgspec.Raw]
    pagination: _Pagination | None = None


class Variant(msgspec.Struct):
    """One variant as Squarespace writes it everywhere."""

    id: Any = None
    sku: Any = None
    price: Any = None
    salePrice: Any = None  # noqa: N815
    priceMoney: Any = None  # noqa: N815
    salePriceMoney: Any = None  # noqa: N815
    onSale: Any = None  # noqa: N815
    unlimited: Any = None
    qtyInStock: Any = None  # noqa: N815
    attributes: Any = None
    optionValues: Any = None  # noqa: N815


class _Content(msgspec.Struct):
    variants: list[Variant] | None = None


class _Item(msgspec.Struct):
    id: Any = None
    title: Any = None
    urlId: Any = None  # noqa: N815
    fullUrl: Any = None  # noqa: N815
    assetUrl: Any = None  # noqa: N815
    items: Any = None
    categories: Any = None
    variants: list[Variant] | None = None
    structuredContent: _Content | None = None  # noqa: N815


class StorePage(msgspec.Struct, frozen=True, kw_only=True):
    """What one page of a store showed."""

    page: ParsedPage
    next_url: str | None
    """The address of the page after it; None for the last one."""


_decode_store = msgspec.json.Decoder(_Store).decode
_decode_item = msgspec.json.Decoder(_Item).decode


def store_url(shop_url: str, path: str) -> str:
    """Return the address of the first page of a store that lies under a path of the site."""
    return f"{shop_url}/{path.strip('/')}?format=json"


def parse_store_page(body: bytes, sighting: Sighting) -> StorePage:
    """Read one page of a store; one bad product is rejected alone.

    Raises PageError for a body that is no such page, and for one whose next page is no address of the shop.
    """
    store = decode_body(body, _decode_store)
    reader = ItemReader(
        read_id=find_raw_id,
        read=lambda raw, listing_id: _read_item(raw, listing_id, sighting.shop),
        excerpt=bytes,
    )
    page = gather_page(store.items, sighting, reader)
    return StorePage(page=page, next_url=_find_next_url(store.pagination, sighting.shop))


def find_variants(document: Selector) -> Sequence[Variant]:
    """Find the variants that a product's own page writes beside its chooser of sizes; empty without one."""
    for text in compile_xpath("//*[contains(@class, 'product-variants')]/@data-variants")(document.root)[:1]:
        _, rows = find_json(str(text))
        try:
            return msgspec.convert(rows, list[Variant])
        except msgspec.ValidationError:
            break
    return ()


def read_variants(variants: Sequence[Variant], currency: str) -> tuple[OfferObserved, ...]:
    """Read variants as offers; raises RejectedError for one that cannot be read, and for none at all."""
    return unique_offers(_read_offer(variant, currency) for variant in variants)


def _find_next_url(pagination: _Pagination | None, shop: Shop) -> str | None:
    if pagination is None or not pagination.nextPage:
        return None
    stated = pagination.nextPageUrl
    try:
        url = urljoin(f"{shop.url}/", stated.strip()) if isinstance(stated, str) else ""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query)) | {"format": "json"}
        if stated and is_same_shop(url, shop.url):
            return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))
    except ValueError:
        pass
    raise PageError(CrawlReason.NOT_PRODUCTS, "there is a next page, but no address of it")


def _read_item(raw: msgspec.Raw, listing_id: str, shop: Shop) -> ListingRead:
    item = decode_item(raw, _decode_item)
    require_id(listing_id)
    path = item.fullUrl if isinstance(item.fullUrl, str) and item.fullUrl.startswith("/") else None
    named = item.urlId if isinstance(item.urlId, str) else (path or "").rstrip("/").rpartition("/")[2]
    handle = require_handle(read_text(unquote(named).rpartition("/")[2]))
    if path is None or not path.isprintable():
        raise RejectedError(RejectReason.NO_HANDLE, "the product has no address")
    variants = item.variants or (item.structuredContent and item.structuredContent.variants) or ()
    return ListingRead(
        parser=PARSER,
        parser_version=PARSER_VERSION,
        listing_id=listing_id,
        handle=handle,
        url=shop.url + path,
        title=read_title(read_html_text(item.title)),
        vendor=None,
        product_type=_first_text(item.categories),
        image_url=_find_image(item),
        offers=read_variants(variants, shop.currency),
    )


def _read_offer(variant: Variant, currency: str) -> OfferObserved:
    # Old shops give a variant no id of its own; its SKU is then what Squarespace itself tells it by.
    offer_id = read_identifier(variant.id) or read_identifier(variant.sku)
    if not offer_id:
        raise RejectedError(RejectReason.NO_OFFER_ID, "a variant has no usable id")
    regular_minor = _read_amount(variant.priceMoney, variant.price, offer_id, currency)
    if regular_minor is None:
        raise unreadable_price(f"variant {offer_id}", variant.price)
    sale_minor = None
    if variant.onSale is True:
        sale_minor = _read_amount(variant.salePriceMoney, variant.salePrice, offer_id, currency)
        if sale_minor is None:
            raise unreadable_compare_at(f"the sale of variant {offer_id}", variant.salePrice)
    options = _read_options(variant)
    return OfferObserved(
        offer_id=offer_id,
        title=" / ".join(options.values()),
        options=options,
        sku=read_text(variant.sku),
        price_minor=regular_minor if sale_minor is None else sale_minor,
        compare_at_minor=None if sale_minor is None else regular_minor,
        availability=_read_availability(variant),
    )


def _read_amount(money: Any, cents: Any, offer_id: str, currency: str) -> int | None:
    if isinstance(money, Mapping) and isinstance(money.get("value"), str):
        if money.get("currency") != currency:
            text = f"variant {offer_id} is in {str(money.get('currency'))[:20]}, the shop in {currency}"
            raise RejectedError(RejectReason.OTHER_CURRENCY, text)
        return parse_amount(money["value"], currency)
    if type(cents) is not int or not 0 <= cents < 10**15:
        return None
    return parse_amount(f"{Decimal(cents).scaleb(-2):f}", currency)


def _read_availability(variant: Variant) -> Availability:
    if variant.unlimited is True:
        return Availability.IN_STOCK
    quantity = variant.qtyInStock
    return Availability.from_flag(quantity > 0 if type(quantity) is int else None)


def _read_options(variant: Variant) -> dict[str, str]:
    if isinstance(variant.optionValues, list) and variant.optionValues:
        rows = [row for row in variant.optionValues if isinstance(row, Mapping)]
        return name_options(
            (read_html_text(row.get("optionName")), read_html_text(row.get("value"))) for row in rows
        )
    attributes = variant.attributes if isinstance(variant.attributes, Mapping) else {}
    return name_options((read_html_text(name), read_html_text(value)) for name, value in attributes.items())


def _find_image(item: _Item) -> str | None:
    pictures: Sequence[Any] = item.items if isinstance(item.items, list) else ()
    addresses = [row.get("assetUrl") for row in pictures if isinstance(row, Mapping)]
    return next((url for url in [*addresses, item.assetUrl] if isinstance(url, str) and url), None)


def _first_text(values: Any) -> str | None:
    rows = values if isinstance(values, list) else ()
    return next((text for value in rows if (text := read_html_text(value))), None)
