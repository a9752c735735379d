"""Cursors: places in a list of products, written so that nobody need know how, and tied to what was asked.

A cursor is no secret, and gives nobody anything that the list does not. What it was made for, and
whether it was changed since, is told by a digest.
"""

import base64
import binascii
import struct
from hashlib import blake2b

import msgspec

from skatestock.catalog.product_filter import ProductFilter, Sort
from skatestock.catalog.views import ProductPlace

_PLACE = struct.Struct(">qq")
_DIGEST_BYTES = 8


def write_cursor(place: ProductPlace, wanted: ProductFilter, sort: Sort) -> str:
    """Write a place in the list of these products in this order."""
    packed = _PLACE.pack(place.key, place.product_id)
    return base64.urlsafe_b64encode(packed + _digest(packed, wanted, sort)).rstrip(b"=").decode()


def parse_cursor(text: str, wanted: ProductFilter, sort: Sort) -> ProductPlace | None:
    """Read a place; None for what was not written for these products in this order."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    packed = raw[: _PLACE.size]
    if len(raw) != _PLACE.size + _DIGEST_BYTES or raw[_PLACE.size :] != _digest(packed, wanted, sort):
        return None
    return ProductPlace(*_PLACE.unpack(packed))


def _digest(packed: bytes, wanted: ProductFilter, sort: Sort) -> bytes:
    asked = msgspec.json.encode((sort, wanted))
    return blake2b(packed + asked, digest_size=_DIGEST_BYTES, person=b"product cursor").digest()
