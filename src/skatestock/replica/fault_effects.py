"""What each fault does: an answer in the shop's place, an edit of a catalogue page, or damage on the way."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec

from skatestock.replica.faults import Fault, Stage, of_stage
from skatestock.replica.model import Listing
from skatestock.replica.pages import write_not_found, write_page
from skatestock.replica.reply import HTML, TEXT, Reply, Request, compress
from skatestock.replica.shopify import stamp, write_price, write_product

# By what each platform's body is known, and where its first title and description begin.
_PRODUCTS = b'{"products":'
_TITLES = (b'"title":"', b'"name":"', b"<title>")
_DESCRIPTIONS = ('"body_html":"', '"description":"', '"siteTitle":"', "<footer>")

# Far from all ids of the world.
_TWIN_IDS = 10**12

Answer = Callable[[Fault, str, Request], Reply]
Product = dict[str, Any]


# Answers in the shop's place


def answer_fault(fault: Fault, shop: str, request: Request) -> Reply:
    """Answer a request as a fault of the answer stage does."""
    reply = _ANSWERS[fault.kind](fault, shop, request)
    reply.played = (fault.kind,)
    return reply


def _answer_with_page(status: int, title: str) -> Answer:
    def answer(fault: Fault, shop: str, request: Request) -> Reply:
        page = write_page(shop, title, f"<h1>{title}</h1>")
        return Reply(status, page.encode(), HTML, headers=write_retry_after(fault))

    return answer


def write_retry_after(fault: Fault) -> list[tuple[str, str]]:
    """Write the Retry-After header that the fault asks for; the date is by the real clock, as HTTP's are."""
    form = fault.parameters.get("form", "none")
    if form == "none":
        return []
    seconds = fault.number("retry_after_seconds")
    if form == "date":
        later = datetime.now(UTC) + timedelta(seconds=seconds)
        return [("Retry-After", format_datetime(later, usegmt=True))]
    return [("Retry-After", str(seconds))]


def _redirect(location: str) -> Reply:
    return Reply(302, b"", HTML, headers=[("Location", location)])


_WALL = (
    b"<!doctype html><html><head><title>Just a moment...</title></head><body>"
    b'<script src="/cdn-cgi/challenge-platform/h/b/orchestrate"></script></body></html>'
)

_ANSWERS: dict[str, Answer] = {
    "not_found": lambda fault, shop, request: Reply(404, write_not_found(shop).encode(), HTML),
    "too_many_requests": _answer_with_page(429, "Too Many Requests"),
    "security_rejection": _answer_with_page(430, "Security Rejection"),
    "bot_wall": lambda fault, shop, request: Reply(fault.number("status"), _WALL, HTML),
    "unavailable": _answer_with_page(503, "Service Unavailable"),
    "html_instead_of_json": _answer_with_page(200, "We will be right back"),
    "password_page": lambda fault, shop, request: _redirect("/password"),
    "redirect_loop": lambda fault, shop, request: _redirect(request.target),
    "redirect_off_host": lambda fault, shop, request: _redirect(fault.parameters["location"]),
    "robots_5xx": lambda fault, shop, request: Reply(fault.number("status"), b"server error\n", TEXT),
    "robots_timeout": lambda fault, shop, request: Reply(hold_seconds=fault.number("seconds")),
    "robots_disallows": lambda fault, shop, request: Reply(
        200, f"User-agent: *\nDisallow: {fault.parameters['disallow']}\n".encode(), TEXT
    ),
    "connection_reset": lambda fault, shop, request: Reply(reset=True),
}


# Edits of a catalogue page


def cut_page(
    listings: Sequence[Listing], limit: int, page: int, faults: Sequence[Fault]
) -> Sequence[Listing]:
    """Cut one page out of a catalogue as the faults have it."""
    offset = (page - 1) * limit
    for fault in faults:
        if fault.kind == "page_drift" and page >= fault.number("from_page"):
            step = fault.number("count")
            offset += step if fault.parameters["change"] == "removed" else -step
        elif fault.kind in _CATALOGUE_EDITS:
            listings = _CATALOGUE_EDITS[fault.kind](fault, listings)
        elif fault.kind == "empty_catalogue" or (
            fault.kind == "short_catalogue" and page > fault.number("pages")
        ):
            return ()
    return listings[max(0, offset) : max(0, offset) + limit]


def _repeat_listing(fault: Fault, listings: Sequence[Listing]) -> Sequence[Listing]:
    at = fault.number("position")
    return (*listings[: at + 1], *listings[at : at + 1], *listings[at + 1 :])


def add_twin(fault: Fault, listings: Sequence[Listing]) -> Sequence[Listing]:
    """Put a copy of a listing behind it, as shops do: words, picture and codes are the same."""
    at = fault.number("position")
    twins = [
        replace(
            listing,
            listing_id=listing.listing_id + _TWIN_IDS,
            handle=f"copy-of-{listing.handle}",
            copied_from=listing.listing_id,
            offers=[replace(offer, offer_id=offer.offer_id + _TWIN_IDS) for offer in listing.offers],
            rendered={},
        )
        for listing in listings[at : at + 1]
    ]
    return (*listings[: at + 1], *twins, *listings[at + 1 :])


def _leave_out(fault: Fault, listings: Sequence[Listing]) -> Sequence[Listing]:
    at = fault.number("position")
    return (*listings[:at], *listings[at + fault.number("count") :])


_CATALOGUE_EDITS: dict[str, Callable[[Fault, Sequence[Listing]], Sequence[Listing]]] = {
    "listing_repeated": _repeat_listing,
    "listing_twin": add_twin,
    "listing_missing": _leave_out,
}


def edits_products(faults: Sequence[Fault]) -> bool:
    """Tell whether any fault changes what a product says, so that cached products do not serve."""
    return any(fault.kind in _PRODUCT_EDITS for fault in faults)


def render_edited_page(listings: Sequence[Listing], faults: Sequence[Fault], at: datetime) -> bytes:
    """Encode a products page with the faults' edits in its products."""
    products: list[Any] = [write_product(listing) for listing in listings]
    for fault in faults:
        if fault.kind in _PRODUCT_EDITS:
            _PRODUCT_EDITS[fault.kind](fault, products)
    return stamp(msgspec.json.encode({"products": products}), at)


def _scale_prices(factor: int) -> Callable[[Fault, list[Any]], None]:
    def edit(fault: Fault, products: list[Any]) -> None:
        start = fault.number("position")
        for product in products[start : start + fault.number("count")]:
            for variant in product["variants"]:
                minor = int(variant["price"].replace(".", ""))
                variant["price"] = write_price(minor * factor)

    return edit


def _spoil_product(fault: Fault, products: list[Any]) -> None:
    position = fault.number("position")
    if position >= len(products):
        return
    product = products[position]
    how = fault.parameters["how"]
    if how == "variants_null":
        product["variants"] = None
    elif how == "variants_missing":
        del product["variants"]
    elif how == "price_text":
        product["variants"][0]["price"] = "abc"
    elif how == "no_id":
        del product["id"]
    elif how == "not_an_object":
        products[position] = "product"
    # `/products.json` names no currency, so that it cannot name another one.


_PRODUCT_EDITS: dict[str, Callable[[Fault, list[Any]], None]] = {
    "price_zero": _scale_prices(0),
    "price_times_100": _scale_prices(100),
    "bad_product": _spoil_product,
}


# Damage on the way


def damage(reply: Reply, faults: Sequence[Fault]) -> Reply:
    """Damage a whole answer as the faults of the transfer stage do, in the order in which they were set."""
    reply.played = tuple(fault.kind for fault in faults)
    for fault in of_stage(faults, Stage.TRANSFER):
        _DAMAGES[fault.kind](fault, reply)
    return reply


def _reshape(fault: Fault, reply: Reply) -> None:
    if reply.body.startswith(_PRODUCTS):
        inner = reply.body.removeprefix(_PRODUCTS).removesuffix(b"}")
    else:
        inner = b"[" + reply.body + b"]"
    shapes = {"list": inner, "object": b'{"products":{}}', "text": b'"products"', "null": b"null"}
    reply.body = shapes[fault.parameters["shape"]]


def _break_utf8(fault: Fault, reply: Reply) -> None:
    for mark in [mark for mark in _TITLES if mark in reply.body][:1]:
        reply.body = reply.body.replace(mark, mark + b"\xff\xfe", 1)


def _mislabel(fault: Fault, reply: Reply) -> None:
    text = reply.body.decode()
    for mark in [mark for mark in _DESCRIPTIONS if mark in text][:1]:
        text = text.replace(mark, f"{mark}é ", 1)
    reply.body = text.encode(fault.parameters["charset"], errors="replace")


def _put_bom(fault: Fault, reply: Reply) -> None:
    reply.body = b"\xef\xbb\xbf" + reply.body


def _drip(fault: Fault, reply: Reply) -> None:
    reply.bytes_per_second = fault.number("bytes_per_second")


def _cut_body(fault: Fault, reply: Reply) -> None:
    sent = len(reply.body) * fault.number("share_percent") // 100
    if fault.parameters["content_length"] == "sent":
        reply.body = reply.body[:sent]
    else:
        reply.cut_after = sent


def _cut_gzip(fault: Fault, reply: Reply) -> None:
    whole = compress(reply.body)
    reply.body = whole[: len(whole) * fault.number("share_percent") // 100]
    reply.headers.append(("Content-Encoding", "gzip"))


def _bomb(fault: Fault, reply: Reply) -> None:
    reply.stream = stream_zeros(fault.number("size_bytes"))
    reply.headers.append(("Content-Encoding", "gzip"))


_DAMAGES: dict[str, Callable[[Fault, Reply], None]] = {
    "unexpected_json": _reshape,
    "invalid_utf8": _break_utf8,
    "wrong_charset": _mislabel,
    "bom": _put_bom,
    "slow_drip": _drip,
    "truncated_body": _cut_body,
    "truncated_gzip": _cut_gzip,
    "decompression_bomb": _bomb,
}


def stream_zeros(size_bytes: int, block_bytes: int = 2**20) -> Iterator[bytes]:
    """Yield a gzip of so many zeros piece by piece, without ever holding or compressing all of them.

    A block that ends in a full flush refers to nothing before it, so one compressed block serves for all.
    """
    block = bytes(min(block_bytes, size_bytes))
    packed = _pack_block(block)
    checksum, left = 0, size_bytes
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    while left >= len(block) > 0:
        checksum = zlib.crc32(block, checksum)
        left -= len(block)
        yield packed
    rest = bytes(left)
    yield _pack_block(rest) + b"\x03\x00"
    yield zlib.crc32(rest, checksum).to_bytes(4, "little") + (size_bytes & 0xFFFFFFFF).to_bytes(4, "little")


def _pack_block(block: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
