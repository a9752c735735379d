"""Sorts what a batch has changed in the loaded states by how it must be written; pure."""

from collections.abc import Iterable
from typing import NamedTuple

from skatestock.catalog.commands_changes import Point, Touched
from skatestock.catalog.model import Change, ListingState, OfferState, PricePoint, ShopState

_PRICE_CHANGES = frozenset({Change.PRICE_UP, Change.PRICE_DOWN, Change.COMPARE_AT_CHANGED})


class Changed(NamedTuple):
    """What must be written, sorted by how."""

    new_listings: list[tuple[int, ListingState]]
    observed: list[ListingState]
    touched: list[ListingState]
    reworded: list[ListingState]
    new_offers: list[tuple[ListingState, OfferState]]
    moved_offers: list[OfferState]
    held_offers: list[OfferState]
    reworded_offers: list[tuple[ListingState, OfferState]]
    new_points: list[tuple[OfferState, PricePoint]]
    revised_points: list[tuple[OfferState, PricePoint]]
    retracted_points: list[tuple[OfferState, PricePoint]]
    told_points: list[tuple[OfferState, PricePoint]]
    """The points of listings known before that say something new, or are gone with none in their place."""
    shop_ids: set[int]
    product_ids: set[int]
    """Of listings known before."""


def tell_touched(changed: Changed) -> Touched:
    """Tell what was written, once everything new has its id."""
    new = [listing for _, listing in changed.new_listings]
    return Touched(
        shop_ids=changed.shop_ids,
        product_ids=changed.product_ids | {listing.product_id for listing in new},
        new_listing_ids=[listing.id for listing in new],
        points=[Point(offer.id, point.observed_at) for offer, point in changed.told_points],
    )


def collect_changes(shops: Iterable[ShopState]) -> Changed:
    """Find everything that must be written."""
    changed = Changed([], [], [], [], [], [], [], [], [], [], [], [], set(), set())
    for shop in shops:
        if any(crawl.touched for crawl in shop.crawls.values()):
            changed.shop_ids.add(shop.id)
        for listing in shop.listings.values():
            _collect_listing(changed, shop.id, listing)
            for offer in listing.offers.values():
                _collect_offer(changed, listing, offer)
    return changed


def _collect_listing(changed: Changed, shop_id: int, listing: ListingState) -> None:
    if not listing.id:
        changed.new_listings.append((shop_id, listing))
        changed.shop_ids.add(shop_id)
        return
    if listing.sighting is not None:
        changed.observed.append(listing)
        changed.shop_ids.add(shop_id)
    elif listing.touched:
        changed.touched.append(listing)
        changed.shop_ids.add(shop_id)
    if listing.words_changed:
        changed.reworded.append(listing)
    # Which reading a product's history is from is shown with it.
    if (
        listing.words_changed
        or listing.standing_changed
        or any(seen.is_reread for seen in listing.observations.values())
    ):
        changed.product_ids.add(listing.product_id)


def _collect_offer(changed: Changed, listing: ListingState, offer: OfferState) -> None:
    if not offer.id:
        changed.new_offers.append((listing, offer))
    else:
        if offer.state_changed:
            changed.moved_offers.append(offer)
        if offer.hold_changed:
            changed.held_offers.append(offer)
        # A listing's words say how the sizes of all its offers are read.
        if offer.words_changed or listing.words_changed:
            changed.reworded_offers.append((listing, offer))
    _collect_points(changed, listing, offer)
    if listing.id and _has_changed(offer):
        changed.product_ids.add(listing.product_id)


def _collect_points(changed: Changed, listing: ListingState, offer: OfferState) -> None:
    for point in offer.points:
        if not point.stored:
            changed.new_points.append((offer, point))
            if listing.id and not (offer.retracted and _was_told(offer, point)):
                changed.told_points.append((offer, point))
        elif point.revised:
            changed.revised_points.append((offer, point))
            if not _PRICE_CHANGES.isdisjoint(point.changes):
                # a held price was confirmed: what it changed was not known before
                changed.told_points.append((offer, point))
    if offer.retracted:
        changed.retracted_points.extend((offer, point) for point in offer.retracted)
        if listing.id:
            replaced = {point.observed_at for point in offer.points}
            changed.told_points.extend(
                (offer, point) for point in offer.retracted if point.observed_at not in replaced
            )


def _has_changed(offer: OfferState) -> bool:
    # Whatever adds, revises or retracts a point changes the state too.
    return not offer.id or offer.state_changed or offer.hold_changed or offer.words_changed


def _was_told(offer: OfferState, point: PricePoint) -> bool:
    """Tell whether a point only takes the place of one that said the same."""
    return any(
        (old.observed_at, old.price_minor, old.compare_at_minor, old.availability, old.changes)
        == (point.observed_at, point.price_minor, point.compare_at_minor, point.availability, point.changes)
        for old in offer.retracted
    )
