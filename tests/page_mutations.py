"""Pages as no shop should send them: bytes, values and markup of real ones changed at random."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

_BITS: tuple[bytes, ...] = tuple(
    bit.encode("utf-8", "surrogatepass")
    for bit in (
        *'{}[]",:<>/\\&;=',
        "null",
        "true",
        "-0",
        "1e999",
        "9" * 40,
        '""',
        '"\\ud800"',
        "\0",
        "\x1b[2J",
        "\u202e",
        "\ufeff",
        "é",
        "\ud800",
        "&#0;",
        "&quot;",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "</script>",
        '<script type="application/ld+json">',
        "<div itemscope itemprop=offers>",
        ' itemref="a b"',
        "<html>",
        "</html>",
        "<base href='//[x'>",
        "https://[x",
        "//",
        "/*",
        "http://shop.example:99999/",
        '{"@id":"#a"}',
        '"@type":"Product",',
        '"@graph":[',
        '"hasVariant":[{}],',
        '"price":"0.00",',
        "charset=utf-16 ",
        "charset=hex ",
    )
)
_BROKEN_BITS = (b"\xff\xfe", b"\x1f\x8b", b"\xed\xa0\x80", b"\xc3")

_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**63,
    10**400,
    1.5,
    -0.0,
    "",
    " ",
    "0.00",
    "-1.00",
    "NaN",
    "1e3",
    "\0\x07",
    "\u202eevil",
    "x" * 5000,
    "a\nb",
    "https://[x",
    "javascript:alert(1)",
    "//cdn.example/x.jpg",
    [],
    {},
    [[]],
    [None],
    {"@id": "#a"},
    {"name": []},
    {"id": {}},
)


def mutate_page(body: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Change a page in one to four ways."""
    for _ in range(random.randint(1, 4)):
        body = random.choice(_WAYS)(body, others, random)
    return body


def _flip(body: bytes, others: Sequence[bytes], random: Random) -> bytes:
    changed = bytearray(body)
    for _ in range(random.randint(1, 8)):
        if changed:
            changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def _cut(body: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, end = sorted(random.randrange(len(body) + 1) for _ in range(2))
    return body[:start] + body[end:] if random.random() < 0.7 else body[:start]


def _insert(body: bytes, others: Sequence[bytes], random: Random) -> bytes:
    place = random.randrange(len(body) + 1)
    return body[:place] + random.choice(_BITS + _BROKEN_BITS) * random.choice((1, 1, 1, 2, 50)) + body[place:]


def _repeat(body: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start = random.randrange(len(body) + 1)
    part = body[start : start + random.randint(1, 400)]
    return body[:start] + part * random.randint(2, 4) + body[start:]


def _splice(body: bytes, others: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(others)
    return body[: random.randrange(len(body) + 1)] + other[random.randrange(len(other) + 1) :]


def _change_value(body: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Put another value somewhere into a page of JSON, or into the JSON of a page."""
    start, end = body.find(b"{"), body.rfind(b"}") + 1
    if body[:1] == b"[":
        start, end = 0, len(body)
    try:
        document = json.loads(body[start:end])
    except (ValueError, RecursionError):
        return _insert(body, others, random)
    changed = _change_within(document, random)
    text: str = json.dumps(changed, ensure_ascii=random.random() < 0.5)
    middle: bytes = text.encode("utf-8", "surrogatepass")
    return body[:start] + middle + body[end:]


def _change_within(value: Any, random: Random) -> Any:
    if random.random() < 0.15 or not isinstance(value, dict | list) or not value:
        return random.choice(_VALUES)
    if isinstance(value, list):
        place = random.randrange(len(value))
        return [*value[:place], _change_within(value[place], random), *value[place + 1 :]]
    key = random.choice(list(value))
    if random.random() < 0.1:
        return {name: item for name, item in value.items() if name != key}
    return value | {key: _change_within(value[key], random)}


_WAYS: tuple[Callable[[bytes, Sequence[bytes], Random], bytes], ...] = (
    _flip,
    _cut,
    _insert,
    _insert,
    _repeat,
    _splice,
    _change_value,
    _change_value,
    _change_value,
)
