"""How an answer's bytes are written: as they are, with gzip, or with Brotli."""

import gzip
from functools import lru_cache

import brotli  # type: ignore[import-untyped]  # it publishes no types; two calls of ours use it

IDENTITY, GZIP, BROTLI = "identity", "gzip", "br"

# What we would rather send, where a client takes several equally well.
_ORDER = (BROTLI, GZIP, IDENTITY)
_LONGEST_HEADER = 256
_BROTLI_QUALITY, _GZIP_LEVEL = 5, 6


# of the longest headers that come in, 256 are four megabytes
@lru_cache(maxsize=256)
def choose_encoding(accepted: bytes) -> str:
    """Choose by an `Accept-Encoding` header; one that we cannot read gets the bytes as they are."""
    if len(accepted) > _LONGEST_HEADER:
        return IDENTITY
    weights: dict[str, float] = {}
    for part in accepted.decode("latin-1").lower().split(","):
        name, _, parameters = part.partition(";")
        weights[name.strip()] = _read_weight(parameters)
    rest = weights.get("*")
    weigh = {name: weights.get(name, 0.0 if rest is None else rest) for name in (BROTLI, GZIP)}
    # identity need not be named to be acceptable, but whoever names another likes that better
    weigh[IDENTITY] = weights.get(IDENTITY, 0.001 if rest is None else rest)
    best = max(_ORDER, key=lambda name: weigh[name])
    return best if weigh[best] > 0 else IDENTITY


def compress(body: bytes, encoding: str) -> bytes:
    """Write bytes in an encoding; the same bytes come out alike each time."""
    if encoding == BROTLI:
        return bytes(brotli.compress(body, quality=_BROTLI_QUALITY))
    if encoding == GZIP:
        return gzip.compress(body, _GZIP_LEVEL, mtime=0)
    return body


def is_compressible(content_type: bytes) -> bool:
    """Tell whether an answer of this type gets smaller by it: text of some kind."""
    kind = content_type.partition(b";")[0].strip().lower()
    return kind.startswith(b"text/") or kind.endswith((b"json", b"xml", b"javascript"))


def _read_weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
