"""What the rules make of listings in a real database: on the way in, in the report, and applied again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.ingest_shop import SHOP, add_shop, ingest, offer, seen

from skatestock.catalog.change_queries import CatalogueChange, find_changes
from skatestock.catalog.commands_rules import apply_rules, compare_rules
from skatestock.catalog.rules_diff import RulesDiff, ShopWays, count_changes
from skatestock.catalog.rules_queries import RulesReport, find_unknown_words
from skatestock.database.pool import Pool
from skatestock.vocabulary.category import Category
from skatestock.vocabulary.normaliser import Normaliser, current_normaliser
from skatestock.vocabulary.rules.loading import current_rules
from skatestock.vocabulary.rules.model import BrandRule
from skatestock.vocabulary.titles import TitleHabit

WAYS = {SHOP: ShopWays(TitleHabit.DASH_COLOURS, ("Labor", "Labor Skateshop"))}


@pytest.fixture
async def shop(pool: Pool) -> Pool:
    await add_shop(pool)
    return pool


def changed_rules(**brands: Mapping[str, Any]) -> Normaliser:
    """Make the next version of the rules, with other brands."""
    rules = current_rules()
    known = dict(rules.brands.brands) | {name: BrandRule(**rule) for name, rule in brands.items()}
    file = msgspec.structs.replace(rules.brands, version=rules.brands.version + 1, brands=known)
    return Normaliser(msgspec.structs.replace(rules, brands=file))


async def read_rows(pool: Pool) -> dict[str, tuple[Any, ...]]:
    """Read by listing what the rules made of it and what its product shows."""
    rows = await pool.fetch(
        "SELECT l.listing_id, b.name AS brand, c.slug AS category, l.style_code, l.rules_version,"
        " p.name AS product, pb.name AS shown, p.colourway"
        " FROM listings l JOIN products p ON p.id = l.product_id"
        " LEFT JOIN brands b ON b.id = l.brand_id LEFT JOIN categories c ON c.id = l.category_id"
        " LEFT JOIN brands pb ON pb.id = p.brand_id ORDER BY l.id"
    )
    return {row["listing_id"]: tuple(row)[1:] for row in rows}


async def read_sizes(pool: Pool) -> dict[str, str | None]:
    rows = await pool.fetch("SELECT offer_id, size FROM offers ORDER BY id")
    return {row["offer_id"]: row["size"] for row in rows}


async def report(pool: Pool, *shops: str) -> RulesReport:
    async with pool.acquire() as connection:
        return await find_unknown_words(connection, current_normaliser(), shops=shops)


def told(diff: RulesDiff, kind: str) -> list[tuple[str | None, str | None, int]]:
    return [(change.before, change.after, change.count) for change in diff.changes if change.kind == kind]


async def test_ingest_stores_what_the_rules_make_of_a_listing_beside_its_words(shop: Pool) -> None:
    shoe = seen(
        0,
        offer(offer_id="a", options={"Color": "Black", "SIZE": "US 9½"}, sku="DM0807-200-9.5"),
        offer(offer_id="b", options={"SIZE": "Enormous"}, sku=None),
        title="Nike SB Dunk Low - Black",
        name="Nike SB Dunk Low",
        brand=None,
        vendor="Labor Skateshop",
        product_type="Footwear",
    )
    odd: dict[str, Any] = {"title": "Odd", "name": "Odd", "brand": "Odd Inc.", "product_type": None}
    await ingest(shop, shoe, seen(0, offer(offer_id="c"), listing="2", **odd))
    version = current_rules().version
    assert await read_rows(shop) == {
        "1": ("Nike SB", "shoes", "DM0807-200", version, "Dunk Low", "Nike SB", "Black"),
        "2": (None, None, None, version, "Odd", "Odd Inc.", "Black"),
    }
    assert await read_sizes(shop) == {"a": "M 9.5", "b": None, "c": None}
    raw = await shop.fetchrow(
        "SELECT title, vendor, brand, product_type FROM listings WHERE listing_id = '1'"
    )
    assert tuple(raw or ()) == ("Nike SB Dunk Low - Black", "Labor Skateshop", None, "Footwear")


async def test_a_listing_that_becomes_another_kind_of_thing_has_its_sizes_read_anew(
    shop: Pool,
) -> None:
    words: dict[str, Any] = {
        "title": "Polar Jeans",
        "name": "Polar Jeans",
        "brand": "Polar",
        "product_type": None,
    }
    await ingest(shop, seen(0, offer(options={"Size": "32"}), **words))
    assert await read_sizes(shop) == {"a": "W32"}
    await ingest(shop, seen(30, offer(options={"Size": "32"}), **(words | {"title": "Polar Beanie"})))
    assert (await read_rows(shop))["1"][1] == "pants"
    await ingest(
        shop,
        seen(
            60, offer(options={"Size": "32"}), **(words | {"title": "Polar Beanie", "name": "Polar Beanie"})
        ),
    )
    assert (await read_rows(shop))["1"][1] == "beanies"
    assert await read_sizes(shop) == {"a": None}


async def test_the_report_tells_what_no_rule_knew_most_frequent_first(shop: Pool) -> None:
    await add_shop(shop, "nj")
    odd: dict[str, Any] = {
        "brand": "Odd Inc.",
        "title": "Odd Gadget",
        "name": "Gadget",
        "product_type": "Sale",
    }
    strange = {"Size": "Huge", "Fit": "Wide"}
    await ingest(
        shop,
        *(seen(0, offer(options=strange), listing=str(number), **odd) for number in range(3)),
        seen(0, offer(options={"Size": "8.25"}), listing="7", brand=None, title="Mystery Thing Deck"),
        seen(0, offer(options={"Size": "Popsicle"}), listing="8", shop="nj"),
    )
    found = await report(shop)
    assert (found.rules_version, found.listings, found.outdated) == (current_rules().version, 5, 0)
    assert [(row.kind, row.shop, row.words, row.count, row.example) for row in found.unknown] == [
        ("brand", "labor", "Odd Inc.", 3, "Odd Gadget"),
        ("category", "labor", "Sale", 3, "Odd Gadget"),
        ("option", "labor", "Fit", 3, "Odd Gadget"),
        ("size", "labor", "no category: Huge", 3, "Odd Gadget"),
        ("brand", "labor", "Mystery Thing", 1, "Mystery Thing Deck"),
        ("size", "nj", "decks: Popsicle", 1, "Krooked - Deck 8 (Black)"),
    ]
    assert [row.shop for row in (await report(shop, "nj")).unknown] == ["nj"]


async def test_changed_rules_are_compared_first_and_then_applied_once(shop: Pool) -> None:
    odd: dict[str, Any] = {
        "brand": "ODD",
        "vendor": "ODD",
        "name": "Gadget - Red",
        "product_type": None,
        "colourway": None,
    }
    for number in range(3):
        title = f"Odd Gadget {number} - Red"
        await ingest(shop, seen(0, offer(options={"Size": "9"}), listing=str(number), title=title, **odd))
    rules = changed_rules(Odd={"usual": Category.SHOES})
    before = await read_rows(shop)
    diff = await compare_rules(shop, rules, WAYS)
    assert await read_rows(shop) == before
    assert (diff.listings, diff.changed, diff.unmarked) == (3, 3, 0)
    assert told(diff, "brand") == [("ODD", "Odd", 3)]
    assert told(diff, "category") == [(None, "shoes", 3)]
    assert told(diff, "colourway") == [(None, "Red", 3)]
    assert told(diff, "size") == [(None, "M 9", 3)]
    assert sorted(told(diff, "name"))[0] == ("Gadget - Red", "Gadget 0", 1)
    assert count_changes(diff) == {"brand": 3, "category": 3, "colourway": 3, "size": 3, "name": 3}

    assert await apply_rules(shop, rules, WAYS) == diff
    assert (await read_rows(shop))["2"] == ("Odd", "shoes", None, rules.version, "Gadget 2", "Odd", "Red")
    assert set((await read_sizes(shop)).values()) == {"M 9"}
    again = await apply_rules(shop, rules, WAYS)
    assert (again.listings, again.changed, again.unmarked, again.changes) == (3, 0, 0, ())


async def change_a_brands_name(pool: Pool) -> tuple[CatalogueChange, set[int]]:
    """Apply rules that rename a brand of two products; returns what was told last, and their ids."""
    words: dict[str, Any] = {"title": "Odd", "name": "Odd", "brand": "ODD INC", "vendor": "ODD INC"}
    await ingest(pool, seen(0, **words))
    await pool.execute("INSERT INTO products (name, created_at) VALUES ('Of no brand', now())")
    other = await pool.fetchval(
        "INSERT INTO products (name, brand_id, created_at) SELECT 'Old', id, now() FROM brands "
        "WHERE slug = 'odd-inc' RETURNING id"
    )
    before = await pool.fetchval("SELECT position FROM catalogue_clock")
    normaliser = changed_rules(**{"Odd Inc": {}})
    await apply_rules(pool, normaliser, WAYS)
    named = await pool.fetchval("SELECT name FROM brands WHERE slug = 'odd-inc'")
    assert named == "Odd Inc"
    async with pool.acquire() as connection:
        change, *_ = await find_changes(connection, before, 10)
    seen_id = await pool.fetchval("SELECT product_id FROM listings WHERE listing_id = '1'")
    return change, {other, seen_id}


async def test_a_brand_that_is_renamed_tells_its_products_and_no_others(shop: Pool) -> None:
    change, products = await change_a_brands_name(shop)
    assert not change.everything
    assert set(change.product_ids) == products


async def test_too_many_products_to_tell_are_everything(shop: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skatestock.catalog.commands_rules._MOST_TOLD", 2)
    change, _ = await change_a_brands_name(shop)
    assert change.everything


async def test_rows_from_before_the_rules_are_read_and_marked(shop: Pool) -> None:
    await ingest(shop, seen(0, offer(options={"Size": "8.25"})))
    fresh = await read_rows(shop)
    await shop.execute("UPDATE listings SET brand_id = NULL, category_id = NULL, rules_version = NULL")
    await shop.execute("UPDATE offers SET size = NULL")
    await shop.execute("UPDATE brands SET name = 'KROOKED'")
    assert (await report(shop)).outdated == 1
    assert (await report(shop)).unknown == ()
    diff = await apply_rules(shop, current_normaliser(), {})
    assert told(diff, "brand") == [("KROOKED", "Krooked", 1)]
    assert told(diff, "size") == [(None, '8.25"', 1)]
    assert await read_rows(shop) == fresh
    assert (await report(shop)).outdated == 0


async def test_a_version_alone_is_marked_without_a_change(shop: Pool) -> None:
    await ingest(shop, seen(0), seen(0, listing="2"))
    rules = changed_rules()
    diff = await apply_rules(shop, rules, {})
    assert (diff.changed, diff.unmarked, diff.changes) == (0, 2, ())
    assert {row[3] for row in (await read_rows(shop)).values()} == {rules.version}


async def test_a_product_of_several_listings_keeps_the_words_that_joined_them(shop: Pool) -> None:
    odd: dict[str, Any] = {"brand": "ODD", "title": "Odd Deck", "name": "Deck"}
    await ingest(shop, seen(0, **odd), seen(0, listing="2", **odd))
    await shop.execute("UPDATE listings SET product_id = (SELECT min(product_id) FROM listings)")
    rules = changed_rules(Odd={})
    diff = await apply_rules(shop, rules, {})
    assert told(diff, "brand") == [("ODD", "Odd", 2)]
    rows = await read_rows(shop)
    assert {(row[0], row[4]) for row in rows.values()} == {("Odd", "Deck")}


async def test_more_listings_than_are_read_at_once_are_all_read(
    shop: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skatestock.catalog.commands_rules._AT_ONCE", 2)
    await ingest(shop, *(seen(0, listing=str(number), brand="ODD", title="Odd Deck") for number in range(5)))
    diff = await apply_rules(shop, changed_rules(Odd={}), {})
    assert (diff.listings, diff.changed) == (5, 5)
    assert {row[0] for row in (await read_rows(shop)).values()} == {"Odd"}


async def test_rules_are_applied_while_ingest_writes_and_no_observation_is_lost(shop: Pool) -> None:
    words = {"brand": "ODD", "title": "Odd Deck", "name": "Deck"}
    listings = [str(number) for number in range(30)]
    await ingest(shop, *(seen(0, listing=listing, **words) for listing in listings))
    rules = changed_rules(Odd={})

    async def keep_ingesting() -> None:
        for minute in range(1, 13):
            renamed = words | {"title": f"Odd Deck {minute}"}
            await ingest(
                shop, *(seen(minute, offer(6000 + minute), listing=each, **renamed) for each in listings)
            )

    async def keep_applying() -> None:
        for _ in range(8):
            await apply_rules(shop, rules, {})

    await asyncio.gather(keep_ingesting(), keep_applying())
    titles = await shop.fetch("SELECT DISTINCT title FROM listings")
    assert [row["title"] for row in titles] == ["Odd Deck 12"]
    assert await shop.fetchval("SELECT count(*) FROM price_points") == 30 * 13
    await apply_rules(shop, rules, {})
    assert {row[0] for row in (await read_rows(shop)).values()} == {"Odd"}
