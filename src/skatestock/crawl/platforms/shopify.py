"""Shopify's `/products.json`: bytes to observations. Pure.

What real bodies show is in docs/DATA_SOURCES.md. Prices are decimal strings without a currency; `updated_at`
is the time of the response and is never read.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import msgspec

from skatestock.crawl.errors import CrawlError, PageError
from skatestock.crawl.observing import ListingRead, ParsedPage, Sighting, make_excerpt, observe_listing
from skatestock.crawl.reasons import CrawlReason, RejectReason
from skatestock.events.model import ListingObserved, OfferObserved, RejectedObservation
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.errors import InvalidValueError
from skatestock.vocabulary.identifiers import check_identifier
from skatestock.vocabulary.money import Money
from skatestock.vocabulary.text import clean_optional_text, clean_text

PARSER = "shopify"
PARSER_VERSION = 1

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_PRICE = re.compile(r"\d{1,15}(?:\.\d{1,6})?\Z", re.ASCII)
# Every escape of a JSON text, so that none is taken for a part of another.
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F]..)|.)", re.DOTALL)
_PASSWORD_MARKS = (b"storefront_password", b"template-password", b'action="/password"', b"password-page")
_MAX_LABEL = 500
_SHORT = 32
# Shopify's own identifiers are 64 bits; digits alone need no further check.
_MAX_NUMBER = 2**63 - 1
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


class _OnlyId(msgspec.Struct):
    id: Any = None


class _RejectedError(CrawlError):
    """One product that cannot be observed; never leaves this module."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


_decode_products = msgspec.json.Decoder(_Products).decode
_decode_product = msgspec.json.Decoder(_Product).decode
_decode_id = msgspec.json.Decoder(_OnlyId).decode


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
    products = _split_products(body)
    observations: list[ListingObserved] = []
    rejected: list[RejectedObservation] = []
    listing_ids: dict[str, None] = {}
    repeated = False
    for place, raw in enumerate(products, 1):
        listing_id = _read_listing_id(raw)
        again = listing_id is not None and listing_id in listing_ids
        repeated = repeated or again
        try:
            observations.append(_observe(raw, listing_id, sighting, again=again))
        except _RejectedError as error:
            rejected.append(_reject(error, raw, listing_id, f"page {sighting.page}, product {place}"))
        if listing_id is not None:
            listing_ids[listing_id] = None
    return ParsedPage(
        observations=tuple(observations),
        rejected=tuple(rejected),
        product_count=len(products),
        listing_ids=tuple(listing_ids),
        repeated=repeated,
        unidentified=sum(reject.listing_id is None for reject in rejected),
    )


def _split_products(body: bytes) -> Sequence[msgspec.Raw]:
    body = body.removeprefix(_BOM).strip()
    if body.startswith(_UTF16_BOMS) or b"\0" in body[:64]:
        raise PageError(CrawlReason.WRONG_CHARSET, "the body is not UTF-8, as JSON must be")
    if body.startswith(b"<"):
        raise _html_error(body)
    try:
        body.decode("utf-8")
        return _decode_products(body).products
    except UnicodeDecodeError as error:
        raise PageError(
            CrawlReason.WRONG_CHARSET, f"the body is not UTF-8, as JSON must be: {error}"
        ) from error
    except msgspec.ValidationError as error:
        raise PageError(CrawlReason.NOT_PRODUCTS, f"{error}: {make_excerpt(body)[:200]}") from error
    except msgspec.DecodeError as error:
        mended = _ESCAPE.sub(_mend_escape, body)
        if mended != body:
            return _split_products(mended)
        raise _json_error(body, error) from error
    except RecursionError as error:
        raise PageError(CrawlReason.NOT_JSON, f"nested too deeply: {make_excerpt(body)[:200]}") from error


def _mend_escape(match: re.Match[bytes]) -> bytes:
    # One text cut within a character, as software that counts in UTF-16 does, must not cost the whole page.
    return rb"\ufffd" if match["half"] else match[0]


def _html_error(body: bytes) -> PageError:
    if any(mark in body for mark in _PASSWORD_MARKS):
        return PageError(CrawlReason.PASSWORD_PAGE, "the shop shows its password page")
    return PageError(CrawlReason.NOT_JSON, f"HTML in place of JSON: {make_excerpt(body)[:200]}")


def _json_error(body: bytes, error: msgspec.DecodeError) -> PageError:
    if "truncated" in str(error) and body.startswith(b"{"):
        return PageError(CrawlReason.TRUNCATED, f"the JSON ends after {len(body)} bytes")
    return PageError(CrawlReason.NOT_JSON, f"{error}: {make_excerpt(body)[:200]}")


def _observe(raw: msgspec.Raw, listing_id: str | None, sighting: Sighting, *, again: bool) -> ListingObserved:
    if again:
        raise _RejectedError(RejectReason.REPEATED_LISTING, "the page shows this listing twice")
    try:
        product = _decode_product(raw)
    except msgspec.ValidationError as error:
        raise _RejectedError(RejectReason.NOT_AN_OBJECT, str(error)) from error
    except msgspec.DecodeError as error:
        raise _RejectedError(RejectReason.SENSELESS, str(error)) from error
    if listing_id is None:
        raise _RejectedError(RejectReason.NO_ID, "the product has no usable id")
    handle = _text(product.handle)
    if handle is None:
        raise _RejectedError(RejectReason.NO_HANDLE, "the product has no handle and so no address")
    read = ListingRead(
        parser=PARSER,
        parser_version=PARSER_VERSION,
        listing_id=listing_id,
        handle=handle,
        url=f"{sighting.shop.url}/products/{quote(handle, safe='')}",
        title=clean_text(product.title) if isinstance(product.title, str) else "",
        vendor=_text(product.vendor),
        product_type=_text(product.product_type),
        image_url=_first_image(product.images),
        offers=_read_offers(product, sighting.shop.currency),
    )
    try:
        return observe_listing(read, sighting)
    except InvalidValueError as error:
        raise _RejectedError(RejectReason.SENSELESS, str(error)) from error


def _read_offers(product: _Product, currency: str) -> tuple[OfferObserved, ...]:
    if not product.variants:
        raise _RejectedError(RejectReason.NO_OFFERS, "the product has no variants")
    names = _option_names(product.options)
    offers: dict[str, OfferObserved] = {}
    for variant in product.variants:
        offer = _read_offer(variant, names, currency)
        # The same variant twice is one offer; two states of it are none that anyone could believe.
        if offers.setdefault(offer.offer_id, offer) != offer:
            raise _RejectedError(
                RejectReason.CONFLICTING_OFFERS, f"variant {offer.offer_id} stands there twice"
            )
    return tuple(offers.values())


def _read_offer(variant: _Variant, names: Sequence[str], currency: str) -> OfferObserved:
    offer_id = _identifier(variant.id)
    if offer_id is None:
        raise _RejectedError(RejectReason.NO_OFFER_ID, "a variant has no usable id")
    price_minor = _read_amount(variant.price, currency)
    if price_minor is None:
        text = f"variant {offer_id} costs {variant.price!r}"
        raise _RejectedError(RejectReason.UNREADABLE_PRICE, clean_text(text, 200))
    available = variant.available if isinstance(variant.available, bool) else None
    return OfferObserved(
        offer_id=offer_id,
        title=_text(variant.title) or "",
        options=_read_options(names, (variant.option1, variant.option2, variant.option3)),
        sku=_text(variant.sku),
        price_minor=price_minor,
        compare_at_minor=_read_compare_at(variant.compare_at_price, offer_id, currency),
        availability=Availability.from_flag(available),
    )


def _read_compare_at(value: Any, offer_id: str, currency: str) -> int | None:
    if value is None or value == "":
        return None
    amount_minor = _read_amount(value, currency)
    if amount_minor is None:
        text = f"variant {offer_id} is compared with {value!r}"
        raise _RejectedError(RejectReason.UNREADABLE_COMPARE_AT_PRICE, clean_text(text, 200))
    return amount_minor


def _read_amount(value: Any, currency: str) -> int | None:
    # A bare number is refused: elsewhere Shopify writes cents so, and a guess would be off by a hundred.
    return _parse_amount(value, currency) if isinstance(value, str) else None


@lru_cache(maxsize=16_384)
def _parse_amount(text: str, currency: str) -> int | None:
    if not _PRICE.match(text.strip()):
        return None
    try:
        return Money.from_decimal(text.strip(), currency).minor
    except InvalidValueError:
        return None


def _option_names(options: Any) -> Sequence[str]:
    names: list[str] = []
    for place, option in enumerate(options if isinstance(options, list) else (), 1):
        name = _text(option.get("name") if isinstance(option, dict) else option) or f"Option {place}"
        names.append(f"{name} {place}" if name in names else name)
    return names


def _read_options(names: Sequence[str], values: Sequence[Any]) -> dict[str, str]:
    options: dict[str, str] = {}
    for place, value in enumerate(values):
        text = _text(value)
        if text is not None:
            options[names[place] if place < len(names) else f"Option {place + 1}"] = text
    # What Shopify calls a product without options.
    return {} if options == {"Title": "Default Title"} else options


def _first_image(images: Any) -> str | None:
    first = images[0] if isinstance(images, list) and images else None
    source = first.get("src") if isinstance(first, dict) else first
    return source if isinstance(source, str) else None


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return _short_text(value) if len(value) <= _SHORT else clean_optional_text(value, _MAX_LABEL)


@lru_cache(maxsize=16_384)
def _short_text(text: str) -> str | None:
    # Sizes, colours, makers and types: a shop says the same few thousand words on every page.
    return clean_optional_text(text)


def _identifier(value: Any) -> str | None:
    if type(value) is int and 0 <= value <= _MAX_NUMBER:
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return check_identifier(str(value))
    except InvalidValueError:
        return None


def _read_listing_id(raw: msgspec.Raw) -> str | None:
    try:
        return _identifier(_decode_id(raw).id)
    except msgspec.DecodeError:
        return None


def _reject(
    error: _RejectedError, raw: msgspec.Raw, listing_id: str | None, position: str
) -> RejectedObservation:
    return RejectedObservation(
        listing_id=listing_id,
        reason=error.reason,
        detail=clean_text(str(error), 500),
        position=position,
        excerpt=make_excerpt(bytes(raw)),
    )
