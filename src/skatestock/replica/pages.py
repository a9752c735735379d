"""What is not JSON: robots.txt, sitemaps, product pages, and the pages that stand in for them."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from urllib.parse import quote

import msgspec

from skatestock.replica.habits import HABITS
from skatestock.replica.model import Listing, Offer
from skatestock.replica.shopify import image_address, write_price, write_time

DEMO_NOTICE = "This is a demo replica made by SkateStock. Nothing here is for sale."

_CLOSED_TO_ALL = (
    "/admin",
    "/cart",
    "/orders",
    "/checkouts/",
    "/checkout",
    "/carts",
    "/account",
    "/collections/*sort_by*",
    "/*/collections/*sort_by*",
    "/collections/*+*",
    "/collections/*%2B*",
    "/blogs/*+*",
    "/*?*oseid=*",
    "/*preview_theme_id*",
    "/policies/",
    "/search",
    "/apple-app-site-association",
    "/recommendations/products",
    "/cdn/wpm/*.js",
)


def product_address(origin: str, listing: Listing) -> str:
    """Tell the address of a listing's page; a handle in other letters is percent-encoded."""
    return f"{origin}/products/{quote(listing.handle)}"


def write_robots(origin: str) -> str:
    """Write robots.txt as Shopify's shops have it: carts and searches closed, products open."""
    lines = [f"# {DEMO_NOTICE}", "User-agent: *", *(f"Disallow: {path}" for path in _CLOSED_TO_ALL)]
    lines += [f"Sitemap: {origin}/sitemap.xml", "", "User-agent: adsbot-google"]
    lines += ["Disallow: /checkouts/", "Disallow: /checkout", "Disallow: /carts", "Disallow: /orders"]
    lines += ["", "User-agent: Nutch", "Disallow: /"]
    for robot, seconds in (("AhrefsBot", 10), ("MJ12bot", 10), ("Pinterest", 1)):
        lines += ["", f"User-agent: {robot}", f"Crawl-delay: {seconds}"]
    return "\n".join(lines) + "\n"


def write_sitemap_index(origin: str, listings: Sequence[Listing]) -> str:
    """Write the sitemap index; the products map's address carries the span of ids, escaped."""
    ids = [listing.listing_id for listing in listings] or [0]
    products = escape(f"{origin}/sitemap_products_1.xml?from={min(ids)}&to={max(ids)}")
    places = [products, f"{origin}/sitemap_pages_1.xml", f"{origin}/sitemap_collections_1.xml"]
    entries = "".join(f"  <sitemap>\n    <loc>{place}</loc>\n  </sitemap>\n" for place in places)
    return f'<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{entries}</sitemapindex>\n'


def write_sitemap(origin: str, paths: Sequence[str], at: datetime, listings: Sequence[Listing] = ()) -> str:
    """Write a sitemap: the given paths, then products, all of them changed just now."""
    entries = [f"<loc>{escape(origin + path)}</loc>\n    <changefreq>daily</changefreq>" for path in paths]
    entries += [_write_product_entry(origin, listing, at) for listing in listings]
    body = "".join(f"  <url>\n    {entry}\n  </url>\n" for entry in entries)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
        f' xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">\n{body}</urlset>\n'
    )


def _write_product_entry(origin: str, listing: Listing, at: datetime) -> str:
    return (
        f"<loc>{product_address(origin, listing)}</loc>\n"
        f"    <lastmod>{write_time(at)}</lastmod>\n    <changefreq>daily</changefreq>\n"
        f"    <image:image>\n      <image:loc>https:{escape(image_address(listing))}</image:loc>\n"
        f"      <image:title>{escape(listing.title)}</image:title>\n    </image:image>"
    )


def write_page(shop: str, title: str, main: str, head: str = "") -> str:
    """Write an HTML page with the shop's name above and the demo notice below."""
    name = escape(HABITS[shop].name)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="robots" content="noindex">\n{head}</head>\n'
        f'<body>\n<header><a href="/">{name}</a></header>\n'
        f"<main>\n{main}\n</main>\n<footer>{DEMO_NOTICE}</footer>\n</body>\n</html>\n"
    )


def write_home_page(shop: str, listings: Sequence[Listing]) -> str:
    """Write the shop's home page with its newest products."""
    habit = HABITS[shop]
    items = "\n".join(
        f'<li><a href="{product_address("", listing)}">{escape(listing.title)}</a></li>'
        for listing in listings[:24]
    )
    return write_page(
        shop, f"{habit.name}, {habit.city}", f"<h1>{escape(habit.name)}</h1>\n<ul>\n{items}\n</ul>"
    )


def write_product_page(origin: str, listing: Listing) -> str:
    """Write the product's own page with OpenGraph, JSON-LD and a size chooser."""
    offers = listing.present_offers()
    cheapest = min(offers, key=lambda offer: offer.price_minor)
    properties = {
        "og:type": "product",
        "og:title": listing.title,
        "og:url": product_address(origin, listing),
        "og:site_name": HABITS[listing.shop].name,
        "og:image": f"https:{image_address(listing)}",
        "og:price:amount": write_price(cheapest.price_minor),
        "og:price:currency": "USD",
    }
    head = "".join(
        f'<meta property="{name}" content="{escape(text)}">\n' for name, text in properties.items()
    )
    head += f'<script type="application/ld+json">{_write_linked_data(origin, listing)}</script>\n'
    return write_page(listing.shop, listing.title, _write_chooser(listing), head)


def _write_chooser(listing: Listing) -> str:
    choices = "\n".join(
        f'<option value="{offer.offer_id}"{"" if offer.available else " disabled"}>{escape(offer.title)}'
        f" - ${write_price(offer.price_minor)}</option>"
        for offer in listing.present_offers()
    )
    return f'<h1>{escape(listing.title)}</h1>\n{listing.body_html}\n<select name="id">\n{choices}\n</select>'


def _write_linked_data(origin: str, listing: Listing) -> str:
    data = {
        "@context": "http://schema.org/",
        "@type": "Product",
        "name": listing.title,
        "url": product_address(origin, listing),
        "image": [f"https:{image_address(listing)}"],
        "brand": {"@type": "Brand", "name": listing.vendor},
        "offers": [_write_offer(origin, listing, offer) for offer in listing.present_offers()],
    }
    # A title with </script> in it must not end the script element.
    return msgspec.json.encode(data).decode().replace("<", "\\u003c")


def _write_offer(origin: str, listing: Listing, offer: Offer) -> dict[str, object]:
    stock = "InStock" if offer.available else "OutOfStock"
    known = {"sku": offer.sku} if offer.sku else {}
    return {
        "@type": "Offer",
        **known,
        "availability": f"http://schema.org/{stock}",
        "price": write_price(offer.price_minor),
        "priceCurrency": "USD",
        "url": f"{product_address(origin, listing)}?variant={offer.offer_id}",
    }


def write_not_found(shop: str) -> str:
    """Write the page for what does not exist."""
    return write_page(shop, "404 Not Found", "<h1>404 Page Not Found</h1>")


def write_password_page(shop: str) -> str:
    """Write the page that a closed shop shows instead of every other."""
    main = '<h1>Opening soon</h1>\n<form method="post" action="/password"><input type="password"></form>'
    return write_page(shop, "Opening soon", main)
