"""What a product costs now, by its listings: the same rules as the product index's, for one product. Pure."""

from collections.abc import Iterable

from skatestock.catalog.views import ListingState, OfferState, ProductName, ProductSummary, ShopListings
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.money import Money


def summarise(product: ProductName, shops: tuple[ShopListings, ...]) -> ProductSummary:
    """Tell what a product's live listings say of it, or where none is left, the delisted ones."""
    listed = [(shop.shop, listing) for shop in shops for listing in shop.listings]
    considered = [pair for pair in listed if pair[1].delisted_at is None] or listed
    offers = [offer for _, listing in considered for offer in listing.offers]
    availability, best = _find_best(offers)
    cheapest = best[0] if len(best) == 1 else min(best, key=_order, default=None)
    names = {shop.slug: shop for shop, _ in considered}
    price = None if cheapest is None else cheapest.price
    return ProductSummary(
        id=product.id,
        name=product.name,
        brand=product.brand,
        category=product.category,
        colourway=product.colourway,
        image_url=_find_image([listing for _, listing in considered]),
        price=price,
        price_highest=price if len(best) == 1 else _find_highest(best, price),
        compare_at=None if cheapest is None else _discounted_from(cheapest),
        availability=availability,
        changed_at=max([offer.since_at for offer in offers], default=None),
        shops=tuple(names.values()) if len(names) == 1 else tuple([names[slug] for slug in sorted(names)]),
        demo=any(shop.demo for shop in names.values()),
    )


def _find_best(offers: Iterable[OfferState]) -> tuple[Availability, list[OfferState]]:
    """Find the best availability, and the offers with a price that have it."""
    # Compared by identity: an enumeration's members are slow to hash.
    sold_out, unknown, in_stock, gone = [], [], [], []
    for offer in offers:
        word = offer.availability
        if word is Availability.OUT_OF_STOCK:
            sold_out.append(offer)
        elif word is Availability.IN_STOCK:
            in_stock.append(offer)
        elif word is Availability.UNKNOWN:
            unknown.append(offer)
        else:
            gone.append(offer)
    best = in_stock or unknown or sold_out or gone
    availability = best[0].availability if best else Availability.GONE
    return availability, [offer for offer in best if offer.price is not None]


def _order(offer: OfferState) -> tuple[str, int, int]:
    """Order by currency and price; of equals, the highest compare-at price comes first."""
    assert offer.price is not None
    minor, currency = offer.price
    return currency, minor, 1 if offer.compare_at is None else -offer.compare_at.minor


def _find_highest(offers: Iterable[OfferState], price: Money | None) -> Money | None:
    prices = [offer.price for offer in offers if offer.price is not None]
    return max([one for one in prices if price and one.currency == price.currency], default=None)


def _discounted_from(offer: OfferState) -> Money | None:
    if offer.price is None or offer.compare_at is None or offer.compare_at.minor <= offer.price.minor:
        return None
    return offer.compare_at


def _find_image(listings: Iterable[ListingState]) -> str | None:
    pictured = [listing for listing in listings if listing.image_url is not None]
    return min(pictured, key=lambda listing: listing.id).image_url if pictured else None
