"""Which answers may be given to anybody: those that an endpoint says depend on nobody who asks."""

from collections.abc import Collection
from typing import Any

from litestar import Request
from litestar.types import Scope

HeaderLine = tuple[bytes, bytes]

SHARED_CONTROL = "public, max-age=0, s-maxage=3, stale-while-revalidate=2"
"""Caches between us and the reader keep an answer for so short that a change shows within five seconds."""

ALONE_CONTROL = "no-cache"
"""Of an answer to anybody that may have changed the next moment."""

SURROGATE_KEY = "Surrogate-Key"
"""The header with an answer's tags; the edge takes it off."""

INDEX = "index"
"""The tag of what is read from the product index."""

CATALOGUE = "catalogue"
"""The tag of what any commit may change."""

_TAGS, _SUCCESS = "skatestock_tags", 200
_PRIVATE = "private, no-store"
_READS = ("GET", "HEAD")
_SURROGATE_NAME, _CONTROL_NAME = SURROGATE_KEY.lower().encode(), b"cache-control"
# What an answer may depend on besides the address.
_CREDENTIALS = frozenset({b"authorization", b"cookie", b"x-api-key"})


def tag_product(product_id: int) -> str:
    """Name the tag of what shows a product."""
    return f"product:{product_id}"


def tag_shop(shop_id: int) -> str:
    """Name the tag of what shows a shop."""
    return f"shop:{shop_id}"


def share(request: Request[Any, Any, Any], *tags: str) -> None:
    """Say that the answer depends on the address only, and on what these tags name; adds to earlier tags.

    An answer that is no success, or to a request with credentials, is never shared, whatever was said. Raises
    ValueError without any tag: nothing could ever end such an answer's sharing.
    """
    if not tags:
        raise ValueError("an answer that is shared needs a tag")
    request.scope["state"].setdefault(_TAGS, {}).update(dict.fromkeys(tags))


def find_tags(scope: Scope) -> tuple[str, ...]:
    """Tell what the answer depends on, as `share` was told; nothing where it may not be shared."""
    return tuple(scope["state"].get(_TAGS, ()))


def find_sharing(scope: Scope, status: int, given: Collection[bytes]) -> list[HeaderLine]:
    """Tell the headers that say who may keep an answer; `given` are those it has already."""
    has_credentials = not _CREDENTIALS.isdisjoint([name for name, _value in scope["headers"]])
    tags = scope["state"].get(_TAGS)
    lines: list[HeaderLine] = []
    control = ALONE_CONTROL
    if scope.get("method", "GET") not in _READS or has_credentials:
        control = _PRIVATE
    elif tags and status == _SUCCESS:
        control = SHARED_CONTROL
        lines.append((_SURROGATE_NAME, " ".join(tags).encode()))
    if _CONTROL_NAME not in given:
        lines.append((_CONTROL_NAME, control.encode()))
    return lines
