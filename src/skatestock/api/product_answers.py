"""From what the catalogue knows of products to what the API answers."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from skatestock.api import product_schemas, schemas
from skatestock.api.answers import (
    named_shop,
    to_item,
    to_item_fields,
    to_listings,
    to_offer_history,
    to_price,
)
from skatestock.api.cursors import write_cursor
from skatestock.catalog import facet_queries, views
from skatestock.catalog.daily_lows import LowSeries, find_daily_lows
from skatestock.catalog.label_queries import LabelCount
from skatestock.catalog.product_filter import ProductFilter, Sort
from skatestock.vocabulary.availability import Availability

_STOCK_ORDER = {Availability.IN_STOCK: 0, Availability.UNKNOWN: 1, Availability.OUT_OF_STOCK: 2}


def to_list(
    found: views.ProductPage,
    wanted: ProductFilter,
    sort: Sort,
    *,
    page: int | None,
    limit: int,
    facets: facet_queries.Facets | None,
) -> product_schemas.ProductList:
    """Answer with one page of products."""
    return product_schemas.ProductList(
        items=tuple(_to_found(item) for item in found.items),
        total=found.total,
        page=page,
        limit=limit,
        next_cursor=None if found.next is None else write_cursor(found.next, wanted, sort),
        facets=None if facets is None else to_facets(facets),
    )


def to_facets(facets: facet_queries.Facets) -> product_schemas.Facets:
    """Answer with the counts of every filter."""
    names = (name for name in product_schemas.Facets.__struct_fields__ if name != "price")
    counted = {name: tuple(_to_value(value) for value in getattr(facets, name)) for name in names}
    bounds = product_schemas.PriceRange(
        lowest=_to_text(facets.lowest_amount), highest=_to_text(facets.highest_amount)
    )
    return product_schemas.Facets(**counted, price=bounds)


def to_product(detail: views.ProductDetail, *, stale_before: datetime) -> product_schemas.Product:
    """Answer with a product and everything that the shops list of it."""
    shops = tuple([to_listings(shop, stale_before) for shop in detail.shops])
    return product_schemas.Product(product=to_item(detail.summary), shops=shops, sizes=to_sizes(shops))


def to_sizes(shops: Iterable[schemas.ListingsOfShop]) -> tuple[product_schemas.OfferedSize, ...]:
    """Turn what the shops list now around: for each size, who has it."""
    by_size: dict[str | None, list[product_schemas.SizeOffer]] = {}
    for shop in shops:
        for listing in shop.listings:
            if listing.delisted_at is None:
                for offer in listing.offers:
                    if offer.availability is not Availability.GONE:
                        by_size.setdefault(offer.size, []).append(_to_size_offer(shop, listing, offer))
    return tuple([_to_size(size, offers) for size, offers in by_size.items()])


def to_history(
    product_id: int, offers: tuple[views.OfferHistory, ...], *, since: datetime, until: datetime
) -> product_schemas.PriceHistory:
    """Answer with the steps of every offer, and with the daily lows that follow from them."""
    return product_schemas.PriceHistory(
        product_id=product_id,
        since=since,
        until=until,
        daily_lows=tuple(_to_lows(series) for series in find_daily_lows(offers, since=since, until=until)),
        offers=tuple(to_offer_history(offer) for offer in offers),
        demo=any(offer.shop.demo for offer in offers),
    )


def to_label(label: LabelCount) -> product_schemas.LabelCount:
    """Answer with a brand or a category."""
    return product_schemas.LabelCount(**label._asdict())


def _to_found(summary: views.ProductSummary) -> product_schemas.FoundProduct:
    return product_schemas.FoundProduct(
        **to_item_fields(summary),
        matching_price=to_price(summary.matching_price),
        matching_in_stock=summary.matching_in_stock,
    )


def _to_value(value: facet_queries.FacetValue) -> product_schemas.FacetValue:
    return product_schemas.FacetValue(value=value.value, name=value.name, count=value.count)


def _to_text(amount: int | None) -> str | None:
    return None if amount is None else f"{Decimal(amount).scaleb(-3).normalize():f}"


def _to_size(size: str | None, offers: list[product_schemas.SizeOffer]) -> product_schemas.OfferedSize:
    if len(offers) > 1:
        offers.sort(key=_order)
    return product_schemas.OfferedSize(
        size=size, in_stock=offers[0].availability is Availability.IN_STOCK, offers=tuple(offers)
    )


def _to_size_offer(
    shop: schemas.ListingsOfShop, listing: schemas.Listing, offer: schemas.Offer
) -> product_schemas.SizeOffer:
    return product_schemas.SizeOffer(
        shop=shop.slug,
        listing=listing.id,
        offer=offer.id,
        url=listing.url,
        price=offer.price,
        compare_at=offer.compare_at,
        discount_percent=offer.discount_percent,
        availability=offer.availability,
    )


def _order(offer: product_schemas.SizeOffer) -> tuple[int, bool, str, int, str]:
    currency, minor = ("", 0) if offer.price is None else (offer.price.currency, offer.price.minor)
    return _STOCK_ORDER[offer.availability], offer.price is None, currency, minor, offer.shop


def _to_lows(series: LowSeries) -> product_schemas.LowSeries:
    days = []
    for low in series.days:
        price = to_price(low.price)
        assert price is not None
        days.append(product_schemas.DailyLow(day=low.day, price=price))
    return product_schemas.LowSeries(
        shop=None if series.shop is None else named_shop(series.shop),
        currency=series.currency,
        days=tuple(days),
    )
