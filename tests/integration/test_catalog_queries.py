"""What the faces read: summaries, search, details and history, on a real PostgreSQL."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec
import pytest
from tests.integration.catalog_rows import NOW, Catalogue, days_ago

from skatestock.catalog.commands_index import rebuild_index
from skatestock.catalog.index_queries import find_products
from skatestock.catalog.product_filter import ProductFilter, Sort
from skatestock.catalog.queries import find_price_history, find_product, find_shops, find_summaries
from skatestock.catalog.views import ProductPage, ProductSummary, discount_percent
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import Money


@pytest.fixture
def catalogue(pool: asyncpg.Pool) -> Catalogue:
    return Catalogue(pool)


async def find(pool: asyncpg.Pool, *, page: int = 1, limit: int = 24, **wanted: Any) -> ProductPage:
    async with pool.acquire() as connection:
        await rebuild_index(connection)
        return await find_products(
            connection,
            ProductFilter(**wanted),
            page=page,
            limit=limit,
        )


async def find_ids(pool: asyncpg.Pool, **wanted: Any) -> list[int]:
    return [item.id for item in (await find(pool, **wanted)).items]


async def summarise(pool: asyncpg.Pool) -> ProductSummary:
    """Summarise the one product in all three ways: by the index, by SQL, and by its details."""
    (listed,) = (await find(pool, include_delisted=True)).items
    plain = msgspec.structs.replace(listed, matching_price=None, matching_in_stock=False)
    async with pool.acquire() as connection:
        detail = await find_product(connection, listed.id)
        assert detail is not None
        assert await find_summaries(connection, [listed.id]) == {listed.id: plain}
    assert detail.summary == plain
    return plain


class TestSummary:
    async def test_the_lowest_price_is_one_that_can_be_bought(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        listing = await catalogue.add_listing(
            await catalogue.add_product("Deck"), await catalogue.add_shop("labor")
        )
        await catalogue.add_offer(listing, 1000, availability="out_of_stock")
        await catalogue.add_offer(listing, 500, availability="gone")
        await catalogue.add_offer(listing, 700, availability="unknown")
        await catalogue.add_offer(listing, 4500)
        await catalogue.add_offer(listing, 6000)
        summary = await summarise(pool)
        assert (summary.price, summary.price_highest) == (Money(4500, "USD"), Money(6000, "USD"))
        assert summary.availability is Availability.IN_STOCK

    @pytest.mark.parametrize(
        ("states", "price", "availability"),
        [
            (["out_of_stock", "unknown", "gone"], 2, Availability.UNKNOWN),
            (["out_of_stock", "gone", "gone"], 1, Availability.OUT_OF_STOCK),
            (["gone", "gone", "gone"], 1, Availability.GONE),
        ],
    )
    async def test_without_stock_the_next_best_offers_tell_the_price(
        self,
        pool: asyncpg.Pool,
        catalogue: Catalogue,
        states: list[str],
        price: int,
        availability: Availability,
    ) -> None:
        listing = await catalogue.add_listing(
            await catalogue.add_product("Deck"), await catalogue.add_shop("labor")
        )
        for minor, state in enumerate(states, start=1):
            await catalogue.add_offer(listing, minor, availability=state)
        summary = await summarise(pool)
        assert (summary.price, summary.availability) == (Money(price, "USD"), availability)

    async def test_a_discount_never_mixes_two_offers(self, pool: asyncpg.Pool, catalogue: Catalogue) -> None:
        listing = await catalogue.add_listing(
            await catalogue.add_product("Deck"), await catalogue.add_shop("labor")
        )
        await catalogue.add_offer(listing, 4000, None)
        await catalogue.add_offer(listing, 5000, 9000)
        summary = await summarise(pool)
        assert (summary.price, summary.compare_at) == (Money(4000, "USD"), None)

    @pytest.mark.parametrize(
        ("compare_at", "shown"), [(4000, None), (3999, None), (4001, Money(4001, "USD"))]
    )
    async def test_only_a_compare_at_price_above_the_price_is_shown(
        self, pool: asyncpg.Pool, catalogue: Catalogue, compare_at: int, shown: Money | None
    ) -> None:
        listing = await catalogue.add_listing(
            await catalogue.add_product("Deck"), await catalogue.add_shop("labor")
        )
        await catalogue.add_offer(listing, 4000, compare_at)
        assert (await summarise(pool)).compare_at == shown

    async def test_a_delisted_listing_says_nothing_while_another_is_live(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        product = await catalogue.add_product("Deck")
        old = await catalogue.add_listing(
            product,
            await catalogue.add_shop("labor"),
            delisted_at=days_ago(1),
            image_url="https://old.example",
        )
        live = await catalogue.add_listing(
            product, await catalogue.add_shop("nj"), image_url="https://live.example"
        )
        await catalogue.add_offer(old, 100, since_at=days_ago(1))
        await catalogue.add_offer(live, 200, since_at=days_ago(5))
        summary = await summarise(pool)
        assert summary.price == Money(200, "USD")
        assert summary.changed_at == days_ago(5)
        assert summary.image_url == "https://live.example"
        assert [shop.slug for shop in summary.shops] == ["nj"]

    async def test_currencies_are_never_compared(self, pool: asyncpg.Pool, catalogue: Catalogue) -> None:
        product, shop = await catalogue.add_product("Deck"), await catalogue.add_shop("labor")
        await catalogue.add_offer(await catalogue.add_listing(product, shop, currency="USD"), 50)
        in_euro = await catalogue.add_listing(product, shop, currency="EUR")
        await catalogue.add_offer(in_euro, 4000)
        await catalogue.add_offer(in_euro, 5000)
        summary = await summarise(pool)
        assert (summary.price, summary.price_highest) == (Money(4000, "EUR"), Money(5000, "EUR"))

    async def test_a_first_price_that_is_held_is_no_price(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        listing = await catalogue.add_listing(
            await catalogue.add_product("Deck"), await catalogue.add_shop("labor")
        )
        await catalogue.add_offer(listing, None, held=0)
        summary = await summarise(pool)
        assert (summary.price, summary.availability) == (None, Availability.IN_STOCK)

    async def test_what_is_sold_out_lends_no_price_to_what_can_be_bought_at_a_held_one(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        listing = await catalogue.add_listing(
            await catalogue.add_product("Deck"), await catalogue.add_shop("labor")
        )
        await catalogue.add_offer(listing, None, held=0)
        await catalogue.add_offer(listing, 4000, availability="out_of_stock")
        summary = await summarise(pool)
        assert (summary.price, summary.price_highest) == (None, None)
        assert summary.availability is Availability.IN_STOCK

    async def test_brand_category_and_demo_come_along(self, pool: asyncpg.Pool, catalogue: Catalogue) -> None:
        product = await catalogue.add_product("Deck", brand="Quasi", category=1, colourway="Navy")
        await catalogue.add_listing(product, await catalogue.add_shop("labor"))
        await catalogue.add_listing(product, await catalogue.add_shop("replica", demo=True))
        summary = await summarise(pool)
        assert summary.brand is not None
        assert summary.category is not None
        assert (summary.brand.name, summary.category.slug) == ("Quasi", "decks")
        assert (summary.demo, summary.colourway) == (True, "Navy")
        assert [(shop.slug, shop.demo) for shop in summary.shops] == [("labor", False), ("replica", True)]


class TestFilters:
    async def test_pages_follow_each_other_without_gap_or_repeat(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        shop = await catalogue.add_shop("labor")
        ids = [await catalogue.add_product(f"Deck {n}") for n in range(7)]
        for product in ids:
            await catalogue.add_listing(product, shop)
            await catalogue.add_listing(product, shop)
        pages = [await find(pool, page=number, limit=3) for number in (1, 2, 3, 4)]
        assert [[item.id for item in page.items] for page in pages] == [
            ids[:3:-1],
            ids[3:0:-1],
            ids[:1],
            [],
        ]
        assert {page.total for page in pages} == {7}

    async def test_an_empty_catalogue_is_an_empty_page(self, pool: asyncpg.Pool) -> None:
        assert await find(pool) == ProductPage(items=(), total=0)

    async def test_shops_are_alternatives(self, pool: asyncpg.Pool, catalogue: Catalogue) -> None:
        ids = {}
        for slug in ("labor", "nj", "premier"):
            ids[slug] = await catalogue.add_product(slug)
            await catalogue.add_listing(ids[slug], await catalogue.add_shop(slug))
        assert await find_ids(pool, shops=("labor", "nj")) == [ids["nj"], ids["labor"]]
        assert await find_ids(pool, shops=("nowhere",)) == []

    async def test_what_is_delisted_shows_only_when_asked_for(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        product = await catalogue.add_product("Deck")
        await catalogue.add_listing(product, await catalogue.add_shop("labor"), delisted_at=days_ago(1))
        assert await find_ids(pool) == []
        assert await find_ids(pool, include_delisted=True) == [product]

    async def test_in_stock_means_at_the_shops_asked_for(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        product = await catalogue.add_product("Deck")
        here = await catalogue.add_listing(product, await catalogue.add_shop("labor"))
        there = await catalogue.add_listing(product, await catalogue.add_shop("nj"))
        await catalogue.add_offer(here, 100, availability="out_of_stock")
        await catalogue.add_offer(there, 100)
        assert await find_ids(pool, in_stock=True) == [product]
        assert await find_ids(pool, in_stock=True, shops=("labor",)) == []
        assert await find_ids(pool, in_stock=False, shops=("labor",)) == [product]
        assert await find_ids(pool, in_stock=False) == []


class TestSearch:
    @pytest.mark.parametrize(
        "search",
        ["busenitz", "BUSENITZ vulc", "vulc adidas", "busen", "  navy\tvulc ", "ii", "Vülc", "ａｄｉｄａｓ"],
    )
    async def test_all_words_in_any_order_case_and_accent(
        self, pool: asyncpg.Pool, catalogue: Catalogue, search: str
    ) -> None:
        found = await catalogue.add_product("Busenitz Vulc II", brand="Adidas")
        other = await catalogue.add_product("Samba ADV", brand="Puma")
        shop = await catalogue.add_shop("labor")
        await catalogue.add_listing(found, shop, title="Busenitz Vulc II - Navy")
        await catalogue.add_listing(other, shop, title="Samba ADV - Black")
        assert await find_ids(pool, search=search) == [found]

    @pytest.mark.parametrize(
        ("title", "search"),
        [
            ("Café Racer", "cafe"),
            ("CAFÉ RACER", "café"),
            ("Cafe\u0301 Racer", "CAFÉ"),
            ("Øl Wheels", "ol"),
            ("ŁÓDŹ Deck", "łódź"),
            ("İstanbul", "istanbul"),
            ("Ａdidas", "adidas"),
        ],
    )
    async def test_letters_meet_without_case_and_accents(
        self, pool: asyncpg.Pool, catalogue: Catalogue, title: str, search: str
    ) -> None:
        product = await catalogue.add_product("x")
        await catalogue.add_listing(product, await catalogue.add_shop("labor"), title=title)
        assert await find_ids(pool, search=search) == [product]

    @pytest.mark.parametrize("search", ["%", "_", "\\", "％", "'", "&|!():*", "  -  "])
    async def test_signs_alone_are_no_words_and_find_nothing(
        self, pool: asyncpg.Pool, catalogue: Catalogue, search: str
    ) -> None:
        product = await catalogue.add_product("Busenitz")
        await catalogue.add_listing(product, await catalogue.add_shop("labor"), title=f"Odd {search} one")
        assert await find_ids(pool, search=search) == []
        assert await find_ids(pool, search=f"odd {search} one") == [product]

    @pytest.mark.parametrize(
        "search", ["100%", "x_senita", "'; DROP TABLE x", "$1 x", '8.25"', "men's", "a|b:*"]
    )
    async def test_signs_part_words_and_say_nothing_else(
        self, pool: asyncpg.Pool, catalogue: Catalogue, search: str
    ) -> None:
        shop = await catalogue.add_shop("labor")
        plain, odd = await catalogue.add_product("Busenitz"), await catalogue.add_product("Odd")
        await catalogue.add_listing(plain, shop, title="Busenitz")
        await catalogue.add_listing(odd, shop, title=f"Odd {search} one")
        assert await find_ids(pool, search=search) == [odd]

    @pytest.mark.parametrize(
        ("typed", "meant"),
        [
            ("bussenitz", "Busenitz"),
            ("busenits", "Busenitz"),
            ("indepedent", "Independent"),
            ("thrashr", "Thrasher"),
        ],
    )
    async def test_a_slip_finds_what_was_meant(
        self, pool: asyncpg.Pool, catalogue: Catalogue, typed: str, meant: str
    ) -> None:
        shop = await catalogue.add_shop("labor")
        found, other = await catalogue.add_product(f"{meant} Pro"), await catalogue.add_product("Samba")
        for product in (found, other):
            await catalogue.add_listing(product, shop)
        assert await find_ids(pool, search=typed) == [found]
        assert await find_ids(pool, search=f"{typed} pro") == [found]
        assert await find_ids(pool, search=f"{typed} samba") == []

    async def test_a_slip_that_a_shop_made_too_does_not_hide_the_others(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        shop = await catalogue.add_shop("labor")
        right, wrong = await catalogue.add_product("Busenitz"), await catalogue.add_product("Bussenitz")
        for product in (right, wrong):
            await catalogue.add_listing(product, shop)
        async with pool.acquire() as connection:
            await rebuild_index(connection)
            found = await find_products(connection, ProductFilter(search="bussenitz"), sort=Sort.RELEVANCE)
        assert [item.id for item in found.items] == [wrong, right]

    async def test_whole_words_of_the_product_come_before_its_listings_and_beginnings(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        shop = await catalogue.add_shop("labor")
        names = {"begun": "Vulcan", "said": "Low", "own": "Vulc"}
        products = {which: await catalogue.add_product(name) for which, name in names.items()}
        for which, product in products.items():
            title = "Busenitz Vulc" if which == "said" else "A shoe"
            await catalogue.add_offer(await catalogue.add_listing(product, shop, title=title), 100)
        async with pool.acquire() as connection:
            await rebuild_index(connection)
            found = await find_products(connection, ProductFilter(search="vulc"), sort=Sort.RELEVANCE)
        assert [item.id for item in found.items] == [products["own"], products["said"], products["begun"]]

    async def test_titles_of_listings_that_are_gone_find_nothing(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        product, shop = await catalogue.add_product("Deck"), await catalogue.add_shop("labor")
        await catalogue.add_listing(product, shop, title="Red")
        await catalogue.add_listing(product, shop, title="Blue", delisted_at=days_ago(1))
        assert await find_ids(pool, search="red deck") == [product]
        assert await find_ids(pool, search="blue deck") == []

    async def test_search_and_the_other_filters_narrow_together(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        labor, nj = await catalogue.add_shop("labor"), await catalogue.add_shop("nj")
        sold_out, here = await catalogue.add_product("Deck"), await catalogue.add_product("Deck")
        await catalogue.add_offer(
            await catalogue.add_listing(sold_out, labor, title="Deck"), 1, availability="out_of_stock"
        )
        await catalogue.add_offer(await catalogue.add_listing(here, nj, title="Deck"), 1)
        assert await find_ids(pool, search="deck", in_stock=True) == [here]
        assert await find_ids(pool, search="deck", in_stock=False) == [sold_out]
        assert await find_ids(pool, search="deck", in_stock=True, shops=("labor",)) == []
        assert await find_ids(pool, search="wheel", in_stock=False) == []


class TestDetail:
    async def test_listings_stand_by_shop_with_their_offers_in_order(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        product = await catalogue.add_product("Deck")
        nj, labor = await catalogue.add_shop("nj"), await catalogue.add_shop("labor")
        await catalogue.add_crawl(labor, days_ago(1))
        await catalogue.add_crawl(labor, days_ago(0.5), complete=False, reason="blocked")
        gone = await catalogue.add_listing(product, labor, delisted_at=days_ago(3))
        live = await catalogue.add_listing(product, labor)
        bare = await catalogue.add_listing(product, nj)
        small = await catalogue.add_offer(live, 100, title="8.0", availability="gone")
        large = await catalogue.add_offer(live, 200, 300, title="8.25", held=9000)
        async with pool.acquire() as connection:
            detail = await find_product(connection, product)
        assert detail is not None
        assert [shop.shop.slug for shop in detail.shops] == ["labor", "nj"]
        assert [[listing.id for listing in shop.listings] for shop in detail.shops] == [[live, gone], [bare]]
        assert [shop.last_complete_crawl_at for shop in detail.shops] == [days_ago(1), None]
        offers = detail.shops[0].listings[0].offers
        assert [offer.id for offer in offers] == [large, small]
        assert offers[0].options == {"Size": "8.25"}
        assert offers[0].held is not None
        assert (offers[0].price, offers[0].held.price) == (Money(200, "USD"), Money(9000, "USD"))
        assert detail.shops[1].listings[0].offers == ()

    async def test_there_is_none_for_an_id_that_is_none(self, pool: asyncpg.Pool) -> None:
        async with pool.acquire() as connection:
            assert await find_product(connection, 2**63 - 1) is None
            assert await find_price_history(connection, 1, since=NOW) is None


class TestHistory:
    async def test_the_window_starts_with_the_state_in_force(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        product = await catalogue.add_product("Deck")
        offer = await catalogue.add_offer(
            await catalogue.add_listing(product, await catalogue.add_shop("labor")), 4500
        )
        for days, price in ((60, 7000), (40, 6000), (20, 4500), (10, 6000)):
            await catalogue.add_point(offer, days_ago(days), price)
        async with pool.acquire() as connection:
            for since, prices in (
                (days_ago(30), [6000, 4500, 6000]),
                (days_ago(40), [6000, 4500, 6000]),
                (days_ago(40.5), [7000, 6000, 4500, 6000]),
                (days_ago(99), [7000, 6000, 4500, 6000]),
                (days_ago(0), [6000]),
            ):
                history = await find_price_history(connection, product, since=since)
                assert history is not None
                assert [step.price.minor for step in history[0].steps] == prices

    async def test_shops_can_be_chosen_and_offers_without_points_are_left_out(
        self, pool: asyncpg.Pool, catalogue: Catalogue
    ) -> None:
        product = await catalogue.add_product("Deck")
        for slug in ("nj", "labor"):
            listing = await catalogue.add_listing(product, await catalogue.add_shop(slug))
            offer = await catalogue.add_offer(listing, 100, title="pointed")
            await catalogue.add_point(offer, days_ago(3), 100, 200, "in_stock", ("first_seen",))
            await catalogue.add_offer(listing, None, title="pointless", held=0)
        async with pool.acquire() as connection:
            every = await find_price_history(connection, product, since=days_ago(9))
            one = await find_price_history(connection, product, since=days_ago(9), shops=("nj",))
            none = await find_price_history(connection, product, since=days_ago(9), shops=("nowhere",))
        assert every is not None
        assert one is not None
        assert [(offer.shop.slug, offer.title) for offer in every] == [
            ("labor", "pointed"),
            ("nj", "pointed"),
        ]
        assert [offer.shop.slug for offer in one] == ["nj"]
        assert none == ()
        assert one[0].steps[0].changes == ("first_seen",)
        assert one[0].steps[0].compare_at == Money(200, "USD")


async def test_shops_tell_what_they_list_and_how_fresh_it_is(
    pool: asyncpg.Pool, catalogue: Catalogue
) -> None:
    labor, _ = await catalogue.add_shop("labor"), await catalogue.add_shop("nj")
    product = await catalogue.add_product("Deck")
    await catalogue.add_listing(product, labor)
    await catalogue.add_listing(product, labor, delisted_at=days_ago(1))
    await catalogue.add_crawl(labor, days_ago(2))
    await catalogue.add_crawl(labor, days_ago(1), complete=False, reason="blocked")
    async with pool.acquire() as connection:
        first, second = await find_shops(connection)
    assert (first.slug, first.listings, first.delisted) == ("labor", 1, 1)
    assert (first.last_complete_crawl_at, first.last_crawl_at) == (days_ago(2), days_ago(1))
    assert first.last_crawl_reason == "blocked"
    assert (second.slug, second.listings, second.last_crawl_at) == ("nj", 0, None)


@pytest.mark.parametrize(
    ("price", "compare_at", "percent"),
    [(4500, 6000, 25), (1999, 2999, 33), (1, 100, 99), (0, 100, 100), (100, 100, None), (100, 50, None)],
)
def test_a_discount_is_rounded_down(price: int, compare_at: int, percent: int | None) -> None:
    assert discount_percent(Money(price, "USD"), Money(compare_at, "USD")) == percent
    assert discount_percent(Money(price, "USD"), None) is None
