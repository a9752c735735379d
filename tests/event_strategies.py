"""Hypothesis strategies for valid events, shared by the tests of codec and fingerprint."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from skatestock.events.model import (
    CrawlCompleted,
    ListingObserved,
    OfferObserved,
    RejectedObservation,
)
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import MAX_MINOR

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

characters = st.characters(exclude_categories=["Cc", "Cs"])
texts = st.text(characters, max_size=20)
words = st.text(characters, min_size=1, max_size=20)
identifiers = words.filter(str.isprintable)
slugs = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8})?", fullmatch=True)
currencies = st.sampled_from(["USD", "EUR", "JPY", "KWD"])
amounts_minor = st.integers(0, MAX_MINOR)
counts = st.integers(0, 2**31 - 1)
moments = st.integers(946_684_800, int(NOW.timestamp())).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)
availabilities = st.sampled_from([Availability.IN_STOCK, Availability.OUT_OF_STOCK, Availability.UNKNOWN])

offers = st.builds(
    OfferObserved,
    offer_id=identifiers,
    title=texts,
    options=st.dictionaries(texts, texts, max_size=3),
    sku=st.none() | texts,
    price_minor=amounts_minor,
    compare_at_minor=st.none() | amounts_minor,
    availability=availabilities,
    barcode=st.none() | texts | st.from_regex(r"[0-9]{13}", fullmatch=True),
)
offer_lists = st.lists(offers, min_size=1, max_size=4, unique_by=lambda offer: offer.offer_id).map(tuple)

listings = st.builds(
    ListingObserved,
    event_id=identifiers,
    shop=slugs,
    crawl_id=identifiers,
    listing_id=identifiers,
    observed_at=moments,
    url=words,
    handle=words,
    title=words,
    name=words,
    vendor=st.none() | words,
    brand=st.none() | words,
    colourway=st.none() | words,
    product_type=st.none() | words,
    image_url=st.none() | words,
    currency=currencies,
    offers=offer_lists,
    offers_complete=st.booleans(),
    parser=identifiers,
    parser_version=st.integers(1, 2**31 - 1),
    fingerprint=st.binary(min_size=32, max_size=32),
    evidence=st.none()
    | st.builds("2026-03-01/{}".format, st.binary(min_size=32, max_size=32).map(bytes.hex)),
)

rejects = st.builds(
    RejectedObservation,
    listing_id=st.none() | identifiers,
    reason=identifiers,
    detail=texts,
    position=texts,
    excerpt=texts | st.just('{"title":\n\t"x"\r\n}'),
)


@st.composite
def crawls(draw: st.DrawFn) -> CrawlCompleted:
    """Draw the end of a crawl, complete or not."""
    started_at, completed_at = sorted((draw(moments), draw(moments)))
    complete = draw(st.booleans())
    rejected = tuple(draw(st.lists(rejects, max_size=3)))
    return CrawlCompleted(
        event_id=draw(identifiers),
        shop=draw(slugs),
        crawl_id=draw(identifiers),
        started_at=started_at,
        completed_at=completed_at,
        complete=complete,
        reason="complete" if complete else draw(st.sampled_from(["blocked", "drifted", "short"])),
        detail=draw(texts),
        pages=draw(counts),
        requests=draw(counts),
        listing_ids=tuple(draw(st.lists(identifiers, max_size=5, unique=True))),
        changed=draw(counts),
        rejected=rejected,
        rejected_total=len(rejected) + draw(st.integers(0, 5)),
    )


events = listings | crawls()
