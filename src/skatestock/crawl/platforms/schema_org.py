"""Product pages of any shop that describes its products by schema.org: bytes to observations. Pure.

JSON-LD is believed first, then microdata, then OpenGraph. Squarespace's pages tell of sizes and their stock
in none of these but beside their chooser; where that is there, it counts. A listing is identified by the path
of its address: SKUs are shared, changed and missing, and an address is known even where its page cannot be
read.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from urllib.parse import unquote, urljoin, urlsplit

from parsel import Selector

from skatestock.crawl.observing import ListingRead, ParsedPage, Sighting
from skatestock.crawl.platforms.documents import is_whole, parse_document
from skatestock.crawl.platforms.json_ld import Reading, read_json_ld
from skatestock.crawl.platforms.microdata import read_microdata, read_open_graph
from skatestock.crawl.platforms.reading import ItemReader, RejectedError, gather_page, read_text
from skatestock.crawl.platforms.schema_nodes import Found, ProductRead, find_product, read_product
from skatestock.crawl.platforms.squarespace import find_variants, read_variants
from skatestock.crawl.reasons import RejectReason

PARSER = "schema-org"
PARSER_VERSION = 2

_MAX_ID = 255
# What the price of one offer stands for is not to be had from OpenGraph where more is known to be on sale.
_NOTHING_KNOWN = frozenset({RejectReason.NOT_A_PRODUCT, RejectReason.NO_OFFERS})


def read_listing_id(url: str) -> str:
    """Return the id of the listing at an address: its path, or a digest of one that is too long."""
    parts = urlsplit(url)
    path = " ".join(unquote(parts.path).strip("/").split())
    text = f"{path}?{parts.query}" if parts.query else path
    if text and len(text) <= _MAX_ID and text.isprintable():
        return text
    return "sha256:" + sha256(url.encode("utf-8", "replace")).hexdigest()


def parse_product_page(body: bytes, url: str, sighting: Sighting) -> ParsedPage:
    """Read the page of one product; one that shows none is rejected, and its listing counts as seen.

    Raises PageError for a bot wall and for a page beyond the limits: then nothing is known of the listing.
    """
    document = parse_document(body)
    reader = ItemReader(
        read_id=lambda item: read_listing_id(url),
        read=lambda item, listing_id: _read_listing(body, document, listing_id, url, sighting),
        excerpt=bytes,
    )
    return gather_page([body[:8000]], sighting, reader)


def _read_listing(
    body: bytes, document: Selector, listing_id: str, url: str, sighting: Sighting
) -> ListingRead:
    read, whole = _read_first_source(document, url, sighting.shop.currency, page_whole=is_whole(body))
    title = read.title or read_text(document.xpath("string(//title)").get()) or ""
    return ListingRead(
        parser=PARSER,
        parser_version=PARSER_VERSION,
        listing_id=listing_id,
        handle=_read_handle(url),
        url=url,
        title=title,
        vendor=read.vendor,
        product_type=read.product_type,
        image_url=_complete(read.image_url, url),
        offers=read.offers,
        offers_complete=read.offers_complete and whole,
    )


def _read_first_source(
    document: Selector, url: str, currency: str, *, page_whole: bool
) -> tuple[ProductRead, bool]:
    """Read the first description that can be read, and tell whether all of it is there."""
    reading = read_json_ld(document)
    variants = find_variants(document)
    if variants:
        described = _find_description(reading, document, url)
        return read_product(described, currency, read_variants(variants, currency)), True
    finders: Sequence[Callable[[], Found | None]] = (
        lambda: find_product(reading.tops, reading.nodes, url),
        lambda: find_product(read_microdata(document), {}, url),
        lambda: _find_open_graph(document),
    )
    # JSON that can be read is whole, also on a page that ends early; OpenGraph never tells of every offer.
    wholes = (True, page_whole, False)
    refusal: RejectedError | None = None
    for find, whole in zip(finders, wholes, strict=True):
        if find is finders[-1] and refusal is not None and refusal.reason not in _NOTHING_KNOWN:
            break
        try:
            found = find()
            if found is not None:
                return read_product(found, currency), whole and (page_whole or not found.joined)
        except RejectedError as error:
            refusal = refusal or error
    raise refusal or _nothing_found(reading, page_whole=page_whole)


def _find_description(reading: Reading, document: Selector, url: str) -> Found:
    """Find what describes a product whose offers are known already; an empty node where nothing does."""
    found: Found | None = None
    with suppress(RejectedError):
        found = find_product(reading.tops, reading.nodes, url)
    return found or _find_open_graph(document) or Found(node={}, nodes={})


def _find_open_graph(document: Selector) -> Found | None:
    node = read_open_graph(document)
    return None if node is None else Found(node=node, nodes={})


def _nothing_found(reading: Reading, *, page_whole: bool) -> RejectedError:
    broken = f"; {reading.unreadable} blocks of JSON-LD are unreadable" if reading.unreadable else ""
    early = "" if page_whole else "; the page ends early"
    return RejectedError(RejectReason.NOT_A_PRODUCT, f"the page describes no product{broken}{early}")


def _read_handle(url: str) -> str:
    parts = urlsplit(url)
    last = parts.path.rstrip("/").rpartition("/")[2]
    return read_text(unquote(last)) or parts.hostname or url[:100]


def _complete(image_url: str | None, url: str) -> str | None:
    try:
        return None if image_url is None else urljoin(url, image_url)
    except ValueError:
        return None
