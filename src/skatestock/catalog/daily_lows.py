"""Daily lows: the least that something cost on each day, of what was in stock then. Pure."""

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

import msgspec

from skatestock.catalog.views import OfferHistory, ShopName
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import Money

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


class DailyLow(msgspec.Struct, frozen=True, kw_only=True):
    """The lowest price at which it could be bought on a day, in UTC, if only for a moment."""

    day: date
    price: Money


class LowSeries(msgspec.Struct, frozen=True, kw_only=True):
    """The daily lows of a product at one shop, or at all of them, in one currency."""

    shop: ShopName | None
    """None for all shops."""
    currency: str
    days: tuple[DailyLow, ...]
    """In order; days on which nothing was in stock are left out."""


def find_daily_lows(
    offers: Iterable[OfferHistory], *, since: datetime, until: datetime
) -> tuple[LowSeries, ...]:
    """Find the lows of the product and of each shop, on the days from `since` to `until`.

    A price counts for every day on which its step was in force for a moment, within the window.
    """
    spans: dict[tuple[str, str], list[tuple[date, date, int]]] = {}
    shops: dict[str, ShopName] = {}
    for offer in offers:
        shops[offer.shop.slug] = offer.shop
        for span in _find_spans(offer, since, until):
            spans.setdefault(("", offer.currency), []).append(span)
            spans.setdefault((offer.shop.slug, offer.currency), []).append(span)
    return tuple(
        LowSeries(
            shop=shops[slug] if slug else None,
            currency=currency,
            days=tuple(DailyLow(day=day, price=Money(minor, currency)) for day, minor in _sweep(found)),
        )
        for (slug, currency), found in sorted(spans.items())
    )


def _find_spans(offer: OfferHistory, since: datetime, until: datetime) -> Iterator[tuple[date, date, int]]:
    """Give the first and the last day of each step that was in stock, with its price."""
    ends = [step.at for step in offer.steps[1:]]
    for step, end in zip(offer.steps, [*ends, until + _SECOND], strict=True):
        begin, last = max(step.at, since), min(end - _SECOND, until)
        if step.availability is Availability.IN_STOCK and begin <= last:
            yield begin.astimezone(UTC).date(), last.astimezone(UTC).date(), step.price.minor


def _sweep(spans: list[tuple[date, date, int]]) -> Iterator[tuple[date, int]]:
    """Give each day that a span covers, with the least price of the spans that cover it."""
    waiting = sorted(spans, reverse=True)
    open_spans: list[tuple[int, date]] = []
    day = waiting[-1][0] if waiting else date.max
    while waiting or open_spans:
        while waiting and waiting[-1][0] <= day:
            _, last, minor = waiting.pop()
            heapq.heappush(open_spans, (minor, last))
        while open_spans and open_spans[0][1] < day:
            heapq.heappop(open_spans)
        if open_spans:
            yield day, open_spans[0][0]
            day += _DAY
        elif waiting:
            day = waiting[-1][0]
