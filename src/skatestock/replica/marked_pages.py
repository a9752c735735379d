"""HTML as shops without a feed write it: product pages with schema.org data, and plain listing pages."""

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

import msgspec

from skatestock.replica.habits import HABITS
from skatestock.replica.model import Listing, Offer
from skatestock.replica.pages import product_address, write_page
from skatestock.replica.shopify import image_address, write_price

CATALOGUE_PATH = "/catalogue"
CATALOGUE_PAGE_SIZE = 24

# Of a shop with mixed pages, one in three says what it says in microdata, as older themes do.
_MICRODATA_EVERY = 3

RECIPE: dict[str, Any] = {
    "format": "html",
    "pages": f"{CATALOGUE_PATH}?page={{page}}",
    "whole": "footer",
    "items": "article.item",
    "id": "::attr(data-id)",
    "link": "h2 a::attr(href)",
    "title": "h2 a",
    "vendor": ".maker",
    "product_type": ".kind",
    "image": "img::attr(src)",
    "offer": {
        "items": "tr.size",
        "id": "::attr(data-variant)",
        "size": "th",
        "price": ".price",
        "compare_at": "del",
        "sold_out": ".gone",
    },
}
"""The recipe by which the catalogue's pages are read."""


def write_marked_page(origin: str, listing: Listing) -> str:
    """Write a product's page with its data in JSON-LD, microdata or OpenGraph."""
    if is_open_graph(listing):
        return write_open_graph_page(origin, listing)
    if _is_microdata(listing):
        return write_page(listing.shop, listing.title, _write_microdata(listing))
    data = msgspec.json.encode(_write_group(origin, listing)).decode().replace("<", "\\u003c")
    head = f'<script type="application/ld+json">{data}</script>\n'
    return write_page(listing.shop, listing.title, _write_heading(listing), head)


def write_open_graph_page(origin: str, listing: Listing) -> str:
    """Write a product's page that describes it by OpenGraph alone, whatever choice there is."""
    return write_page(listing.shop, listing.title, _write_heading(listing), _write_open_graph(listing))


def is_open_graph(listing: Listing) -> bool:
    """Tell whether a shop of marked pages says by OpenGraph what it sells: one thing, without a choice."""
    return HABITS[listing.shop].markup == "microdata" and listing.option_names == ("Title",)


def _is_microdata(listing: Listing) -> bool:
    markup = HABITS[listing.shop].markup
    return markup == "microdata" or (markup == "mixed" and listing.listing_id % _MICRODATA_EVERY == 0)


def _write_heading(listing: Listing) -> str:
    return f"<h1>{escape(listing.title)}</h1>"


def _write_open_graph(listing: Listing) -> str:
    """Write the only price of a product, that of its cheapest offer; OpenGraph gives it no id of its own."""
    properties = {
        "og:type": "product",
        "og:title": listing.title,
        "og:image": f"https:{image_address(listing)}",
        "product:brand": listing.vendor,
        "product:category": listing.product_type,
    }
    offers = listing.present_offers()
    if offers:
        offer = min(offers, key=lambda offer: offer.price_minor)
        was = offer.compare_at_minor or 0
        in_stock = any(offer.available for offer in offers)
        properties["product:price:currency"] = "USD"
        properties["product:price:amount"] = write_price(offer.price_minor)
        properties["product:availability"] = "in stock" if in_stock else "out of stock"
        if offer.barcode is not None:
            properties["product:gtin"] = offer.barcode
        if was > offer.price_minor:
            properties["product:original_price:amount"] = write_price(was)
    return "".join(
        f'<meta property="{name}" content="{escape(text)}">\n' for name, text in properties.items()
    )


def _write_group(origin: str, listing: Listing) -> dict[str, Any]:
    group = {
        "@type": "ProductGroup",
        "@id": f"{product_address(origin, listing)}#product",
        "name": listing.title,
        "url": product_address(origin, listing),
        "image": [f"https:{image_address(listing)}"],
        "brand": {"@type": "Brand", "name": listing.vendor},
        "category": listing.product_type,
        "hasVariant": [_write_variant(listing, offer) for offer in listing.present_offers()],
    }
    return {"@context": "https://schema.org", "@graph": [{"@type": "WebPage", "name": "x"}, group]}


def _write_variant(listing: Listing, offer: Offer) -> dict[str, Any]:
    names = {"size": "size", "color": "color"}
    pairs = zip(listing.option_names, offer.options, strict=False)
    options = {names[name.lower()]: value for name, value in pairs if name.lower() in names}
    was = offer.compare_at_minor or 0
    specification = {"priceType": "https://schema.org/StrikethroughPrice", "price": write_price(was)}
    stock = "InStock" if offer.available else "OutOfStock"
    made: dict[str, Any] = {
        "@type": "Offer",
        "price": write_price(offer.price_minor),
        "priceCurrency": "USD",
        "availability": f"https://schema.org/{stock}",
    }
    if was > offer.price_minor:
        made["priceSpecification"] = [specification]
    variant = {"@type": "Product", "productID": str(offer.offer_id), "sku": offer.sku, **options}
    return variant | ({} if offer.barcode is None else {"gtin": offer.barcode}) | {"offers": made}


def _write_microdata(listing: Listing) -> str:
    offers = "\n".join(_write_microdata_offer(offer) for offer in listing.present_offers())
    return (
        '<div itemscope itemtype="https://schema.org/Product">\n'
        f'<h1 itemprop="name">{escape(listing.title)}</h1>'
        f'<span itemprop="brand">{escape(listing.vendor)}</span>\n'
        f'<meta itemprop="category" content="{escape(listing.product_type)}">\n'
        f'<img itemprop="image" src="{escape(image_address(listing))}" alt="">\n{offers}\n</div>'
    )


def _write_microdata_offer(offer: Offer) -> str:
    stock = "InStock" if offer.available else "OutOfStock"
    was = offer.compare_at_minor or 0
    before = (
        '<p itemprop="priceSpecification" itemscope itemtype="https://schema.org/UnitPriceSpecification">'
        f'<meta itemprop="priceType" content="ListPrice"><del itemprop="price">{write_price(was)}</del></p>'
    )
    barcode = f'<meta itemprop="gtin" content="{offer.barcode}">'
    return (
        '<section itemprop="offers" itemscope itemtype="https://schema.org/Offer">'
        f'<meta itemprop="productID" content="{offer.offer_id}"><b itemprop="name">{escape(offer.title)}</b>'
        f"{barcode if offer.barcode else ''}"
        f"{before if was > offer.price_minor else ''}"
        '<meta itemprop="priceCurrency" content="USD">'
        f'<b itemprop="price">{write_price(offer.price_minor)}</b>'
        f'<link itemprop="availability" href="https://schema.org/{stock}"></section>'
    )


def write_catalogue_page(shop: str, listings: Sequence[Listing]) -> str:
    """Write one page of a catalogue that describes nothing by schema.org."""
    items = "\n".join(_write_item(listing) for listing in listings)
    return write_page(shop, "Catalogue", items or '<p class="none">Nothing here.</p>')


def _write_item(listing: Listing) -> str:
    rows = "\n".join(_write_row(offer) for offer in listing.present_offers())
    return (
        f'<article class="item" data-id="{listing.listing_id}">\n'
        f'<h2><a href="/products/{quote(listing.handle, safe="")}">{escape(listing.title)}</a></h2>'
        f'<img src="{escape(image_address(listing))}" alt=""><p class="maker">{escape(listing.vendor)}</p>'
        f'<p class="kind">{escape(listing.product_type)}</p>\n<table>\n{rows}\n</table>\n</article>'
    )


def _write_row(offer: Offer) -> str:
    was = offer.compare_at_minor or 0
    before = f"<del>${write_price(was)}</del> " if was > offer.price_minor else ""
    gone = "" if offer.available else '<td class="gone">Sold out</td>'
    return (
        f'<tr class="size" data-variant="{offer.offer_id}"><th>{escape(offer.title)}</th>'
        f'<td>{before}<b class="price">${write_price(offer.price_minor)}</b></td>{gone}</tr>'
    )
