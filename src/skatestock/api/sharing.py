"""Which answers may be given to anybody: those that an endpoint says depend on nobody who asks."""

from typing import Any

from litestar import Request
from litestar.datastructures import MutableScopeHeaders
from litestar.types import Scope

SHARED_CONTROL = "public, max-age=0, s-maxage=3, stale-while-revalidate=2"
"""Caches between us and the reader keep an answer for so short that a change shows within five seconds."""

SURROGATE_KEY = "Surrogate-Key"
"""The header with an answer's tags; the edge takes it off."""

INDEX = "index"
"""The tag of what is read from the product index."""

CATALOGUE = "catalogue"
"""The tag of what any commit may change."""

_TAGS, _SUCCESS = "skatestock_tags", 200
_PRIVATE, _ALONE = "private, no-store", "no-cache"
_READS = ("GET", "HEAD")
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


def set_sharing(headers: MutableScopeHeaders, status: int, scope: Scope) -> None:
    """Write into an answer's headers who may keep it; what the endpoint wrote there itself stays."""
    has_credentials = any(name in _CREDENTIALS for name, _value in scope["headers"])
    tags = scope["state"].get(_TAGS)
    if scope.get("method", "GET") not in _READS or has_credentials:
        headers.setdefault("Cache-Control", _PRIVATE)
    elif tags and status == _SUCCESS:
        headers.setdefault("Cache-Control", SHARED_CONTROL)
        headers[SURROGATE_KEY] = " ".join(tags)
    else:
        headers.setdefault("Cache-Control", _ALONE)
