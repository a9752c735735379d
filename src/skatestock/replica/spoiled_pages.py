"""HTML that one product spoils: what the fault `bad_product` makes of pages that are no JSON."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from skatestock.replica.marked_pages import write_catalogue_page, write_marked_page
from skatestock.replica.model import Listing
from skatestock.replica.pages import write_page

OTHER_CURRENCY = "CAD"
"""What a product's price is in that is not in its shop's currency."""

_WITHOUT_OFFERS = ("variants_null", "variants_missing")
# A price as JSON-LD, microdata, OpenGraph and the catalogue write it: what stands before, and the amount.
_MARKED_PRICE = re.compile(r'("price":"|<b itemprop="price">|price:amount" content=")\d[\d.]*')
_ITEM = re.compile(r'<article class="item".*?</article>', re.DOTALL)
_ITEM_PRICE = re.compile(r'(class="price">)[$\d.]+')
_ITEM_ID = re.compile(r' data-id="\d+"')


Write = Callable[[str, Listing], str]
"""Writes a product's page as a shop does."""


def spoil_marked_page(origin: str, listing: Listing, how: str, write: Write = write_marked_page) -> str:
    """Write a product's page that says nonsense of it; by its address alone it is known without an id."""
    if how == "not_an_object":
        return write_page(listing.shop, "product", "<h1>product</h1>")
    if how in _WITHOUT_OFFERS:
        return write(origin, _without_offers(listing))
    page = write(origin, listing)
    if how == "other_currency":
        return page.replace('"USD"', f'"{OTHER_CURRENCY}"')
    return _MARKED_PRICE.sub(r"\1abc", page, count=1) if how == "price_text" else page


def spoil_catalogue_page(shop: str, listings: Sequence[Listing], position: int, how: str) -> str:
    """Write a page of a catalogue in which one product is nonsense; whole where none is at that place."""
    if how in _WITHOUT_OFFERS:
        shown = [_without_offers(row) if place == position else row for place, row in enumerate(listings)]
        return write_catalogue_page(shop, shown)
    page = write_catalogue_page(shop, listings)
    for place, item in enumerate(_ITEM.findall(page)):
        if place == position:
            return page.replace(item, _spoil_item(item, how), 1)
    return page


def _spoil_item(item: str, how: str) -> str:
    if how == "not_an_object":
        return '<article class="item">product</article>'
    if how == "no_id":
        return _ITEM_ID.sub("", item, count=1)
    if how == "other_currency":
        return item.replace("$", f"{OTHER_CURRENCY} ")
    return _ITEM_PRICE.sub(r"\1abc", item, count=1)


def _without_offers(listing: Listing) -> Listing:
    return replace(listing, offers=[], rendered={})
