"""What one offer's observation changes: price points, and prices held until a second crawl confirms them.

Pure: everything happens on the states in memory.
"""

from datetime import datetime

from skatestock.catalog.model import Change, Hold, ListingState, OfferState, PricePoint, merge_changes
from skatestock.events.model import OfferObserved
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.plausibility import is_price_jump

_GONE = Availability.GONE
_UNKNOWN = Availability.UNKNOWN


def open_offer(seen: OfferObserved, position: int, observed_at: datetime, crawl_id: str) -> OfferState:
    """Begin the history of an offer; a first price of zero is held, and has no price point yet."""
    compare_at_minor = seen.compare_at_minor or None
    offer = OfferState(
        0,
        seen.offer_id,
        seen.title,
        seen.options,
        seen.sku,
        position,
        seen.price_minor,
        compare_at_minor,
        seen.availability,
        observed_at,
    )
    if seen.barcode:
        offer.put_barcode(seen.barcode)
    if seen.price_minor == 0:
        offer.price_minor = offer.compare_at_minor = None
        offer.hold = Hold(0, compare_at_minor, observed_at, crawl_id, seen.availability)
    else:
        offer.put_point(observed_at, [Change.FIRST_SEEN], crawl_id)
    return offer


def observe_offer(
    offer: OfferState, seen: OfferObserved, observed_at: datetime, crawl_id: str
) -> Hold | None:
    """Apply what a crawl saw of a known offer; returns a held price that this sighting has discarded."""
    discarded = None
    hold = offer.hold
    if hold is not None and not _still_held(hold, seen.price_minor, crawl_id):
        if _is_confirmed(offer, hold, seen.price_minor, crawl_id):
            confirm_hold(offer, hold)
        else:
            discarded = discard_hold(offer)
    availability = _observed_availability(offer, seen.availability)
    if _must_be_held(offer.price_minor, seen.price_minor):
        if offer.hold is None:
            compare_at_minor = seen.compare_at_minor or None
            offer.hold = Hold(seen.price_minor, compare_at_minor, observed_at, crawl_id, availability)
            offer.hold_changed = True
        _move(offer, offer.price_minor, offer.compare_at_minor, availability, observed_at, crawl_id)
    else:
        compare_at_minor = seen.compare_at_minor or None
        _move(offer, seen.price_minor, compare_at_minor, availability, observed_at, crawl_id)
    return discarded


def end_offer(offer: OfferState, moment: datetime, crawl_id: str) -> Hold | None:
    """Conclude that an offer is gone; returns the held price of one that never had a believed price.

    Such an offer has no history to go on with: when it returns it begins anew.
    """
    if offer.availability is _GONE:
        return None
    before, offer.availability = offer.availability, _GONE
    if offer.price_minor is None:
        offer.since_at = moment
        offer.state_changed = True
        return discard_hold(offer)
    offer.ended_from = before
    offer.put_point(moment, [Change.DELISTED], crawl_id)
    return None


def restore_offer(offer: OfferState, moment: datetime, crawl_id: str) -> None:
    """Bring a gone offer back as it was before, for a listing that is seen again unchanged."""
    if offer.availability is _GONE and offer.price_minor is not None:
        offer.availability = offer.availability_before_gone()
        offer.put_point(moment, [Change.BACK], crawl_id)


def retract_observation(offer: OfferState, observed_at: datetime) -> None:
    """Bring an offer back to how it stood before what it was observed to be at its latest moment.

    One that was first seen then is left without price and history, as if it had been announced only.
    """
    if offer.hold is not None and offer.hold.held_at == observed_at:
        discard_hold(offer)
    if offer.since_at != observed_at:
        return
    offer.state_changed = True
    if offer.points and offer.points[-1].observed_at == observed_at:
        retracted = offer.points.pop()
        offer.retracted += [retracted] if retracted.stored else []
    before = offer.points[-1] if offer.points else None
    if before is None:
        offer.price_minor = offer.compare_at_minor = None
        offer.availability = _UNKNOWN
        return
    offer.price_minor, offer.compare_at_minor = before.price_minor, before.compare_at_minor
    offer.availability, offer.since_at = before.availability, before.observed_at


def confirm_hold(offer: OfferState, hold: Hold) -> None:
    """Believe a held price from the moment it was first observed, in every price point since."""
    offer.hold = None
    offer.hold_changed = offer.state_changed = True
    changes = price_changes(
        offer.price_minor, offer.compare_at_minor, hold.price_minor, hold.compare_at_minor
    )
    offer.price_minor, offer.compare_at_minor = hold.price_minor, hold.compare_at_minor
    place = len(offer.points)
    while place and offer.points[place - 1].observed_at >= hold.held_at:
        place -= 1
    if place == len(offer.points) or offer.points[place].observed_at != hold.held_at:
        offer.points.insert(place, _confirmed_point(hold, changes))
        offer.since_at = max(offer.since_at, hold.held_at)
    else:
        offer.points[place].changes = merge_changes(offer.points[place].changes, changes)
    for point in offer.points[place:]:
        point.price_minor, point.compare_at_minor = hold.price_minor, hold.compare_at_minor
        point.revised = True


def discard_hold(offer: OfferState) -> Hold | None:
    """Forget a held price; returns it, so that it can be counted."""
    hold, offer.hold = offer.hold, None
    offer.hold_changed = offer.hold_changed or hold is not None
    return hold


def is_held_elsewhere(offer: OfferState, listing: ListingState, crawl_id: str, started_at: datetime) -> bool:
    """Tell whether a crawl that saw a listing unchanged thereby saw an offer's held price a second time."""
    hold = offer.hold
    if hold is None or offer.availability is _GONE or hold.crawl_id == crawl_id:
        return False
    # an observation within this crawl has decided already, or lacked this offer
    return listing.observed_at < started_at


def price_changes(
    price_before: int | None, compare_before: int | None, price_minor: int, compare_at_minor: int | None
) -> list[Change]:
    """Name what happened to a price; an offer without a believed price is seen for the first time."""
    if price_before is None:
        return [Change.FIRST_SEEN]
    changes = []
    if price_minor > price_before:
        changes.append(Change.PRICE_UP)
    elif price_minor < price_before:
        changes.append(Change.PRICE_DOWN)
    if compare_at_minor != compare_before:
        changes.append(Change.COMPARE_AT_CHANGED)
    return changes


def _confirmed_point(hold: Hold, changes: list[Change]) -> PricePoint:
    return PricePoint(
        hold.held_at, hold.price_minor, hold.compare_at_minor, hold.availability, changes, hold.crawl_id
    )


def _still_held(hold: Hold, price_minor: int, crawl_id: str) -> bool:
    # the same crawl that saw it first cannot confirm it
    return hold.crawl_id == crawl_id and hold.price_minor == price_minor


def _is_confirmed(offer: OfferState, hold: Hold, price_minor: int, crawl_id: str) -> bool:
    if hold.crawl_id == crawl_id:
        return False
    if price_minor == hold.price_minor:
        return True
    # Zero is confirmed by zero alone; another price near the held one says that the jump was real.
    return (
        hold.price_minor > 0
        and _must_be_held(offer.price_minor, price_minor)
        and not is_price_jump(hold.price_minor, price_minor)
    )


def _must_be_held(believed_minor: int | None, price_minor: int) -> bool:
    if believed_minor is None:
        return price_minor == 0
    return price_minor != believed_minor and is_price_jump(believed_minor, price_minor)


def _observed_availability(offer: OfferState, seen: Availability) -> Availability:
    if seen is not _UNKNOWN:
        return seen
    return offer.availability_before_gone() if offer.availability is _GONE else offer.availability


def _move(
    offer: OfferState,
    price_minor: int | None,
    compare_at_minor: int | None,
    availability: Availability,
    observed_at: datetime,
    crawl_id: str,
) -> None:
    """Take over the observed state, with a price point if it differs."""
    before = offer.availability
    if price_minor is None:
        if availability is not before:
            _move_unpriced(offer, availability, observed_at)
        return
    if (
        price_minor == offer.price_minor
        and compare_at_minor == offer.compare_at_minor
        and availability is before
    ):
        return
    changes = price_changes(offer.price_minor, offer.compare_at_minor, price_minor, compare_at_minor)
    if availability is not before and changes != [Change.FIRST_SEEN]:
        changes = merge_changes(changes, _availability_changes(before, availability))
    offer.price_minor, offer.compare_at_minor = price_minor, compare_at_minor
    offer.availability = availability
    offer.put_point(observed_at, changes, crawl_id)


def _move_unpriced(offer: OfferState, availability: Availability, observed_at: datetime) -> None:
    # no price point can keep what was before, so the first one will begin with the newest availability
    offer.availability, offer.since_at, offer.state_changed = availability, observed_at, True
    if offer.hold is not None:
        offer.hold = offer.hold._replace(availability=availability)


def _availability_changes(before: Availability, after: Availability) -> list[Change]:
    if before is after:
        return []
    if before is _GONE:
        return [Change.BACK]
    # Stock that nobody knew before has not changed: we only learned of it, and the point names no change.
    if before is _UNKNOWN:
        return []
    return [Change.BACK_IN_STOCK if after is Availability.IN_STOCK else Change.OUT_OF_STOCK]
