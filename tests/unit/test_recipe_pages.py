"""Recipes: what one may say, and the pages that are read by it."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skatestock.crawl.errors import PageError
from skatestock.crawl.observing import Sighting
from skatestock.crawl.platforms.recipe import RecipePage, page_url, parse_listing_page
from skatestock.crawl.platforms.recipe_model import Recipe, RecipeError, parse_recipe
from skatestock.crawl.shops import load_shops

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = "https://shop.example"

HTML = """
format = "html"
pages = "/shop/page/{page}"
whole = "footer"
items = "li.product"
link = "a.more::attr(href)"
title = "h2"
vendor = ".maker"
image = "img::attr(src)"
[offer]
price = ".price ins, .price > b"
compare_at = ".price del"
sold_out = ".sold-out"
"""

JSON = """
format = "json"
pages = "/api/items?page={page}"
first_page = 0
items = "data.items[]"
id = "uid"
link = "path"
title = "name"
amounts = "decimal"
in_stock_words = ["IN_STOCK"]
[offer]
items = "variants[].product"
id = "uid"
sku = "sku"
title = "name"
price = "price.final"
compare_at = "price.regular"
in_stock = "status"
"""

# The recorded GraphQL answer of a Magento shop, which a recipe reads as it stands.
MAGENTO = """
format = "json"
pages = "/graphql?page={page}"
items = "products_page1_trimmed.items[]"
id = "uid"
link = "url_key"
title = "name"
amounts = "decimal"
in_stock_words = ["IN_STOCK"]
[offer]
price = "price_range.minimum_price.final_price.value"
compare_at = "price_range.minimum_price.regular_price.value"
sku = "sku"
in_stock = "stock_status"
"""


def recipe(text: str, **changes: Any) -> Recipe:
    return parse_recipe(tomllib.loads(text) | changes)


def parse(body: str | bytes, known: Recipe, currency: str = "USD", page: int = 1) -> RecipePage:
    shop = msgspec.structs.replace(load_shops()[0], url=SHOP, currency=currency)
    sighting = Sighting(shop=shop, crawl_id="c", observed_at=AT, page=page)
    return parse_listing_page(
        body.encode() if isinstance(body, str) else body, page_url(SHOP, known, page), known, sighting
    )


def html_item(number: int, price: str = "<b>$60.00</b>", extra: str = "") -> str:
    return f"""<li class="product">
    <a class="more" href="/p/deck-{number}#top"><h2>Deck <i>{number}</i></h2></a>
    <span class="maker">Hockey</span><img src="/i/{number}.jpg"><p class="price">{price}</p>{extra}</li>"""


def html_page(*items: str, footer: str = "<footer>©</footer></html>") -> str:
    return f"<!doctype html><html><body><ul>{''.join(items)}</ul>{footer}"


def json_page(*items: Any) -> str:
    return json.dumps({"data": {"items": items}})


def json_item(**changes: Any) -> dict[str, Any]:
    rows = [
        {
            "product": {
                "uid": uid,
                "sku": uid.upper(),
                "name": uid,
                "price": {"final": price},
                "status": status,
            }
        }
        for uid, price, status in (("a", 60.5, "IN_STOCK"), ("b", "45.00", "OUT_OF_STOCK"))
    ]
    return {"uid": "D1", "path": "/p/deck", "name": "Deck", "variants": rows} | changes


def test_barcodes_are_read_where_the_recipe_says() -> None:
    known = recipe(HTML.replace("[offer]", '[offer]\nbarcode = ".ean"'))
    items = [html_item(1, extra='<i class="ean"> 4006381333931 </i>'), html_item(2)]
    read = parse(html_page(*items), known)
    assert [event.offers[0].barcode for event in read.page.observations] == ["4006381333931", None]
    with_numbers = recipe(JSON.replace("[offer]", '[offer]\nbarcode = "ean"'))
    rows = [{"product": {**row["product"], "ean": 96385074}} for row in json_item()["variants"]]
    (event,) = parse(json_page(json_item(variants=rows)), with_numbers).page.observations
    assert [each.barcode for each in event.offers] == ["96385074", "96385074"]


def test_an_html_page_is_read_by_its_selectors() -> None:
    sale = html_item(2, "<del>$80.00</del> <ins>$60.00</ins>", '<b class="sold-out">Gone</b>')
    read = parse(html_page(html_item(1), sale), recipe(HTML))
    first, second = read.page.observations
    assert (first.listing_id, first.handle, first.url) == ("p/deck-1", "deck-1", f"{SHOP}/p/deck-1")
    assert (first.title, first.vendor, first.image_url) == ("Deck 1", "Hockey", f"{SHOP}/i/1.jpg")
    assert [
        (o.offer_id, o.price_minor, o.compare_at_minor, o.availability)
        for o in (*first.offers, *second.offers)
    ] == [("default", 6000, None, "in_stock"), ("default", 6000, 8000, "out_of_stock")]
    assert read.next_url == f"{SHOP}/shop/page/2"


def test_a_json_page_is_read_by_its_paths_with_its_offers() -> None:
    (event,) = parse(json_page(json_item()), recipe(JSON)).page.observations
    assert (event.listing_id, event.title, event.url) == ("D1", "Deck", f"{SHOP}/p/deck")
    assert [(o.offer_id, o.sku, o.price_minor, o.availability) for o in event.offers] == [
        ("a", "A", 6050, "in_stock"),
        ("b", "B", 4500, "out_of_stock"),
    ]


def test_the_recorded_magento_answer_is_read_exactly(shared_data: Path) -> None:
    body = (shared_data / "pages/magento/madar_magento_graphql_2026-07-20.json").read_bytes()
    page = parse(body, recipe(MAGENTO), currency="SAR").page
    assert page.rejected == ()
    assert [
        (e.listing_id, e.handle, e.offers[0].price_minor, e.offers[0].availability) for e in page.observations
    ] == [
        ("NzQ5MA==", "72702007", 2234, "in_stock"),
        ("NzQ4Mw==", "71231005", 6521, "in_stock"),
        ("NzQ4Mg==", "71231004", 3019, "in_stock"),
        ("Njg4MA==", "12512-tsp", 5040, "in_stock"),
        ("NjEzNA==", "panasonic-flexible-steel-conduit-thailand", 15094, "in_stock"),
    ]


def test_the_recorded_variants_of_a_magento_product_are_its_offers(shared_data: Path) -> None:
    text = (shared_data / "pages/magento/madar_magento_graphql_2026-07-20.json").read_text("utf-8")
    document = json.loads(text)
    items = document["products_page1_trimmed"]["items"]
    document["products_page1_trimmed"]["items"] = [item for item in items if "variants" in item]
    known = tomllib.loads(MAGENTO)
    known["offer"] |= {"items": "variants[].product", "id": "uid", "title": "name"}
    first, second = parse(json.dumps(document), parse_recipe(known), currency="SAR").page.observations
    assert [(o.offer_id, o.sku, o.price_minor) for o in first.offers] == [
        ("NTQ4MA==", "12512182813", 5040),
        ("NTg4Nw==", "12512184813", 9030),
    ]
    assert [o.price_minor for o in second.offers] == [18113, 15094, 17509]


def test_pages_are_counted_until_one_is_empty() -> None:
    known = recipe(JSON)
    assert page_url(SHOP, known, 1) == f"{SHOP}/api/items?page=0"
    assert parse(json_page(json_item()), known, page=3).next_url == f"{SHOP}/api/items?page=3"
    assert parse(json_page(), known, page=4).next_url is None


def test_a_link_to_the_next_page_is_followed_within_the_shop() -> None:
    known = recipe(HTML, next="a.next::attr(href)", pages="/shop")
    more = '<a class="next" href="?page=2">more</a><footer></footer>'
    assert parse(html_page(html_item(1), footer=more), known).next_url == f"{SHOP}/shop?page=2"
    assert parse(html_page(html_item(1)), known).next_url is None
    for address in ("https://elsewhere.example/", "https://[x", "/shop", "javascript:x"):
        with pytest.raises(PageError):
            parse(html_page(html_item(1), footer=more.replace("?page=2", address)), known)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (html_page(html_item(1), footer=""), "truncated"),
        (html_page(html_item(1), footer="</html>"), "not_products"),
        ("<html><title>Just a moment...</title><footer></footer></html>", "blocked"),
        ("", "truncated"),
    ],
)
def test_an_html_page_without_its_end_is_no_page(body: str, reason: str) -> None:
    with pytest.raises(PageError) as caught:
        parse(body, recipe(HTML))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (html_item(1, "soon"), "unreadable_price"),
        (html_item(1, "<b>60 €</b>"), "other_currency"),
        (html_item(1, "<b>$60</b><del>x</del>"), "unreadable_compare_at_price"),
        (html_item(1).replace('href="/p/deck-1#top"', ""), "no_id"),
        (html_item(1).replace("/p/deck-1#top", "https://[x"), "no_id"),
        (html_item(1).replace("/p/deck-1#top", "/"), "no_id"),
        (html_item(1).replace("/p/deck-1#top", "https://elsewhere.example/p/1"), "no_id"),
    ],
)
def test_one_bad_listing_is_rejected_alone(item: str, reason: str) -> None:
    page = parse(html_page(html_item(5), item, html_item(6)), recipe(HTML)).page
    assert [event.handle for event in page.observations] == ["deck-5", "deck-6"]
    assert [reject.reason for reject in page.rejected] == [reason]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uid": None}, "no_id"),
        ({"path": None}, "no_handle"),
        ({"path": 5}, "no_handle"),
        ({"variants": []}, "no_offers"),
        ({"variants": "x"}, "no_offers"),
        ({"variants": [{"product": {"uid": "a"}}]}, "unreadable_price"),
        ({"variants": [{"product": {"price": {"final": 1}}}]}, "no_offer_id"),
    ],
)
def test_one_bad_json_item_is_rejected_alone(changes: dict[str, Any], reason: str) -> None:
    page = parse(json_page(json_item(**changes)), recipe(JSON)).page
    assert [reject.reason for reject in page.rejected] == [reason]


def test_minor_units_are_whole_numbers() -> None:
    known = recipe(JSON, amounts="minor")
    rows = [
        {"product": {"uid": "a", "price": {"final": 4500}}},
        {"product": {"uid": "b", "price": {"final": "4500"}}},
    ]
    (event,) = parse(json_page(json_item(variants=rows)), known).page.observations
    assert [o.price_minor for o in event.offers] == [4500, 4500]
    rows[0]["product"]["price"] = {"final": 45.5}
    assert parse(json_page(json_item(variants=rows)), known).page.rejected[0].reason == "unreadable_price"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"format": "xml"}, "recipe.format"),
        ({"whole": None}, "recipe.whole"),
        ({"pages": "shop/{page}"}, "recipe.pages"),
        ({"pages": "/shop"}, "recipe.pages"),
        ({"items": "li..product"}, "recipe.items"),
        ({"title": "h2::nothing(1)"}, "recipe.title"),
        ({"price": "h2"}, "price"),
        ({"offer": {}}, "recipe.offer"),
        ({"offer": {"price": ">>"}}, "recipe.offer.price"),
        ({"first_page": 2}, "recipe.first_page"),
    ],
)
def test_a_recipe_that_cannot_be_used_names_its_key(changes: dict[str, Any], key: str) -> None:
    table = {name: value for name, value in (tomllib.loads(HTML) | changes).items() if value is not None}
    with pytest.raises(RecipeError, match=key):
        parse_recipe(table)


def test_a_path_that_is_none_names_its_key() -> None:
    with pytest.raises(RecipeError, match=r"recipe\.items"):
        recipe(JSON, items="data..items[]")
