"""Catalogue: designs written down with one shop's habits become that shop's listings."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from random import Random

from skatestock.replica.barcodes import choose_barcodes
from skatestock.replica.chance import seeded_dice
from skatestock.replica.designs import find_designs_of
from skatestock.replica.habits import HABITS, LONG_SIZES, Habit
from skatestock.replica.model import MIXED_SHOP_SLUGS, Design, Listing, Offer

# Shopify's identifiers are beyond 32 bits and grow in steps of this size.
_ID_STEP = 32_768
_LISTING_BASE = 6_300_000_000_000
_OFFER_BASE = 41_000_000_000_000
_SHOP_SPAN = 300_000_000_000
_OFFERS_PER_LISTING = 32

_NOT_HANDLE = re.compile(r"[^\w]+")


def first_identifiers(shop: str, index: int) -> tuple[int, int]:
    """Tell a listing's id and its first offer's id: big, unique over all shops, growing with the index."""
    place = MIXED_SHOP_SLUGS.index(shop)
    listing_id = _LISTING_BASE + place * _SHOP_SPAN + (index + 1) * _ID_STEP + 1_000 + place
    offer_id = _OFFER_BASE + place * 4 * _SHOP_SPAN + index * _OFFERS_PER_LISTING * _ID_STEP + 722
    return listing_id, offer_id


def write_handle(title: str) -> str:
    """Make a handle as Shopify does: lower-case words with hyphens, letters of any script kept."""
    return _NOT_HANDLE.sub("-", title.replace("'", "").casefold()).strip("-_")


def end_price(dollars_minor: int, habit: Habit) -> int:
    """Give an amount the shop's price ending: whole dollars, less the ending."""
    return max(1, -(-dollars_minor // 100)) * 100 - habit.ending_minor


def say_compare_at(price_minor: int, habit: str) -> int | None:
    """Say a compare-at price that announces no sale, in the listing's own way of not announcing one."""
    return {"zero": 0, "equal": price_minor, "below": price_minor * 6 // 10}.get(habit)


class Shelf:
    """Makes one shop's listings, one after another, the same ones every time."""

    def __init__(self, seed: int, shop: str) -> None:
        self.shop = shop
        self._seed = seed
        self._habit = HABITS[shop]
        self._designs = find_designs_of(seed, shop)
        self._handles: set[str] = set()
        self._repeats: Counter[str] = Counter()
        self._index = 0

    def put_first(self, count: int, start_at: datetime) -> Iterator[Listing]:
        """Make the listings a shop begins with, oldest first, published over the last two years."""
        step = timedelta(days=700) / max(1, count)
        for number in range(count):
            published_at = (start_at - step * (count - number)).replace(microsecond=0)
            odd = _make_odd_one(self.shop, number, published_at)
            yield self._keep(odd) if odd else self.put(published_at)

    def put(self, published_at: datetime) -> Listing:
        """Make the shop's next listing."""
        design = next(self._designs)
        rng = seeded_dice("listing", self._seed, self.shop, self._index)
        return self._keep(_write_listing(design, self._habit, rng, self.shop, self._index, published_at))

    def _keep(self, listing: Listing) -> Listing:
        listing.handle = self._free_handle(listing.handle)
        self._index += 1
        return listing

    def _free_handle(self, handle: str) -> str:
        free = handle
        # Where the last search for this handle ended: without it, many of one name take time squared.
        while free in self._handles:
            self._repeats[handle] += 1
            free = f"{handle}-{self._repeats[handle]}"
        self._handles.add(free)
        return free


def _write_listing(
    design: Design, habit: Habit, rng: Random, shop: str, index: int, published_at: datetime
) -> Listing:
    title = habit.title(design)
    listing_id, _ = first_identifiers(shop, index)
    # A twentieth of the handles were made from an earlier title and never changed since.
    handle = write_handle(f"{design.brand} {design.model}" if rng.random() < 0.05 else title)
    names, options = _choose_options(design, habit, rng)
    ways = {way: weight for way, weight in habit.compare_at.items() if weight}
    listing = Listing(
        shop=shop,
        listing_id=listing_id,
        design_key=design.key,
        title=title,
        handle=handle,
        vendor=_choose_vendor(design, habit, rng),
        product_type=rng.choice(habit.product_types.get(design.category, (design.category.title(),))),
        tags=_choose_tags(design, rng),
        body_html=f"<p>{design.brand} {design.model}. From the SkateStock demo replica of {habit.name}.</p>",
        option_names=names,
        published_at=published_at,
        offers=[],
        compare_at_habit=rng.choices(list(ways), list(ways.values()))[0],
    )
    listing.offers = _make_offers(listing, design, habit, rng, options, index)
    return listing


def _choose_options(
    design: Design, habit: Habit, rng: Random
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    sizes = [_write_size(size, design.category, habit) for size in design.sizes if size]
    colours = design.colours if rng.random() < habit.colour_option_share else ()
    columns = [(habit.size_option, sizes), ("Color", list(colours))]
    used = [(name, values) for name, values in columns if values]
    if not used:
        return ("Title",), [("Default Title",)]
    return tuple(name for name, _ in used), list(product(*(values for _, values in used)))


def _write_size(size: str, category: str, habit: Habit) -> str:
    if category == "shoes":
        return habit.shoe_size.format(size)
    if category == "decks" and habit.ending_minor:
        return f'{size}"'
    return LONG_SIZES.get(size, size) if habit.long_sizes else size


def _choose_vendor(design: Design, habit: Habit, rng: Random) -> str:
    if rng.random() < habit.own_vendor_share:
        return habit.own_vendor
    return design.brand.upper() if habit.shouts_vendor and rng.random() < 0.5 else design.brand


def _choose_tags(design: Design, rng: Random) -> tuple[str, ...]:
    tags = [design.brand, design.category, "new", "skate", f"color_{(design.colours or ('none',))[0]}"]
    return tuple(sorted(rng.sample(tags, rng.randint(0, 3))))


def _make_offers(
    listing: Listing, design: Design, habit: Habit, rng: Random, options: list[tuple[str, ...]], index: int
) -> list[Offer]:
    # Shops ask a little more or less than the maker's price; some shoes and decks cost more in big sizes.
    asked_minor = int(design.price_minor * rng.choice((0.92, 1, 1, 1, 1.06)))
    big_minor = 500 if design.category in ("decks", "pants") and rng.random() < 0.2 else 0
    code = f"{design.brand[:3].upper()}{design.number:05d}"
    sku_way = rng.choices(("own", "empty", "none", "shared"), (6, 2, 1, 1))[0]
    _, offer_id = first_identifiers(listing.shop, index)
    colours = len(design.colours) if "Color" in listing.option_names else 1
    barcodes = choose_barcodes(
        listing.shop, design, [divmod(place, colours) for place in range(len(options))], index
    )
    offers = []
    for place, values in enumerate(options[:_OFFERS_PER_LISTING]):
        price_minor = end_price(asked_minor + (big_minor if place >= len(options) - 2 else 0), habit)
        sku = {"own": f"{code}-{place + 1:02d}", "empty": "", "shared": code}.get(sku_way)
        offers.append(
            Offer(
                offer_id=offer_id + place * _ID_STEP,
                options=values,
                sku=sku,
                grams=design.grams,
                regular_minor=price_minor,
                price_minor=price_minor,
                compare_at_minor=say_compare_at(price_minor, listing.compare_at_habit),
                available=rng.random() < 0.82,
                barcode=barcodes[place],
            )
        )
    return offers


_ODD_ONES: dict[tuple[str, int], tuple[str, str, str, tuple[str, ...], tuple[int, ...], bool]] = {
    (shop, 0): ("Gift Card", "gift-card", "Gift Card", ("$25", "$50", "$100"), (2500, 5000, 10000), False)
    for shop in MIXED_SHOP_SLUGS
} | {
    ("labor", 1): ("Restocking Fee", "restocking-fee", "", (), (6000,), False),
    ("nj", 1): ("PLEASE NOTE – sale items", "please-note", "Placeholder", (), (0,), True),
    ("blacksheep", 1): ("Shipping Insurance", "shipping-insurance", "", (), (300,), False),
    ("premier", 1): (
        "Fuß & Füße Repair Café スケート",
        "fuß-füße-repair-café-スケート",
        "Other",
        (),
        (2500,),
        False,
    ),
}
"""What shops list that is no goods: title, handle, type, option values, prices, whether it ships."""


def _make_odd_one(shop: str, index: int, published_at: datetime) -> Listing | None:
    odd = _ODD_ONES.get((shop, index))
    if odd is None:
        return None
    title, handle, product_type, values, prices, ships = odd
    listing_id, offer_id = first_identifiers(shop, index)
    offers = [
        Offer(offer_id + place * _ID_STEP, (value,), "" if ships else None, 0, price, price, None, True)
        for place, (value, price) in enumerate(zip(values or ("Default Title",), prices, strict=True))
    ]
    return Listing(
        shop=shop,
        listing_id=listing_id,
        design_key=None,
        title=title,
        handle=handle,
        vendor=HABITS[shop].own_vendor,
        product_type=product_type,
        tags=(),
        body_html="",
        option_names=("Denominations",) if values else ("Title",),
        published_at=published_at,
        offers=offers,
        compare_at_habit="null",
        is_goods=False,
        requires_shipping=ships,
    )
