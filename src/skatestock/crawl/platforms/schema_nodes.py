"""What schema.org's nodes say of a product and its offers, wherever on a page they stood. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import msgspec

from skatestock.crawl.platforms.reading import (
    RejectedError,
    name_options,
    parse_amount,
    read_barcode,
    read_identifier,
    read_text,
    round_amount,
    to_decimal_text,
    unique_offers,
    unreadable_compare_at,
    unreadable_price,
)
from skatestock.crawl.reasons import RejectReason
from skatestock.events.model import OfferObserved
from skatestock.vocabulary.availability import Availability
from skatestock.vocabulary.gtin import parse_gtin
from skatestock.vocabulary.prices import parse_price

Node = dict[str, Any]

ONLY_OFFER = "default"
"""The id of a product's one offer that has none of its own."""
MAX_OFFERS = 1000

_PRODUCTS = frozenset({"product", "productgroup", "individualproduct", "productmodel", "someproducts"})
BUYABLE = frozenset(
    {"instock", "limitedavailability", "onlineonly", "preorder", "presale", "backorder", "madetoorder"}
)
NOT_BUYABLE = frozenset({"outofstock", "soldout", "discontinued", "instoreonly", "reserved"})
_WAS_TYPES = frozenset({"listprice", "strikethroughprice", "regularprice", "msrp", "srp"})
_IDS = ("productID", "sku", "gtin", "gtin13", "gtin12", "gtin14", "gtin8", "mpn")
_BARCODES = ("gtin", "gtin14", "gtin13", "gtin12", "gtin8")
_OPTIONS = ("color", "size", "material", "pattern")
_NO_LETTER = re.compile(r"[^a-z]")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The product that a page is about."""

    node: Node
    nodes: Mapping[str, Node]
    """Where references by `@id` lead."""
    joined: bool = False
    """Whether it was put together of variants that stand beside each other."""


class ProductRead(msgspec.Struct, frozen=True, kw_only=True):
    """What a page says of its product."""

    title: str | None
    vendor: str | None
    product_type: str | None
    image_url: str | None
    offers: tuple[OfferObserved, ...]
    offers_complete: bool


def find_product(tops: Sequence[Node], nodes: Mapping[str, Node], url: str) -> Found | None:
    """Find the product that the page at `url` is about; None where no node is one.

    Raises RejectedError where there are several and none of them is told apart by its address or as a group.
    """
    products = [node for node in tops if _PRODUCTS & types_of(node)]
    groups = [node for node in products if "productgroup" in types_of(node)]
    if not products:
        return None
    here = [node for node in products if _is_at(node, url)]
    # Others that a page shows beside its own are most often told without what they cost.
    offered = [node for node in products if node.get("offers")]
    for candidates in (groups, here, products, offered):
        if len(candidates) == 1:
            return Found(node=candidates[0], nodes=nodes)
    joined = _join_variants(here or products)
    if joined is not None:
        return Found(node=joined, nodes=nodes, joined=True)
    # Two plugins that both describe the product use the same name; the fuller description counts.
    same = here or products
    if len({read_text(node.get("name")) for node in same}) == 1:
        return Found(node=max(same, key=lambda node: ("offers" in node, len(node))), nodes=nodes)
    raise RejectedError(RejectReason.NOT_A_PRODUCT, f"the page shows {len(products)} products")


def read_product(found: Found, currency: str, offers: tuple[OfferObserved, ...] | None = None) -> ProductRead:
    """Read a product with its own offers, or those already known; raises RejectedError."""
    reader = _OfferReader(found.nodes, currency)
    own_offers, complete = (offers, True) if offers is not None else reader.read_offers(found.node)
    return ProductRead(
        title=read_text(found.node.get("name")),
        vendor=_name(reader.resolve(found.node.get("brand"))) or _name(found.node.get("manufacturer")),
        product_type=_name(found.node.get("category")),
        image_url=_find_image(found.node),
        offers=own_offers,
        offers_complete=complete,
    )


def types_of(node: Node) -> frozenset[str]:
    """Return a node's types in small letters without their vocabulary."""
    value = node.get("@type")
    names = value if isinstance(value, list) else [value]
    return frozenset(re.split(r"[/#:]", name)[-1].lower() for name in names if isinstance(name, str))


def _is_at(node: Node, url: str) -> bool:
    stated = node.get("url") or node.get("@id")
    try:
        return isinstance(stated, str) and urlsplit(stated).path.rstrip("/") == urlsplit(url).path.rstrip("/")
    except ValueError:
        return False


def _join_variants(products: Sequence[Node]) -> Node | None:
    groups = [node.get("isVariantOf") for node in products]
    keys = {
        read_identifier(node.get("inProductGroupWithID"))
        or (
            read_identifier(group.get("productGroupID") or group.get("@id"))
            if isinstance(group, dict)
            else None
        )
        for node, group in zip(products, groups, strict=True)
    }
    if len(keys) != 1 or None in keys:
        return None
    group = next((group for group in groups if isinstance(group, dict)), {})
    return {**products[0], "@type": "ProductGroup", **group, "hasVariant": list(products), "offers": None}


class _OfferReader:
    """Reads the offers of one product."""

    def __init__(self, nodes: Mapping[str, Node], currency: str) -> None:
        self._nodes = nodes
        self._currency = currency

    def resolve(self, value: Any) -> Any:
        """Return the node that a bare reference leads to, or the value itself."""
        if isinstance(value, dict) and len(value) <= 2 and isinstance(value.get("@id"), str):
            return self._nodes.get(value["@id"], value)
        return value

    def read_offers(self, node: Node) -> tuple[tuple[OfferObserved, ...], bool]:
        """Read all offers, and tell whether they are all that there are."""
        rows = self._variant_rows(node)
        complete = all(offer is not None for _, offer in rows)
        known = [(variant, offer) for variant, offer in rows if offer is not None]
        alone = not known
        if alone:
            complete = not rows
            known = [(None, offer) for offer in self._flatten(node.get("offers"))]
        known = self._in_our_currency(known)
        # The one offer of a product may have no name at all; of a list each has some.
        single = alone and len(known) == 1 and self.resolve(node.get("offers")) is known[0][1]
        offers = [self._read_offer(offer, variant, node if single else None) for variant, offer in known]
        return unique_offers(_tell_apart(offers[:MAX_OFFERS])), complete and len(known) <= MAX_OFFERS

    def _variant_rows(self, node: Node) -> list[tuple[Node | None, Node | None]]:
        rows: list[tuple[Node | None, Node | None]] = []
        for value in _as_list(node.get("hasVariant"))[: MAX_OFFERS + 1]:
            variant = self.resolve(value)
            if isinstance(variant, dict):
                offers = self._flatten(variant.get("offers"))
                # Variants that are only named, by an address of their own, leave the offers unknown.
                rows.append((variant, offers[0] if offers else None))
        return rows

    def _flatten(self, value: Any, depth: int = 0) -> list[Node]:
        offers: list[Node] = []
        totals: list[Node] = []
        for item in _as_list(value)[: MAX_OFFERS + 1]:
            item = self.resolve(item)
            if not isinstance(item, dict):
                continue
            inner = self._flatten(item.get("offers"), depth + 1) if depth < 3 else []
            if inner:
                offers += inner
            elif "aggregateoffer" in types_of(item):
                totals.append(item)
            else:
                offers.append(item)
        return offers or totals

    def _in_our_currency(self, rows: list[tuple[Node | None, Node]]) -> list[tuple[Node | None, Node]]:
        ours = [(variant, offer) for variant, offer in rows if _currency_of(offer) in (self._currency, None)]
        if rows and not ours:
            stated = sorted({str(_currency_of(offer))[:20] for _, offer in rows})
            text = f"the offers are in {', '.join(stated[:3])}, the shop in {self._currency}"
            raise RejectedError(RejectReason.OTHER_CURRENCY, text)
        return ours

    def _read_offer(self, offer: Node, variant: Node | None, only_of: Node | None) -> OfferObserved:
        """Read one offer: that of a variant, the only one of a product, or one of a list."""
        item = self.resolve(offer.get("itemOffered"))
        described = variant or (item if isinstance(item, dict) else only_of or {})
        # What names the product is no name of its offer: a new SKU of the one makes no new offer.
        own_id = (None if described is only_of else _find_id(described)) or _find_id(offer)
        if own_id is None and only_of is None:
            own_id = _find_address(described, offer)
        offer_id = own_id or ONLY_OFFER
        options = _read_options(described)
        price_minor = self._read_price(offer, offer_id)
        return OfferObserved(
            offer_id=offer_id,
            title=" / ".join(options.values()) or read_text(offer.get("name")) or "",
            options=options,
            sku=read_text(offer.get("sku")) or read_text(described.get("sku")),
            price_minor=price_minor,
            compare_at_minor=self._read_compare_at(offer, offer_id, price_minor),
            availability=read_availability(offer.get("availability")),
            barcode=_find_barcode(offer, described),
        )

    def _read_price(self, offer: Node, offer_id: str) -> int:
        value = _find_price(offer)
        if value is None:
            raise RejectedError(RejectReason.NO_PRICE, f"offer {offer_id} has no price of its own")
        minor = read_amount(value, self._currency)
        if minor is None:
            raise unreadable_price(f"offer {offer_id}", value)
        return minor

    def _read_compare_at(self, offer: Node, offer_id: str, price_minor: int) -> int | None:
        for specification in _specifications(offer):
            value = specification.get("price")
            if value is None or not _is_was(specification):
                continue
            minor = read_amount(value, self._currency)
            if minor is None:
                raise unreadable_compare_at(f"offer {offer_id}", value)
            return None if minor == price_minor else minor
        return None


def read_amount(value: Any, currency: str) -> int | None:
    """Read a price as schema.org has it, a plain number or its text, or as a text that a person reads."""
    if isinstance(value, Decimal):
        return round_amount(value, currency)
    text = to_decimal_text(value)
    if text is None:
        return None
    minor = parse_amount(text, currency)
    if minor is not None or not isinstance(value, str):
        return minor
    price = parse_price(text, currency)
    if price is None or price.currency not in (None, currency):
        return None
    return round_amount(price.amount, currency)


def read_availability(value: Any) -> Availability:
    """Read an availability as address (`https://schema.org/InStock`) or word; unknown where it is neither."""
    value = _as_list(value)[:1]
    stated = value[0].get("@id") if value and isinstance(value[0], dict) else (value or [None])[0]
    if not isinstance(stated, str):
        return Availability.UNKNOWN
    word = _NO_LETTER.sub("", re.split(r"[/#:]", stated.strip().rstrip("/"))[-1].lower())
    known = True if word in BUYABLE else (False if word in NOT_BUYABLE else None)
    return Availability.from_flag(known)


def _find_price(offer: Node) -> Any:
    price = offer.get("price")
    if price is not None and price != "":
        return price
    for specification in _specifications(offer):
        if not _is_was(specification) and specification.get("price") is not None:
            return specification["price"]
    low, high = offer.get("lowPrice"), offer.get("highPrice")
    # A range of one price is a price; any other says nothing of a single offer.
    return low if low is not None and (low == high or str(offer.get("offerCount")) == "1") else None


def _specifications(offer: Node) -> Iterator[Node]:
    for specification in _as_list(offer.get("priceSpecification"))[:20]:
        # Prices for members only are not what a visitor pays.
        if isinstance(specification, dict) and "validForMemberTier" not in specification:
            yield specification


def _is_was(specification: Node) -> bool:
    stated = specification.get("priceType")
    return isinstance(stated, str) and re.split(r"[/#:]", stated)[-1].lower() in _WAS_TYPES


def _currency_of(offer: Node) -> str | None:
    for node in (offer, *_specifications(offer)):
        stated = node.get("priceCurrency")
        if isinstance(stated, str) and stated.strip():
            return stated.strip().upper()
    return None


def _find_id(node: Node) -> str | None:
    for key in _IDS:
        value = node.get(key)
        identifier = read_identifier(value.strip() if isinstance(value, str) else value)
        if identifier:
            return identifier
    return None


def _find_barcode(*nodes: Node) -> str | None:
    """Return the first barcode that is a GTIN, or else the first that stands there."""
    stated = [
        barcode
        for node in nodes
        for key in _BARCODES
        for value in _as_list(node.get(key))[:1]
        if (barcode := read_barcode(value))
    ]
    return next((barcode for barcode in stated if parse_gtin(barcode)), next(iter(stated), None))


def _find_address(*nodes: Node) -> str | None:
    for node in nodes:
        stated = node.get("@id") or node.get("url")
        if isinstance(stated, str):
            try:
                parts = urlsplit(stated)
            except ValueError:
                continue
            return read_identifier(parts._replace(scheme="", netloc="").geturl())
    return None


def _tell_apart(offers: Sequence[OfferObserved]) -> Iterator[OfferObserved]:
    # Six colours under one SKU are six offers; two states under one name are none to be believed.
    counts = Counter(offer.offer_id for offer in offers)
    for offer in offers:
        detail = "/".join(offer.options.values()) or offer.title
        if counts[offer.offer_id] == 1 or not detail:
            yield offer
        else:
            yield msgspec.structs.replace(offer, offer_id=f"{offer.offer_id}/{detail}"[:255].rstrip())


def _read_options(node: Node) -> dict[str, str]:
    pairs = [(key.capitalize(), _name(node.get(key))) for key in _OPTIONS]
    rows = [row for row in _as_list(node.get("additionalProperty"))[:10] if isinstance(row, dict)]
    pairs += [(read_text(row.get("name")) or "Option", _name(row.get("value"))) for row in rows]
    return name_options(pairs)


def _name(value: Any) -> str | None:
    for item in _as_list(value)[:5]:
        text = read_text(item.get("name") if isinstance(item, dict) else item)
        if text is not None:
            return text
    return None


def _find_image(node: Node) -> str | None:
    for item in _as_list(node.get("image"))[:5]:
        source = (item.get("contentUrl") or item.get("url")) if isinstance(item, dict) else item
        if isinstance(source, str) and source.strip():
            return source.strip()
    return None


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
