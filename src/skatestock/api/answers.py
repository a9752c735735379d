"""From what the catalogue knows to what the API answers."""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from skatestock.api import schemas
from skatestock.catalog import views
from skatestock.catalog.freshness import judge_freshness
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import Money


def to_price(money: Money | None) -> schemas.Price | None:
    """Write an amount in all its forms; None stays None."""
    return None if money is None else _price(money)


def to_item(summary: views.ProductSummary) -> schemas.ProductItem:
    """Answer with one product."""
    return schemas.ProductItem(**to_item_fields(summary))


def to_item_fields(summary: views.ProductSummary) -> dict[str, Any]:
    """Give the fields of what is said of a product wherever it stands."""
    return {
        "id": summary.id,
        "name": summary.name,
        "brand": _to_brand(summary.brand),
        "category": _to_category(summary.category),
        "colourway": summary.colourway,
        "image_url": summary.image_url,
        "price": to_price(summary.price),
        "price_highest": to_price(summary.price_highest),
        "compare_at": to_price(summary.compare_at),
        "discount_percent": views.discount_percent(summary.price, summary.compare_at),
        "availability": summary.availability,
        "in_stock": summary.availability is Availability.IN_STOCK,
        "changed_at": summary.changed_at,
        "shops": tuple([named_shop(shop) for shop in summary.shops]),
        "demo": summary.demo,
    }


def to_shop(shop: views.ShopState, *, stale_before: datetime, now: datetime) -> schemas.Shop:
    """Answer with one shop."""
    return schemas.Shop(
        slug=shop.slug,
        name=shop.name,
        city=shop.city,
        region=shop.region,
        url=shop.url,
        currency=shop.currency,
        listings=shop.listings,
        delisted=shop.delisted,
        last_complete_crawl_at=shop.last_complete_crawl_at,
        last_crawl_at=shop.last_crawl_at,
        last_crawl_reason=shop.last_crawl_reason,
        state=judge_freshness(shop.standing, now).value,
        stale=_is_stale(shop.last_complete_crawl_at, stale_before),
        demo=shop.demo,
    )


def find_stale_before(now: datetime, stale_after_seconds: int) -> datetime:
    """Tell the moment before which a last complete crawl is too old to rely on."""
    return now - timedelta(seconds=stale_after_seconds)


def to_listings(shop: views.ShopListings, stale_before: datetime) -> schemas.ListingsOfShop:
    """Answer with what one shop lists of a product."""
    return schemas.ListingsOfShop(
        slug=shop.shop.slug,
        name=shop.shop.name,
        demo=shop.shop.demo,
        last_complete_crawl_at=shop.last_complete_crawl_at,
        stale=_is_stale(shop.last_complete_crawl_at, stale_before),
        listings=tuple([_to_listing(listing) for listing in shop.listings]),
    )


def _to_listing(listing: views.ListingState) -> schemas.Listing:
    return schemas.Listing(
        id=listing.id,
        listing_id=listing.listing_id,
        url=listing.url,
        title=listing.title,
        colourway=listing.colourway,
        image_url=listing.image_url,
        currency=listing.currency,
        first_seen_at=listing.first_seen_at,
        observed_at=listing.observed_at,
        seen_at=listing.seen_at,
        delisted_at=listing.delisted_at,
        offers=tuple([_to_offer(offer) for offer in listing.offers]),
    )


def _to_offer(offer: views.OfferState) -> schemas.Offer:
    discount = views.discount_percent(offer.price, offer.compare_at)
    return schemas.Offer(
        id=offer.id,
        offer_id=offer.offer_id,
        title=offer.title,
        options=offer.options,
        size=offer.size,
        sku=offer.sku,
        barcode=offer.barcode,
        price=to_price(offer.price),
        compare_at=None if discount is None else to_price(offer.compare_at),
        discount_percent=discount,
        availability=offer.availability,
        since_at=offer.since_at,
        unconfirmed=None if offer.held is None else _to_unconfirmed(offer.held),
    )


def _to_unconfirmed(held: views.HeldPrice) -> schemas.UnconfirmedPrice:
    return schemas.UnconfirmedPrice(
        price=_price(held.price),
        compare_at=discounted_from(held.price, held.compare_at),
        observed_at=held.held_at,
    )


def to_offer_history(offer: views.OfferHistory) -> schemas.OfferHistory:
    """Answer with one offer's steps."""
    return schemas.OfferHistory(
        id=offer.id,
        offer_id=offer.offer_id,
        listing=offer.listing_id,
        shop=named_shop(offer.shop),
        title=offer.title,
        options=offer.options,
        currency=offer.currency,
        steps=tuple(
            schemas.PriceStep(
                at=step.at,
                price=_price(step.price),
                compare_at=discounted_from(step.price, step.compare_at),
                discount_percent=views.discount_percent(step.price, step.compare_at),
                availability=step.availability,
                changes=step.changes,
                crawl_id=step.crawl_id,
                parser=step.parser,
                parser_version=step.parser_version,
                evidence=step.evidence,
            )
            for step in offer.steps
        ),
    )


@lru_cache(maxsize=8192)
def _price(money: Money) -> schemas.Price:
    """Write an amount; prices are few, and asked for again and again."""
    return schemas.Price(minor=money.minor, currency=money.currency, decimal=f"{money.to_decimal():f}")


def discounted_from(price: Money | None, compare_at: Money | None) -> schemas.Price | None:
    """Show a compare-at price only where it is a discount."""
    return None if views.discount_percent(price, compare_at) is None else to_price(compare_at)


def _to_brand(label: views.Label | None) -> schemas.Brand | None:
    return None if label is None else schemas.Brand(slug=label.slug, name=label.name)


def _to_category(label: views.Label | None) -> schemas.ProductCategory | None:
    return None if label is None else schemas.ProductCategory(slug=label.slug, name=label.name)


def named_shop(shop: views.ShopName) -> schemas.NamedShop:
    """Answer with a shop's name."""
    return schemas.NamedShop(slug=shop.slug, name=shop.name, demo=shop.demo)


def _is_stale(last_complete_crawl_at: datetime | None, stale_before: datetime) -> bool:
    return last_complete_crawl_at is None or last_complete_crawl_at < stale_before
