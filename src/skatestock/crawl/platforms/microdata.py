"""Microdata and OpenGraph in HTML, as the nodes that JSON-LD would have for them. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from parsel import Selector

from skatestock.crawl.platforms.documents import Element, attribute, compile_xpath, text_of

Node = dict[str, Any]

MAX_ITEMS = 2000
MAX_DEPTH = 12
MAX_TEXT = 5000
MAX_LOOKS = 200_000

_ADDRESSES = {
    "a": "href",
    "area": "href",
    "link": "href",
    "img": "src",
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "source": "src",
    "track": "src",
    "video": "src",
    "object": "data",
}
_VALUES = {"meta": "content", "data": "value", "meter": "value", "time": "datetime"}

_OPEN_GRAPH = {
    "og:title": "name",
    "og:image": "image",
    "og:image:secure_url": "image",
    "og:url": "url",
    "product:brand": "brand",
    "og:brand": "brand",
    "product:category": "category",
    "product:retailer_item_id": "sku",
    "product:gtin": "gtin",
    "product:ean": "gtin13",
    "product:upc": "gtin12",
}
_OPEN_GRAPH_OFFER = {
    "product:price:amount": "price",
    "og:price:amount": "price",
    "product:price:currency": "priceCurrency",
    "og:price:currency": "priceCurrency",
    "product:availability": "availability",
    "og:availability": "availability",
    "product:original_price:amount": "original",
    "product:sale_price:amount": "sale",
}


def read_microdata(document: Selector) -> list[Node]:
    """Read the items that are no part of another, each as one node; never raises."""
    reader = _ItemReader(document.root)
    return reader.read_top_items()


class _ItemReader:
    """Reads the items of one document, each element at most once on the way down."""

    def __init__(self, root: Element) -> None:
        self._root = root
        self._left = MAX_ITEMS
        # Items may refer to the same large part of a page many times over.
        self._looks = MAX_LOOKS
        self._by_id: dict[str, Element] | None = None

    def read_top_items(self) -> list[Node]:
        """Read every item that is no property."""
        tops = compile_xpath("//*[@itemscope][not(@itemprop)]")(self._root)
        return [self._read_item(element, 0, frozenset()) for element in tops[:MAX_ITEMS]]

    def _read_item(self, item: Element, depth: int, above: frozenset[Element]) -> Node:
        node: Node = {"@type": [word.rpartition("/")[2] for word in attribute(item, "itemtype").split()]}
        if attribute(item, "itemid"):
            node["@id"] = attribute(item, "itemid")
        above = above | {item}
        for element in self._iterate_properties(item):
            if element in above or depth >= MAX_DEPTH or self._left <= 0:
                continue
            self._left -= 1
            is_item = element.get("itemscope") is not None
            value = self._read_item(element, depth + 1, above) if is_item else _read_value(element)
            for name in attribute(element, "itemprop").split():
                _add(node, name, value)
        return node

    def _iterate_properties(self, item: Element) -> Iterator[Element]:
        pending = [*self._referenced(item), *reversed(item)]
        seen: set[Element] = set()
        while pending and self._looks > 0:
            element = pending.pop()
            self._looks -= 1
            if element in seen or not isinstance(element.tag, str):
                continue
            seen.add(element)
            if element.get("itemprop") is not None:
                yield element
            if element.get("itemscope") is None:
                pending.extend(reversed(element))

    def _referenced(self, item: Element) -> list[Element]:
        names = attribute(item, "itemref").split()[:20]
        if not names:
            return []
        if self._by_id is None:
            self._by_id = {}
            for element in compile_xpath("//*[@id]")(self._root):
                self._by_id.setdefault(str(element.get("id")), element)
        found = (self._by_id.get(name) for name in names)
        # What an item refers to comes after what it holds: pushed first, taken last.
        return [element for element in found if element is not None and element is not item][::-1]


def _read_value(element: Element) -> str:
    tag = str(element.tag).lower()
    if element.get("content") is not None:
        # Read from any element: shops put it on spans, and mean it.
        return attribute(element, "content")[:MAX_TEXT]
    named = _VALUES.get(tag) or _ADDRESSES.get(tag)
    if named is not None and element.get(named) is not None:
        return attribute(element, named)[:MAX_TEXT]
    return " ".join(text_of(element)[:MAX_TEXT].split())


def _add(node: Node, name: str, value: Any) -> None:
    known = node.get(name)
    if known is None:
        node[name] = value
    elif isinstance(known, list):
        known.append(value)
    else:
        node[name] = [known, value]


def read_open_graph(document: Selector) -> Node | None:
    """Read a page's OpenGraph as one product; None for a page that says nothing of one."""
    said: dict[str, str] = {}
    for meta in document.xpath("//meta[@content][@property or @name]")[:500]:
        name = attribute(meta.root, "property") or attribute(meta.root, "name")
        said.setdefault(name.lower(), attribute(meta.root, "content"))
    offer = _pick(said, _OPEN_GRAPH_OFFER)
    if not said.get("og:type", "").startswith(("product", "og:product")) and "price" not in offer:
        return None
    price, original = offer.get("sale") or offer.get("price"), offer.get("original")
    specification = [{"price": original, "priceType": "ListPrice"}] if original else []
    made: Node = {"@type": "Offer", "price": price, "priceSpecification": specification}
    made |= {key: offer[key] for key in ("priceCurrency", "availability") if key in offer}
    return {"@type": "Product", "offers": made, **_pick(said, _OPEN_GRAPH)}


def _pick(said: Mapping[str, str], names: Mapping[str, str]) -> Node:
    picked: Node = {}
    for name, key in names.items():
        if said.get(name):
            picked.setdefault(key, said[name])
    return picked
