"""The simulated world: the same for the same seed, lively, and true to its own record."""

import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from skatestock.replica.errors import ReplicaError
from skatestock.replica.model import MIXED_SHOP_SLUGS, SHOP_SLUGS, Listing, TruthRecord
from skatestock.replica.rates import Rates
from skatestock.replica.truth import OfferKey, OfferState, fold, key_of, shown_listings, write_truth
from skatestock.replica.world import World

START_AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def make_world(seed: int = 1, listings_per_shop: int = 60, rates: Rates | None = None) -> World:
    return World(seed, START_AT, listings_per_shop=listings_per_shop, rates=rates)


def shown_state(world: World) -> dict[OfferKey, OfferState]:
    return {
        OfferKey(shop, str(listing.listing_id), str(offer.offer_id)): OfferState(
            offer.price_minor, offer.compare_at_minor, offer.available
        )
        for shop in world.shops
        for listing in world.state_at(shop)
        for offer in listing.present_offers()
    }


@pytest.fixture(scope="module")
def month() -> World:
    """A whole month of the world at its default size and rates."""
    world = World(7, START_AT)
    world.advance_to(START_AT + 30 * DAY)
    return world


def test_a_world_begins_with_two_thousand_listings_in_five_shops() -> None:
    world = World(3, START_AT)
    assert world.shops == ("seasons", "premier", "labor", "nj", "blacksheep")
    assert [world.count_shown(shop).listings for shop in world.shops] == [400] * 5


def test_the_same_seed_gives_the_same_truth_and_another_seed_another() -> None:
    worlds = [make_world(seed) for seed in (5, 5, 6)]
    for world in worlds:
        world.advance_to(START_AT + 10 * DAY)
    first, same, other = (write_truth(world.truth()) for world in worlds)
    assert first == same
    assert first != other


def test_the_same_seed_gives_the_same_truth_in_every_process() -> None:
    program = (
        "from datetime import UTC, datetime, timedelta; from hashlib import sha256\n"
        "from skatestock.replica.truth import write_truth; from skatestock.replica.world import World\n"
        "world = World(5, datetime(2026, 3, 1, tzinfo=UTC), listings_per_shop=20)\n"
        "world.advance_to(world.now + timedelta(days=20))\n"
        "print(sha256(write_truth(world.truth())).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(digests) == 1


def test_how_time_is_cut_into_steps_makes_no_difference() -> None:
    leap, steps = make_world(9), make_world(9)
    leap.advance_to(START_AT + 9 * DAY)
    while steps.now < leap.now:
        steps.advance_to(min(leap.now, steps.now + timedelta(minutes=1741)))
    assert write_truth(leap.truth()) == write_truth(steps.truth())
    assert shown_state(leap) == shown_state(steps)


def test_what_shops_show_equals_the_fold_of_the_truth_all_month() -> None:
    world = make_world(11, rates=Rates(price_episode_days=8, stock_change_days=3))
    for day in range(0, 31, 3):
        world.advance_to(START_AT + day * DAY + timedelta(hours=day))
        assert shown_state(world) == fold(world.truth(), world.now)
        shown = {(shop, str(listing.listing_id)) for shop in world.shops for listing in world.state_at(shop)}
        assert shown == shown_listings(world.truth(), world.now)


def test_every_record_is_a_change_and_kinds_say_which(month: World) -> None:
    last: dict[OfferKey, TruthRecord] = {}
    for record in month.truth():
        before = last.get(key_of(record))
        if before is None:
            assert record.kind == "first_seen"
        elif record.kind == "price":
            assert record.price_minor != before.price_minor
        elif record.kind == "compare_at":
            assert record.price_minor == before.price_minor
            assert record.compare_at_minor != before.compare_at_minor
        elif record.kind == "stock":
            assert record.available is not before.available
        else:
            assert (record.kind == "returned") is (before.kind == "vanished")
        last[key_of(record)] = record


def test_the_truth_is_in_order_of_time_and_can_be_asked_for_from_a_moment(month: World) -> None:
    records = month.truth()
    assert [record.at for record in records] == sorted(record.at for record in records)
    middle = START_AT + 15 * DAY
    assert month.truth(since=middle) == [record for record in records if record.at > middle]
    assert {record.shop for record in month.truth(shop="nj")} == {"nj"}


def test_a_week_brings_hundreds_to_thousands_of_changes(month: World) -> None:
    week = [record for record in month.truth() if START_AT < record.at <= START_AT + 7 * DAY]
    assert 500 < len(week) < 9000


def test_a_month_over_two_thousand_listings_passes_in_seconds() -> None:
    began = time.perf_counter()
    World(2, START_AT).advance_to(START_AT + 30 * DAY)
    assert time.perf_counter() - began < 5


def jumps(records: list[TruthRecord]) -> Counter[str]:
    last: dict[OfferKey, int] = {}
    found: Counter[str] = Counter()
    for record in records:
        before = last.get(key_of(record))
        if before is not None and 10 * abs(record.price_minor - before) > 7 * before:
            found[record.why] += 1
        last[key_of(record)] = record.price_minor
    return found


def test_only_mistakes_move_a_price_over_seventy_percent(month: World) -> None:
    found = jumps(month.truth())
    changes = sum(record.kind == "price" for record in month.truth())
    assert set(found) == {"mistake"}
    assert 0 < found["mistake"] < changes / 50


def test_a_world_without_mistakes_has_no_jump_and_no_price_of_zero_on_goods() -> None:
    calm = {name: weight for name, weight in Rates().episodes.items() if name != "mistake"}
    world = make_world(4, 150, Rates(episodes=calm, price_episode_days=6))
    at_first = {key_of(record) for record in world.truth() if record.price_minor == 0}
    world.advance_to(START_AT + 40 * DAY)
    assert not jumps(world.truth())
    assert {key_of(record) for record in world.truth() if record.price_minor == 0} == at_first


def test_every_behaviour_happens_within_a_month(month: World) -> None:
    happened = {record.why for record in month.truth()}
    assert happened == {
        "initial",
        "new",
        "regular",
        "flash_sale",
        "gradual",
        "clearance",
        "shop_sale",
        "relabelled",
        "mistake",
        "sold_out",
        "restock",
        "size_dropped",
        "size_returned",
        "withdrawn",
        "came_back",
    }


def prices_with(records: list[TruthRecord], why: str) -> dict[OfferKey, list[int]]:
    """Collect the prices of each offer through its first such episode, beginning with the price before it."""
    prices: dict[OfferKey, list[int]] = {}
    last: dict[OfferKey, int] = {}
    for record in records:
        key = key_of(record)
        if record.why == why and record.kind == "price":
            prices.setdefault(key, [last[key]]).append(record.price_minor)
        last[key] = record.price_minor
    return prices


def test_a_flash_sale_reverts_to_the_very_price_it_came_from(month: World) -> None:
    whole = [prices for prices in prices_with(month.truth(), "flash_sale").values() if len(prices) == 3]
    assert len(whole) > 200
    assert all(before == after > between for before, between, after in whole)


def test_a_gradual_discount_falls_in_several_steps(month: World) -> None:
    fallen = [prices for prices in prices_with(month.truth(), "gradual").values() if len(prices) >= 4]
    assert len(fallen) > 100
    assert all(prices[1] > prices[2] > prices[3] for prices in fallen if prices[0] > 4000)


def test_a_clearance_ends_with_every_size_sold_out_and_the_listing_gone() -> None:
    world = make_world(8, rates=Rates(episodes={"clearance": 1.0}, price_episode_days=3))
    world.advance_to(START_AT + 60 * DAY)
    cleared = {record.listing_id for record in world.truth() if record.why == "clearance"}
    gone = {record.listing_id for record in world.truth() if record.why == "withdrawn"}
    shown = {str(listing.listing_id) for shop in world.shops for listing in world.state_at(shop)}
    assert len(gone) > 50
    assert gone <= cleared
    assert not gone & shown
    last = {key_of(record): record for record in world.truth() if record.listing_id in gone}
    assert not any(record.available for record in last.values() if record.why == "withdrawn")


def test_some_withdrawn_listings_return_with_their_identifiers(month: World) -> None:
    returned = [record for record in month.truth() if record.why == "came_back"]
    assert returned
    seen_first = {key_of(record) for record in month.truth() if record.kind == "first_seen"}
    assert {key_of(record) for record in returned} <= seen_first


def test_new_listings_stand_in_front(month: World) -> None:
    for shop in month.shops:
        published = [listing.published_at for listing in month.state_at(shop)]
        assert published == sorted(published, reverse=True)
        assert published[0] > START_AT


def test_a_world_cannot_go_back() -> None:
    world = make_world(listings_per_shop=3)
    world.advance_to(START_AT + DAY)
    with pytest.raises(ReplicaError, match="cannot go back"):
        world.advance_to(START_AT)


def test_a_world_needs_a_listing() -> None:
    with pytest.raises(ReplicaError, match="at least one"):
        make_world(listings_per_shop=0)


def all_listings(world: World) -> list[Listing]:
    return [listing for shop in world.shops for listing in world.state_at(shop)]


def test_identifiers_are_large_and_unique_over_all_shops(month: World) -> None:
    listings = all_listings(month)
    listing_ids = [listing.listing_id for listing in listings]
    offer_ids = [offer.offer_id for listing in listings for offer in listing.offers]
    assert len(set(listing_ids)) == len(listing_ids)
    assert len(set(offer_ids)) == len(offer_ids)
    assert min(listing_ids) > 2**32
    assert max(offer_ids) < 2**53


def test_handles_are_unique_within_a_shop_and_found(month: World) -> None:
    for shop in month.shops:
        listings = month.state_at(shop)
        assert len({listing.handle for listing in listings}) == len(listings)
        assert all(month.find_listing(shop, listing.handle) is listing for listing in listings)
    assert month.find_listing("nj", "no-such-handle") is None


def test_many_designs_are_sold_by_several_shops(month: World) -> None:
    shops_by_design = defaultdict(set)
    for listing in all_listings(month):
        shops_by_design[listing.design_key].add(listing.shop)
    shared = [shops for shops in shops_by_design.values() if len(shops) >= 2]
    assert len(shared) > 300


COLOURED_TITLES: dict[str, Callable[[str], bool]] = {
    "labor": lambda title: " - " in title,
    "seasons": lambda title: "- " in title and " - " not in title,
    "nj": lambda title: " - " in title and title.endswith(")"),
}


@pytest.mark.parametrize("shop", sorted(COLOURED_TITLES))
def test_shoes_are_titled_in_the_shops_own_way(month: World, shop: str) -> None:
    shoes = [item for item in month.state_at(shop) if item.product_type in ("Shoe", "Shoes", "Footwear")]
    assert len(shoes) > 50
    assert all(COLOURED_TITLES[shop](listing.title) for listing in shoes)


def test_premier_says_no_colour_in_titles(month: World) -> None:
    assert not any("/" in listing.title or " - " in listing.title for listing in month.state_at("premier"))


def test_blacksheep_puts_colours_behind_the_name_with_hyphens(month: World) -> None:
    shoes = [item for item in month.state_at("blacksheep") if item.product_type == "Shoes"]
    assert sum(" - " in listing.title for listing in shoes) > len(shoes) / 2
    assert not any("/" in listing.title for listing in shoes)


def test_the_oddities_of_real_bodies_are_there(month: World) -> None:
    listings = all_listings(month)
    offers = [offer for listing in listings for offer in listing.offers]
    assert {"", None} < {offer.sku for offer in offers}
    assert any(offer.compare_at_minor == 0 for offer in offers)
    assert any(offer.compare_at_minor == offer.price_minor for offer in offers)
    assert any(0 < (offer.compare_at_minor or 0) < offer.price_minor for offer in offers)
    assert any(
        len({offer.sku for offer in item.offers}) == 1 < len(item.offers) and item.offers[0].sku
        for item in listings
    )
    assert any(listing.option_names == ("Title",) for listing in listings)
    assert {"Size", "SIZE", "size"} < {name for listing in listings for name in listing.option_names}
    assert any(not listing.handle.isascii() for listing in listings)
    assert any("Skate" in listing.vendor for listing in listings)


def test_what_is_no_goods_is_listed_and_never_changes_its_price(month: World) -> None:
    odd = {listing.title: listing for listing in all_listings(month) if not listing.is_goods}
    assert odd["Restocking Fee"].offers[0].price_minor == 6000
    assert odd["PLEASE NOTE – sale items"].offers[0].price_minor == 0
    assert odd["PLEASE NOTE – sale items"].offers[0].available
    assert odd["PLEASE NOTE – sale items"].requires_shipping
    ids = {str(listing.listing_id) for listing in odd.values()}
    assert {record.kind for record in month.truth() if record.listing_id in ids} == {"first_seen"}


def test_sizes_are_those_of_skate_goods(month: World) -> None:
    sizes = {offer.options[0] for listing in month.state_at("seasons") for offer in listing.offers}
    assert {"9.5", "8.25", "8.75", "54mm 99a", "149", "XXL", "32", "Default Title"} <= sizes


def test_what_happens_in_a_shop_does_not_depend_on_the_others() -> None:
    later = START_AT + timedelta(days=5)
    worlds = [World(9, START_AT, 20, shops=shops) for shops in (SHOP_SLUGS, MIXED_SHOP_SLUGS, ("nj",))]
    for world in worlds:
        world.advance_to(later)
    records = [world.truth(shop="nj") for world in worlds]
    assert records[0] == records[1] == records[2]
    assert {record.why for record in records[0]} > {"initial"}
    assert World(9, START_AT, 20).shops == SHOP_SLUGS


def test_a_shop_keeps_what_it_ever_showed() -> None:
    world = World(9, START_AT, 20, shops=("wooden-wave",))
    first = set(map(id, world.state_at("wooden-wave")))
    world.advance_to(START_AT + timedelta(days=60))
    every = set(map(id, world.every_listing("wooden-wave")))
    assert first <= every
    assert set(map(id, world.state_at("wooden-wave"))) < every


@pytest.mark.parametrize("shops", [(), ("nj", "nj"), ("nj", "zumiez")])
def test_a_world_has_shops_that_it_knows_each_once(shops: tuple[str, ...]) -> None:
    with pytest.raises(ReplicaError, match="different ones of seasons"):
        World(9, START_AT, 20, shops=shops)
