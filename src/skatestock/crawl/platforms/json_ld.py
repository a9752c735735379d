"""JSON-LD in HTML: the nodes of every block, also of those that only a lenient reader reads. Pure."""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from parsel import Selector

from skatestock.crawl.platforms.reading import mend_escapes, parse_json_number

Node = dict[str, Any]

MAX_BLOCKS = 100
MAX_BLOCK_CHARACTERS = 2 * 1024 * 1024
MAX_NODES = 20_000
MAX_TOPS = 1000
MAX_DEPTH = 40

_SCRIPTS = "//script[contains(translate(@type, 'LDJSON+', 'ldjson+'), 'ld+json')]"
# Possessive, and matching what never ends up to the end: no text takes more than one look at each character.
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*+(?:"|\\?\Z))|(?P<comment>//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z))""",
    re.DOTALL,
)
_TEXT_OR_COMMA = re.compile(r'(?P<text>"(?:[^"\\]|\\.)*+(?:"|\\?\Z))|,(?=\s*+[}\]])', re.DOTALL)
_WRAPPING = re.compile(r"\A\s*(?:<!--|//\s*<!\[CDATA\[|/\*\s*<!\[CDATA\[\s*\*/|<!\[CDATA\[)", re.IGNORECASE)
_WRAPPING_END = re.compile(r"(?:-->|//\s*\]\]>|/\*\s*\]\]>\s*\*/|\]\]>)?;?\s*\Z")
_TAIL = 100
_CONTROL = re.compile(r"[\x00-\x1f]")

_decode = msgspec.json.Decoder(float_hook=parse_json_number).decode


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the blocks of a page say."""

    tops: Sequence[Node]
    """The objects that a block is about: itself, those of its `@graph`, the main thing of a page."""
    nodes: Mapping[str, Node]
    """Every object that has an `@id`, also those within others; the fullest of each."""
    unreadable: int
    """Blocks that are no JSON even to a lenient reader."""


def read_json_ld(document: Selector) -> Reading:
    """Read every block of JSON-LD on a page; never raises."""
    tops: list[Node] = []
    nodes: dict[str, Node] = {}
    unreadable, left = 0, MAX_NODES
    for script in document.xpath(_SCRIPTS)[:MAX_BLOCKS]:
        text = str(script.root.text or "")
        found, value = find_json(text[:MAX_BLOCK_CHARACTERS])
        unreadable += not found
        tops += iterate_tops(value)
        for node in iterate_nodes(value, left):
            left -= 1
            identifier = node.get("@id")
            if isinstance(identifier, str) and len(node) > len(nodes.get(identifier, ())):
                nodes[identifier] = node
    return Reading(tops=tops[:MAX_TOPS], nodes=nodes, unreadable=unreadable)


def iterate_tops(value: Any, depth: int = 0) -> Iterator[Node]:
    """Yield what a block is about, in its order."""
    if isinstance(value, list):
        for item in value if depth < 4 else ():
            yield from iterate_tops(item, depth + 1)
    elif isinstance(value, dict):
        yield value
        for key in ("@graph", "mainEntity", "mainEntityOfPage"):
            if depth < 4:
                yield from iterate_tops(value.get(key), depth + 1)


def find_json(text: str) -> tuple[bool, Any]:
    """Read JSON as written, else mended of comments, trailing commas, bare control characters and wrapping.

    Returns whether it could be read, and the value; an empty text is read and says nothing.
    """
    if not text.strip():
        return True, None
    for attempt in _attempts(text):
        try:
            return True, _decode(attempt)
        except (msgspec.DecodeError, RecursionError):
            continue
    return False, None


def iterate_nodes(value: Any, limit: int) -> Iterator[Node]:
    """Yield the objects within a value, outer ones first, up to a depth and a number."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if limit <= 0:
                    return
                limit -= 1
                yield item
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below


def _attempts(text: str) -> Iterator[bytes]:
    yield _encode(text)
    mended = _mend(text)
    yield mend_escapes(_encode(mended))
    if "&quot;" in text:
        # Templates that escape once too often.
        yield mend_escapes(_encode(_mend(html.unescape(text))))


def _mend(text: str) -> str:
    text = _WRAPPING.sub("", text, count=1).rstrip()
    # Sought in the tail only: from every place of a long text it would be sought to the end.
    text = text[:-_TAIL] + _WRAPPING_END.sub("", text[-_TAIL:], count=1)
    text = _TOKEN.sub(lambda match: _clean_text(match[0]) if match["text"] else " ", text)
    return _TEXT_OR_COMMA.sub(lambda match: match[0] if match["text"] else "", text)


def _clean_text(text: str) -> str:
    return _CONTROL.sub(" ", text)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")
