"""One shop's server: from a request to the reply, faults included."""

import re
from collections.abc import Callable, Sequence
from hashlib import sha256

import msgspec

from skatestock.replica.clock import ReplicaClock
from skatestock.replica.fault_effects import (
    answer_fault,
    cut_page,
    damage,
    edits_products,
    render_edited_page,
)
from skatestock.replica.faults import Fault, FaultBoard, Stage, of_stage
from skatestock.replica.model import Listing
from skatestock.replica.pages import (
    write_home_page,
    write_not_found,
    write_password_page,
    write_product_page,
    write_robots,
    write_sitemap,
    write_sitemap_index,
)
from skatestock.replica.reply import HTML, JSON, TEXT, XML, Reply, Request, json_reply, pack_for
from skatestock.replica.shopify import (
    find_collection,
    read_paging,
    render_cents,
    render_page,
    render_product,
    stamp,
    write_collections,
    write_single,
)
from skatestock.replica.world import World

Faults = Sequence[Fault]
Route = Callable[["ShopFace", Request, str, Faults], Reply]
Routes = Sequence[tuple[re.Pattern[str], Route]]


class ShopFace:
    """Answers requests as one shop of the world does."""

    def __init__(
        self,
        world: World,
        clock: ReplicaClock,
        board: FaultBoard,
        shop: str,
        origin: str,
        routes: Routes | None = None,
    ) -> None:
        self._routes = SHOPIFY_ROUTES if routes is None else routes
        self.world = world
        self.clock = clock
        self.shop = shop
        self.origin = origin
        self._board = board

    def answer(self, request: Request) -> Reply:
        """Answer a request at the world's present moment."""
        self.clock.now()
        if request.method not in ("GET", "HEAD"):
            return Reply(405, b"method not allowed\n", TEXT, headers=[("Allow", "GET, HEAD")])
        _, page = read_paging(request.parameters)
        faults = self._board.take(self.shop, request.path, page)
        for fault in of_stage(faults, Stage.ANSWER):
            return answer_fault(fault, self.shop, request)
        reply = self._route(request, faults)
        if faults:
            reply = damage(reply, faults)
        elif _matches(request, reply):
            return Reply(304, headers=reply.headers)
        return pack_for(reply, request.headers.get("accept-encoding", ""))

    def listings(self) -> tuple[Listing, ...]:
        """List what the shop shows now, newest first."""
        return self.world.state_at(self.shop)

    def not_found(self) -> Reply:
        """Reply that there is no such page."""
        return Reply(404, write_not_found(self.shop).encode(), HTML)

    def _route(self, request: Request, faults: Faults) -> Reply:
        path = request.path
        for pattern, route in self._routes:
            if found := pattern.fullmatch(path):
                return route(self, request, found[1] if pattern.groups else "", faults)
        return self.not_found()


def _matches(request: Request, reply: Reply) -> bool:
    tag = dict(reply.headers).get("ETag")
    asked = request.headers.get("if-none-match", "")
    return tag is not None and tag in [part.strip() for part in asked.split(",")]


def _tag_of(listings: Sequence[Listing]) -> tuple[str, str]:
    """Make a weak ETag from what is said of the listings, not from the time of the response."""
    digest = sha256()
    for listing in listings:
        digest.update(render_product(listing))
    return "ETag", f'W/"cacheable:{digest.hexdigest()[:32]}"'


def _serve_products(face: ShopFace, listings: Sequence[Listing], request: Request, faults: Faults) -> Reply:
    limit, page = read_paging(request.parameters)
    shown = cut_page(listings, limit, page, faults)
    at = face.clock.response_at()
    if edits_products(faults):
        return Reply(200, render_edited_page(shown, faults, at), JSON)
    return Reply(200, render_page(shown, at), JSON, headers=[] if faults else [_tag_of(shown)])


def _serve_catalogue(face: ShopFace, request: Request, _: str, faults: Faults) -> Reply:
    return _serve_products(face, face.listings(), request, faults)


def _serve_collection(face: ShopFace, request: Request, handle: str, faults: Faults) -> Reply:
    listings = find_collection(face.listings(), handle)
    return face.not_found() if listings is None else _serve_products(face, listings, request, faults)


def _serve_collections(face: ShopFace, request: Request, _: str, faults: Faults) -> Reply:
    return json_reply(write_collections(face.listings(), face.clock.response_at()))


def _serve_single(face: ShopFace, request: Request, handle: str, faults: Faults) -> Reply:
    listing = face.world.find_listing(face.shop, handle)
    if listing is None:
        return face.not_found()
    body = stamp(msgspec.json.encode(write_single(listing)), face.clock.response_at())
    return Reply(200, body, JSON, headers=[_tag_of([listing])])


def _serve_cents(face: ShopFace, request: Request, handle: str, faults: Faults) -> Reply:
    listing = face.world.find_listing(face.shop, handle)
    if listing is None:
        return face.not_found()
    return Reply(200, render_cents(listing), "text/javascript; charset=utf-8", headers=[_tag_of([listing])])


def _serve_product_page(face: ShopFace, request: Request, handle: str, faults: Faults) -> Reply:
    listing = face.world.find_listing(face.shop, handle)
    if listing is None:
        return face.not_found()
    return Reply(200, write_product_page(face.origin, listing).encode(), HTML, headers=[_tag_of([listing])])


def _serve_robots(face: ShopFace, request: Request, _: str, faults: Faults) -> Reply:
    return Reply(200, write_robots(face.origin).encode(), TEXT)


def _serve_sitemap_index(face: ShopFace, request: Request, _: str, faults: Faults) -> Reply:
    return Reply(200, write_sitemap_index(face.origin, face.listings()).encode(), XML)


def _serve_products_sitemap(face: ShopFace, request: Request, _: str, faults: Faults) -> Reply:
    low = _read_id(request.parameters.get("from"), 0)
    high = _read_id(request.parameters.get("to"), 2**63)
    named = cut_page(face.listings(), len(face.listings()), 1, faults)
    listings = [listing for listing in named if low <= listing.listing_id <= high]
    return Reply(200, write_sitemap(face.origin, ["/"], face.clock.response_at(), listings).encode(), XML)


def _read_id(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else default


def _serve_other_sitemap(face: ShopFace, request: Request, name: str, faults: Faults) -> Reply:
    paths = ["/collections/all", "/collections/sale"] if name == "collections" else ["/"]
    return Reply(200, write_sitemap(face.origin, paths, face.clock.response_at()).encode(), XML)


def _serve_home(face: ShopFace, request: Request, _: str, faults: Faults) -> Reply:
    return Reply(200, write_home_page(face.shop, face.listings()).encode(), HTML)


def _serve_collection_page(face: ShopFace, request: Request, handle: str, faults: Faults) -> Reply:
    listings = find_collection(face.listings(), handle)
    if listings is None:
        return face.not_found()
    return Reply(200, write_home_page(face.shop, listings).encode(), HTML)


def _serve_password(face: ShopFace, request: Request, _: str, faults: Faults) -> Reply:
    return Reply(200, write_password_page(face.shop).encode(), HTML)


def _compile(*routes: tuple[str, Route]) -> Routes:
    return [(re.compile(pattern), route) for pattern, route in routes]


COMMON_ROUTES = _compile(
    (r"/robots\.txt", _serve_robots),
    (r"/sitemap\.xml", _serve_sitemap_index),
    (r"/sitemap_products_1\.xml", _serve_products_sitemap),
    (r"/sitemap_(pages|collections)_1\.xml", _serve_other_sitemap),
    (r"/password", _serve_password),
    (r"/", _serve_home),
)
"""What a shop of any platform answers."""

SHOPIFY_ROUTES = [
    *_compile(
        (r"/products\.json", _serve_catalogue),
        (r"/collections/([^/]+)/products\.json", _serve_collection),
        (r"/collections\.json", _serve_collections),
        (r"/products/([^/]+)\.json", _serve_single),
        (r"/products/([^/]+)\.js", _serve_cents),
        (r"/products/([^/]+)", _serve_product_page),
        (r"/collections/([^/]+)", _serve_collection_page),
    ),
    *COMMON_ROUTES,
]
