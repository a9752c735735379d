"""What a shop of each platform answers: the routes by which a shop's server finds its reply."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from skatestock.replica.errors import ReplicaError
from skatestock.replica.fault_effects import add_twin, cut_page
from skatestock.replica.faults import Fault
from skatestock.replica.marked_pages import (
    CATALOGUE_PAGE_SIZE,
    CATALOGUE_PATH,
    write_catalogue_page,
    write_marked_page,
    write_open_graph_page,
)
from skatestock.replica.model import Listing
from skatestock.replica.reply import HTML, Reply, Request, json_reply
from skatestock.replica.shop_face import COMMON_ROUTES, SHOPIFY_ROUTES, Faults, Route, ShopFace
from skatestock.replica.shopify import read_paging
from skatestock.replica.spoiled_pages import (
    OTHER_CURRENCY,
    Write,
    spoil_catalogue_page,
    spoil_marked_page,
)
from skatestock.replica.squarespace import PAGE_SIZE, STORE_PATH, write_store
from skatestock.replica.woocommerce import API_PATH, read_page_size, write_product, write_variations

_SQUARESPACE_PRICE = ("structuredContent", "variants", 0, "priceMoney", "value")
_SQUARESPACE_CURRENCY = (*_SQUARESPACE_PRICE[:-1], "currency")
_PRICE_FACTORS = {"price_zero": 0, "price_times_100": 100}


def routes_of(platform: str) -> Sequence[tuple[re.Pattern[str], Route]]:
    """Return the routes of a platform; raises ReplicaError for one that the replica does not play."""
    if platform not in PLATFORM_ROUTES:
        raise ReplicaError(f"{platform!r} is not one of: {', '.join(PLATFORM_ROUTES)}")
    return PLATFORM_ROUTES[platform]


def _cut(listings: Sequence[Listing], limit: int, page: int, faults: Faults) -> Sequence[Listing]:
    """Cut one page as the faults have it, with their prices on copies of its listings."""
    shown = cut_page(listings, limit, page, faults)
    for fault in faults:
        if fault.kind in _PRICE_FACTORS:
            start = fault.number("position")
            end = start + fault.number("count")
            factor = _PRICE_FACTORS[fault.kind]
            shown = [
                _scale(listing, factor) if start <= place < end else listing
                for place, listing in enumerate(shown)
            ]
    return shown


def _scale(listing: Listing, factor: int) -> Listing:
    offers = [replace(offer, price_minor=offer.price_minor * factor) for offer in listing.offers]
    return replace(listing, offers=offers, rendered={})


def _spoil(
    rows: list[Any], faults: Faults, path: Sequence[str | int], currency: Sequence[str | int]
) -> list[Any]:
    """Spoil the rows of a page as the faults have it; both paths lead from a row to a text of its price."""
    for fault in _spoiling(faults):
        place = fault.number("position")
        if place >= len(rows):
            continue
        how = fault.parameters["how"]
        if how == "not_an_object":
            rows[place] = "product"
        elif how == "no_id":
            del rows[place]["id"]
        else:
            *steps, last = {"price_text": path, "other_currency": currency}.get(how, path[:1])
            part = rows[place]
            for step in steps:
                part = part[step]
            part[last] = _NONSENSE.get(how)
    return rows


_NONSENSE = {"price_text": "abc", "other_currency": OTHER_CURRENCY}


def _spoiling(faults: Faults) -> Sequence[Fault]:
    return [fault for fault in faults if fault.kind == "bad_product"]


def _serve_store_api(face: ShopFace, request: Request, part: str, faults: Faults) -> Reply:
    _, page = read_paging(request.parameters)
    limit = read_page_size(request.parameters)
    listings = sorted(face.listings(), key=lambda listing: listing.listing_id)
    if request.parameters.get("type") == "variation":
        rows = _write_all_variations(face.origin, listings, limit, faults)
        total, shown = len(rows), rows[(page - 1) * limit : page * limit]
    else:
        total = len(listings)
        rows = [write_product(face.origin, listing) for listing in _cut(listings, limit, page, faults)]
        shown = _spoil(rows, faults, ("prices", "price"), ("prices", "currency_code"))
    reply = json_reply(shown)
    reply.headers += [("X-WP-Total", str(total)), ("X-WP-TotalPages", str(-(-total // limit)))]
    return reply


def _write_all_variations(
    origin: str, listings: Sequence[Listing], limit: int, faults: Faults
) -> list[dict[str, Any]]:
    """Write the rows of every product's variations, as wrong as the product itself on its own page."""
    rows: list[dict[str, Any]] = []
    for fault in faults:
        if fault.kind == "listing_twin":
            listings = add_twin(fault, listings)
    for start in range(0, len(listings), limit):
        priced = [fault for fault in faults if fault.kind in _PRICE_FACTORS]
        for place, listing in enumerate(_cut(listings[start : start + limit], limit, 1, priced)):
            written = write_variations(origin, listing)
            for fault in _spoiling(faults):
                if fault.number("position") == place:
                    _spoil_prices(written, fault.parameters["how"])
            rows += written
    return rows


def _spoil_prices(rows: list[dict[str, Any]], how: str) -> None:
    for row in rows:
        if how == "price_text":
            row["prices"]["price"] = "abc"
        elif how == "other_currency":
            row["prices"]["currency_code"] = OTHER_CURRENCY
        elif how in ("variants_null", "variants_missing"):
            row["prices"] = None


def _serve_store(face: ShopFace, request: Request, part: str, faults: Faults) -> Reply:
    if request.parameters.get("format") != "json":
        return _serve_catalogue(face, request, part, faults)
    _, page = read_paging(request.parameters)
    listings = face.listings()
    more = page * PAGE_SIZE < len(listings)
    store = write_store(_cut(listings, PAGE_SIZE, page, faults), page, more=more)
    _spoil(store["items"], faults, _SQUARESPACE_PRICE, _SQUARESPACE_CURRENCY)
    return json_reply(store)


def _serve_catalogue(face: ShopFace, request: Request, part: str, faults: Faults) -> Reply:
    _, page = read_paging(request.parameters)
    shown = _cut(face.listings(), CATALOGUE_PAGE_SIZE, page, faults)
    body = write_catalogue_page(face.shop, shown)
    for fault in _spoiling(faults):
        body = spoil_catalogue_page(face.shop, shown, fault.number("position"), fault.parameters["how"])
    return Reply(200, body.encode(), HTML)


def _serve_marked_page(face: ShopFace, request: Request, handle: str, faults: Faults) -> Reply:
    return _serve_page(face, handle, faults, write_marked_page)


def _serve_open_graph_page(face: ShopFace, request: Request, handle: str, faults: Faults) -> Reply:
    return _serve_page(face, handle, faults, write_open_graph_page)


def _serve_page(face: ShopFace, handle: str, faults: Faults, write: Write) -> Reply:
    listing = face.world.find_listing(face.shop, handle)
    if listing is None:
        return face.not_found()
    (shown,) = _cut([listing], 1, 1, [fault for fault in faults if fault.kind in _PRICE_FACTORS])
    text = write(face.origin, shown)
    for fault in _spoiling(faults):
        text = spoil_marked_page(face.origin, shown, fault.parameters["how"], write)
    body = text.encode()
    tag = ("ETag", f'"{sha256(body).hexdigest()[:32]}"')
    return Reply(200, body, HTML, headers=[] if faults else [tag])


def _with_common(*routes: tuple[str, Route]) -> Sequence[tuple[re.Pattern[str], Route]]:
    return [*((re.compile(pattern), route) for pattern, route in routes), *COMMON_ROUTES]


PLATFORM_ROUTES: Mapping[str, Sequence[tuple[re.Pattern[str], Route]]] = {
    "shopify": SHOPIFY_ROUTES,
    "woocommerce": _with_common((re.escape(API_PATH), _serve_store_api)),
    "squarespace": _with_common((re.escape(STORE_PATH), _serve_store)),
    "schema-org": _with_common((r"/products/([^/]+)", _serve_marked_page)),
    "open-graph": _with_common((r"/products/([^/]+)", _serve_open_graph_page)),
    "recipe": _with_common((re.escape(CATALOGUE_PATH), _serve_catalogue)),
}
"""The last but one is a shop with a sitemap whose pages say by OpenGraph alone what they sell."""
