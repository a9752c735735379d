"""Listing pages read by a shop's own recipe: bytes to observations. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import ListingRead, ParsedPage, Sighting
from skatestock.crawl.platforms.documents import Element, compile_css, is_whole, parse_document, text_of
from skatestock.crawl.platforms.reading import (
    ItemReader,
    RejectedError,
    decode_body,
    gather_page,
    name_options,
    parse_amount,
    parse_json_number,
    read_identifier,
    read_text,
    read_title,
    require_handle,
    require_id,
    round_amount,
    to_decimal_text,
    unique_offers,
    unreadable_compare_at,
    unreadable_price,
)
from skatestock.crawl.platforms.recipe_model import Recipe
from skatestock.crawl.politeness import is_same_shop
from skatestock.crawl.reasons import CrawlReason, RejectReason
from skatestock.events.model import OfferObserved
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.prices import parse_price

PARSER = "recipe"
PARSER_VERSION = 1
ONLY_OFFER = "default"

_MAX_ITEMS = 5000


class RecipePage(msgspec.Struct, frozen=True, kw_only=True):
    """What one listing page showed."""

    page: ParsedPage
    next_url: str | None
    """The address of the page after it; None for the last one."""


def page_url(shop_url: str, recipe: Recipe, page: int) -> str:
    """Return the address of one listing page, counted from 1."""
    return shop_url + recipe.pages.replace("{page}", str(page - 1 + recipe.first_page))


def parse_listing_page(body: bytes, url: str, recipe: Recipe, sighting: Sighting) -> RecipePage:
    """Read one listing page; one bad listing is rejected alone.

    Raises PageError for a body that is no such page, or only a part of one.
    """
    root = _open_page(body, recipe)
    items = root.find_all(recipe.items)
    if len(items) > _MAX_ITEMS:
        raise PageError(CrawlReason.TOO_LARGE, f"a listing page of {len(items)} listings")
    reader = ItemReader(
        read_id=lambda item: _find_listing_id(item, url, recipe),
        read=lambda item, listing_id: _read_listing(item, listing_id, url, recipe, sighting),
        excerpt=lambda item: item.excerpt(),
    )
    page = gather_page(items, sighting, reader)
    return RecipePage(page=page, next_url=_find_next_url(root, url, recipe, page, sighting))


class _HtmlItem:
    """A part of an HTML page in which CSS selectors find values."""

    def __init__(self, element: Element) -> None:
        self._element = element

    def find_all(self, path: str) -> list["_HtmlItem"]:
        """Find the parts that a selector names; values, which have no parts, are passed over."""
        found = compile_css(path)(self._element)
        return [_HtmlItem(element) for element in found if not isinstance(element, str)]

    def find(self, path: str) -> Any:
        """Find the text of the first hit, or None."""
        found = compile_css(path)(self._element)
        if not found:
            return None
        # A selector of an element stands for its text; `::text` and `::attr()` say otherwise.
        return found[0] if isinstance(found[0], str) else text_of(found[0])

    def tell(self, path: str, words: Sequence[str]) -> bool | None:
        """Tell whether there is a hit at all; in HTML that alone counts, whatever it says."""
        return bool(compile_css(path)(self._element))

    def excerpt(self) -> bytes:
        """Return the beginning of its text, to be kept with a rejection."""
        return text_of(self._element)[:8000].encode("utf-8", "replace")


class _JsonItem:
    """A part of a JSON page in which dotted paths find values."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def find_all(self, path: str) -> list["_JsonItem"]:
        """Find everything that a path leads to; `[]` in it goes into every entry of a list."""
        return [_JsonItem(value) for value in _walk_path(self._value, path)]

    def find(self, path: str) -> Any:
        """Find the first value that a path leads to, or None."""
        values = _walk_path(self._value, path)
        return values[0] if values else None

    def tell(self, path: str, words: Sequence[str]) -> bool | None:
        """Tell what a flag says, or whether a text is one of the words; None when it is neither."""
        value = self.find(path)
        if isinstance(value, str) and words:
            return value in words
        return value if isinstance(value, bool) else None

    def excerpt(self) -> bytes:
        """Return the beginning of its JSON, to be kept with a rejection."""
        return msgspec.json.encode(self._value)[:8000]


_Item = _HtmlItem | _JsonItem
_decode = msgspec.json.Decoder(float_hook=parse_json_number).decode


def _open_page(body: bytes, recipe: Recipe) -> _Item:
    if recipe.format == "json":
        return _JsonItem(decode_body(body, _decode))
    document = parse_document(body)
    assert recipe.whole is not None
    root = _HtmlItem(document.root)
    if not root.tell(recipe.whole, ()):
        early = CrawlReason.NOT_PRODUCTS if is_whole(body) else CrawlReason.TRUNCATED
        raise PageError(early, f"the page has nothing at {recipe.whole!r}, which every whole page has")
    return root


def _walk_path(value: Any, path: str) -> list[Any]:
    values = [value]
    for step in path.split("."):
        key, _, many = step.partition("[")
        values = [item[key] for item in values if isinstance(item, dict) and item.get(key) is not None]
        if many:
            values = [part for item in values if isinstance(item, list) for part in item]
    return values


def _find_next_url(root: _Item, url: str, recipe: Recipe, page: ParsedPage, sighting: Sighting) -> str | None:
    if recipe.next is None:
        is_last = page.product_count == 0
        return None if is_last else page_url(sighting.shop.url, recipe, sighting.page + 1)
    stated = root.find(recipe.next)
    if not isinstance(stated, str) or not stated.strip():
        return None
    found = _complete(stated, url)
    if found is None or not is_same_shop(found, sighting.shop.url) or found == url:
        raise PageError(CrawlReason.NOT_PRODUCTS, f"the next page is {stated[:200]!r}")
    return found


def _find_listing_id(item: _Item, url: str, recipe: Recipe) -> str | None:
    if recipe.id is not None:
        value = item.find(recipe.id)
        return read_identifier(value.strip() if isinstance(value, str) else value)
    address = _find_address(item, url, recipe)
    return None if address is None else read_identifier(unquote(urlsplit(address).path).strip("/"))


def _find_address(item: _Item, url: str, recipe: Recipe) -> str | None:
    stated = item.find(recipe.link)
    address = _complete(stated, url) if isinstance(stated, str) else None
    return address if address is not None and is_same_shop(address, url) else None


def _complete(stated: str, url: str) -> str | None:
    try:
        address = urljoin(url, stated.strip()).partition("#")[0]
        urlsplit(address).port  # noqa: B018 - asked for because it refuses what is no port
    except ValueError:
        return None
    return address if address.startswith(("http://", "https://")) and address.isprintable() else None


def _read_listing(item: _Item, listing_id: str, url: str, recipe: Recipe, sighting: Sighting) -> ListingRead:
    require_id(listing_id)
    address = _find_address(item, url, recipe)
    path = "" if address is None else urlsplit(address).path.rstrip("/")
    handle = require_handle(read_text(unquote(path).rpartition("/")[2]))
    assert address is not None
    image = _find_text(item, recipe.image)
    fields = recipe.offer
    parts: Sequence[_Item] = [item] if fields.items is None else item.find_all(fields.items)
    offers = [_read_offer(part, recipe, sighting.shop.currency) for part in parts]
    return ListingRead(
        parser=PARSER,
        parser_version=PARSER_VERSION,
        listing_id=listing_id,
        handle=handle,
        url=address,
        title=read_title(_find_text(item, recipe.title)),
        vendor=_find_text(item, recipe.vendor),
        product_type=_find_text(item, recipe.product_type),
        image_url=None if image is None else _complete(image, url),
        offers=unique_offers(offers),
    )


def _read_offer(item: _Item, recipe: Recipe, currency: str) -> OfferObserved:
    fields = recipe.offer
    offer_id = ONLY_OFFER
    if fields.id is not None:
        stated = item.find(fields.id)
        offer_id = read_identifier(stated.strip() if isinstance(stated, str) else stated) or ""
    elif fields.items is not None:
        offer_id = " / ".join(filter(None, (_find_text(item, fields.size), _find_text(item, fields.colour))))
    if not offer_id:
        raise RejectedError(RejectReason.NO_OFFER_ID, "an offer has no usable id")
    price_minor = _read_amount(item.find(fields.price), recipe, currency)
    if price_minor is None:
        raise unreadable_price(f"offer {offer_id}", item.find(fields.price))
    size, colour = _find_text(item, fields.size), _find_text(item, fields.colour)
    options = name_options([("Size", size), ("Color", colour)])
    return OfferObserved(
        offer_id=offer_id[:255],
        title=_find_text(item, fields.title) or " / ".join(options.values()),
        options=options,
        sku=_find_text(item, fields.sku),
        price_minor=price_minor,
        compare_at_minor=_read_compare_at(item, recipe, offer_id, currency),
        availability=_read_availability(item, recipe),
        barcode=_find_text(item, fields.barcode),
    )


def _read_compare_at(item: _Item, recipe: Recipe, offer_id: str, currency: str) -> int | None:
    value = None if recipe.offer.compare_at is None else item.find(recipe.offer.compare_at)
    if value is None or value == "":
        return None
    amount_minor = _read_amount(value, recipe, currency)
    if amount_minor is None:
        raise unreadable_compare_at(f"offer {offer_id}", value)
    return amount_minor


def _read_amount(value: Any, recipe: Recipe, currency: str) -> int | None:
    if isinstance(value, Decimal):
        return None if recipe.amounts == "minor" else round_amount(value, currency)
    text = to_decimal_text(value)
    if text is None:
        return None
    if recipe.amounts == "minor":
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None
    if recipe.amounts == "decimal":
        return parse_amount(text, currency)
    price = parse_price(text, currency)
    if price is None:
        return None
    if price.currency not in (None, currency):
        detail = f"a price is in {price.currency}, the shop's in {currency}"
        raise RejectedError(RejectReason.OTHER_CURRENCY, detail)
    return round_amount(price.amount, currency)


def _read_availability(item: _Item, recipe: Recipe) -> Availability:
    fields, words = recipe.offer, recipe.in_stock_words
    if fields.sold_out is not None and item.tell(fields.sold_out, ()) is True:
        return Availability.OUT_OF_STOCK
    if fields.in_stock is not None:
        return Availability.from_flag(item.tell(fields.in_stock, words))
    # What says when it is sold out says by its silence that it is not.
    told = None if fields.sold_out is None else item.tell(fields.sold_out, ())
    return Availability.from_flag(None if told is None else not told)


def _find_text(item: _Item, path: str | None) -> str | None:
    value = None if path is None else item.find(path)
    return read_text(str(value) if type(value) is int else value)
