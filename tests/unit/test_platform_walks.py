"""The way through shops of each platform, over answers made by hand: what is asked, and when it ends."""

from __future__ import annotations

import json
import tomllib
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import Sighting
from skatestock.crawl.platforms.port import Body, Walk
from skatestock.crawl.platforms.recipe_model import parse_recipe
from skatestock.crawl.platforms.sitemap_walk import SitemapPlatform, SitemapWalk
from skatestock.crawl.platforms.walks import (
    PagedPlatform,
    RecipeWalk,
    ShopifyWalk,
    SquarespaceWalk,
    WooCommerceWalk,
)
from skatestock.crawl.shops import load_shops

SHOP = msgspec.structs.replace(load_shops()[0], url="https://shop.example")
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)

Answers = Callable[[str], Body]


class Way:
    """What one walk asked and saw, until nothing was left or the pages moved."""

    def __init__(self, walk: Walk, answer: Answers, most: int = 50) -> None:
        self.asked: list[str] = []
        self.seen: list[str] = []
        self.drift: str | None = None
        self.offers: dict[str, tuple[int, bool]] = {}
        pending = deque(walk.first_requests())
        while pending and self.drift is None and len(self.asked) < most:
            request = pending.popleft()
            self.asked.append(request.url.removeprefix(SHOP.url))
            sighting = Sighting(shop=SHOP, crawl_id="c", observed_at=AT, page=request.number)
            page = walk.read_page(request, answer(request.url), sighting)
            self.seen += [listing_id for listing_id in page.listing_ids if listing_id not in self.seen]
            for event in page.observations:
                self.offers[event.listing_id] = (len(event.offers), event.offers_complete)
            self.drift = walk.find_drift(request, page)
            pending.extend(walk.next_requests(request, page))


def body(value: Any, headers: Mapping[str, str] | None = None) -> Body:
    text = value if isinstance(value, str) else json.dumps(value)
    return Body(body=text.encode(), headers=headers or {})


def parameter(url: str, name: str) -> str:
    return dict(part.split("=") for part in url.partition("?")[2].split("&")).get(name, "")


def shopify(numbers: list[int]) -> Answers:
    def answer(url: str) -> Body:
        start = 4 * (int(parameter(url, "page")) - 1)
        rows = [{"id": n, "handle": f"h{n}", "variants": [{"id": 1, "price": "1.00"}]} for n in numbers]
        return body({"products": rows[start : start + 4]})

    return answer


PRICES = {"price": "100", "currency_code": SHOP.currency, "currency_minor_unit": 2}


def woocommerce(
    products: list[dict[str, Any]], variations: list[dict[str, Any]], *, totals: bool = True
) -> Answers:
    def answer(url: str) -> Body:
        rows = variations if "type=variation" in url else products
        start = 4 * (int(parameter(url, "page")) - 1)
        headers = {"x-wp-total": str(len(rows)), "x-wp-totalpages": str(-(-len(rows) // 4))}
        return body(rows[start : start + 4], headers if totals else {})

    return answer


def simple(number: int) -> dict[str, Any]:
    return {"id": number, "slug": f"p{number}", "prices": PRICES, "is_in_stock": True}


def variable(number: int) -> dict[str, Any]:
    rows = [{"id": 10 * number + place, "attributes": []} for place in (1, 2)]
    return simple(number) | {"type": "variable", "variations": rows}


def variation(number: int) -> dict[str, Any]:
    return {"id": number, "prices": PRICES, "is_in_stock": True}


def squarespace(numbers: list[int]) -> Answers:
    def answer(url: str) -> Body:
        page = int(parameter(url, "page") or 1)
        rows = [
            {"id": f"i{n}", "urlId": f"p{n}", "fullUrl": f"/s/p{n}", "variants": [{"id": "v", "price": 100}]}
            for n in numbers
        ]
        more = len(rows) > 4 * page
        pagination = {"nextPage": more, "nextPageUrl": f"/s?page={page + 1}"} if more else {}
        return body({"items": rows[4 * (page - 1) : 4 * page], "pagination": pagination})

    return answer


RECIPE = parse_recipe(
    tomllib.loads(
        'format="json"\npages="/api?page={page}"\nitems="items[]"\nid="id"\nlink="path"\ntitle="name"\n'
        'amounts="minor"\n[offer]\nprice="price"'
    )
)


def recipe(numbers: list[int]) -> Answers:
    def answer(url: str) -> Body:
        start = 4 * (int(parameter(url, "page")) - 1)
        rows = [{"id": n, "path": f"/p/{n}", "name": "x", "price": 100} for n in numbers]
        return body({"items": rows[start : start + 4]})

    return answer


def ids(count: int) -> list[int]:
    return list(range(1, count + 1))


def test_shopify_is_asked_until_a_short_page_and_once_more_for_the_first() -> None:
    assert Way(ShopifyWalk(SHOP.url, 4), shopify(ids(3))).asked == ["/products.json?limit=4&page=1"]
    way = Way(ShopifyWalk(SHOP.url, 4), shopify(ids(6)))
    assert [parameter(url, "page") for url in way.asked] == ["1", "2", "1"]
    assert (way.seen, way.drift) == (["1", "2", "3", "4", "5", "6"], None)


def test_variations_are_asked_before_products_and_both_to_their_last_page() -> None:
    products = [simple(1), variable(2), variable(3), simple(4), simple(5)]
    way = Way(WooCommerceWalk(SHOP.url, 4), woocommerce(products, [variation(n) for n in (21, 22, 31, 32)]))
    pages = [(parameter(url, "type"), parameter(url, "page")) for url in way.asked]
    assert pages == [("variation", "1"), ("", "1"), ("", "2"), ("", "1")]
    assert way.drift is None
    assert way.offers == {"1": (1, True), "2": (2, True), "3": (2, True), "4": (1, True), "5": (1, True)}


def test_a_variation_that_the_shop_does_not_show_is_not_gone() -> None:
    way = Way(WooCommerceWalk(SHOP.url, 4), woocommerce([variable(2)], [variation(21)]))
    assert way.offers == {"2": (1, False)}


def test_without_the_shops_count_pages_are_asked_until_a_short_one() -> None:
    answers = woocommerce([simple(n) for n in ids(6)], [], totals=False)
    way = Way(WooCommerceWalk(SHOP.url, 4), answers)
    assert [parameter(url, "page") for url in way.asked] == ["1", "1", "2", "1"]
    assert len(way.seen) == 6


def test_a_count_that_changes_between_pages_is_a_drift() -> None:
    rows = [simple(n) for n in ids(9)]

    def shrinking(url: str) -> Body:
        first = "type=variation" in url or parameter(url, "page") == "1"
        return woocommerce(rows if first else rows[1:], [])(url)

    way = Way(WooCommerceWalk(SHOP.url, 4), shrinking)
    assert way.drift == "the shop told of 9 products, and on page 3 of 8"


@pytest.mark.parametrize(
    ("walk", "answers"),
    [
        (lambda: SquarespaceWalk(SHOP.url, "/s"), squarespace),
        (lambda: RecipeWalk(SHOP.url, RECIPE), recipe),
        (lambda: ShopifyWalk(SHOP.url, 4), shopify),
    ],
)
def test_pages_that_name_each_other_are_followed_to_the_last(
    walk: Callable[[], Walk], answers: Callable[[list[int]], Answers]
) -> None:
    way = Way(walk(), answers(ids(10)))
    assert (len(way.seen), way.drift) == (10, None)
    # The first page once more, since there were others.
    assert way.asked[-1] == way.asked[0]
    assert len(Way(walk(), answers(ids(10))).asked) == len(way.asked)


@pytest.mark.parametrize(
    ("walk", "answers"),
    [
        (lambda: SquarespaceWalk(SHOP.url, "/s"), squarespace),
        (lambda: RecipeWalk(SHOP.url, RECIPE), recipe),
        (lambda: ShopifyWalk(SHOP.url, 4), shopify),
    ],
)
def test_what_moves_while_it_is_read_is_noticed(
    walk: Callable[[], Walk], answers: Callable[[list[int]], Answers]
) -> None:
    def moving(first: list[int], later: list[int], from_request: int) -> Answers:
        count = 0

        def answer(url: str) -> Body:
            nonlocal count
            count += 1
            return answers(first if count < from_request else later)(url)

        return answer

    inserted = Way(walk(), moving(ids(10), [99, *ids(10)], 2))
    removed = Way(walk(), moving(ids(10), ids(10)[1:], 2))
    assert inserted.drift == "page 2 repeats 1 listings of earlier pages"
    assert removed.drift == "page 1 changed while the others were read"


def sitemap(*paths: str) -> str:
    rows = "".join(f"<url><loc>{SHOP.url}{path}</loc></url>" for path in paths)
    return f"<urlset>{rows}</urlset>"


def product_page(name: str = "Deck") -> str:
    offer = {"@type": "Offer", "price": 1, "priceCurrency": SHOP.currency}
    node = json.dumps({"@type": "Product", "name": name, "offers": offer})
    return f'<html><script type="application/ld+json">{node}</script></html>'


def site(pages: Mapping[str, str]) -> Answers:
    return lambda url: body(pages.get(url.removeprefix(SHOP.url), product_page()))


def walk_site(pages: Mapping[str, str], most: int = 50) -> Way:
    return Way(SitemapWalk(SHOP.url, "/sitemap.xml", ("/products/",)), site(pages), most)


def test_every_product_page_of_the_sitemap_is_asked_once() -> None:
    paths = ("/", "/products/", "/products/a", "/about", "/products/b", "/products/a/", "/products/b#x")
    way = walk_site({"/sitemap.xml": sitemap(*paths)})
    assert way.asked == ["/sitemap.xml", "/products/a", "/products/b"]
    assert (way.seen, way.drift) == (["products/a", "products/b"], None)


def test_an_index_leads_to_its_sitemaps_and_never_in_a_circle() -> None:
    index = (
        f"<sitemapindex><sitemap><loc>{SHOP.url}/a.xml</loc></sitemap><sitemap><loc>{SHOP.url}/sitemap.xml"
    )
    index += "</loc></sitemap></sitemapindex>"
    way = walk_site({"/sitemap.xml": index, "/a.xml": sitemap("/products/a")})
    assert way.asked == ["/sitemap.xml", "/a.xml", "/products/a"]


def test_sitemaps_without_end_are_left() -> None:
    def deeper(url: str) -> Body:
        return body(f"<sitemapindex><sitemap><loc>{url}x</loc></sitemap></sitemapindex>")

    with pytest.raises(PageError) as caught:
        Way(SitemapWalk(SHOP.url, "/sitemap.xml", ("/products/",)), deeper)
    assert caught.value.reason == "too_large"


def test_a_page_without_a_product_is_seen_and_rejected_but_twenty_in_a_row_are_no_shop() -> None:
    paths = [f"/products/{number}" for number in range(30)]
    empty = dict.fromkeys(paths[:19], "<html>moved</html>")
    way = walk_site({"/sitemap.xml": sitemap(*paths), **empty})
    assert (len(way.seen), len(way.offers)) == (30, 11)
    with pytest.raises(PageError) as caught:
        walk_site({"/sitemap.xml": sitemap(*paths), **dict.fromkeys(paths[:20], "<html>moved</html>")})
    assert caught.value.reason == "not_products"


def test_products_whose_prices_are_unreadable_are_a_shop_all_the_same() -> None:
    paths = [f"/products/{number}" for number in range(30)]
    page = product_page().replace(SHOP.currency, "XXX")
    way = walk_site({"/sitemap.xml": sitemap(*paths), **dict.fromkeys(paths, page)})
    assert (len(way.seen), len(way.offers)) == (30, 0)


def test_a_crawls_requests_are_estimated() -> None:
    paged = PagedPlatform(open_walk=lambda: ShopifyWalk(SHOP.url, 250), page_size=250, max_pages=400)
    assert [paged.estimate_requests(count, 0) for count in (0, 250, 251, 400)] == [1, 1, 3, 3]
    woo = msgspec.structs.replace(paged, page_size=100, variation_size=100)
    assert woo.estimate_requests(250, 1200) == 12 + 3 + 1
    known = SitemapPlatform(shop_url=SHOP.url, sitemap_path="/sitemap.xml", product_paths=("/p/",))
    assert known.estimate_requests(400, 2000) == 402
