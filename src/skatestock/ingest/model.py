"""What an event changes in the catalogue's state: the rules of the price history.

Pure: states go in, the same states come out changed, and flags on them say what must be written.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from skatestock.catalog.model import (
    MISSES_THAT_DELIST,
    CrawlState,
    Hold,
    ListingState,
    ListingWords,
    Observation,
    OfferState,
    RejectedRow,
    ShopState,
    Sighting,
)
from skatestock.events.model import CrawlCompleted, Event, ListingObserved, OfferObserved
from skatestock.ingest.errors import RefusedEventError
from skatestock.ingest.pricing import (
    confirm_hold,
    end_offer,
    is_held_elsewhere,
    observe_offer,
    open_offer,
    restore_offer,
    retract_observation,
)


class Outcome(StrEnum):
    """What became of one record."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    LATE = "late"
    """Older than what is known, or a repeat: it changed nothing."""
    DEAD = "dead"


def apply_event(shop: ShopState, event: Event, *, replayed: bool = False) -> Outcome:
    """Apply the shop's next event; raises RefusedEventError, and then nothing has changed.

    A replayed event stood in the log before and could not be applied then.
    """
    if event.crawl_id in shop.foreign_crawl_ids:
        raise RefusedEventError(
            "foreign_crawl", f"crawl {event.crawl_id} belongs to another shop than {event.shop}"
        )
    if isinstance(event, ListingObserved):
        return _apply_observation(shop, event, replayed=replayed)
    return _apply_completion(shop, event)


# ---------------------------------------------------------------- observations


def _apply_observation(shop: ShopState, event: ListingObserved, *, replayed: bool) -> Outcome:
    listing = shop.listings.get(event.listing_id)
    if listing is not None and listing.currency != event.currency:
        raise RefusedEventError(
            "currency_changed",
            f"listing {event.listing_id} of {event.shop} is in {listing.currency}, not {event.currency}",
        )
    _note_crawl(shop, event.crawl_id, event.observed_at)
    if listing is None:
        _open_listing(shop, event)
        return Outcome.APPLIED
    if _is_reread(listing, event):
        return _read_anew(shop, listing, event)
    # Crawls that came after a replayed observation, and found its listing unchanged, meant just what it says.
    unseen = not replayed and (event.observed_at < listing.seen_at or _is_superseded(shop, event.observed_at))
    if unseen or _is_late(listing, event.observed_at):
        return Outcome.LATE
    return _observe_listing(shop, listing, event)


def _is_late(listing: ListingState, observed_at: datetime) -> bool:
    if observed_at <= listing.observed_at:
        return True
    return listing.delisted_at is not None and observed_at < listing.delisted_at


def _is_superseded(shop: ShopState, moment: datetime) -> bool:
    """Tell whether a later complete crawl has spoken of every listing that is known.

    What a crawl appended last may come after it, when that crawl died: a listing that the complete one saw is
    newer than it anyway, and one that it did not see must not look as if it were there.
    """
    return shop.seen_whole_at is not None and moment < shop.seen_whole_at


def _open_listing(shop: ShopState, event: ListingObserved) -> None:
    at, crawl_id = event.observed_at, event.crawl_id
    listing = ListingState(0, event.listing_id, 0, event.currency, at, at, first_seen_at=at)
    listing.words = _read_words(event)
    _note_sighting(listing, event)
    offers = listing.offers
    for position, seen in enumerate(event.offers):
        offers[seen.offer_id] = open_offer(seen, position, at, crawl_id)
    shop.listings[event.listing_id] = listing


def _observe_listing(shop: ShopState, listing: ListingState, event: ListingObserved) -> Outcome:
    _refresh_listing(listing, event)
    if not _is_superseded(shop, event.observed_at):
        listing.missed = 0
    changed = False
    for position, seen in enumerate(event.offers):
        offer = listing.offers.get(seen.offer_id)
        if offer is None:
            place = position if event.offers_complete else len(listing.offers)
            offer = open_offer(seen, place, event.observed_at, event.crawl_id)
            listing.offers[seen.offer_id] = offer
            changed = True
            continue
        points = len(offer.points)
        discarded = observe_offer(offer, seen, event.observed_at, event.crawl_id)
        _refresh_words(offer, seen, position if event.offers_complete else offer.position)
        if discarded is not None:
            _count_discarded(shop, listing, offer, discarded, event.observed_at)
            changed = True
        changed = changed or len(offer.points) != points
    if event.offers_complete and len(listing.offers) > len(event.offers):
        changed |= _end_missing(shop, listing, event)
    return Outcome.APPLIED if changed or listing.words_changed else Outcome.UNCHANGED


# ---------------------------------------------------------------- observations read anew


def _is_reread(listing: ListingState, event: ListingObserved) -> bool:
    """Tell whether this is the last observation of a listing, as a newer version of its parser reads it."""
    return (
        event.observed_at == listing.observed_at
        and event.parser == listing.parser
        and event.parser_version > listing.parser_version
    )


def _read_anew(shop: ShopState, listing: ListingState, event: ListingObserved) -> Outcome:
    """Put another reading of a listing's last observation in the place of the first."""
    at = event.observed_at
    if listing.delisted_at is not None or any(offer.since_at > at for offer in listing.offers.values()):
        # What has happened since began with the first reading.
        return Outcome.LATE
    for offer in listing.offers.values():
        retract_observation(offer, at)
    _observe_listing(shop, listing, event)
    return Outcome.APPLIED


def _refresh_listing(listing: ListingState, event: ListingObserved) -> None:
    words = _read_words(event)
    if words != listing.words:
        listing.words = words
        listing.words_changed = True
    _note_sighting(listing, event)
    listing.observed_at = event.observed_at
    listing.seen_at = max(listing.seen_at, event.observed_at)
    if listing.delisted_at is not None:
        listing.delisted_at = None
        listing.standing_changed = True


def _note_sighting(listing: ListingState, event: ListingObserved) -> None:
    at = event.observed_at
    first = listing.observations.get(at)
    # Of a moment that this batch has brought, there is nothing stored yet that could be replaced.
    is_reread = _is_reread(listing, event) if first is None else first.is_reread
    listing.sighting = Sighting(event.fingerprint, event.parser, event.parser_version)
    listing.observations[at] = Observation(
        at, event.crawl_id, event.parser, event.parser_version, event.evidence, is_reread
    )
    listing.parser, listing.parser_version = event.parser, event.parser_version


def _read_words(event: ListingObserved) -> ListingWords:
    return ListingWords(
        event.url,
        event.handle,
        event.title,
        event.name,
        event.vendor,
        event.brand,
        event.colourway,
        event.product_type,
        event.image_url,
    )


def _refresh_words(offer: OfferState, seen: OfferObserved, position: int) -> None:
    if (
        offer.title != seen.title
        or offer.options != seen.options
        or offer.sku != seen.sku
        or offer.position != position
    ):
        offer.title, offer.options, offer.sku, offer.position = seen.title, seen.options, seen.sku, position
        offer.words_changed = True
    # A crawl that was told none has not been told that there is none.
    if seen.barcode:
        offer.put_barcode(seen.barcode)


def _end_missing(shop: ShopState, listing: ListingState, event: ListingObserved) -> bool:
    seen_ids = {seen.offer_id for seen in event.offers}
    missing = [offer for offer in listing.offers.values() if offer.offer_id not in seen_ids]
    return _end_offers(shop, listing, missing, event.observed_at, event.crawl_id)


def _end_offers(
    shop: ShopState, listing: ListingState, offers: Iterable[OfferState], moment: datetime, crawl_id: str
) -> bool:
    ended = False
    for offer in offers:
        points = len(offer.points)
        discarded = end_offer(offer, moment, crawl_id)
        if discarded is not None:
            _count_discarded(shop, listing, offer, discarded, moment)
        ended = ended or len(offer.points) != points
    return ended


def _count_discarded(
    shop: ShopState, listing: ListingState, offer: OfferState, discarded: Hold, moment: datetime
) -> None:
    detail = f"{discarded.price_minor} minor units of {listing.currency} were never confirmed"
    shop.rejected.append(
        RejectedRow(
            discarded.crawl_id,
            None,
            listing.listing_id,
            "held_price_discarded",
            detail,
            f"offer {offer.offer_id}",
            "",
            moment,
        )
    )


def _note_crawl(shop: ShopState, crawl_id: str, moment: datetime) -> CrawlState:
    """Return the crawl's row, begun by its first event."""
    crawl = shop.crawls.get(crawl_id)
    if crawl is None:
        crawl = shop.crawls[crawl_id] = CrawlState(crawl_id, moment, touched=True)
    return crawl


# ---------------------------------------------------------------- ends of crawls


def _apply_completion(shop: ShopState, event: CrawlCompleted) -> Outcome:
    crawl = _note_crawl(shop, event.crawl_id, event.started_at)
    if crawl.completed_at is not None:
        return Outcome.LATE
    _complete_crawl(crawl, event)
    shop.rejected.extend(_read_rejected(event))
    if _is_superseded(shop, event.started_at):
        return Outcome.LATE
    if event.complete:
        shop.seen_whole_at = event.started_at
    seen = frozenset(event.listing_ids)
    unread = _find_unread(event)
    for listing in shop.listings.values():
        if listing.listing_id in seen:
            _see_again(listing, event, read=listing.listing_id not in unread)
        elif event.complete and listing.delisted_at is None and listing.seen_at < event.started_at:
            _miss(shop, listing, event)
    return Outcome.APPLIED


def _complete_crawl(crawl: CrawlState, event: CrawlCompleted) -> None:
    crawl.started_at = event.started_at
    crawl.completed_at = event.completed_at
    crawl.complete = event.complete
    crawl.reason = event.reason
    crawl.detail = event.detail
    crawl.pages = event.pages
    crawl.requests = event.requests
    crawl.listings_seen = len(event.listing_ids)
    crawl.changed = event.changed
    crawl.rejected = event.rejected_total
    crawl.touched = True


def _read_rejected(event: CrawlCompleted) -> Iterable[RejectedRow]:
    for ordinal, rejected in enumerate(event.rejected):
        yield RejectedRow(
            event.crawl_id,
            ordinal,
            rejected.listing_id,
            rejected.reason,
            rejected.detail,
            rejected.position,
            rejected.excerpt,
            event.completed_at,
        )


def _find_unread(event: CrawlCompleted) -> frozenset[str | None]:
    """Tell which listings a crawl saw without being able to read them: nothing is known of their state."""
    if event.rejected_total > len(event.rejected):
        # Which the others are was not kept, so it may be any.
        return frozenset(event.listing_ids)
    return frozenset(rejected.listing_id for rejected in event.rejected)


def _see_again(listing: ListingState, event: CrawlCompleted, *, read: bool) -> None:
    """Take a crawl's word that a listing is there: observed, unchanged, or not to be read."""
    if listing.delisted_at is not None:
        if event.started_at < listing.delisted_at or not read:
            return
        _bring_back(listing, event)
    for offer in listing.offers.values():
        hold = offer.hold
        if read and hold is not None and is_held_elsewhere(offer, listing, event.crawl_id, event.started_at):
            confirm_hold(offer, hold)
    if event.started_at > listing.seen_at:
        listing.seen_at = event.started_at
        listing.missed = 0
        listing.touched = True


def _bring_back(listing: ListingState, event: CrawlCompleted) -> None:
    delisted_at, listing.delisted_at = listing.delisted_at, None
    listing.touched = listing.standing_changed = True
    for offer in listing.offers.values():
        # a variant that was gone before its listing was stays so
        if offer.since_at == delisted_at:
            restore_offer(offer, event.started_at, event.crawl_id)


def _miss(shop: ShopState, listing: ListingState, event: CrawlCompleted) -> None:
    listing.missed += 1
    listing.touched = True
    if listing.missed >= MISSES_THAT_DELIST:
        listing.delisted_at = event.completed_at
        listing.standing_changed = True
        _end_offers(shop, listing, listing.offers.values(), event.completed_at, event.crawl_id)
