"""WooCommerce's Store API, `/wp-json/wc/store/v1/products`: bytes to observations. Pure.

Amounts are texts of minor units beside the number of digits that those have (`currency_minor_unit`). A
product with variations names them but not their prices or stock: those come from pages of their own
(`type=variation`), which are read first.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urljoin

import msgspec

from skatestock.crawl.errors import PageError
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

PARSER = "woocommerce"
PARSER_VERSION = 1
MAX_PAGE_SIZE = 100

# Groups only name other products, which are listed themselves.
_GROUP = "grouped"
_VARIABLE = "variable"
_MAX_DIGITS = 6


class _Prices(msgspec.Struct):
    price: Any = None
    regular_price: Any = None
    price_range: Any = None
    currency_code: Any = None
    currency_minor_unit: Any = None


class _Product(msgspec.Struct):
    # Only the id and the prices must be what they are; of anything else that is no text we take nothing.
    prices: _Prices | None = None
    id: Any = None
    parent: Any = None
    name: Any = None
    slug: Any = None
    permalink: Any = None
    type: Any = None
    variation: Any = None
    sku: Any = None
    is_in_stock: Any = None
    is_purchasable: Any = None
    images: Any = None
    categories: Any = None
    brands: Any = None
    attributes: Any = None
    variations: Any = None


class Variation(msgspec.Struct, frozen=True, kw_only=True):
    """One variation as its own row shows it."""

    prices: _Prices | None
    sku: str | None
    title: str
    """Its options in words (`Colour: Red, Size: M`)."""
    availability: Availability


Variations = Mapping[str, Variation]
"""Variations by their ids."""


class VariationsPage(msgspec.Struct, frozen=True, kw_only=True):
    """What one page of variations showed."""

    variations: Variations
    row_count: int


_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_product = msgspec.json.Decoder(_Product).decode


def products_url(shop_url: str, page: int, limit: int) -> str:
    """Return the address of one page of products, the oldest first so that new ones move no page."""
    return f"{shop_url}/wp-json/wc/store/v1/products?per_page={limit}&page={page}&orderby=id&order=asc"


def variations_url(shop_url: str, page: int, limit: int) -> str:
    """Return the address of one page of variations."""
    return f"{products_url(shop_url, page, limit)}&type=variation"


def parse_total_pages(headers: Mapping[str, str]) -> int | None:
    """Read `X-WP-TotalPages` of headers by lower-case name; None where it says nothing."""
    text = headers.get("x-wp-totalpages", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def parse_variations_page(body: bytes) -> VariationsPage:
    """Read one page of variations; a row without an id is left out. Raises PageError as for products."""
    rows = _split_rows(body)
    variations: dict[str, Variation] = {}
    for raw in rows:
        variation_id = find_raw_id(raw)
        variation = None if variation_id is None else _find_variation(raw)
        if variation_id is not None and variation is not None:
            variations[variation_id] = variation
    return VariationsPage(variations=variations, row_count=len(rows))


def parse_products_page(body: bytes, sighting: Sighting, variations: Variations | None = None) -> ParsedPage:
    """Read one page of products; without `variations` what is said of them is what their products say.

    One bad product is rejected alone. Raises PageError for a body that is no such page.
    """
    known = variations or {}
    reader = ItemReader(
        read_id=find_raw_id,
        read=lambda raw, listing_id: _read_product(raw, listing_id, sighting.shop, known),
        excerpt=bytes,
    )
    return gather_page(_split_rows(body), sighting, reader)


class _Refusal(msgspec.Struct):
    code: str
    message: str = ""


def _split_rows(body: bytes) -> Sequence[msgspec.Raw]:
    try:
        return decode_body(body, _decode_rows)
    except PageError as error:
        refusal = _find_refusal(body) if error.reason is CrawlReason.NOT_PRODUCTS else None
        if refusal is None:
            raise
        raise PageError(CrawlReason.NOT_PRODUCTS, f"the shop says {refusal}") from error


def _find_refusal(body: bytes) -> str | None:
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.DecodeError, RecursionError):
        return None
    return read_text(f"{refusal.code}: {refusal.message}")


def _find_variation(raw: msgspec.Raw) -> Variation | None:
    try:
        row = decode_item(raw, _decode_product)
    except RejectedError:
        return None
    return Variation(
        prices=row.prices,
        sku=read_text(row.sku),
        title=read_html_text(row.variation) or "",
        availability=_read_availability(row),
    )


def _read_product(raw: msgspec.Raw, listing_id: str, shop: Shop, known: Variations) -> ListingRead:
    product = decode_item(raw, _decode_product)
    require_id(listing_id)
    if product.type == _GROUP:
        raise RejectedError(RejectReason.NOT_A_PRODUCT, "a group of products that are listed themselves")
    slug = product.slug if isinstance(product.slug, str) else ""
    handle = require_handle(read_text(unquote(slug)))
    offers = unique_offers(_read_offers(product, listing_id, shop, known))
    named = [row.get("id") for row in _objects(product.variations)]
    return ListingRead(
        parser=PARSER,
        parser_version=PARSER_VERSION,
        listing_id=listing_id,
        handle=handle,
        url=_read_address(product.permalink, slug, shop),
        title=read_title(read_html_text(product.name)),
        vendor=_first_name(product.brands),
        product_type=_first_name(product.categories),
        image_url=_first_image(product.images),
        offers=offers,
        offers_complete=len(offers) == max(1, len(named)),
    )


def _read_offers(
    product: _Product, listing_id: str, shop: Shop, known: Variations
) -> Iterator[OfferObserved]:
    rows = _objects(product.variations)
    if not rows:
        if product.type == _VARIABLE:
            # Read as one offer it would take the place of its sizes, and say that they are gone.
            raise RejectedError(RejectReason.NO_OFFERS, "the product has variations, and names none")
        yield _make_offer(product.prices, listing_id, shop, _read_availability(product), _read_sku(product))
        return
    terms = _read_terms(product.attributes)
    ids = [read_identifier(row.get("id")) for row in rows]
    if None in ids:
        raise RejectedError(RejectReason.NO_OFFER_ID, "a variation has no usable id")
    seen = [(row, offer_id) for row, offer_id in zip(rows, ids, strict=True) if offer_id in known]
    # A shop that shows no variations of their own: one price for all of them is a price all the same.
    for row, offer_id in seen or [(row, offer_id) for row, offer_id in zip(rows, ids, strict=True)]:
        assert offer_id is not None
        options = _read_options(row.get("attributes"), terms)
        variation = known.get(offer_id) or _infer_variation(product)
        title = variation.title or " / ".join(options.values())
        yield _make_offer(
            variation.prices, offer_id, shop, variation.availability, variation.sku, title, options
        )


def _infer_variation(product: _Product) -> Variation:
    if product.prices is not None and product.prices.price_range is not None:
        raise RejectedError(RejectReason.NO_PRICE, "the variations' prices are known as a range only")
    sold_out = _read_availability(product) is Availability.OUT_OF_STOCK
    availability = Availability.OUT_OF_STOCK if sold_out else Availability.UNKNOWN
    return Variation(prices=product.prices, sku=None, title="", availability=availability)


def _make_offer(
    prices: _Prices | None,
    offer_id: str,
    shop: Shop,
    availability: Availability,
    sku: str | None,
    title: str = "",
    options: Mapping[str, str] | None = None,
) -> OfferObserved:
    if prices is None:
        raise RejectedError(RejectReason.NO_PRICE, f"offer {offer_id} has no prices")
    if prices.currency_code != shop.currency:
        text = f"offer {offer_id} is in {str(prices.currency_code)[:20]}, the shop in {shop.currency}"
        raise RejectedError(RejectReason.OTHER_CURRENCY, text)
    price_minor = _read_minor(prices.price, prices, shop.currency)
    if price_minor is None:
        raise unreadable_price(f"offer {offer_id}", prices.price)
    return OfferObserved(
        offer_id=offer_id,
        title=title,
        options=dict(options or {}),
        sku=sku,
        price_minor=price_minor,
        compare_at_minor=_read_compare_at(prices, price_minor, offer_id, shop.currency),
        availability=availability,
    )


def _read_compare_at(prices: _Prices, price_minor: int, offer_id: str, currency: str) -> int | None:
    if prices.regular_price is None or prices.regular_price == "":
        return None
    regular_minor = _read_minor(prices.regular_price, prices, currency)
    if regular_minor is None:
        raise unreadable_compare_at(f"offer {offer_id}", prices.regular_price)
    # Every product has a regular price; it is a "was" only where another one is asked.
    return None if regular_minor == price_minor else regular_minor


def _read_minor(value: Any, prices: _Prices, currency: str) -> int | None:
    """Read minor units as the shop counts them; its digits need not be the currency's."""
    digits = prices.currency_minor_unit
    if type(digits) is not int or not 0 <= digits <= _MAX_DIGITS:
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 15:
        return None
    return parse_amount(f"{Decimal(value).scaleb(-digits):f}", currency)


def _read_availability(product: _Product) -> Availability:
    in_stock = product.is_in_stock if isinstance(product.is_in_stock, bool) else None
    # What is shown but cannot be put into the cart is not to be had.
    return Availability.from_flag(False if product.is_purchasable is False else in_stock)


def _read_sku(product: _Product) -> str | None:
    return read_text(product.sku)


def _read_terms(attributes: Any) -> dict[tuple[str, str], str]:
    # A product's variations name a value by the slug of its term; the term has the word.
    terms: dict[tuple[str, str], str] = {}
    for attribute in _objects(attributes):
        name = read_html_text(attribute.get("name"))
        for term in _objects(attribute.get("terms")):
            slug, word = read_text(term.get("slug")), read_html_text(term.get("name"))
            if name and slug and word:
                terms[name, slug] = word
    return terms


def _read_options(attributes: Any, terms: Mapping[tuple[str, str], str]) -> dict[str, str]:
    pairs = [
        (read_html_text(row.get("name")), read_html_text(row.get("value"))) for row in _objects(attributes)
    ]
    return name_options((name, value and terms.get((name or "", value), value)) for name, value in pairs)


def _read_address(permalink: Any, slug: str, shop: Shop) -> str:
    # The shop's own address; where the link leads elsewhere, as a mirror's may, it is made of the slug.
    try:
        url = urljoin(f"{shop.url}/", permalink) if isinstance(permalink, str) else ""
        if url.startswith(("https://", "http://")) and url.isprintable() and is_same_shop(url, shop.url):
            return url
    except ValueError:
        pass
    return f"{shop.url}/product/{slug}/"


def _first_name(rows: Any) -> str | None:
    return next((name for row in _objects(rows) if (name := read_html_text(row.get("name")))), None)


def _first_image(rows: Any) -> str | None:
    return next((src for row in _objects(rows) if isinstance(src := row.get("src"), str)), None)


def _objects(rows: Any) -> list[dict[str, Any]]:
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
